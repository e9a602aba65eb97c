"""Atoms: types whose values hold no other value and cannot be changed. Pure.

One set for all who treat such values alike: the codec pickles them without cloudpickle, a trace encodes them once, a
worker hands them on without a copy. Two sets differ on purpose and say so where they are: parts of arguments leave out
`bytes`, which may be large (`core.argument_parts`); a fingerprint hashes texts by themselves and takes a few more types
by their `repr` (`sdk.dispatching.fingerprint`).
"""

from __future__ import annotations

from typing import Final

ATOMS: Final[frozenset[type]] = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Compared with `type(value)`, never `isinstance`: a subclass may hold anything."""
