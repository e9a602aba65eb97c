"""Hooks around the run of a task, as sent to a worker: commands, packages, file transfers, calls.

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
    """A call. `code` is a serialized ``(function, args, kwargs)``, `name` is for people.

    Its return value reaches the task as keyword argument `keyword`, if that is not empty: as it is when one call has
    that keyword, as a list when several have it.
    """

    name: str
    code: bytes
    keyword: str = ""


class Transfer(msgspec.Struct, frozen=True, tag="transfer"):
    """A file to copy. `code` is a serialized object whose `cp` returns a function that prepares, and one that copies.

    With `told`, the task gets the pairs of paths that were prepared as keyword argument ``files``; with `late` it is
    copied after the task.
    """

    name: str
    code: bytes
    late: bool = False
    told: bool = True


Action: TypeAlias = Bash | Pip | Call


class Hooks(msgspec.Struct, frozen=True):
    """All hooks of a task, in the order in which they run.

    `n_deps` is how many of the first are commands and packages that were given as such, not as calls before the task;
    -1 where an earlier version did not write it down.
    """

    before: list[Action | Transfer]
    after: list[Action] = []
    n_deps: int = -1
