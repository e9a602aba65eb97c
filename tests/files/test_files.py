"""Files, folders and how they are copied, on this machine and through a web and an S3 server on it."""

from __future__ import annotations

import http.server
import inspect
import os
import pickle
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.errors import GraphError
from covalab.files import strategies, transfer
from covalab.files.file import SCHEMES

fs, ways = ct.fs, ct.fs_strategies


def run(it: Any) -> tuple[str, str]:
    """Do a transfer as a worker does, from a pickle; return the two paths."""
    prepare, copy = pickle.loads(pickle.dumps(it)).cp()
    paths: tuple[str, str] = prepare()
    copy()
    return paths


@pytest.mark.parametrize(
    ("address", "scheme", "path", "remote", "folder"),
    [
        ("/tmp/a b#c?.txt", "file", "/tmp/a b#c?.txt", False, False),
        ("data/x.csv", "file", "data/x.csv", False, False),
        ("file:///tmp/a.txt", "file", "/tmp/a.txt", False, False),
        ("/tmp/folder/", "file", "/tmp/folder/", False, True),
        ("s3://bucket/key/x", "s3", "/key/x", True, False),
        ("s3://bucket/key/", "s3", "/key/", True, True),
        ("gs://bucket/x", "gs", "/x", True, False),
        ("blob://account.x/container/x", "blob", "/container/x", True, False),
        ("globus://place/x", "globus", "/x", True, False),
        ("ftp://host/x", "ftp", "/x", True, False),
        ("http://host:80/a/x.txt?y=1", "http", "/a/x.txt", True, False),
        ("https://host/a", "https", "/a", True, False),
    ],
)
def test_a_file_says_what_it_is(address: str, scheme: str, path: str, remote: bool, folder: bool) -> None:
    """`scheme`, `filepath`, `uri`, `is_remote`, `is_dir`."""
    file = fs.File(address)

    assert (file.scheme, file.filepath, file.is_remote, file.is_dir) == (scheme, path, remote, folder)
    assert file.uri == (address if "://" in address else f"file://{address}")
    assert not file.is_temp_file


def test_a_file_is_refused_by_its_name() -> None:
    """Unknown schemes are a `ValueError` that lists those there are; what is no text is an `AttributeError`."""
    with pytest.raises(ValueError, match=r"'xyz://a'.*s3"):
        fs.File("xyz://a")
    with pytest.raises(AttributeError, match="named by text"):
        fs.File(Path("/tmp/a"))  # type: ignore[arg-type]


def test_flags_override_what_an_address_says() -> None:
    """`is_remote`, `is_dir`, `include_folder`; a `Folder` is a `File` that is one."""
    assert fs.File("/a", is_remote=True).is_remote
    assert fs.File("/a", is_dir=True).filepath == "/a/"
    assert fs.File("/a/", include_folder=True).filepath == "/a"
    assert isinstance(fs.Folder("/a"), fs.File)
    assert fs.Folder("/a").is_dir


def test_a_file_without_a_path_is_a_temporary_one() -> None:
    """`touch` makes it. It has its path from the beginning, as in Covalent, and in each process that uses it."""
    file = fs.File()
    there = pickle.loads(pickle.dumps(file)).filepath
    file.touch()

    assert file.is_temp_file
    assert Path(file.filepath).read_text() == ""
    assert file.filepath == there == pickle.loads(pickle.dumps(file)).filepath != fs.File().filepath
    Path(file.filepath).unlink()


def test_a_second_call_gets_other_temporary_files(live: Client, tmp_path: Path) -> None:
    """In one graph or in the next dispatch; the first has those whose paths the transfer names, before and after."""
    (tmp_path / "source").write_text("x")
    middle = fs.File()
    there, onward = fs.FileTransfer(str(tmp_path / "source"), middle), fs.FileTransfer(middle, str(tmp_path / "end"))

    @ct.electron(files=[there, onward])
    def paths(files: Any = ()) -> Any:
        return [files[0][1], files[1][0], Path(files[1][1]).read_text()]

    @ct.electron(files=[there])
    def other(files: Any = ()) -> Any:
        return files[0][1]

    @ct.electron
    @ct.lattice
    def below() -> Any:
        return other()

    @ct.lattice
    def workflow() -> Any:
        first: Any = paths()
        return first, ct.wait(paths(), first), other(), below(), below()

    named = middle.filepath
    workflow.build_graph()  # looking at a graph uses nothing up
    first, second, *more = ct.get_result(ct.dispatch(workflow)(), wait=True).result
    again = ct.get_result(ct.dispatch(workflow)(), wait=True).result

    assert middle.filepath == named
    assert first == [named, named, "x"]
    # One file that two transfers share is one file in every call.
    assert [len(set(call[:2])) for call in (second, *again[:2])] == [1, 1, 1]
    assert len({first[0], second[0], *more, again[0][0], again[1][0], *again[2:]}) == 10


def test_a_transfer_copies_between_two_paths(tmp_path: Path) -> None:
    """In this process, making folders on the way; a temporary target is made."""
    (tmp_path / "a").write_text("text")
    assert run(fs.FileTransfer(f"{tmp_path}/a", f"{tmp_path}/new/b")) == (f"{tmp_path}/a", f"{tmp_path}/new/b")
    assert (tmp_path / "new" / "b").read_text() == "text"

    _, target = run(fs.FileTransfer(fs.File(f"file://{tmp_path}/a")))
    assert Path(target).read_text() == "text"
    Path(target).unlink()


def test_folders_are_copied_whole(tmp_path: Path) -> None:
    """What is in it, or with `include_folder` the folder itself; never into a file."""
    inner = tmp_path / "from" / "inner"
    inner.mkdir(parents=True)
    (inner / "x").write_text("x")
    run(fs.FileTransfer(fs.Folder(f"{tmp_path}/from"), f"{tmp_path}/to/"))
    run(fs.FileTransfer(fs.Folder(f"{tmp_path}/from", include_folder=True), f"{tmp_path}/to/"))
    _, temporary = run(fs.FileTransfer(f"{tmp_path}/from/"))

    assert (tmp_path / "to" / "inner" / "x").read_text() == "x"
    assert (tmp_path / "to" / "from" / "inner" / "x").read_text() == "x"
    assert (Path(temporary) / "inner" / "x").read_text() == "x"
    shutil.rmtree(temporary)
    with pytest.raises(ValueError, match="a folder to a file"):
        fs.FileTransfer(f"{tmp_path}/from/", f"{tmp_path}/file")


def test_transfers_have_an_order() -> None:
    """Before by default, after for uploads, and what is asked for (Covalent ignores it there)."""
    assert [*fs.Order] == ["before", "after"]
    assert fs.FileTransfer("/a", "/b").order == fs.Order.BEFORE
    assert fs.TransferFromRemote("/a").order == "before"
    assert fs.TransferToRemote("/a").order == "after"
    assert fs.TransferFromRemote("/a", order=fs.Order.AFTER).order == "after"
    assert fs.TransferToRemote("/a", order="before").order == "before"
    with pytest.raises(ValueError, match="sometime"):
        fs.FileTransfer("/a", "/b", order="sometime")


def test_the_remote_side_is_marked() -> None:
    """`TransferFromRemote` and `TransferToRemote` mark one side; two remote sides are refused."""
    assert fs.TransferFromRemote("/a").from_file.is_remote
    assert fs.TransferToRemote("/a").to_file.is_remote
    with pytest.raises(ValueError, match="from one remote place to another"):
        fs.FileTransfer("s3://bucket/a", "http://host/b")
    with pytest.raises(AttributeError, match="named by text"):
        fs.FileTransfer(1, "/b")  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="pass a strategy"):
        fs.TransferFromRemote("globus://place/x")


def test_a_scheme_has_its_usual_strategy() -> None:
    """By scheme; a strategy that is given goes before it."""
    assert isinstance(fs.FileTransfer("/a", "/b").strategy, ways.Shutil)
    assert isinstance(fs.TransferFromRemote("https://host/a").strategy, ways.HTTP)
    assert isinstance(fs.TransferToRemote("s3://bucket/a").strategy, ways.S3)
    assert isinstance(fs.TransferFromRemote("ftp://host/a").strategy, ways.FTP)
    mine = ways.Rsync()
    assert fs.TransferFromRemote("/a", strategy=mine).strategy is mine


def test_schemes_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """`register_downloader` and `register_uploader`, for a strategy of one's own."""

    class Mine(strategies.Shutil):
        """Copies like a plain copy."""

    for known in ("_downloaders", "_uploaders"):
        monkeypatch.setattr(transfer, known, dict(getattr(transfer, known)))
    transfer.register_downloader("mine", Mine)
    transfer.register_uploader("mine", Mine)
    try:
        assert isinstance(fs.TransferFromRemote("mine://host/a").strategy, Mine)
        assert isinstance(fs.TransferToRemote("mine://host/a").strategy, Mine)
    finally:
        SCHEMES.remove("mine")


@pytest.mark.parametrize(
    ("strategy", "package", "extra"), [("S3", "s3fs", "s3"), ("GCloud", "gcsfs", "gcs"), ("Blob", "adlfs", "azure")]
)
def test_a_missing_package_is_named(strategy: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it, when the strategy is made."""
    find_spec = strategies.importlib.util.find_spec  # type: ignore[attr-defined]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(ImportError, match=rf"{package}.*covalab\[{extra}\]"):
        getattr(ways, strategy)()


def test_cloud_addresses_become_bucket_and_key() -> None:
    """As fsspec wants them; Azure's host is the account."""
    assert strategies.S3().path(fs.File("s3://bucket/a/b")) == "bucket/a/b"
    blob = strategies.Blob.__new__(strategies.Blob)
    assert blob.path(fs.File("https://account.blob.core.windows.net/box/a/b")) == "box/a/b"


class _Server(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        data = self.files.get(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")

    def do_PUT(self) -> None:
        self.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    """Return the address of a web server that keeps what is put there."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_http_fetches_and_brings(web: str, tmp_path: Path) -> None:
    """GET and PUT; what is not there is an error."""
    (tmp_path / "a").write_text("over the web")
    run(fs.TransferToRemote(f"{web}/up/a", f"{tmp_path}/a"))
    _, target = run(fs.TransferFromRemote(f"{web}/up/a"))

    assert Path(target).read_text() == "over the web"
    Path(target).unlink()
    with pytest.raises(OSError, match="404"):
        run(fs.TransferFromRemote(f"{web}/nothing", f"{tmp_path}/b"))


def test_http_is_no_copy_on_one_machine() -> None:
    """`cp` of a strategy for elsewhere is refused."""
    with pytest.raises(NotImplementedError, match="HTTP copies from or to another place"):
        fs.FileTransfer("/a", "/b", strategy=ways.HTTP()).cp()


S3_PROGRAM = """
import sys
import covalab as ct
import s3fs
folder = sys.argv[1]
s3fs.S3FileSystem().mkdir("bucket")
def run(it):
    prepare, copy = it.cp()
    paths = prepare()
    copy()
    return paths
s3 = ct.fs_strategies.S3(region_name="us-east-1")
run(ct.fs.TransferToRemote("s3://bucket/deep/a.txt", f"{folder}/a.txt"))
run(ct.fs.TransferToRemote("s3://bucket/all/", f"{folder}/tree/", strategy=s3))
run(ct.fs.TransferFromRemote("s3://bucket/deep/a.txt", f"{folder}/back/a.txt", strategy=s3))
run(ct.fs.TransferFromRemote("s3://bucket/all/", f"{folder}/back/tree/"))
"""


def test_s3_fetches_and_brings_files_and_folders(tmp_path: Path) -> None:
    """Against an S3 server on this machine, found through AWS's own environment variables."""
    (tmp_path / "a.txt").write_text("in a bucket")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "x").write_text("x")
    (tmp_path / "tree" / "y").write_text("y")
    server = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print("PORT", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = next(line for line in process.stdout if line.startswith("PORT")).split()[1]
        address = f"http://127.0.0.1:{port}"
        login = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": address}
        environment = {**os.environ, **login}
        subprocess.run([sys.executable, "-c", S3_PROGRAM, str(tmp_path)], env=environment, check=True, timeout=240)
    finally:
        process.kill()
        process.communicate()

    assert (tmp_path / "back" / "a.txt").read_text() == "in a bucket"
    assert (tmp_path / "back" / "tree" / "inner" / "x").read_text() == "x"
    assert (tmp_path / "back" / "tree" / "y").read_text() == "y"


def test_rsync_copies_or_says_what_is_missing(tmp_path: Path) -> None:
    """With the program between two paths; without it, an error that says how to get it."""
    (tmp_path / "a").write_text("text")
    it = fs.FileTransfer(f"{tmp_path}/a", f"{tmp_path}/deep/b", strategy=ways.Rsync())
    if shutil.which("rsync"):
        run(it)
        assert (tmp_path / "deep" / "b").read_text() == "text"
        with pytest.raises(OSError, match=r"rsync .*nothing.* ended with exit code"):
            run(fs.FileTransfer(f"{tmp_path}/nothing", f"{tmp_path}/c", strategy=ways.Rsync()))
    else:
        with pytest.raises(FileNotFoundError, match="apt-get install rsync"):
            run(it)


def test_rsync_goes_through_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, host and key are in the command, the remote side is the right one; a missing key is an error at once."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "rsync"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {told}\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    key = tmp_path / "key"
    key.touch()
    way = ways.Rsync(user="me", host="there", private_key_path=str(key))
    run(fs.TransferFromRemote("/remote/a", f"{tmp_path}/a", strategy=way))
    run(fs.TransferToRemote("/remote/b", f"{tmp_path}/a", strategy=ways.Rsync(host="there")))
    lines = told.read_text().splitlines()

    assert lines[:2] == lines[5:7] == ["-a", "-e"]
    assert f"-i {key}" in lines[2]
    assert lines[3:5] == ["me@there:/remote/a", f"{tmp_path}/a"]
    assert lines[8:] == [f"{tmp_path}/a", "there:/remote/b"]
    with pytest.raises(FileNotFoundError, match="private key"):
        ways.Rsync(private_key_path=f"{tmp_path}/no key")


def test_an_electron_with_files_takes_them_by_name() -> None:
    """Its function has a parameter `files`; otherwise that is said when the graph is built."""

    def task() -> None:
        """Take nothing."""

    with pytest.raises(GraphError, match="no parameter 'files'"):
        ct.lattice(ct.electron(task, files=[fs.FileTransfer("/a", "/b")])).build_graph()


CONSTRUCTORS: dict[Any, list[str]] = {
    ct.fs.File: ["filepath", "is_remote", "is_dir", "include_folder"],
    ct.fs.FileTransfer: ["from_file", "to_file", "order", "strategy"],
    ct.fs.TransferFromRemote: ["from_filepath", "to_filepath", "strategy", "order"],
    ct.fs.TransferToRemote: ["to_filepath", "from_filepath", "strategy", "order"],
    ct.fs_strategies.Rsync: ["user", "host", "private_key_path"],
    ct.fs_strategies.HTTP: [],
    ct.fs_strategies.S3: ["credentials", "profile", "region_name"],
    ct.fs_strategies.Blob: ["client_id", "client_secret", "tenant_id"],
    ct.fs_strategies.GCloud: ["credentials", "project_id"],
}


@pytest.mark.parametrize("kind", CONSTRUCTORS, ids=lambda kind: kind.__name__)
def test_constructors_of_files_are_covalents(kind: Any) -> None:
    """The same parameters in the same order as Covalent's; orders are texts."""
    assert list(inspect.signature(kind).parameters) == CONSTRUCTORS[kind]
    assert (ct.fs.Order.BEFORE.value, ct.fs.Order.AFTER.value) == ("before", "after")
