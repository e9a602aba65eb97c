"""Preview process: opens stored values for a page, ``python -m covalab.worker.previews.host --blobs FOLDER``.

The dispatcher starts it under the interpreter of a dispatch, sends requests to its standard input, and kills it when
an answer takes too long. It keeps the value that it opened last, since pages turn pages.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Final

import msgspec

from covalab import open_files
from covalab.blobs import BlobStore
from covalab.core import protocol
from covalab.core.assemble import value_at
from covalab.core.codec import USERS_ERRORS, printable
from covalab.core.errors import CovalabError
from covalab.core.previews import Preview, PreviewRequest
from covalab.worker import environment
from covalab.worker.previews.describe import describe
from covalab.worker.process_tree import end_first
from covalab.worker.session.record import SESSION_KEY, VALUE_KEY, CellRecord

MEMORY_LIMIT: Final = 4 * 1024**3
"""The most bytes that a preview process may allocate."""

_LENGTH_BYTES: Final = 4


class Host:
    """Preview process of one environment."""

    def __init__(self) -> None:
        self._key = ""
        self._value: Any = None

    def answer(self, request: PreviewRequest) -> Preview:
        """Return the preview that is asked for; an error becomes its reason."""
        described = request.values.get(request.node)
        kind = described.type if described is not None else ""
        try:
            if request.key != self._key:
                self._key, self._value = "", None
                self._value = self._open(request)
                self._key = request.key
            return describe(self._value, request.query)
        except MemoryError:
            self._key, self._value = "", None
            return Preview(kind, why=f"opening it needs more than {MEMORY_LIMIT // 1024**3} GB of memory")
        except CovalabError as error:
            return Preview(kind, why=printable(str(error), 2_000))
        except USERS_ERRORS as error:
            return Preview(kind, why=f"{type(error).__name__}: {printable(str(error), 2_000)}")

    @staticmethod
    def _open(request: PreviewRequest) -> Any:
        environment.enter(request.batch, is_ours=True)
        blobs = BlobStore(request.batch.blobs)

        def open_value(node: int) -> Any:
            return blobs.deserialize(request.values[node])

        return _meant(value_at(request.node, request.nodes, request.into, open_value), blobs)


def _meant(value: Any, blobs: BlobStore) -> Any:
    """Return what a person wants to see of a value: of cells that share a session, the last value, or the names."""
    if isinstance(value, dict) and SESSION_KEY in value:
        value = value[VALUE_KEY] if VALUE_KEY in value else value[SESSION_KEY]
    return value.bind(blobs) if isinstance(value, CellRecord) else value


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    decoder = protocol.decoder(PreviewRequest)
    host = Host()
    while len(head := requests.read(_LENGTH_BYTES)) == _LENGTH_BYTES:  # frames as in `client.framing`
        answer = msgspec.json.encode(host.answer(decoder.decode(requests.read(int.from_bytes(head, "big")))))
        answers.write(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        answers.flush()


def main() -> None:
    """Run the process."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on every system

        # Of what is allocated, not of addresses: libraries reserve many times what they use.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    end_first()
    open_files.take_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a value prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - of the process, as long as it lives
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["MPLBACKEND"] = "agg"
    serve(requests, answers)


if __name__ == "__main__":
    main()
