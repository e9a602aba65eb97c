"""Clusters with a name in the configuration: a lattice mixes them, and each electron goes where it asks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.system.test_other_dask import HandMade

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import ConfigError

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
        far = HandMade(folder / "far", "--nthreads=4", n_workers=1)
        written = next((folder / "far").glob("scheduler-*.json"))
        config.write_text(
            f'[clusters.far]\nscheduler_file = "{written}"\n'
            "[clusters.cpu]\n" + LOCAL_CLUSTER.format(name="cpu", n_workers=1)
        )
        client = connect()
        yield Clusters(client, far, config)
        client.stop()
        far.kill()


@ct.electron
def where() -> str:
    """Return what tells the machines of these tests apart."""
    home = os.environ["HOME"]
    return "far" if home.endswith("/far/home") else "here"


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
                ct.dispatch(ct.lattice(ct.electron(where, executor="dask")))()
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
