"""Proxy between a client and a dispatcher, that cuts connections, delays answers and lets connections die silently."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from covalab.client import paths
from covalab.client.launcher import find

Direction = Literal["request", "answer"]


class Proxy:
    """Proxy of connections.

    Parameters
    ----------
    listener
        The socket at which clients arrive.
    connect
        Connects to where they want to.
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener = listener
        self._connect = connect
        self._lock = threading.Lock()
        self._cuts: list[tuple[Direction, int]] = []
        self._open: set[socket.socket] = set()
        self._dead: set[socket.socket] = set()
        self.delay = 0.0
        """Seconds that each piece of an answer takes longer."""
        self.n_cut = 0
        self.n_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, what: Direction, n_bytes: int) -> None:
        """Cut the connection of the next request or answer, of which so many bytes come through."""
        self._cuts.append((what, n_bytes))

    def sever(self) -> None:
        """Cut all connections now."""
        with self._lock:
            self.n_cut += len(self._open) // 2
            for one in self._open:
                _shut(one)

    def let_die(self) -> None:
        """Let nothing pass any more on the connections that there are, which stay open; new ones are served."""
        with self._lock:
            self._dead |= self._open

    def close(self) -> None:
        """End."""
        _shut(self._listener)
        self._listener.close()
        self.sever()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.n_connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client):
            try:
                server = self._connect()
            except OSError:
                return
            with closing(server):
                pair = {client, server}
                with self._lock:
                    self._open |= pair
                back = threading.Thread(target=self._pass, args=(server, client, "answer"), daemon=True)
                back.start()
                self._pass(client, server, "request")
                back.join()
                with self._lock:
                    self._open -= pair
                    self._dead -= pair

    def _pass(self, source: socket.socket, sink: socket.socket, what: Direction) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if what == "answer" and self.delay:
                    time.sleep(self.delay)
                if source in self._dead:
                    continue
                if self._cuts and self._cuts[0][0] == what:
                    sink.sendall(data[: self._cuts.pop(0)[1]])
                    self.n_cut += 1
                    break
                sink.sendall(data)
            if source in self._dead:
                return
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def before_the_dispatcher(folder: Path) -> Iterator[Proxy]:
    """Send the clients of a data folder that connect from now on to a proxy; a dispatcher that starts undoes it."""
    address = find(folder)
    assert address is not None

    def connect() -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.connect(address.socket)
        return server

    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:  # sun_path is short
        listener.bind(f"{short}/proxy.sock")
        listener.listen(64)
        proxy = Proxy(listener, connect)
        file = paths.address_file(folder)
        _replace(file, msgspec.json.encode(msgspec.structs.replace(address, socket=f"{short}/proxy.sock")))
        try:
            yield proxy
        finally:
            proxy.close()
            now = find(folder)
            if now is not None and now.epoch == address.epoch:
                _replace(file, msgspec.json.encode(address))


def _replace(file: Path, content: bytes) -> None:
    temporary = file.with_suffix(".proxy")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.replace(file)
