"""Enumerations of a notebook in another process: members have their attributes, and none of their code runs again."""

from __future__ import annotations

from tests.namespace.peer import Peer

_CELL = """
from enum import *
ran = []
class Planet(Enum):
    EARTH = (5.9, 6.3)
    MARS = (6.4, 3.3)
    def __init__(self, mass, radius):
        ran.append(mass)
        self.mass, self.seen = mass, []
class Coordinate(bytes, Enum):
    X = (0, 'first')
    Y = (1, 'second')
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label
        return made
class Named(Enum):
    @staticmethod
    def _generate_next_value_(name, start, count, last):
        return name.lower()
class Kind(Named):
    A = auto()
    ALSO_A = A
class Access(Flag):
    R, W, RW = 4, 2, 6
class Open(IntFlag, boundary=KEEP):
    A = 1
favourite, others, kept = Planet.MARS, ~Access.R, Open(8)
favourite.seen.append(1)
favourite.nick = 'red'
"""
_NAMES = ["ran", "Planet", "Coordinate", "Named", "Kind", "Access", "Open", "favourite", "others", "kept"]
_VALUES = (
    "Planet.EARTH.mass, Planet.MARS.seen, favourite.nick, favourite is Planet.MARS, list(Planet), ran",
    "bytes(Coordinate.Y), Coordinate.Y.label, Coordinate(0).label, [one.value for one in Coordinate]",
    "Kind.A, Kind['ALSO_A'] is Kind.A is Kind('a'), [*Kind.__members__]",
    "list(Access), others, Access.RW is Access.R | Access.W, Access['RW'], kept, Open(9)",
    "[*map(sorted, map(vars, (Planet, Coordinate, Kind, Access)))]",
    "Named('Later', ['C', 'D']).C.value",
)


def test_an_enumeration_comes_as_it_is(kernel: Peer, task: Peer) -> None:
    """What `__init__` and `__new__` made of its members, further names of one, how it counts."""
    kernel.run(_CELL)
    task("load", kernel("dump", _NAMES))

    assert task.values(*_VALUES) == kernel.values(*_VALUES)
    assert "5.9, [1], 'red', True" in task.value(_VALUES[0])


def test_a_member_that_a_cell_changes_is_changed_in_the_notebook(kernel: Peer, task: Peer) -> None:
    """Where it is named by its class, and by a name of its own."""
    kernel.run(_CELL)
    task("receive", kernel("send", ["Planet", "favourite"]))
    task.run("Planet.EARTH.visits = 3; favourite.seen.append(2); favourite.nick = 'rusty'; Planet.EARTH.mass += 1")
    kernel("deliver", task("reply", None))

    assert kernel.values("Planet.EARTH.visits, Planet.EARTH.mass", "Planet.MARS.seen, favourite.nick, ran") == [
        "(3, 6.9)",
        "([1, 2], 'rusty', [5.9, 6.4])",
    ]
