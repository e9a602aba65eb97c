"""Functions of a graph that is being built, and the settings with which its nodes run them.

Each function, each set of hooks and each executor is encoded once, however many nodes share it. What is looked up by
`id` is kept alive by the table, so that no other object can get that id while the graph is built.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from covalab.blobs import Blobs
from covalab.core.model import Digest, Function, RetryPolicy, Settings
from covalab.sdk.building.executor_choice import ExecutorChoice, ExecutorSpec, executor_choice
from covalab.sdk.building.options import NO_LIMITS, Limits
from covalab.sdk.building.plan import TracedTask
from covalab.sdk.code.modules import by_value
from covalab.sdk.code.storing import store_code, store_hooks
from covalab.sdk.hooks.hook_set import HookSet
from covalab.sdk.values import UserFunction, UserValue
from covalab.worker.context import get_context

if TYPE_CHECKING:
    from covalab.files.transfer import FileTransfer

NO_HOOKS: Final = Digest("")
_NO_CONTEXT: Final = nullcontext()


class FunctionTable:
    """Functions, hooks, executors and settings, in the order in which they were first met.

    Attributes
    ----------
    code
        Everything that was encoded and is short enough to travel inside the submission, by digest.
    settings
        The distinct settings.
    """

    def __init__(self, name: str, blobs: Blobs, executor: ExecutorSpec, workflow_executor: ExecutorSpec) -> None:
        self.code: dict[Digest, bytes] = {}
        self.settings: list[Settings] = []
        self.executor, self.workflow_executor = executor, workflow_executor
        self._name = name
        self._blobs = blobs
        self._callables: list[tuple[UserFunction, str, str, HookSet | None]] = []
        self._positions: dict[object, int] = {}
        self._settings_positions: dict[tuple[object, Limits, Digest, bool], int] = {}
        self._executor_of: list[ExecutorSpec] = []  # of each of the settings
        self._executors: dict[object, tuple[ExecutorChoice, Digest, ExecutorSpec]] = {}
        self._hooks: dict[int, tuple[HookSet, Digest]] = {}
        self._hook_sets: dict[Digest, HookSet] = {}
        self._transfers: dict[int, FileTransfer] = {}
        """Those with temporary files that a call of this graph has: the next call needs others."""
        self._packages: dict[Digest, Digest] = {}
        """For hooks that install packages: those that only make the same packages visible."""
        # Of an executor that there is not is warned although no electron is called.
        for one in (executor, workflow_executor):
            self.look_up(one, name)

    # Functions.

    def add(self, function: UserFunction, task: TracedTask | None = None, hooks: HookSet | None = None) -> int:
        """Return the position of a function; of an electron with its name and source."""
        # With a module inside, it is encoded differently.
        key: object = (id(function), id(hooks)) if hooks is not None and hooks.modules else id(function)
        position = self._positions.get(key)
        if position is None:
            name, source = (task.name, task.source) if task else (function.__name__, "")
            position = self._positions[key] = self.append(function, name, source, hooks)
        return position

    def append(self, function: UserFunction, name: str, source: str, hooks: HookSet | None = None) -> int:
        """Add a function although it may be there already, under another name; return its position."""
        self._callables.append((function, name, source, hooks))
        return len(self._callables) - 1

    def encoded(self) -> list[Function]:
        """Encode the functions, each once, into `code` or as blobs; last of all, so that they are as they are now."""
        functions: list[Function] = []
        for function, name, source, hooks in self._callables:
            with with_modules(hooks):
                digest = store_code(function, f"the function of electron {name!r}", self._blobs, self.code)
            functions.append(Function(name, digest, source))
        return functions

    def callables(self) -> list[UserValue]:
        """Return everything that is encoded: functions, hooks and executors."""
        hooks = [hooks for hooks, _ in self._hooks.values()]
        executors = [choice.instance for choice, *_ in self._executors.values() if choice.instance is not None]
        return [*(function for function, *_ in self._callables), *hooks, *executors]

    # Hooks.

    def hooks(self, hooks: HookSet, electron: str) -> Digest:
        """Encode hooks once, when a call first needs them; return their digest."""
        temporary = [transfer for transfer in hooks.files if transfer.is_temporary]
        # A task that builds a sublattice has copies of the transfers, as others may that build the same one.
        is_copy = bool(temporary) and get_context().dispatch_id is not None
        if is_copy or any(transfer.is_sent or id(transfer) in self._transfers for transfer in temporary):
            hooks = hooks.with_other_files()
        self._transfers.update({id(transfer): transfer for transfer in temporary})
        found = self._hooks.get(id(hooks))
        if found is None:
            with by_value(hooks.modules):
                travelling = hooks.travelling(f"electron {electron!r}")
            found = self._hooks[id(hooks)] = hooks, store_hooks(travelling, self._blobs, self.code)
            self._hook_sets[found[1]] = hooks
            packages = hooks.packages_only()
            if packages is not None:
                travelling = packages.travelling(f"electron {electron!r}")
                digest = self._packages[found[1]] = store_hooks(travelling, self._blobs, self.code)
                self._hook_sets[digest] = packages
        return found[1]

    def hook_sets(self) -> dict[Digest, HookSet]:
        """Return the hooks that were encoded, by digest."""
        return self._hook_sets

    def packages_of(self, hooks: Digest) -> Digest:
        """Return the hooks that only make the packages visible that some hooks install."""
        return self._packages.get(hooks, NO_HOOKS)

    # Settings.

    def settings_for(
        self,
        executor: ExecutorSpec,
        electron: str,
        limits: Limits = NO_LIMITS,
        hooks: Digest = NO_HOOKS,
        *,
        session: bool = False,
    ) -> int:
        """Return the position of the settings with this executor, these limits, these hooks, in a session or not."""
        key = (executor if type(executor) is str else id(executor), limits, hooks, session)
        position = self._settings_positions.get(key)
        if position is None:
            position = self._settings_positions[key] = len(self.settings)
            it, instance, _ = self.look_up(executor, electron)
            policy = limits.retry or RetryPolicy()
            self.settings.append(
                Settings(
                    it.name, it.data, limits.retries, limits.time_limit, hooks, instance, policy, session, limits.needs
                )
            )
            self._executor_of.append(executor)
        return position

    def settings_of_part(self, settings: int, name: str) -> int:
        """Return the position of the settings of a node that takes a part of another one's value (``e[0]``)."""
        # A part is not made again, so hooks are not done again; but it may need the packages to be deserialized.
        hooks = self.packages_of(self.settings[settings].hooks)
        if hooks:
            self._packages[hooks] = hooks  # a part of the part needs the same
        # Nobody wants to wait in the queue of a cluster for `e[0]`: what is not one of our pools is for electrons.
        executor = self._executor_of[settings]
        if not self.look_up(executor, name)[0].in_pool:
            executor = "dask"
        return self.settings_for(executor, name, hooks=hooks)

    # Executors.

    def own_executor(self) -> ExecutorSpec:
        """Return the executor of what only covalab can do: the workflow executor, where that is a pool of ours.

        A job that somebody else's executor submits finds neither covalab nor the blob folder where it runs.
        """
        it, _, _ = self.look_up(self.workflow_executor, self._name)
        return self.workflow_executor if it.in_pool else "dask"

    def look_up(self, executor: ExecutorSpec, electron: str) -> tuple[ExecutorChoice, Digest, ExecutorSpec]:
        """Return how an executor is spoken of, its encoded instance, and itself: it must live as long as its id."""
        key = executor if type(executor) is str else id(executor)
        found = self._executors.get(key)
        if found is None:
            it = executor_choice(executor, electron)
            what = f"the executor of electron {electron!r}"
            instance = Digest("")
            if it.instance is not None:
                instance = store_code(it.instance, what, self._blobs, self.code)
            found = self._executors[key] = (it, instance, executor)
        return found


def with_modules(hooks: HookSet | None) -> AbstractContextManager[None]:
    """Let what is pickled meanwhile carry the modules that hooks name: a class must be the same one everywhere."""
    return by_value(hooks.modules) if hooks is not None and hooks.modules else _NO_CONTEXT
