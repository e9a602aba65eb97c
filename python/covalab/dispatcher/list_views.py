"""Read views of the list of dispatches: rows and groups, with what is newer of those that run."""

from __future__ import annotations

import msgspec

from covalab.core.dispatch_list import DispatchGroup, DispatchPage, DispatchRow, GroupPage, ListQuery
from covalab.core.model import DispatchId, DispatchSummary
from covalab.dispatcher.service import Service
from covalab.store import list_rows


async def page(service: Service, query: ListQuery) -> DispatchPage | GroupPage:
    """Return a page of the list."""
    if query.group:
        groups = await service.store.read(lambda db: list_rows.select_group_page(db, query))
        newest = [_current_group(service, group) for group in groups.groups]
        return msgspec.structs.replace(groups, groups=newest)
    rows = await service.store.read(lambda db: list_rows.select_page(db, query))
    return msgspec.structs.replace(rows, rows=[_current(service, row) for row in rows.rows])


async def newest_again(service: Service, dispatch: DispatchId) -> DispatchSummary | None:
    """Return the newest dispatch that runs another again."""
    return await service.store.read(lambda db: list_rows.select_newest_again(db, dispatch))


def _current_group(service: Service, group: DispatchGroup) -> DispatchGroup:
    return msgspec.structs.replace(group, newest=_current(service, group.newest))


def _current(service: Service, row: DispatchRow) -> DispatchRow:
    """Return a row with the counts of now: the database has them as of the dispatch's start and end."""
    run = service.runs.get(row.summary.id)
    summary = row.summary if run is None else run.committed_summary()
    return msgspec.structs.replace(row, summary=service.notices.added_to(summary))
