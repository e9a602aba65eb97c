"""Process with a namespace of its own: runs cells in `__main__`, and moves names to another one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class PeerError(Exception):
    """An operation failed in the other process."""


class Peer:
    """The other process, as this one sees it."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "from tests.namespace.peer import serve; serve(globals())"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """Do something there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pickle.dump((operation, arguments), self.process.stdin)
        self.process.stdin.flush()
        is_good, answer = pickle.load(self.process.stdout)
        if not is_good:
            raise PeerError(answer)
        return answer

    def run(self, *cells: str) -> None:
        """Run cells."""
        for cell in cells:
            self("run", textwrap.dedent(cell))

    def value(self, expression: str) -> str:
        """Return the `repr` of an expression."""
        return str(self("value", expression))

    def values(self, *expressions: str) -> list[str]:
        """Return the `repr` of expressions."""
        return [self.value(expression) for expression in expressions]

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(10)
        self.process.stdout.close()  # type: ignore[union-attr]


class Operations:
    """Operations in the other process."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.own = {*namespace}
        self.tracker: Any = None
        self.sent: Any = None
        self.received: Any = None

    def reset(self) -> None:
        """Forget all names."""
        for name in [name for name in self.namespace if name not in self.own]:
            del self.namespace[name]
        self.namespace["__name__"] = "__main__"
        self.tracker = self.sent = self.received = None

    def run(self, cell: str) -> None:
        """Run a cell."""
        exec(compile(cell, "<cell>", "exec"), self.namespace)

    def value(self, expression: str) -> str:
        """Return the `repr` of an expression."""
        return repr(eval(expression, self.namespace))

    def run_lines(self, lines: list[str]) -> None:
        """Run statements; one that fails is left out."""
        from tests.namespace.graphs import run

        run(lines, self.namespace)

    def form(self) -> str:
        """Return the graph of the objects as a text."""
        from tests.namespace.graphs import form_of

        return repr(form_of(self.namespace))

    def store(self, folder: Path, touched: set[str] | None) -> Any:
        """Store what changed."""
        from covalab.blobs import BlobStore
        from covalab.namespace.covariables import Tracker

        if self.tracker is None:
            self.tracker = Tracker(self.namespace)
        return self.tracker.store(BlobStore(folder), touched)

    def restore(self, snapshot: Any, folder: Path, names: set[str] | None = None) -> Any:
        """Load what was stored."""
        from covalab.blobs import BlobStore
        from covalab.namespace.covariables import restore

        return restore(snapshot, BlobStore(folder), self.namespace, names)

    def dump(self, names: list[str]) -> bytes:
        """Pickle names."""
        from covalab.namespace.pickling import dumps

        return dumps({name: self.namespace[name] for name in names}, self.namespace).join()

    def load(self, data: bytes) -> None:
        """Load pickled names."""
        from covalab.namespace.pickling import loads

        self.namespace.update(loads(data, self.namespace))

    def send(self, names: list[str]) -> bytes:
        """Send names, and keep what they refer to."""
        from covalab.namespace.exchange import send

        self.sent = send(names, self.namespace)
        return bytes(self.sent.data)

    def unsendable(self) -> dict[str, str]:
        """Return what could not be sent."""
        return dict(self.sent.unsendable)

    def receive(self, data: bytes) -> None:
        """Receive names."""
        from covalab.namespace.exchange import receive

        self.received = receive(data, self.namespace)

    def reply(self, names: list[str] | None) -> bytes:
        """Reply with what changed."""
        return bytes(self.received.reply(names))

    def deliver(self, data: bytes) -> Any:
        """Take a reply over."""
        from covalab.namespace.exchange import deliver

        delivered = deliver(self.sent, data, self.namespace)
        self.sent = None
        return delivered

    def capture(self, base: Any) -> Any:
        """Capture the hidden state."""
        from covalab.namespace.hidden_state import capture

        return capture(base)

    def apply(self, state: Any) -> Any:
        """Apply a hidden state."""
        from covalab.namespace.hidden_state import apply

        return apply(state)


def serve(namespace: dict[str, Any]) -> None:
    """Answer until the other process ends."""
    namespace.pop("serve", None)
    operations = Operations(namespace)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, getattr(operations, name)(*arguments)
        except BaseException:  # noqa: BLE001 - the other process raises it
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()
