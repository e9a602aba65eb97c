"""Random numbers: a node that sets no seed draws numbers that are independent of all other nodes and processes.

Task processes are forked from one process, so generators that were there before are equal in all of them; and a seed
that a node sets would hold for the nodes after it. So every global generator is seeded from the operating system at
the start, and after each node that used it. Whether a node did is read off the generator's memory: asking for its
state, or seeding it each time, would cost more than all the rest that is put back.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

_WORDS: Final = 624
_STATE_BYTES: Final = 4 * _WORDS
_SEED_BYTES: Final = 16


class RandomState:
    """The global generators of this process."""

    def __init__(self) -> None:
        self._generators: dict[str, _Generator] = {"random": _PythonGenerator()}
        self._new = dict(_KINDS)
        self.put_back(is_start=True)

    def put_back(self, *, is_start: bool = False) -> None:
        """Seed the generators that were used."""
        for name in self._new:
            if name in sys.modules:
                with suppress(Exception):  # half imported, or of another version than is known here
                    self._generators[name] = self._new[name]()
                    del self._new[name]
                    break  # the dictionary has changed; the others, if any, come with the next node
        for generator in self._generators.values():
            if is_start or generator.is_used():
                generator.seed()


class _Generator:
    """A global generator of numbers."""

    def is_used(self) -> bool:
        """Whether it gave numbers, or was seeded, since this was last seeded."""
        raise NotImplementedError

    def seed(self) -> None:
        """Seed it from the operating system."""
        raise NotImplementedError


class _PythonGenerator(_Generator):
    """The generator of `random`."""

    def __init__(self) -> None:
        self._generator: random.Random = random.random.__self__  # type: ignore[attr-defined]
        # Behind the object's head: the position in the list of 624 words, and the list.
        address = id(self._generator) + object.__basicsize__ + 4
        self._memory = (ctypes.c_char * _STATE_BYTES).from_address(address)
        self._position = ctypes.c_int.from_address(address - 4)
        self._is_readable = _is_behind_head(self._generator) and self._is_as_expected()
        self._before = (b"", 0)

    def _is_as_expected(self) -> bool:
        *words, position = self._generator.getstate()[1]
        expected = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
        return (self._memory.raw, self._position.value) == (expected, position)

    def is_used(self) -> bool:
        return not self._is_readable or (self._memory.raw, self._position.value) != self._before

    def seed(self) -> None:
        self._generator.seed(int.from_bytes(os.urandom(_SEED_BYTES), "little"))
        if self._is_readable:
            self._before = (self._memory.raw, self._position.value)


def _is_behind_head(generator: random.Random) -> bool:
    """Return whether the object is as large as it must be for its memory to be where it is looked for."""
    native = random.Random.__mro__[1]
    size = object.__basicsize__ + 4 + _STATE_BYTES
    return type(generator) is random.Random and size <= native.__basicsize__ < size + 8


class _NumpyGenerator(_Generator):
    """The legacy generator of `numpy.random`."""

    def __init__(self) -> None:
        import numpy as np  # noqa: PLC0415 - loaded already, by a task or before

        self._np = np
        self._owner: Any = np.random.mtrand._rand  # noqa: SLF001
        self._bits = self._owner._bit_generator  # noqa: SLF001 - `get_bit_generator` exists since 1.24 only
        address: int = self._bits.ctypes.state_address
        self._memory = (ctypes.c_char * (_STATE_BYTES + 4)).from_address(address)
        self._before = b""

    def is_used(self) -> bool:
        return self._memory.raw != self._before or self._owner._bit_generator is not self._bits  # noqa: SLF001

    def seed(self) -> None:
        if self._owner._bit_generator is not self._bits:  # noqa: SLF001
            self._np.random.set_bit_generator(self._bits)  # type: ignore[attr-defined,unused-ignore]
        # Several words: of 32 bits alone, two among some ten thousand nodes would likely be the same.
        self._np.random.seed([*memoryview(os.urandom(_SEED_BYTES)).cast("I")])
        self._before = self._memory.raw


class _TorchGenerator(_Generator):
    """The generators of torch, of its devices too."""

    def __init__(self) -> None:
        self._torch = sys.modules["torch"]
        self._before: Any = None

    def is_used(self) -> bool:
        # A node that only draws leaves the seed, and goes on in a sequence that no other process has.
        return bool(self._torch.initial_seed() != self._before)

    def seed(self) -> None:
        self._before = self._torch.seed()


class _TensorflowGenerator(_Generator):
    """The global seed of TensorFlow: without one, each operation takes its own from the operating system."""

    def __init__(self) -> None:
        self._tensorflow = sys.modules["tensorflow"]

    def is_used(self) -> bool:
        return True  # it has no public way to ask

    def seed(self) -> None:
        self._tensorflow.random.set_seed(None)


_KINDS: Final[dict[str, Callable[[], _Generator]]] = {
    "numpy.random": _NumpyGenerator,
    "torch": _TorchGenerator,
    "tensorflow": _TensorflowGenerator,
}
