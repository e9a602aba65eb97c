"""Routes for kernels on other hosts: who may use them, values in parts, and the environment of their tasks.

A real kernel on another host is in tests/system/test_far_kernel.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.jupyter.server.helpers import Send
from tests.jupyter.server.test_routes import KERNELS, VERBS

from covalab.blobs import BlobStore
from covalab.core import protocol
from covalab.core.codec import Encoded, digest_of
from covalab.core.far_kernels import StoredPart, TaskEnvironment
from covalab.core.model import Digest, Environment, Problem
from covalab.sdk.environment import environment

VERSION = {protocol.HEADER: protocol.version_header()}


@pytest.fixture
def kernel(jp_base_url: str) -> str:
    """Return the place of the routes."""
    return f"{jp_base_url}covalab/kernel"


@pytest.fixture
def headers(jp_auth_header: dict[str, str]) -> dict[str, str]:
    """Return the headers of a kernel with the token."""
    return {**jp_auth_header, **VERSION}


async def stored(send: Send, target: str, method: str, headers: dict[str, str], body: bytes = b"") -> StoredPart:
    """Send a part, or begin."""
    answer = await send(target, method, headers, body)
    assert answer.code == 200, answer.body
    return msgspec.msgpack.decode(answer.body, type=StoredPart)


async def test_without_the_token_nothing_is_read_written_or_named(send: Send, kernel: str, data_folder: Path) -> None:
    """Every verb is refused without it, with a wrong one, with a cookie alone; no answer has a path of the machine."""
    digest = BlobStore(data_folder / "blobs").put(Encoded([b"x" * 100_000], 100_000))
    for route in [*KERNELS, f"blobs/{digest}?offset=0&length=9"]:
        for verb in VERBS:
            for more in ({}, {"Authorization": "token wrong"}, {"Cookie": "username-localhost=ada; _xsrf=1"}):
                answer = await send(f"{kernel}/{route}", verb, {**VERSION, **more}, "")
                assert answer.code in (401, 403), (route, verb, answer.code)
                text = (answer.body or b"").decode()
                assert not [part for part in (str(data_folder), str(Path.home()), sys.prefix) if part in text]


async def test_a_kernel_of_another_version_is_refused(send: Send, kernel: str, headers: dict[str, str]) -> None:
    """The answer has both versions, and says what to do."""
    answer = await send(f"{kernel}/status", "GET", {**headers, protocol.HEADER: "0.0.1 protocol 1"})

    assert answer.code == 409
    problem = msgspec.json.decode(answer.body, type=Problem)
    assert problem.kind == "VersionMismatch"
    assert "0.0.1" in problem.message
    assert "same version on both sides" in problem.message


@pytest.mark.parametrize(
    "path",
    [
        "dispatches/..%2F..%2Fetc/record",
        "dispatches/a%20b/record",
        f"dispatches/{'a' * 65}",
        "dispatches/7/nodes/-1",
        "blobs/..%2F..%2Fcovalab.db?offset=0&length=9",
        f"blobs/{'A' * 64}?offset=0&length=9",
        f"blobs/{'a' * 64}?offset=-1&length=9",
        f"blobs/{'a' * 64}?length=9",
        "dispatches/7/record?wait=1&timeout=nan",
    ],
)
async def test_no_text_from_outside_names_a_file_or_a_path(
    send: Send, kernel: str, headers: dict[str, str], path: str
) -> None:
    """What is no id, digest or number is refused before anything is opened or relayed."""
    assert (await send(f"{kernel}/{path}", "GET", headers)).code == 400


async def test_a_value_arrives_in_parts_and_is_read_in_parts(
    send: Send, kernel: str, headers: dict[str, str], data_folder: Path
) -> None:
    """It has its name when it is whole; a part out of turn is not taken; what is there is not taken again."""
    data = os.urandom(300_000)
    digest = digest_of([data])
    target = f"{kernel}/blobs/{digest}?size={len(data)}"

    assert await stored(send, target, "POST", headers) == StoredPart(0, is_whole=False)
    assert await stored(send, f"{target}&offset=0", "PUT", headers, data[:100_000]) == StoredPart(
        100_000, is_whole=False
    )
    assert await stored(send, f"{target}&offset=0", "PUT", headers, data[:100_000]) == StoredPart(
        100_000, is_whole=False
    )
    assert await stored(send, f"{target}&offset=200000", "PUT", headers, data[200_000:]) == StoredPart(100_000, False)
    assert digest not in BlobStore(data_folder / "blobs")
    assert (await send(f"{kernel}/blobs/{digest}?offset=0&length=1", "GET", headers)).code == 404
    assert await stored(send, target, "POST", headers) == StoredPart(100_000, is_whole=False)  # after a cut
    assert await stored(send, f"{target}&offset=100000", "PUT", headers, data[100_000:]) == StoredPart(300_000, True)
    assert await stored(send, target, "POST", headers) == StoredPart(300_000, is_whole=True)

    assert bytes(BlobStore(data_folder / "blobs").read(digest)) == data
    files = [file for file in (data_folder / "blobs").rglob("*") if file.is_file()]
    assert [(file.name, file.stat().st_mode & 0o777) for file in files] == [(digest, 0o600)]
    answer = await send(f"{kernel}/blobs/{digest}?offset=250000&length=100000", "GET", headers)
    assert (answer.body, answer.headers["Covalab-Size"]) == (data[250_000:], "300000")


@pytest.mark.parametrize("size", [1, 65_537, 100_000])
async def test_a_value_that_was_changed_on_the_way_gets_no_name(
    send: Send, kernel: str, headers: dict[str, str], data_folder: Path, size: int
) -> None:
    """One bit is enough; the sender begins again, and nothing is left of the first attempt."""
    data = os.urandom(size)
    digest = digest_of([data])
    target = f"{kernel}/blobs/{digest}?size={size}&offset=0"
    changed = bytes([data[0] ^ 1]) + data[1:]

    assert await stored(send, target, "PUT", headers, changed) == StoredPart(0, is_whole=False)
    assert [file for file in (data_folder / "blobs").rglob("*") if file.is_file()] == []
    assert await stored(send, target, "PUT", headers, data) == StoredPart(size, is_whole=True)


async def test_a_value_above_the_limit_is_refused(
    send: Send, kernel: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any of it is sent."""
    monkeypatch.setenv("COVALAB_MAX_VALUE_BYTES", "1000")
    answer = await send(f"{kernel}/blobs/{Digest('a' * 64)}?size=1001", "POST", headers)

    assert answer.code == 400
    assert msgspec.json.decode(answer.body, type=Problem).kind == "ValueTooLarge"


async def test_the_environment_of_tasks(send: Send, kernel: str, headers: dict[str, str], tmp_path: Path) -> None:
    """That of the kernel if it is here, too; else one of this server with the same minor version; else none."""
    own = environment(str(tmp_path))
    elsewhere = "/on/another/host"

    async def answer_to(far: Environment) -> Any:
        answer = await send(f"{kernel}/environment", "POST", headers, msgspec.msgpack.encode(far))
        if answer.code == 200:
            return msgspec.msgpack.decode(answer.body, type=TaskEnvironment)
        return answer.code, msgspec.json.decode(answer.body, type=Problem)

    same = await answer_to(own)
    assert (same.environment, same.notice) == (own, "")

    other_folder = await answer_to(msgspec.structs.replace(own, cwd=elsewhere))
    assert other_folder.environment.prefix == sys.prefix
    assert Path(other_folder.environment.cwd).is_dir()
    assert f"{elsewhere} is not on that host" in other_folder.notice

    far = msgspec.structs.replace(own, python=f"{elsewhere}/bin/python", prefix=elsewhere, cwd=elsewhere)
    default = await answer_to(far)
    assert default.environment.prefix == sys.prefix
    assert Path(default.environment.cwd).is_dir()
    assert f"{elsewhere}, is not on that host" in default.notice

    # Same place, other content: an image of another version.
    changed = msgspec.structs.replace(own, versions={**own.versions, "cloudpickle": "0.1"})
    assert "is not on that host" in (await answer_to(changed)).notice

    code, problem = await answer_to(msgspec.structs.replace(far, versions={**own.versions, "python": "3.99.1"}))
    assert (code, problem.kind) == (409, "VersionMismatch")
    assert "Python 3.99.1" in problem.message
    assert "Python 3.99 there" in problem.message
