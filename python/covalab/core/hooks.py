"""What is done around the run of a task, as it travels: commands, packages, calls.

Pure. `worker.hook_runner` runs them. Function and arguments of a call are deserialized only there, in the task's own
process, so that hooks can be read on the way without running any user code.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Bash(msgspec.Struct, frozen=True, tag="bash"):
    """Shell commands, one after the other."""

    commands: list[str]


class Pip(msgspec.Struct, frozen=True, tag="pip"):
    """Packages that the task can import: arguments of ``pip install``, and the text of a requirements file."""

    packages: list[str]
    requirements: str = ""


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A call. `code` is a closed ``(function, args, kwargs)``, `name` is for people.

    What it returns reaches the task as keyword argument `keyword`, if that is not empty: as it is when one call has
    that keyword, as a list when several have it.
    """

    name: str
    code: bytes
    keyword: str = ""


class Transfer(msgspec.Struct, frozen=True, tag="transfer"):
    """A file that is copied. `code` is a closed object whose `cp` returns what prepares it, and what copies it.

    With `told`, the task gets the pairs of paths that were prepared as keyword argument ``files``; with `late` it is
    copied after the task.
    """

    name: str
    code: bytes
    late: bool = False
    told: bool = True


Action: TypeAlias = Bash | Pip | Call


class Hooks(msgspec.Struct, frozen=True):
    """Everything around a task, in the order in which it is done."""

    before: list[Action | Transfer]
    after: list[Action] = []
