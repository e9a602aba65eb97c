"""Hooks of an electron or a lattice: what the decorator was given, checked once and turned into what travels.

Made once, when the decorator runs; looked at again when a graph is built. Nothing is pickled before that.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from covalab.core.codec import decode, encode, printable
from covalab.core.errors import GraphError
from covalab.core.hooks import Action, Bash, Call, Hooks, Pip, Transfer
from covalab.sdk.hooks.deps import Deps, DepsBash, DepsCall, DepsModule, DepsPip
from covalab.sdk.values import FieldDict, UserValue

if TYPE_CHECKING:
    from covalab.files.file import File
    from covalab.files.transfer import FileTransfer

_KINDS: Final[dict[str, type[DepsBash | DepsPip | DepsCall]]] = {
    kind.__name__: kind for kind in (DepsBash, DepsPip, DepsCall)
}


BashSpec: TypeAlias = "DepsBash | Sequence[str] | str"
PipSpec: TypeAlias = "DepsPip | Sequence[str] | str"
ModuleSpec: TypeAlias = "DepsModule | ModuleType | str | Sequence[DepsModule | ModuleType | str]"
FilesSpec: TypeAlias = "FileTransfer | Sequence[FileTransfer]"
HookSpec: TypeAlias = "Deps | Sequence[Deps]"
"""Hooks as users write them: those of before and after a call; above, those that have an option of their own."""


class HookSet:
    """Hooks of an electron, or of the electrons of a lattice.

    Attributes
    ----------
    keywords
        The parameters that hooks fill, as a dictionary of None; what a call gives for them is dropped.
    modules
        Modules that travel by value with the electron.
    """

    def __init__(
        self,
        *,
        bash: DepsBash | None = None,
        pip: DepsPip | None = None,
        before: Iterable[Deps] = (),
        after: Iterable[Deps] = (),
        files: Iterable[FileTransfer] = (),
        modules: Iterable[ModuleType] = (),
    ) -> None:
        self.bash, self.pip = bash, pip
        self.before, self.after = tuple(before), tuple(after)
        self.files, self.modules = tuple(files), tuple(modules)
        keywords = [dep.retval_keyword for dep in self.before if dep.retval_keyword]
        self.keywords: dict[str, None] = dict.fromkeys([*(["files"] if self.files else []), *keywords])

    @functools.cached_property
    def silent(self) -> HookSet:
        """The same without keywords: everything is done, and the task gets nothing of what came of it."""
        silent = HookSet(
            bash=self.bash, pip=self.pip, before=self.before, after=self.after, files=self.files, modules=self.modules
        )
        silent.keywords = {}
        return silent

    def with_other_files(self) -> HookSet:
        """Return the same with other temporary files: another call must not write into those of the first."""
        memo: dict[int, File] = {}
        other = copy.copy(self)
        other.files = tuple(transfer.renamed(memo) for transfer in self.files)
        return other

    def mark_sent(self) -> None:
        """Let the temporary files of its transfers belong to the dispatch that is sent."""
        for transfer in self.files:
            transfer.is_sent = True

    def travelling(self, where: str) -> Hooks:
        """Return everything as it travels, in the order in which it is done; `where` is how an error calls the owner.

        Raises
        ------
        SerializationError
            If a function or an argument cannot be pickled.
        """
        before: list[Action | Transfer] = [dep.hook(where) for dep in (self.bash, self.pip) if dep is not None]
        n_deps = len(before)
        for transfer in self.files:
            name = printable(str(transfer), len(str(transfer)))
            code = encode(transfer, what=f"{name} of {where}").join()
            before.append(Transfer(name, code, transfer.order == "after", "files" in self.keywords))
        for dep in self.before:
            hook = dep.hook(where)
            if isinstance(hook, Call) and hook.keyword not in self.keywords:
                hook = replace(hook, keyword="")
            before.append(hook)
        return Hooks(before, [dep.hook(where) for dep in self.after], n_deps)

    def packages_only(self) -> HookSet | None:
        """Return the hooks that deserializing a part of the value needs: the same packages, and nothing else."""
        steps = [dep for dep in (self.pip, *self.before) if isinstance(dep, DepsPip)]
        return HookSet(before=steps) if steps else None

    @classmethod
    def recorded(cls, hooks: Hooks) -> HookSet:
        """Return hooks that have travelled; modules that went with them are no part of what was recorded.

        Raises
        ------
        SerializationError
            If a function, an argument or a file transfer cannot be deserialized here.
        """
        before, n_deps = list(hooks.before), hooks.n_deps
        if n_deps < 0:
            kinds = [type(one) for one in before[:2]]
            n_deps = 2 if kinds == [Bash, Pip] else int(kinds[:1] in ([Bash], [Pip]))
        deps = before[:n_deps]
        return cls(
            bash=next((DepsBash(one.commands) for one in deps if isinstance(one, Bash)), None),
            pip=next((DepsPip.recorded(one) for one in deps if isinstance(one, Pip)), None),
            before=[_dep_of(one) for one in before[n_deps:] if not isinstance(one, Transfer)],
            after=[_dep_of(one) for one in hooks.after],
            files=[decode(one.code, what=one.name) for one in before if isinstance(one, Transfer)],
        )

    @property
    def metadata(self) -> FieldDict:
        """The hooks as Covalent's metadata has them, in dictionaries that JSON can hold."""
        deps = {name: dep.to_dict() for name, dep in (("bash", self.bash), ("pip", self.pip)) if dep is not None}
        prepared: list[Deps] = []
        early: list[Deps] = []
        late: list[Deps] = []
        for transfer in self.files:
            prepare, copy = transfer.cp()
            prepared.append(DepsCall(prepare, retval_keyword="files", override_reserved_retval_keys=True))
            (late if transfer.order == "after" else early).append(DepsCall(copy))
        modules = [DepsModule(module) for module in self.modules]
        before = [dep.to_dict() for dep in (*prepared, *early)] + [dep.to_dict() for dep in modules]
        before += [dep.to_dict() for dep in self.before]
        found = {"deps": deps, "call_before": before, "call_after": [dep.to_dict() for dep in (*late, *self.after)]}
        return {name: part for name, part in found.items() if part}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, UserValue]) -> HookSet | None:
        """Return the hooks that `metadata` described; None if it describes none.

        Raises
        ------
        GraphError
            If it does not look like `metadata`.
        """
        deps = metadata.get("deps") or {} if isinstance(metadata, Mapping) else None
        if not isinstance(deps, Mapping):
            message = f"`hooks` is a dictionary of `deps`, `call_before` and `call_after`, not {metadata!r}"
            raise GraphError(message)
        bash, pip = deps.get("bash"), deps.get("pip")
        before = [_restored(one) for one in metadata.get("call_before") or ()]
        return hooks_of(
            "metadata",
            deps_bash=None if bash is None else _restored(bash),
            deps_pip=None if pip is None else _restored(pip),
            deps_module=[dep for dep in before if isinstance(dep, DepsModule)],
            call_before=[dep for dep in before if not isinstance(dep, DepsModule)],
            call_after=[_restored(one) for one in metadata.get("call_after") or ()],
        )


def hooks_of(
    where: str,
    *,
    deps_bash: BashSpec | None = None,
    deps_pip: PipSpec | None = None,
    deps_module: ModuleSpec | None = None,
    call_before: HookSpec | None = None,
    call_after: HookSpec | None = None,
    files: FilesSpec | None = None,
) -> HookSet | None:
    """Return the hooks that a decorator was given; None if it was given none.

    Parameters
    ----------
    where
        How an error calls the electron or lattice.
    deps_bash
        A `DepsBash`, or its commands.
    deps_pip
        A `DepsPip`, or its packages.
    deps_module
        A module, its name, a `DepsModule`, or a list of these.
    call_before, call_after
        A `DepsCall` (or `DepsPip`, `DepsBash`), or a list of these.
    files
        A list of `FileTransfer`.

    Raises
    ------
    GraphError
        If something of these is none of that.
    """
    if not (deps_bash or deps_pip or deps_module or call_before or call_after or files):
        return None
    return HookSet(
        bash=deps_bash if isinstance(deps_bash, DepsBash) else DepsBash(deps_bash) if deps_bash else None,
        pip=deps_pip if isinstance(deps_pip, DepsPip) else DepsPip(deps_pip) if deps_pip else None,
        before=_steps(where, "call_before", call_before),
        after=_steps(where, "call_after", call_after),
        files=_transfers(where, files),
        modules=[one.module if isinstance(one, DepsModule) else DepsModule(one).module for one in _many(deps_module)],
    )


def _dep_of(hook: Action) -> Deps:
    """Return a hook that has travelled as it was given."""
    if isinstance(hook, Bash):
        return DepsBash(hook.commands)
    if isinstance(hook, Pip):
        return DepsPip.recorded(hook)
    function, args, kwargs = decode(hook.code, what=f"the hook {hook.name!r}")
    return DepsCall(function, args, kwargs, retval_keyword=hook.keyword, override_reserved_retval_keys=True)


def _many(given: UserValue) -> list[UserValue]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _steps(where: str, name: str, given: UserValue) -> list[Deps]:
    steps = _many(given)
    for step in steps:
        if not isinstance(step, Deps):
            message = (
                f"{where}: `{name}` takes DepsCall, DepsBash and DepsPip, not {step!r}; write ct.DepsCall(function)"
            )
            raise GraphError(message)
    return steps


def _transfers(where: str, given: UserValue) -> list[FileTransfer]:
    transfers = _many(given)
    if not transfers:
        return transfers
    from covalab.files.transfer import FileTransfer  # noqa: PLC0415 - most electrons have no files

    for transfer in transfers:
        if not isinstance(transfer, FileTransfer):
            message = (
                f"{where}: `files` takes file transfers, not {transfer!r}; write ct.fs.TransferFromRemote(path) or "
                "ct.fs.FileTransfer(from_file, to_file)"
            )
            raise GraphError(message)
    return transfers


def _restored(described: UserValue) -> UserValue:
    """Return the dependency that a dictionary describes; one that is there already is taken as it is."""
    if not isinstance(described, Mapping):
        return described
    kind = described["type"]
    if kind == "DepsModule":
        return DepsModule("covalab").from_dict(described)
    return _KINDS[kind]().from_dict(described)
