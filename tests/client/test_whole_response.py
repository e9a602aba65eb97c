"""Answers of which the connection ends in the middle: at whichever byte, it is an error, and no answer."""

from __future__ import annotations

import http.client
import socket

import pytest

from covalab.client.connection import UnixConnection
from covalab.client.far_connection import FarConnection, server_of

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: TornadoServer/6\r\nX-Covalab-Version: 0.1.0 protocol 9\r\n"
    b"Content-Type: application/msgpack\r\nContent-Length: 4\r\n\r\nbody"
)


def received(connection: http.client.HTTPConnection, answer: bytes) -> bytes:
    """Let a connection receive an answer, of which the end is the end of the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        connection.sock = ours
        connection.request("GET", "/")
        response = connection.getresponse()
        try:
            return response.read()
        finally:
            connection.close()


@pytest.mark.parametrize("kind", ["unix", "far"])
def test_an_answer_that_is_cut_is_none(kind: str) -> None:
    """Python's library takes the end of a connection within the headers for the end of the headers."""
    connections = {
        "unix": UnixConnection("/nowhere", 0),
        "far": FarConnection(server_of("http://127.0.0.1:9/", "token"))._http,
    }
    connection = connections[kind]
    assert received(connection, ANSWER) == b"body"
    assert received(connection, b"HTTP/1.0 200 OK\r\n\r\nto the end") == b"to the end"
    assert received(connection, b"HTTP/1.1 204 No Content\r\n\r\n") == b""
    for n in range(len(ANSWER)):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            received(connection, ANSWER[:n])
        connection.close()
