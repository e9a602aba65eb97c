"""The load of workers: no worker gets more than it has, and what is given back is there again."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from covalab.core.capacity import Capacity, Needs
from covalab.core.protocol import WorkersChanged
from covalab.dispatcher.load import Load

NEEDS = st.one_of(
    st.none(),
    st.builds(
        Needs,
        st.integers(1, 3),
        st.integers(0, 6),
        st.sampled_from([(), (("GPU", 1.0),), (("GPU", 2.0),)]),
    ),
)


class Batch(NamedTuple):
    """A batch as its load is counted."""

    worker: str
    needs: Needs | None


@given(st.booleans(), st.lists(st.tuples(NEEDS, st.integers(0, 3)), max_size=30))
def test_no_worker_has_more_than_it_can(is_shared: bool, steps: list[tuple[Needs | None, int]]) -> None:
    """Whatever is sent and ends: the sums of needs stay below what workers, or their machine, have."""
    capacity = Capacity(4, 8, {"GPU": 2})
    load = Load()
    names = ["a", "b", "c", "d"] if is_shared else ["a", "b"]
    load.update(
        WorkersChanged(names, {}, {} if is_shared else dict.fromkeys(names, capacity), capacity if is_shared else None)
    )
    running: list[Batch] = []
    for needs, ending in steps:
        takers = [worker for worker in load.free() if load.takes(worker, needs, None, 0.0)]
        if takers:
            running.append(Batch(takers[0], needs))
            load.add(running[-1])
        if ending and running:
            gone = running.pop(ending % len(running))
            load.count_cores(gone, -1)
            load.remove(gone)
        groups = [running] if is_shared else [[it for it in running if it.worker == worker] for worker in names]
        for group in groups:
            wanted = [it.needs or Needs() for it in group]
            assert sum(it.cores for it in wanted) <= 4
            assert sum(it.memory for it in wanted) <= 8
            assert sum(dict(it.resources).get("GPU", 0) for it in wanted) <= 2
    for batch in running:
        load.count_cores(batch, -1)
        load.remove(batch)
    assert set(load.workers.values()) == {0}
    assert load.takes("a", Needs(4, 8, (("GPU", 2.0),)), None, 0.0)


def test_a_job_that_ends_takes_what_fits_its_rest() -> None:
    """By the time limit; without one, as long as the job is there. A quick batch may wait behind another one."""
    load = Load()
    load.update(WorkersChanged(["a"], {}, {"a": Capacity(1, ends_at=100.0, seconds=100.0)}))

    assert load.ends
    assert [load.takes("a", None, limit, 50.0) for limit in (None, 40.0, 60.0)] == [True, True, False]
    assert not load.takes("a", None, None, 100.0)
    assert load.lack(None, 100.0) == "a time limit of 100 s (jobs end after 100 s)"
    assert load.lack(None, 99.0) == ""
    assert [load.ends_before(limit, 50.0) for limit in (None, 40.0, 60.0)] == [None, None, 100.0]
    batch = Batch("a", None)
    load.add(batch)
    assert (load.free(), load.free(busy=[]), load.free(busy=["a"])) == ([], ["a"], [])


def test_a_worker_that_is_lost_takes_its_load_along() -> None:
    """Another one at the same address begins with nothing."""
    load = Load()
    load.update(WorkersChanged(["a"], {}, {"a": Capacity(2)}))
    batch = Batch("a", Needs(2))
    load.add(batch)
    load.update(WorkersChanged([]))
    load.count_cores(batch, -1)
    load.remove(batch)
    load.update(WorkersChanged(["a"], {}, {"a": Capacity(2)}))

    assert load.free() == ["a"]
    assert load.takes("a", Needs(2), None, 0.0)
