"""File transfer strategies (``ct.fs_strategies``): copy files between this machine and other places.

A strategy only returns functions that copy; they run in the task's process. S3, Google, Azure and FTP are file systems
of fsspec, with one strategy for all of them and a row for each; their packages are optional. HTTP needs no package.
"""

from __future__ import annotations

import abc
import importlib.util
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from covalab.files.file import File

Copy: TypeAlias = Callable[[], None]

_SSH: Final = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new"


class FileTransferStrategy(abc.ABC):
    """Base class of strategies: `cp` copies between two files of one machine, the others from or to another place."""

    @abc.abstractmethod
    def download(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies a file to this machine."""

    @abc.abstractmethod
    def upload(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies a file from this machine."""

    def cp(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies between two files of the machine that runs the task."""
        message = f"{type(self).__name__} copies from or to another place, not between two files of one machine"
        raise NotImplementedError(message)


class Shutil(FileTransferStrategy):
    """Strategy that copies between two paths of the machine that runs the task."""

    def cp(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies a file or folder."""

        def copy() -> None:
            source, target = Path(from_file.filepath), _target(from_file, to_file)
            if from_file.is_dir:
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

        return copy

    download = upload = cp


class Rsync(FileTransferStrategy):
    """Strategy that copies with the program rsync, over ssh when one side is remote.

    Parameters
    ----------
    user, host
        User name and machine of the ssh login.
    private_key_path
        File of the user's private key.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """

    def __init__(self, user: str = "", host: str = "", private_key_path: str | None = None) -> None:
        self.user, self.host, self.private_key_path = user, host, private_key_path
        if private_key_path is not None and not Path(private_key_path).exists():
            message = f"Rsync: there is no private key {private_key_path}"
            raise FileNotFoundError(message)

    def cp(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies between two paths of the machine."""
        return lambda: self._run([from_file.filepath, _made(to_file)])

    def download(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies to this machine over ssh."""
        return lambda: self._run([*self._ssh(), self._remote(from_file), _made(to_file)])

    def upload(self, from_file: File, to_file: File) -> Copy:
        """Return a function that copies from this machine over ssh."""
        return lambda: self._run([*self._ssh(), from_file.filepath, self._remote(to_file)])

    def _remote(self, file: File) -> str:
        where = f"{self.user}@{self.host}" if self.user else self.host
        return f"{where}:{file.filepath}" if where else file.filepath

    def _ssh(self) -> list[str]:
        if not self.host:
            return []
        key = f" -i {self.private_key_path}" if self.private_key_path else ""
        return ["-e", f"{_SSH}{key}"]

    @staticmethod
    def _run(arguments: list[str]) -> None:
        program = shutil.which("rsync")
        if program is None:
            message = "Rsync: there is no program `rsync` on the PATH; install it, e.g. `apt-get install rsync`"
            raise FileNotFoundError(message)
        done = subprocess.run([program, "-a", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"`rsync {' '.join(arguments)}` ended with exit code {done.returncode}: {done.stderr.strip()}"
            raise OSError(message)


class HTTP(FileTransferStrategy):
    """Strategy that downloads with GET and uploads with PUT; proxies are taken from the environment."""

    def download(self, from_file: File, to_file: File) -> Copy:
        """Return a function that downloads a file."""

        def copy() -> None:
            target = _target(from_file, to_file)
            target.parent.mkdir(parents=True, exist_ok=True)
            # The scheme is http or https: `File` lets no other come here.
            with urllib.request.urlopen(from_file.uri) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)

        return copy

    def upload(self, from_file: File, to_file: File) -> Copy:
        """Return a function that uploads a file."""

        def copy() -> None:
            source = Path(from_file.filepath)
            with source.open("rb") as file:
                headers = {"Content-Type": "application/octet-stream", "Content-Length": str(source.stat().st_size)}
                put = urllib.request.Request(to_file.uri, file, headers, method="PUT")
                with urllib.request.urlopen(put):
                    pass

        return copy


class _Storage(NamedTuple):
    """Row of a storage: its strategy, the package and class of fsspec's that has its files, and our extra."""

    strategy: str
    package: str
    filesystem: str
    extra: str


class _Fsspec(FileTransferStrategy):
    """Strategy for every storage that fsspec knows: copies file by file. A subclass has the row of its storage."""

    _storage: ClassVar[_Storage]

    def __init__(self) -> None:
        name, package, _, extra = self._storage
        # Only the first part: to find a submodule, Python would import what is above it.
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            message = f"ct.fs_strategies.{name} needs the package {package}; run `pip install 'covalab[{extra}]'`"
            raise ImportError(message)

    def _options(self, file: File) -> dict[str, Any]:
        raise NotImplementedError

    def filesystem(self, file: File) -> Any:
        """Return the file system that has a file."""
        # Imported here: the packages are optional, and slow to import.
        return getattr(importlib.import_module(self._storage.package), self._storage.filesystem)(**self._options(file))

    def path(self, file: File) -> str:
        """Return a file's path in it: bucket and key."""
        return f"{file.host}{file.filepath}".rstrip("/")

    def download(self, from_file: File, to_file: File) -> Copy:
        """Return a function that downloads a file, or all files of a folder."""

        def copy() -> None:
            system, source = self.filesystem(from_file), self.path(from_file)
            target = _target(from_file, to_file)
            for path in system.find(source) if from_file.is_dir else [source]:
                to = target / path[len(source) :].lstrip("/") if from_file.is_dir else target
                to.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(path, str(to))

        return copy

    def upload(self, from_file: File, to_file: File) -> Copy:
        """Return a function that uploads a file, or all files of a folder."""

        def copy() -> None:
            system, target = self.filesystem(to_file), self.path(to_file)
            source = Path(from_file.filepath)
            if to_file.is_dir and (from_file.include_folder or not from_file.is_dir):
                target = f"{target}/{source.name}"
            files = [path for path in source.rglob("*") if path.is_file()] if from_file.is_dir else [source]
            for path in files:
                to = f"{target}/{path.relative_to(source).as_posix()}" if from_file.is_dir else target
                with suppress(NotImplementedError):  # where there are no folders, none need be made
                    system.makedirs(to.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), to)

        return copy


class S3(_Fsspec):
    """Strategy for Amazon S3 and compatible servers (``AWS_ENDPOINT_URL``). Needs the extra ``covalab[s3]``.

    Parameters
    ----------
    credentials
        File of shared credentials; by default AWS's own rules apply on the machine that runs the task.
    profile
        Profile in that file.
    region_name
        Name of the region.
    """

    _storage = _Storage("S3", "s3fs", "S3FileSystem", "s3")

    def __init__(
        self, credentials: str | None = None, profile: str | None = None, region_name: str | None = None
    ) -> None:
        super().__init__()
        self.credentials, self.profile, self.region_name = credentials, profile, region_name

    def _options(self, file: File) -> dict[str, Any]:
        client = {"region_name": self.region_name} if self.region_name else {}
        return {"profile": self.profile, "client_kwargs": client, "skip_instance_cache": True}

    def filesystem(self, file: File) -> Any:
        """Return S3, logged in."""
        with _variable("AWS_SHARED_CREDENTIALS_FILE", self.credentials):
            system = super().filesystem(file)
            system.connect()  # reads the credentials now, while the variable names their file
        return system


class GCloud(_Fsspec):
    """Strategy for Google Cloud Storage. Needs the extra ``covalab[gcs]``.

    Parameters
    ----------
    credentials
        JSON file of a service account. It is read here and now.
    project_id
        Id of the project.

    Raises
    ------
    ValueError
        If there is no such file.
    """

    _storage = _Storage("GCloud", "gcsfs", "GCSFileSystem", "gcs")

    def __init__(self, credentials: str | None = None, project_id: str | None = None) -> None:
        super().__init__()
        if credentials is not None and not Path(credentials).is_file():
            message = f"GCloud: there is no file of credentials {credentials}"
            raise ValueError(message)
        self.credentials = None if credentials is None else json.loads(Path(credentials).read_text(encoding="utf-8"))
        self.project_id = project_id

    def _options(self, file: File) -> dict[str, Any]:
        return {"project": self.project_id, "token": self.credentials}


class Blob(_Fsspec):
    """Strategy for Azure Blob Storage. Needs the extra ``covalab[azure]``.

    An address is ``https://<account>.blob.core.windows.net/<container>/<path>``, or the same with ``blob://``.

    Parameters
    ----------
    client_id, client_secret, tenant_id
        Login of a service principal; by default Azure's own rules apply on the machine that runs the task.
    """

    _storage = _Storage("Blob", "adlfs", "AzureBlobFileSystem", "azure")

    def __init__(
        self, client_id: str | None = None, client_secret: str | None = None, tenant_id: str | None = None
    ) -> None:
        super().__init__()
        self.client_id, self.client_secret, self.tenant_id = client_id, client_secret, tenant_id

    def path(self, file: File) -> str:
        """Return container and path; the host is the account."""
        return file.filepath.strip("/")

    def _options(self, file: File) -> dict[str, Any]:
        login = {"client_id": self.client_id, "client_secret": self.client_secret, "tenant_id": self.tenant_id}
        return {"account_name": file.host.partition(".")[0], **{key: it for key, it in login.items() if it}}


class FTP(_Fsspec):
    """Strategy for an FTP server, without a password."""

    _storage = _Storage("FTP", "fsspec.implementations.ftp", "FTPFileSystem", "")

    def path(self, file: File) -> str:
        """Return the path; the host is the server."""
        return file.filepath.rstrip("/")

    def _options(self, file: File) -> dict[str, Any]:
        host, _, port = file.host.partition(":")
        return {"host": host, "port": int(port or 21)}


def _made(file: File) -> str:
    """Return the path of a file of this machine, after making the folder it will lie in."""
    Path(file.filepath).parent.mkdir(parents=True, exist_ok=True)
    return file.filepath


def _target(from_file: File, to_file: File) -> Path:
    """Return the path of this machine that a file or folder is copied to."""
    target = Path(to_file.filepath)
    if to_file.is_dir and (from_file.include_folder or not from_file.is_dir):
        target /= from_file.name
    return target


@contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable for a moment; None leaves it as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif value is not None:
            del os.environ[name]
