"""Names of a dispatch whose cells share a session: its result reads like a mapping of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from covalab.client import Client
from covalab.core.model import DispatchRecord
from covalab.sdk.recorded_values import RecordedValues
from covalab.sdk.values import UserValue
from covalab.worker.session.record import SESSION_KEY, VALUE_KEY, CellRecord


def value_of_session(value: UserValue) -> UserValue:
    """Return the value of a lattice: of one whose cells share a session, the value of its last cell.

    Examples
    --------
    >>> value_of_session({"a": 1})
    {'a': 1}
    """
    if isinstance(value, CellRecord):
        return value.value
    if isinstance(value, dict) and isinstance(value.get(SESSION_KEY), CellRecord):
        return value[VALUE_KEY] if VALUE_KEY in value else value[SESSION_KEY].value
    return value


def session_record(record: DispatchRecord, values: RecordedValues, client: Client) -> CellRecord | None:
    """Return the record of the last cell of the session that ran, also if it failed half way; None if there is none."""
    settings = record.graph.settings
    cells = [
        number
        for number, node in enumerate(record.graph.nodes)
        if node.settings >= 0 and settings[node.settings].session
    ]
    for number in reversed(cells):  # they are numbered in the order in which they run
        failure = record.failures.get(number)
        if failure is not None and failure.left is not None:
            left: CellRecord = client.blobs.deserialize(failure.left, what=f"the names of cell {number}, which failed")
            return left.bind(client.blobs, values.opening)
        if record.nodes[number].status == "completed":
            if number not in values.outputs:
                values.outputs.update(client.record(record.summary.id, outputs=[number]).outputs)
            found = values.deserialized(number)
            return found if isinstance(found, CellRecord) else None
    return None


def names_of(
    record: DispatchRecord, values: RecordedValues, client: Client, value: UserValue
) -> Mapping[str, UserValue]:
    """Return what the cells of a dispatch have made, by name. `value` is the lattice's, None while there is none."""
    session = session_record(record, values, client)
    beside = {}
    if isinstance(value, dict):
        beside = {name: one for name, one in value.items() if name not in (SESSION_KEY, VALUE_KEY)}
    return _Names(session, beside)


class _Names(Mapping[str, UserValue]):
    """Names of a session, and those that electrons beside it made."""

    def __init__(self, session: CellRecord | None, beside: Mapping[str, UserValue]) -> None:
        self._session, self._beside = session, beside

    def __getitem__(self, name: str) -> UserValue:
        if name in self._beside:
            return self._beside[name]
        if self._session is None:
            raise KeyError(name)
        return self._session[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*(self._session or ()), *self._beside]))

    def __len__(self) -> int:
        return sum(1 for _ in self)
