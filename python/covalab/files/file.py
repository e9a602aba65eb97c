"""`File` and `Folder`: addresses of files on this machine or elsewhere. Opens nothing."""

from __future__ import annotations

import copy
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

SCHEMES: Final = {"file", "s3", "blob", "gs", "globus", "http", "https", "ftp"}
"""The schemes that an address can have; `transfer.register_downloader` and `register_uploader` add to them."""


class File:
    """A file by its path or address.

    Parameters
    ----------
    filepath
        A path, or an address with a scheme: ``file s3 blob gs globus http https ftp``. Without one it is a temporary
        file with a path of its own.
    is_remote
        Whether it is on another machine, where the scheme does not tell (``ssh``).
    is_dir
        Whether it is a folder; an address that ends with a slash is one.
    include_folder
        Copy the folder itself and not only what is in it.

    Raises
    ------
    AttributeError
        If `filepath` is not text.
    ValueError
        If the scheme is unknown.

    Examples
    --------
    >>> file = File("s3://bucket/data/x.csv")
    >>> file.scheme, file.filepath, file.is_remote, file.is_dir
    ('s3', '/data/x.csv', True, False)
    """

    def __init__(
        self,
        filepath: str | None = None,
        is_remote: bool = False,
        is_dir: bool = False,
        include_folder: bool = False,
    ) -> None:
        given: object = filepath
        if not isinstance(given, str | None):
            message = f"a file is named by text, not by {given!r}; write str(path)"
            raise AttributeError(message)  # noqa: TRY004 - Covalent's error
        self.is_temp_file = filepath is None
        self.include_folder = include_folder
        self._address = _temporary() if filepath is None else filepath
        self._is_remote, self._is_dir = is_remote, is_dir
        scheme, separator, _ = (filepath or "").partition("://")
        self.scheme = scheme.lower() if separator else "file"
        if self.scheme not in SCHEMES:
            message = f"the scheme of {filepath!r} is unknown; there is {', '.join(sorted(SCHEMES))}"
            raise ValueError(message)

    @property
    def uri(self) -> str:
        """The whole address."""
        address = self._address
        return address if "://" in address else f"file://{address}"

    @property
    def host(self) -> str:
        """The server or bucket; empty for a file of this machine."""
        return "" if self.scheme == "file" else self._address.partition("://")[2].partition("/")[0]

    @property
    def filepath(self) -> str:
        """The path alone; a folder's ends with a slash, unless the folder itself is meant."""
        address = self._address
        if self.scheme in ("http", "https"):
            path = urlsplit(address).path
        elif "://" in address:
            rest = address.partition("://")[2]
            path = rest if self.scheme == "file" else f"/{rest.partition('/')[2]}"
        else:
            path = address
        if self.is_dir:
            path = path.rstrip("/") + ("" if self.include_folder else "/")
        return path

    @property
    def is_remote(self) -> bool:
        """Whether it is not on the machine that runs the task."""
        return self._is_remote or self.scheme != "file"

    @property
    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._is_dir or self._address.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self.filepath).name

    def touch(self) -> None:
        """Create the file or folder, on this machine, if it does not exist."""
        path = Path(self.filepath)
        (path if self.is_dir else path.parent).mkdir(parents=True, exist_ok=True)
        if not self.is_dir:
            path.touch()

    def __str__(self) -> str:
        kind = "folder" if self.is_dir else "file"
        return f"a temporary {kind}" if self.is_temp_file else self._address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __setstate__(self, state: dict[str, Any]) -> None:
        # In earlier versions a temporary file got its path where that was first read.
        self.__dict__.update(state, _address=state["_address"] or _temporary())

    def renamed(self, memo: dict[int, File]) -> File:
        """Return this file, or, of a temporary one, another; `memo` has those that were made for others already."""
        if not self.is_temp_file:
            return self
        if id(self) not in memo:
            memo[id(self)] = other = copy.copy(self)
            other.__dict__["_address"] = _temporary()
        return memo[id(self)]


def _temporary() -> str:
    return str(Path(tempfile.gettempdir()) / str(uuid.uuid4()))


class Folder(File):
    """A folder by its path or address; see `File`."""

    def __init__(
        self,
        filepath: str | None = None,
        is_remote: bool = False,
        is_dir: bool = True,
        include_folder: bool = False,
    ) -> None:
        super().__init__(filepath, is_remote, is_dir, include_folder)
