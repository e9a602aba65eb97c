"""`DirTrigger`: when something happens to files."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from covalab.triggers.base import BaseTrigger

EVENT_NAMES: Final = ("created", "deleted", "modified", "moved", "closed")


class DirTrigger(BaseTrigger):
    """Runs a workflow when a file, or something in a folder, is created, deleted, modified, moved or closed.

    Parameters
    ----------
    dir_path
        The folder or file. A relative path is taken from where this object is made.
    event_names
        One or several of ``created``, ``deleted``, ``modified``, ``moved``, ``closed`` (written and closed).
    batch_size
        Fire after every so many events.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.
    recursive
        Whether folders below are watched too. True or False as fourth argument is this one.

    Attributes
    ----------
    n_changes
        Events since it fired last.
    event_handler
        The handler of the watching library, once `attach_methods_to_handler` made it.

    Raises
    ------
    ValueError
        If an event name or the batch size is none.

    Examples
    --------
    >>> DirTrigger("/data", "created", batch_size=10).event_names
    ['created']
    """

    event_handler: Any = None

    def __init__(
        self,
        dir_path: str | os.PathLike[str],
        event_names: str | Sequence[str],
        batch_size: int = 1,
        lattice_dispatch_id: str | bool | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
        recursive: bool = False,
    ) -> None:
        if isinstance(lattice_dispatch_id, bool):  # Covalent's page has `recursive` last, its code has it here
            shifted = (dispatcher_addr, triggers_server_addr, None)
            recursive, (lattice_dispatch_id, dispatcher_addr, triggers_server_addr) = lattice_dispatch_id, shifted
        super().__init__(lattice_dispatch_id, dispatcher_addr, triggers_server_addr)
        names = [event_names] if isinstance(event_names, str) else list(event_names)
        strangers = [name for name in names if name not in EVENT_NAMES]
        if strangers or not names:
            message = f"event_names are of {', '.join(EVENT_NAMES)}; got {', '.join(map(repr, strangers)) or 'none'}"
            raise ValueError(message)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            message = f"batch_size is a whole number from 1 on, not {batch_size!r}"
            raise ValueError(message)
        self.dir_path = os.path.abspath(dir_path)  # noqa: PTH100 - a text, as in Covalent; Path leaves `..` in it
        self.event_names = names
        self.batch_size = batch_size
        self.recursive = recursive
        self.observe_blocks = False
        self.n_changes = 0

    def attach_methods_to_handler(self) -> None:
        """Give the handler of the watching library one method for each of `event_names`, which counts and fires.

        `observe` calls it. A subclass may change `event_handler` before or after.
        """
        from watchdog.events import FileSystemEventHandler  # noqa: PLC0415 - only where it watches

        lock = threading.Lock()  # a recursive watch may report from several threads

        def count(_event: Any) -> None:
            with lock:
                self.n_changes += 1
                if self.n_changes >= self.batch_size:
                    self.n_changes = 0
                    self.trigger()

        handler = self.event_handler = self.event_handler or FileSystemEventHandler()
        for name in self.event_names:
            setattr(handler, f"on_{name}", count)

    def observe(self) -> None:
        """Start to watch; events come from a thread of the watching library."""
        from watchdog.observers import Observer  # noqa: PLC0415 - only where it watches

        if not Path(self.dir_path).exists():
            message = f"there is no {self.dir_path} to watch; make it, then register the trigger again"
            raise FileNotFoundError(message)
        self.attach_methods_to_handler()
        self.observer: Any = Observer()
        self.observer.schedule(self.event_handler, self.dir_path, recursive=self.recursive)
        self.observer.start()

    def stop(self) -> None:
        """Stop watching."""
        observer = getattr(self, "observer", None)
        if observer is not None:
            observer.stop()
            observer.join()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("event_handler", None)  # it counts for this object, and its lock cannot be pickled
        return state
