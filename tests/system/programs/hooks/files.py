"""Copy files before and after electrons, as the how-tos "transfer files" do: one machine, and a web server on it."""

from __future__ import annotations

import functools
import http.server
import tempfile
import threading
from pathlib import Path

import covalab as ct

FOLDER = Path(tempfile.mkdtemp())


@ct.electron(
    files=[
        ct.fs.FileTransfer(f"{FOLDER}/in.txt", f"{FOLDER}/copied.txt"),
        ct.fs.TransferToRemote(f"{FOLDER}/out/result.txt"),
    ]
)
def shout(mark: str, files: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
    """Read the first file, write the second."""
    assert files is not None
    Path(files[1][0]).write_text(Path(files[0][1]).read_text().upper() + mark)
    return files


@ct.electron
def length(pairs: list[tuple[str, str]]) -> int:
    """Return the number of pairs."""
    return len(pairs)


@ct.lattice
def workflow() -> object:
    """Use items of the first electron, which copy nothing again."""
    first, second = shout("!")
    return [first, second, length([first, second])]


def fetching(address: str) -> object:
    """Return a lattice that reads a file of a web server."""

    @ct.electron(files=[ct.fs.TransferFromRemote(f"{address}/in.txt", strategy=ct.fs_strategies.HTTP())])
    def read(files: list[tuple[str, str]] | None = None) -> str:
        assert files is not None
        return Path(files[0][1]).read_text()

    @ct.electron(files=[ct.fs.TransferFromRemote(f"{address}/nothing.txt")])
    def never(files: list[tuple[str, str]] | None = None) -> None:
        """Never run."""

    return ct.lattice(lambda: [read(), never()])


def main() -> None:
    """Check pairs of paths, copies before and after, and the error that names the missing file."""
    (FOLDER / "in.txt").write_text("hello")
    result = ct.dispatch_sync(workflow)()
    assert result.status == ct.status.COMPLETED, result.error
    first, second, n_pairs = result.result
    assert first == (f"{FOLDER}/in.txt", f"{FOLDER}/copied.txt")
    assert second[1] == f"{FOLDER}/out/result.txt"
    assert n_pairs == 2
    assert (FOLDER / "out" / "result.txt").read_text() == "HELLO!"

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        result = ct.dispatch_sync(fetching(f"http://127.0.0.1:{server.server_address[1]}"))()  # type: ignore[arg-type]
        server.shutdown()
        thread.join()
    assert result.get_node_result(0)["output"].get_deserialized() == "hello"
    error = result.get_node_result(1)["error"]
    assert "nothing.txt" in error
    assert "404" in error
