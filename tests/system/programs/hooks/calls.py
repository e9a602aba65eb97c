"""Call functions before and after an electron, as the how-to "add callable dependencies to an electron" does."""

from __future__ import annotations

import os

import covalab as ct


def connect(host: str, port: int = 1) -> str:
    """Return a connection for the electron."""
    print("connecting")
    os.environ["DEPS_CALL_STATE"] = "set up"
    return f"{host}:{port}"


def close(*what: str) -> str:
    """Print the closed name; the return value is dropped."""
    print("closing", *what, os.environ.pop("DEPS_CALL_STATE"))
    return "dropped"


def broken() -> None:
    """Fail."""
    message = "no such host"
    raise ConnectionError(message)


BEFORE = ct.DepsCall(connect, args=["db"], kwargs={"port": 5}, retval_keyword="connection")


@ct.electron(call_before=BEFORE, call_after=[ct.DepsCall(close, ["db"])])
def query(x: int, connection: str | None = None) -> tuple[int, str | None]:
    """Return the connection that a hook made."""
    print("querying", os.environ["DEPS_CALL_STATE"])
    return x, connection


@ct.electron(call_before=[BEFORE, ct.DepsCall(connect, ["other"], retval_keyword="connection")])
def several(connection: list[str] | None = None) -> list[str] | None:
    """Return the list that several hooks with one keyword make, in their order."""
    return connection


@ct.electron(call_before=ct.DepsCall(broken))
def never() -> None:
    """Never run."""


@ct.electron(call_after=ct.DepsCall(broken))
def too_late() -> str:
    """Run, then fail because of the hook after."""
    print("ran")
    return "lost"


@ct.lattice
def workflow() -> object:
    """Pass a connection, which the hook's value replaces."""
    number, connection = query(1, connection="by hand")
    return [number, connection, several()]


@ct.lattice
def failing() -> object:
    """Run one task whose hook before fails, and one whose hook after fails."""
    return [never(), too_late()]


def main() -> None:
    """Check values, order of the output and node numbers: a filled keyword makes no node, items run no hooks."""
    result = ct.dispatch_sync(workflow)()
    assert result.status == ct.status.COMPLETED
    assert result.result == [1, "db:5", ["db:5", "other:1"]]
    names = [node["node_name"] for node in result.get_all_node_results()]
    assert names[:6] == ["query", ":parameter:1", ":query()[0]", ":parameter:0", ":query()[1]", ":parameter:1"]
    assert result.get_node_result(0)["stdout"] == "connecting\nquerying set up\nclosing db set up\n"
    assert not result.get_node_result(2)["stdout"]

    result = ct.dispatch_sync(failing)()
    assert result.status == ct.status.FAILED
    for node in (0, 1):
        error = result.get_node_result(node)["error"]
        assert "'broken' failed: ConnectionError: no such host" in error
        assert "raise ConnectionError(message)" in error
    assert "call_before" in result.get_node_result(0)["error"]
    assert "call_after" in result.get_node_result(1)["error"]
    assert result.get_node_result(1)["stdout"] == "ran\n"
