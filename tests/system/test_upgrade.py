"""Work that ran under another version of covalab waits for its upgrade; new work there is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.dispatcher.test_service import kill
from tests.system.tasks import adding, sleeping
from tests.waiting import until

import covalab as ct
from covalab.client import Client

OLD = """
import sys
if "covalab.pool" in sys.orig_argv:
    import covalab.core.protocol as protocol
    protocol.PROTOCOL = 3
"""


def test_work_of_an_older_installation_waits_for_its_upgrade(
    own: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment has an older covalab after a restart: what ran goes on once that is mended, new work fails."""
    hook = tmp_path / "hook"
    hook.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(hook))
    running = ct.dispatch(ct.lattice(sleeping))(2, str(tmp_path / "pid"))
    until((tmp_path / "pid").exists)
    kill(own)
    (hook / "sitecustomize.py").write_text(OLD)
    until(lambda: any(pool.state == "failed" for pool in own.status().pools))
    new = ct.get_result(ct.dispatch(ct.lattice(adding))(1), wait=True, timeout=120)

    assert str(new.status) == "FAILED"
    assert "protocol 3" in str(new.get_node_result(0)["error"])
    assert own.summary(running).status in ("pending", "running")
    (hook / "sitecustomize.py").unlink()
    again = ct.get_result(ct.dispatch(ct.lattice(adding))(1), wait=True, timeout=120)
    assert again.result == 2
    assert ct.get_result(running, wait=True, timeout=120).result == "slept"
