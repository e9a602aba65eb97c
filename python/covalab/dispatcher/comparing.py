"""Read views of how a dispatch came about, and of what differs between two."""

from __future__ import annotations

import asyncio

from covalab.core.comparison import DifferenceView, Side, compare, difference_view, side_of
from covalab.core.dispatch_provenance import DispatchProvenance, provenance_of
from covalab.core.model import DispatchId, DispatchSummary
from covalab.dispatcher.readable import ReadableDispatch
from covalab.dispatcher.service import Service
from covalab.dispatcher.views import known_dispatch
from covalab.store.dispatch_rows import select_outputs_in_short


async def provenance(service: Service, dispatch: DispatchId) -> DispatchProvenance:
    """Return how a dispatch came about; raises `MissingLatticeRecordError`."""
    known = await known_dispatch(service, dispatch)
    return await asyncio.to_thread(provenance_of, known.committed_summary(), known.submission)


async def comparison(service: Service, left: DispatchId, right: DispatchId) -> DifferenceView:
    """Return what differs between two dispatches; raises `MissingLatticeRecordError`."""
    both = [await known_dispatch(service, dispatch) for dispatch in (left, right)]
    (its_summary, its_side), (summary, side) = [await _side(service, known) for known in both]
    # Differences of long texts take their time, and the loop serves everybody.
    return await asyncio.to_thread(lambda: difference_view(compare(its_side, side), its_summary, summary))


async def _side(service: Service, known: ReadableDispatch) -> tuple[DispatchSummary, Side]:
    summary, states, key = known.committed_summary(), known.committed_states(-1), known.key
    outputs = await service.store.read(lambda db: select_outputs_in_short(db, key))
    its_provenance = await asyncio.to_thread(provenance_of, summary, known.submission)
    # The disk may be a moment ahead of what readers are shown.
    shown = {
        state.node: outputs[state.node] for state in states if state.status == "completed" and state.node in outputs
    }
    return summary, side_of(summary, known.submission.graph, states, its_provenance, shown)
