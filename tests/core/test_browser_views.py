"""What browsers get of the state: described, and cut where it is large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covalab.core.browser_views import BESIDE_SHOWN, PARTS_SHOWN, StateNodeView, state_view
from covalab.core.journal import ExecutionState, StateNode
from covalab.core.model import Value


def leaf() -> StateNode:
    """Return a closed value."""
    return StateNode(Value(9, "str", "shown", b"secret"))


def parts(part: StateNodeView) -> list[StateNodeView]:
    """Return a part and all below it."""
    return [part, *(one for child in [*(it for _, it in part.below or ()), *part.more] for one in parts(child))]


trees = st.recursive(
    st.builds(leaf),
    lambda below: st.builds(
        StateNode,
        st.none() | st.just(leaf().value),
        st.none() | st.dictionaries(st.text(max_size=3), below),
        st.lists(below),
    ),
    max_leaves=25,
)


@given(st.dictionaries(st.text(max_size=3), trees))
def test_a_small_state_is_told_whole_and_without_a_byte(state: dict[str, StateNode]) -> None:
    """Every key and every item is there, no value's bytes are, and the state itself is as it was."""

    def same(part: StateNodeView, tree: StateNode) -> None:
        assert part.left_out == 0
        assert (part.value is None) == (tree.value is None)
        assert part.value is None or (part.value.text, part.value.data) == ("shown", None)
        assert [key for key, _ in part.below or ()] == list(tree.below or ())
        assert len(part.more) == len(tree.more)
        for (_, shown), child in zip(part.below or (), (tree.below or {}).values(), strict=True):
            same(shown, child)
        for shown, child in zip(part.more, tree.more, strict=True):
            same(shown, child)

    same(state_view(ExecutionState(state=state)), StateNode(below=state))


def test_a_long_dictionary_does_not_hide_the_others() -> None:
    """Each is cut for itself, and says by how much."""
    state = {"long": StateNode(below={str(n): leaf() for n in range(5_000)}), "short": StateNode(below={"x": leaf()})}
    long, short = (part for _, part in state_view(ExecutionState(state=state)).below or ())

    assert (len(long.below or ()), long.left_out) == (BESIDE_SHOWN, 5_000 - BESIDE_SHOWN)
    assert (len(short.below or ()), short.left_out) == (1, 0)


def test_of_a_list_that_grows_the_last_items_are_told() -> None:
    """They are the news."""
    state = {"log": StateNode(more=[StateNode(Value(1, "int", str(n), b"")) for n in range(1_000)])}
    log = dict(state_view(ExecutionState(state=state)).below or ())["log"]

    assert [part.value.text for part in log.more if part.value] == [str(n) for n in range(1_000 - BESIDE_SHOWN, 1_000)]
    assert log.left_out == 1_000 - BESIDE_SHOWN


def test_a_wide_and_deep_state_is_cut_near_the_leaves() -> None:
    """No more than a fixed number of parts is told, and what is left out is counted where it is missing."""
    state = {
        f"a{n}": StateNode(below={f"b{m}": StateNode(below={"c": leaf()}) for m in range(100)}) for n in range(100)
    }
    root = state_view(ExecutionState(state=state))

    assert len(parts(root)) == PARTS_SHOWN + 1
    assert root.left_out == 0
    assert sum(part.left_out for _, part in root.below or ()) == 100 * 100 - (PARTS_SHOWN - 100)
