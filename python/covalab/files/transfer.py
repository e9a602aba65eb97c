"""File transfers: source, target, order and strategy of a copy."""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable
from typing import Final

from covalab.files import strategies
from covalab.files.file import SCHEMES, File
from covalab.files.strategies import Copy, FileTransferStrategy


class Order(str, enum.Enum):
    """Order of copy and electron: a file is copied before the electron runs, or after it."""

    BEFORE = "before"
    AFTER = "after"


_downloaders: Final[dict[str, type[FileTransferStrategy]]] = {
    "s3": strategies.S3,
    "gs": strategies.GCloud,
    "http": strategies.HTTP,
    "https": strategies.HTTP,
    "ftp": strategies.FTP,
}
_uploaders: Final = dict(_downloaders)


def register_downloader(scheme: str, strategy: type[FileTransferStrategy]) -> None:
    """Register the strategy that downloads files with a scheme, for transfers without one."""
    SCHEMES.add(scheme)
    _downloaders[scheme] = strategy


def register_uploader(scheme: str, strategy: type[FileTransferStrategy]) -> None:
    """Register the strategy that uploads files with a scheme, for transfers without one."""
    SCHEMES.add(scheme)
    _uploaders[scheme] = strategy


class FileTransfer:
    """One file or folder that is copied around an electron.

    Parameters
    ----------
    from_file, to_file
        A path, an address, or a `File`; a temporary file, if not given.
    order
        ``Order.BEFORE`` (or ``"before"``) the electron, or after it.
    strategy
        One of ``ct.fs_strategies``; by default that of the scheme, and a plain copy between two files of
        the machine that runs the task.

    Raises
    ------
    AttributeError
        If a file is neither text nor a `File`, or there is no strategy for a scheme.
    ValueError
        If both are on other machines, the order is neither, or a folder is to be copied to a file.
    """

    def __init__(
        self,
        from_file: File | str | None = None,
        to_file: File | str | None = None,
        order: Order | str = Order.BEFORE,
        strategy: FileTransferStrategy | None = None,
    ) -> None:
        self.from_file = _file(from_file, like=to_file)
        self.to_file = _file(to_file, like=from_file)
        self.order = Order(order)
        if self.from_file.is_remote and self.to_file.is_remote:
            message = (
                f"{self} is from one remote place to another; copy it to a file of the task first, and from there with "
                "a second transfer"
            )
            raise ValueError(message)
        if self.from_file.is_dir and not self.to_file.is_dir:
            message = f"{self} copies a folder to a file; end the second address with a slash"
            raise ValueError(message)
        self.strategy = strategy if strategy is not None else self._usual_strategy()

    is_sent = False
    """Whether a dispatch has it already. Its temporary files are those of the call that was first, as in Covalent."""

    @property
    def is_temporary(self) -> bool:
        """Whether one of its files is a temporary one."""
        return self.from_file.is_temp_file or self.to_file.is_temp_file

    def renamed(self, memo: dict[int, File]) -> FileTransfer:
        """Return the same transfer with other temporary files; `memo` has those that were made for others already."""
        other = copy.copy(self)
        other.from_file, other.to_file = self.from_file.renamed(memo), self.to_file.renamed(memo)
        return other

    def cp(self) -> tuple[Callable[[], tuple[str, str]], Copy]:
        """Return two functions: one makes temporary files and returns the two paths, the other copies."""
        source, target = self.from_file, self.to_file
        if source.is_remote:
            run = self.strategy.download(source, target)
        elif target.is_remote:
            run = self.strategy.upload(source, target)
        else:
            run = self.strategy.cp(source, target)
        return self._prepare, run

    def _prepare(self) -> tuple[str, str]:
        for file in (self.from_file, self.to_file):
            if file.is_temp_file:
                file.touch()
        return self.from_file.filepath, self.to_file.filepath

    def _usual_strategy(self) -> FileTransferStrategy:
        known, file = (_downloaders, self.from_file) if self.from_file.is_remote else (_uploaders, self.to_file)
        if file.scheme == "file":
            return strategies.Shutil()
        if file.scheme not in known:
            message = f"{self}: there is no usual way for {file.scheme!r}; pass a strategy, e.g. ct.fs_strategies.Blob"
            raise AttributeError(message)
        return known[file.scheme]()

    def __str__(self) -> str:
        return f"the transfer of {self.from_file} to {self.to_file}"


def TransferFromRemote(  # noqa: N802 - Covalent's name
    from_filepath: str,
    to_filepath: str | None = None,
    strategy: FileTransferStrategy | None = None,
    order: Order | str = Order.BEFORE,
) -> FileTransfer:
    """Return a transfer of a file that is elsewhere, before the electron runs.

    Parameters
    ----------
    from_filepath
        The address of the file.
    to_filepath
        Where the electron finds it; a temporary file, if not given.
    strategy, order
        See `FileTransfer`.
    """
    return FileTransfer(File(from_filepath, is_remote=True), to_filepath, order, strategy)


def TransferToRemote(  # noqa: N802 - Covalent's name
    to_filepath: str,
    from_filepath: str | None = None,
    strategy: FileTransferStrategy | None = None,
    order: Order | str = Order.AFTER,
) -> FileTransfer:
    """Return a transfer of a file that the electron made to somewhere else, after the electron has run.

    Parameters
    ----------
    to_filepath
        The address of the file.
    from_filepath
        Where the electron leaves it; a temporary file, if not given.
    strategy, order
        See `FileTransfer`.
    """
    return FileTransfer(from_filepath, File(to_filepath, is_remote=True), order, strategy)


def _file(given: File | str | None, like: File | str | None) -> File:
    """Return a `File`; a temporary one is a folder when the other side is."""
    if isinstance(given, File):
        return given
    if given is None:
        return File(is_dir=like.is_dir if isinstance(like, File) else (like or "").endswith("/"))
    return File(given)
