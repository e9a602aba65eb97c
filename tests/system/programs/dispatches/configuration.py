"""Read and write the configuration, as the how-to "customise the configuration" does."""

from __future__ import annotations

import covalab as ct


def main() -> None:
    """Set values, read them by key, list and section, and remove them again."""
    ct.set_config("executors.mine.region", "north")
    ct.set_config({"executors.mine.size": 3})

    assert ct.get_config("executors.mine") == {"region": "north", "size": 3}
    assert ct.get_config(["executors.mine.region", "sdk.no_cluster"]) == {
        "executors.mine.region": "north",
        "sdk.no_cluster": "false",
    }
    ct.reload_config()
    assert ct.get_config()["executors"]["mine"]["size"] == 3
    try:
        ct.get_config("executors.yours")
    except KeyError as error:
        assert "executors.yours" in str(error)
    else:
        raise AssertionError

    ct.set_config({"executors.mine": None})
    assert "mine" not in ct.get_config("executors")
