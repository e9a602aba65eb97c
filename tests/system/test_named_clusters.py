"""Clusters with a name in the configuration: a lattice mixes them, and each electron goes where it asks to."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.system.test_other_dask import HandMade
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import ConfigError, GraphError

pytestmark = pytest.mark.sampled(5, of="file")

LOCAL_CLUSTER = """
cluster_class = "distributed.LocalCluster"
[clusters.{name}.cluster_kwargs]
n_workers = {n_workers}
threads_per_worker = 1
dashboard_address = "127.0.0.1:0"
worker_dashboard_address = "127.0.0.1:0"
host = "127.0.0.1"
env = {{WHERE = "{name}"}}
"""


class Clusters(NamedTuple):
    """Dispatcher that knows three clusters, and the one of them that was started by hand."""

    client: Client
    far: HandMade
    config: Path


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Start a dispatcher with a cluster by its scheduler file, one by its class, and the default on this machine."""
    folder = tmp_path_factory.mktemp("clusters")
    config = folder / "covalab.toml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_CONFIG", str(config))
        patch.setenv("COVALAB_DATA_DIR", str(folder / "data"))
        patch.setenv("WHERE", "home")
        far = HandMade(folder / "far", "--nthreads=4", "--resources", "GPU=1", n_workers=1)
        written = next((folder / "far").glob("scheduler-*.json"))
        config.write_text(
            f'[clusters.far]\nscheduler_file = "{written}"\n'
            "[clusters.cpu]\n" + LOCAL_CLUSTER.format(name="cpu", n_workers=1)
        )
        client = connect()
        yield Clusters(client, far, config)
        client.stop()
        far.kill()


def where_it_is() -> str:
    """Return what tells the machines of these tests apart."""
    home = os.environ["HOME"]
    return "far" if home.endswith("/far/home") else "here"


where = ct.electron(where_it_is)


def test_a_lattice_mixes_clusters_and_this_machine(clusters: Clusters) -> None:
    """Each electron runs on the cluster that it names, parts of its value with it; the default stays this machine."""

    @ct.electron(executor="far")
    def far() -> list[object]:
        return [os.environ["HOME"].endswith("/far/home"), os.getppid()]

    @ct.electron(executor="cpu")
    def cpu(of: object) -> list[object]:
        return [os.environ["HOME"].endswith("/far/home"), os.getppid(), of]

    @ct.electron(executor="local")
    def local(of: object) -> list[object]:
        return [os.environ["HOME"].endswith("/far/home"), os.getppid(), of]

    @ct.electron
    def default() -> int:
        return os.getppid()

    @ct.lattice
    def mixed() -> object:
        first = far()
        return first[0], cpu(first[0]), local(first[0]), default()

    result = ct.dispatch_sync(mixed)()

    assert result.status == ct.status.COMPLETED, result.error
    is_far, on_cpu, at_home, _ = result.result
    assert (is_far, on_cpu[0], at_home[0]) == (True, False, False)
    assert (on_cpu[2], at_home[2]) == (True, True)
    pools = {pool.where.partition(" (")[0]: pool for pool in clusters.client.status().pools}
    assert {"cluster far", "cluster cpu"} <= set(pools)
    assert len(pools) == 3


def test_the_executor_of_a_lattice_is_a_cluster(clusters: Clusters) -> None:
    """Electrons without one, operators on them and sublattices run there; metadata that is changed holds."""
    del clusters

    @ct.lattice(executor="far")
    def inner() -> object:
        return where()

    @ct.lattice
    def outer() -> object:
        return where() + ct.electron(inner)()

    outer.metadata["executor"] = "far"
    outer.metadata["workflow_executor"] = "far"
    result = ct.dispatch_sync(outer)()

    assert (result.status, result.result) == (ct.status.COMPLETED, "farfar"), result.error


def test_a_cluster_that_there_is_not_is_named_with_those_there_are(clusters: Clusters) -> None:
    """A warning when it is dispatched, and the error of the nodes that need it; the others complete."""
    del clusters

    @ct.electron(executor="gqu")
    def wrong() -> int:
        return 1

    with pytest.warns(UserWarning, match=r"No executor found by name 'gqu'; there is cpu, dask, far, local"):
        result = ct.dispatch_sync(ct.lattice(lambda: [wrong(), where()]))()

    assert result.status == ct.status.FAILED
    assert "No executor found by name 'gqu'; there is cpu, dask, far, local" in result.get_node_result(0)["error"]
    assert result.get_node_result(1)["output"].get_deserialized() == "here"


@ct.electron(executor="far")
def overlapping(folder: str, name: str) -> int:
    """Return how many of these run at once, once there are as many as are waited for."""
    mine = Path(folder) / name
    mine.touch()
    seen = 0
    for _ in range(100):
        seen = max(seen, len(list(Path(folder).iterdir())))
        time.sleep(0.02)
    mine.unlink()
    return seen


def most_at_once(folder: Path, electron: Any, n: int) -> int:
    """Return how many calls of an electron run at once."""
    folder.mkdir()
    result = ct.dispatch_sync(ct.lattice(lambda: [electron(str(folder), f"n{i}") for i in range(n)]))()
    assert result.status == ct.status.COMPLETED, result.error
    return int(max(result.result))


def test_a_worker_runs_as_many_steps_as_it_has_threads(clusters: Clusters, tmp_path: Path) -> None:
    """Four on four threads, two of two cores, one of the only GPU; each in a process of its own."""
    del clusters
    whole = overlapping.electron_object.function  # type: ignore[attr-defined]

    assert most_at_once(tmp_path / "one", overlapping, 6) == 4
    assert most_at_once(tmp_path / "two", ct.electron(whole, executor="far", cores=2), 3) == 2
    assert most_at_once(tmp_path / "gpu", ct.electron(whole, executor="far", resources={"GPU": 1}), 2) == 1
    assert most_at_once(tmp_path / "home", ct.electron(whole, cores=2), 2) == 1


def test_a_lattice_with_many_needs_runs_side_by_side(clusters: Clusters, tmp_path: Path) -> None:
    """What waits for the GPU keeps nothing else waiting, and no dispatch gets a session or a value of another."""
    del clusters
    whole = overlapping.electron_object.function  # type: ignore[attr-defined]
    gpu: Any = ct.electron(whole, executor="far", resources={"GPU": 1})

    def both(folder: str) -> object:
        return [gpu(folder, "a"), gpu(folder, "b"), overlapping(folder, "c"), overlapping(folder, "d")]

    (tmp_path / "both").mkdir()
    result = ct.dispatch_sync(ct.lattice(both))(str(tmp_path / "both"))
    assert result.status == ct.status.COMPLETED, result.error
    assert max(result.result) == 3


LACKS: dict[str, dict[str, Any]] = {
    "GPU=2 (the most is 1); no worker of cluster far": {"executor": "far", "resources": {"GPU": 2}},
    "8 cores (the most is 4); no worker of cluster far": {"executor": "far", "cores": 8},
    "TPU=1 (the most is 0)": {"resources": {"TPU": 1}},
    "9e+05 GB": {"memory": "900 TB"},
}


def test_what_no_worker_has_is_said_at_once(
    clusters: Clusters, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the summary, in the status and while one waits for the result; it waits, and runs when such a worker comes."""
    sent = {said: ct.dispatch(ct.lattice(ct.electron(where_it_is, **needs)))() for said, needs in LACKS.items()}
    until(lambda: all(clusters.client.summary(dispatch).notice for dispatch in sent.values()))
    for said, dispatch in sent.items():
        notice = clusters.client.summary(dispatch).notice
        assert said in notice
        assert "it waits for one that does" in notice
    two = next(iter(sent.values()))
    ct.get_result(two, wait=True, timeout=0.5)
    assert "GPU=2 (the most is 1); no worker of cluster far" in capfd.readouterr().err
    printed = subprocess.run(["covalab", "status"], capture_output=True, text=True, check=True).stdout
    assert "GPU=2" in printed.replace("\n", " ")

    worker = clusters.far.add_worker(more=["--resources=GPU=2"])
    try:
        assert ct.get_result(two, wait=True, timeout=120).result == "far"
        until(lambda: clusters.client.summary(two).notice == "")
    finally:
        for dispatch in list(sent.values())[1:]:
            ct.cancel(dispatch)
        os.killpg(worker.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "needs", [{"resources": "GPU"}, {"resources": {"GPU": "1"}}, {"memory": "much"}, {"cores": 0}, {"cores": 1.5}]
)
def test_needs_that_make_no_sense_are_refused(needs: dict[str, Any]) -> None:
    """Where they are written."""
    with pytest.raises(GraphError, match=f"electron 'where_it_is': {next(iter(needs))}"):
        ct.electron(where_it_is, **needs)


def test_clusters_are_settings_like_others(clusters: Clusters) -> None:
    """They are read with their defaults and written by key; what makes no sense is refused in words."""
    config = clusters.config.read_text()
    try:
        assert ct.get_config("clusters.cpu.maximum") == 0
        ct.set_config("clusters.more", {"scheduler_address": "tcp://a:1"})
        ct.set_config("clusters.more.resources", {"GPU": 2})
        assert ct.get_config("clusters.more")["resources"] == {"GPU": 2}
        with pytest.raises(ConfigError, match="unknown field `adress`"):
            ct.set_config("clusters.more.adress", "x")
        for text, message in WRONG.items():
            clusters.config.write_text(text)
            with pytest.raises(ConfigError, match=message):
                ct.dispatch(ct.lattice(ct.electron(where_it_is, executor="dask")))()
    finally:
        clusters.config.write_text(config)


WRONG = {
    "[clusters.a]\n": r"\[clusters.a\] needs one of scheduler_address, scheduler_file, cluster_class",
    "[clusters.a]\nscheduler_address='a'\nscheduler_file='b'\n": "clusters.a.scheduler_file exclude each other",
    "[clusters.local]\ncluster_class='a.B'\n": "`local` is this machine",
    "[clusters.a]\nscheduler_address='a'\nmaximum=2\n": "clusters.a.maximum goes with clusters.a.cluster_class",
    "[clusters.a]\ncluster_class='a.B'\nmaximum=2\nminimum=3\n": "is at least clusters.a.minimum",
    "[clusters.a]\ncluster_class='a.B'\nminimum=3\n": "clusters.a.minimum is nothing without clusters.a.maximum",
    "[clusters.a]\nresources={GPU='x'}\n": r"clusters\[\.\.\.\]\.resources",
}
