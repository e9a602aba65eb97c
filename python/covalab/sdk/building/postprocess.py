"""Post-processing as in Covalent: runs a workflow function once more, with the values of its electrons.

Inside a replay an electron that is called runs nothing: it returns the next recorded value. Everything else of the
function runs as it stands, on real values. Nothing here fetches a value.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from covalab.core.errors import GraphError
from covalab.core.model import Graph, NodeKind
from covalab.sdk.values import UserFunction, UserValue

_CALLED: Final = (NodeKind.ELECTRON, NodeKind.SUBLATTICE, NodeKind.PAUSE, NodeKind.POINT)


class Replay:
    """Values of a workflow's electrons, in the order in which they were called."""

    def __init__(self, name: str, outputs: Iterable[UserValue]) -> None:
        self._name = name
        self._outputs = iter(outputs)

    def next_output(self, electron: str) -> UserValue:
        """Return the value of the electron that is called now.

        Raises
        ------
        GraphError
            If more electrons are called than the graph had.
        """
        try:
            return next(self._outputs)
        except StopIteration:
            message = (
                f"lattice {self._name!r} calls electron {electron!r}, which its graph does not have: it does not do "
                "the same every time; decide what depends on values inside an electron or a sublattice"
            )
            raise GraphError(message) from None


class _Active(threading.local):
    replay: Replay | None = None


_active: Final = _Active()


def replaying() -> Replay | None:
    """Return the replay that this thread is in, if it is in one."""
    return _active.replay


@contextmanager
def _claim(replay: Replay) -> Iterator[None]:
    before, _active.replay = _active.replay, replay
    try:
        yield
    finally:
        _active.replay = before


class Rerun:
    """Calls a workflow function with its arguments and the values of its electrons; travels to a worker.

    Examples
    --------
    >>> from covalab.sdk.building.electron import electron
    >>> double = electron(lambda x: 2 * x)
    >>> Rerun(lambda x: (double(x), x), (1,), {})(20)
    (20, 1)
    """

    __name__ = "postprocess"

    def __init__(self, function: UserFunction, args: Sequence[UserValue], kwargs: Mapping[str, UserValue]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    def __call__(self, *outputs: UserValue) -> UserValue:
        """Run it and return what it returns."""
        return rerun(self.function, self.args, self.kwargs, outputs)


def rerun(
    function: UserFunction, args: Sequence[UserValue], kwargs: Mapping[str, UserValue], outputs: Iterable[UserValue]
) -> UserValue:
    """Run a workflow function in which every electron returns the next of `outputs`."""
    with _claim(Replay(getattr(function, "__name__", "lattice"), outputs)):
        return function(*args, **kwargs)


def called_nodes(graph: Graph) -> list[int]:
    """Return the nodes whose values a replay needs: electrons and sublattices, in the order of their calls."""
    return [number for number, node in enumerate(graph.nodes) if node.kind in _CALLED]
