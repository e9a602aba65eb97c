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
    recursive
        Whether folders below are watched too.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.

    Attributes
    ----------
    n_changes
        Events since it fired last.

    Raises
    ------
    ValueError
        If an event name or the batch size is none.

    Examples
    --------
    >>> DirTrigger("/data", "created", batch_size=10).event_names
    ['created']
    """

    def __init__(
        self,
        dir_path: str | os.PathLike[str],
        event_names: str | Sequence[str],
        batch_size: int = 1,
        recursive: bool = False,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
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

    def observe(self) -> None:
        """Start to watch; events come from a thread of the watching library."""
        from watchdog import events, observers  # noqa: PLC0415 - only where it watches

        if not Path(self.dir_path).exists():
            message = f"there is no {self.dir_path} to watch; make it, then register the trigger again"
            raise FileNotFoundError(message)
        lock = threading.Lock()
        trigger = self

        class Handler(events.FileSystemEventHandler):
            """Counts events."""

            def on_any_event(self, event: events.FileSystemEvent) -> None:
                if event.event_type not in trigger.event_names:
                    return
                with lock:
                    trigger.n_changes += 1
                    if trigger.n_changes >= trigger.batch_size:
                        trigger.n_changes = 0
                        trigger.trigger()

        self.observer: Any = observers.Observer()
        self.observer.schedule(Handler(), self.dir_path, recursive=self.recursive)
        self.observer.start()

    def stop(self) -> None:
        """Stop watching."""
        observer = getattr(self, "observer", None)
        if observer is not None:
            observer.stop()
            observer.join()
