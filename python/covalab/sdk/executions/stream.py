"""Runtime stream of a dispatch: pages of journal entries, and the items that readers get for them."""

from __future__ import annotations

import warnings
from typing import Final

from covalab.client import Client
from covalab.core.journal import Entry
from covalab.sdk.executions.state_reader import time_text
from covalab.sdk.values import FieldDict, UserValue

_ACTIONS: Final = {"intervene": "append", "answer": "resumed", "wait": "waiting", "withdraw": "cancelled"}
"""TriggerFlow's word for what a journal entry records, by the kind of the entry; other kinds keep theirs."""
_OF_INTERRUPTS: Final = ("wait", "answer", "withdraw")


class StreamCursor:
    """The place of one reader in a stream."""

    def __init__(self, client: Client, dispatch_id: str) -> None:
        self._client = client
        self._id = dispatch_id
        self._since = 0
        self._n_read = 0
        self.has_ended = False

    def next(self, wait: float, deadline: float | None = None) -> list[UserValue]:
        """Return the next items, after at most `wait` seconds."""
        with self._client.until(deadline):
            page = self._client.stream(self._id, self._since, self._n_read, wait)
        items: list[UserValue] = []
        if page.missed:
            items.append({"type": "lagged", "missed": page.missed})
            self._n_read += page.missed
        for number, entry in page.entries:
            items.append(self._item(entry))
            self._since = number
            self._n_read += 1
        self.has_ended = page.ended
        return items

    def _item(self, entry: Entry) -> UserValue:
        if entry.kind == "stream":
            if entry.tree is None or entry.tree.value is None:
                return None
            return self._client.blobs.deserialize(entry.tree.value, what=f"an item of the stream of {self._id}")
        if entry.kind == "refused":
            return {"type": "state", "path": list(entry.path), "node_id": entry.node, **entry.data}
        what = "interrupt" if entry.kind in _OF_INTERRUPTS else "intervention"
        found: FieldDict = {"type": what, "action": _ACTIONS.get(entry.kind, entry.kind), **entry.data}
        found["at"] = time_text(entry.at)
        if what == "interrupt":
            # The entry's own data have a `type`, which is that of the interrupt, not of the item.
            found["interrupt_type"] = entry.data.get("type")
            found |= {"type": what, "id": f"{self._id}:{entry.node}"}
        return found

    def warn(self, timeout: float | None) -> None:
        """Warn that nothing came."""
        message = f"nothing came through the stream of dispatch {self._id} for {timeout:g} s; reading ends here"
        warnings.warn(message, UserWarning, stacklevel=3)
