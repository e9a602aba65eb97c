"""Workers on hosts that do not see the data folder: values, questions and output travel, and nothing is lost."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from s3fs import S3FileSystem
from tests.system.hosts import Hosts, killed
from tests.system.test_session_turns import waiting
from tests.system.test_sessions import lattice_of
from tests.waiting import until

import covalab as ct
from covalab.cli import main
from covalab.client import Client, connect
from covalab.worker.process_tree import descendants

sampled = pytest.mark.sampled(5, of="file")
pytestmark = [
    pytest.mark.skipif(
        os.getuid() != 0 and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode != 0,
        reason="namespaces of network and mounts are root's to make",
    ),
]

INLINE = 65_536
SECRET = "nobody-may-see-this"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Start two hosts, with a worker each, that do not see the data folder."""
    folder = tmp_path_factory.mktemp("hosts")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # of a worker, where its S3 library looks for it
            patch.setenv(name, SECRET)
        hosts = Hosts(folder / "dask", [folder / "data"])
        for host in hosts.hosts:
            hosts.add_worker(host)
    yield hosts
    hosts.close()


@pytest.fixture(scope="module")
def far(hosts: Hosts) -> Iterator[Client]:
    """Return a client of a dispatcher whose pool has these workers, and no others."""
    data = hosts.folder.parent / "data"
    config = data.with_name("covalab.toml")
    config.write_text(f'[dask]\nscheduler_address = "{hosts.address}"\nsilent_seconds = 5\n')
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, SECRET)
        patch.setenv("COVALAB_CONFIG", str(config))
        patch.delenv("COVALAB_WORKERS", raising=False)
        patch.setenv("COVALAB_DATA_DIR", str(data))
        client = connect(data_dir=data)
        ct.dispatch_sync(ct.lattice(length))(b"")
        until(lambda: client.status().pools[0].workers == len(hosts.hosts), seconds=120)
        yield client
        client.stop()


class Store:
    """An S3 server on a host of its own, and a pool of the same workers whose values travel through it."""

    def __init__(self, hosts: Hosts, far: Client) -> None:
        self.flip = hosts.folder / "flip"
        self._hosts, self._far = hosts, far
        self._script = str(Path(__file__).with_name("s3_server.py"))
        host, self._process = hosts.add_server(self._script, "5000", str(self.flip))
        endpoint = f"http://{host.address}:5000"
        self.files = S3FileSystem(endpoint_url=endpoint, key=SECRET, secret=SECRET, use_listings_cache=False)
        until(self.is_up)
        config = far.data_dir.with_name("covalab.toml")
        config.write_text(
            f'{config.read_text()}[clusters.stored]\nscheduler_address = "{hosts.address}"\n'
            f'[data]\nurl = "s3://values/some/where"\nstorage_options = {{ endpoint_url = "{endpoint}" }}\n'
        )

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.files.exists("values"))
        except OSError:
            return False

    def objects(self) -> list[str]:
        """Return what is in it, without the probes."""
        found = self.files.find("values")
        return [path for path in found if not path.rpartition("/")[2].startswith("probe")]

    def kill(self) -> None:
        """Kill the server."""
        killed(self._process)

    def trouble(self) -> str:
        """Return what is said about the store."""
        return "".join(pool.store_trouble for pool in self._far.status().pools)


@pytest.fixture(scope="module")
def store(hosts: Hosts, far: Client) -> Store:
    """Start an S3 server, and name it in the configuration."""
    return Store(hosts, far)


@pytest.fixture(autouse=True)
def at_far(far: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test of this file dispatch to that dispatcher."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(far.data_dir))
    monkeypatch.setenv("COVALAB_CONFIG", str(far.data_dir.with_name("covalab.toml")))
    monkeypatch.delenv("COVALAB_WORKERS", raising=False)


def pattern(n: int, mark: int = 0) -> bytes:
    """Return so many bytes that no other mark has."""
    block = hashlib.sha256(f"{n} {mark}".encode()).digest()
    return (block * (n // len(block) + 1))[:n]


@ct.electron
def length(value: bytes) -> int:
    """Return the length of a value."""
    return len(value)


@ct.electron
def seen(value: bytes) -> tuple[str, int]:
    """Return the network address of the host, and what is known of a value."""
    return address(), hash_of(value)


def hash_of(value: bytes) -> int:
    """Return a number that tells values apart."""
    return int(hashlib.sha256(value).hexdigest()[:12], 16)


def address() -> str:
    """Return the address of the host of this process."""
    found = subprocess.run(
        ["ip", "-o", "-4", "addr", "show", "dev", "eth0"], capture_output=True, text=True, check=True
    )
    return found.stdout.split()[3].partition("/")[0]


@ct.electron
def made(n: int, mark: int = 0) -> bytes:
    """Return a value that no other has, and take a moment, so that both hosts get some."""
    time.sleep(0.02)
    return pattern(n, mark)


SIZES = [1, INLINE - 100, INLINE + 1, 1_000_003, 9_000_001]
LARGE = [60_000_000, 200_000_000]


@ct.lattice
def there_and_back(values: list[bytes], sizes: list[int]) -> object:
    """Values as arguments, as results, and from node to node."""
    results = [made(n, 1) for n in sizes]
    return [[seen(value) for value in values], results, [seen(result) for result in results]]


@ct.lattice(executor="stored")
def there_and_back_through_store(values: list[bytes], sizes: list[int], mark: int) -> object:
    """The same, through the object store; with another mark, other values."""
    results = [made(n, mark) for n in sizes]
    return [[seen(value) for value in values], results, [seen(result) for result in results]]


def check_through_store(sizes: list[int], mark: int) -> None:
    """Check that values of some sizes arrive everywhere as they were."""
    values = [pattern(n, mark + 1) for n in sizes]
    result = ct.dispatch_sync(there_and_back_through_store)(values, sizes, mark)
    assert result.status == ct.status.COMPLETED, result.error
    arguments, results, between = result.result
    expected = [hash_of(pattern(n, mark)) for n in sizes]
    assert [hash_of(value) for value in results] == expected
    assert [one[1] for one in between] == expected
    assert [one[1] for one in arguments] == [hash_of(value) for value in values]


def check_there_and_back(sizes: list[int]) -> set[str]:
    """Check that values of some sizes arrive everywhere as they were. Return the hosts that were seen."""
    values = [pattern(n) for n in sizes]
    result = ct.dispatch_sync(there_and_back)(values, sizes)
    assert result.status == ct.status.COMPLETED, result.error
    arguments, results, between = result.result
    assert [hash_of(value) for value in results] == [hash_of(pattern(n, 1)) for n in sizes]
    assert [one[1] for one in arguments] == [hash_of(value) for value in values]
    assert [one[1] for one in between] == [hash_of(pattern(n, 1)) for n in sizes]
    return {one[0] for one in [*arguments, *between]}


@sampled
def test_values_of_all_sizes_arrive_as_they_were(hosts: Hosts, far: Client) -> None:
    """As arguments, as results and between nodes; each that is a blob is in the data folder when its node is done."""
    seen_hosts: set[str] = set()
    while len(seen_hosts) < 2:
        seen_hosts |= check_there_and_back(SIZES)
    assert seen_hosts == {host.address for host in hosts.hosts}
    for number in range(2):
        assert hosts.cache(hosts.hosts[number]).stat().st_mode & 0o777 == 0o700
    assert not any((host.folder / "data").exists() for host in hosts.hosts)


@pytest.mark.nightly
def test_large_values_arrive_as_they_were(far: Client) -> None:
    """Also 200 MB, in pieces."""
    check_there_and_back(LARGE)


@sampled
def test_forty_values_from_host_to_host(far: Client) -> None:
    """Each is made on one host and read on whichever is free."""

    @ct.electron
    def both(first: bytes, second: bytes) -> tuple[int, int]:
        return hash_of(first), hash_of(second)

    @ct.lattice
    def crossing(n: int) -> object:
        values = [made(100_000, mark) for mark in range(n)]
        return [both(values[k], values[-1 - k]) for k in range(n)]

    result = ct.dispatch_sync(crossing)(40)
    expected = [hash_of(pattern(100_000, mark)) for mark in range(40)]
    assert result.result == list(zip(expected, reversed(expected), strict=True)), result.error
    numbers = [number for number, node in enumerate(far.graph(result.dispatch_id).nodes) if node.name == "made"]
    assert len(numbers) == 40
    for number in numbers:
        value = far.node(result.dispatch_id, number).value
        assert value is not None
        assert far.blobs.has(value)


@sampled
def test_functions_and_modules_that_are_large_travel(
    far: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a function closes over, and the source of a local module, are values like others."""
    carried = pattern(150_000)
    (tmp_path / "far_away.py").write_text(f"TEXT = {'x' * 100_000!r}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    @ct.electron
    def look() -> tuple[int, int]:
        import far_away  # type: ignore[import-not-found]

        return hash_of(carried), len(far_away.TEXT)

    result = ct.dispatch_sync(ct.lattice(look))()
    assert result.result == (hash_of(carried), 100_000), result.error


@sampled
def test_a_sublattice_is_built_there(far: Client) -> None:
    """Its graph holds a large value, and goes back."""

    @ct.electron
    @ct.lattice
    def inner(value: bytes) -> object:
        return [length(value), length(value[1:])]

    @ct.lattice
    def outer(n: int) -> object:
        return inner(made(n))

    assert ct.dispatch_sync(outer)(300_000).result == [300_000, 299_999]


@sampled
def test_output_is_seen_while_it_is_printed(far: Client, tmp_path: Path) -> None:
    """What a task prints and how far it is come while it runs; what it displays as well."""
    go = tmp_path / "go"

    @ct.electron
    def speaking(go: str) -> str:
        import sys
        import time
        from pathlib import Path

        from IPython.display import display

        print("first words")
        print("to the error stream", file=sys.stderr, flush=True)
        display({"text/plain": "shown"}, raw=True)
        ct.set_progress(0.5)
        sys.stdout.flush()
        deadline = time.monotonic() + 60
        while not Path(go).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        print("last words")
        return "done"

    run = ct.dispatch(ct.lattice(speaking))(str(go))
    until(lambda: "first words" in far.node(run, 0).stdout)
    until(lambda: "to the error stream" in far.node(run, 0).stderr)
    until(lambda: "shown" in str(far.outputs(run, 0, since=0)))
    go.touch()
    result = ct.get_result(run, wait=True, timeout=60)
    assert result.result == "done"
    assert result.get_node_result(0)["stdout"].endswith("first words\nlast words\n")


@sampled
def test_state_and_stream_hold_large_values(far: Client) -> None:
    """They are read as soon as they are reported."""

    @ct.electron
    def reporting() -> int:
        ct.set_state("model", pattern(200_000))
        ct.put_into_stream(pattern(100_000, 1))
        ct.put_into_stream("small")
        return 1

    run = ct.dispatch(ct.lattice(reporting))()
    result = ct.get_result(run, wait=True, timeout=60)
    assert result.get_state()["model"] == pattern(200_000)
    assert list(ct.get_execution(run).get_runtime_stream()) == [pattern(100_000, 1), "small"]


@sampled
def test_cancel_stops_a_task_there(far: Client, tmp_path: Path) -> None:
    """At once, also one that has just written a large value."""
    pid_file = tmp_path / "pid"

    @ct.electron
    def stays(pid_file: str) -> None:
        ct.set_state("large", pattern(5_000_000))
        print("still here", flush=True)
        Path(pid_file).write_text(str(os.getpid()))
        time.sleep(300)

    run = ct.dispatch(ct.lattice(stays))(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    ct.cancel(run)
    assert ct.get_result(run, wait=True, timeout=60).status == ct.status.CANCELLED
    until(lambda: not Path(f"/proc/{pid}").exists())


@sampled
def test_a_task_that_dispatches_there_is_told_that_it_cannot(far: Client) -> None:
    """It must not start another dispatcher, in an empty folder, whose work nobody would ever see."""

    @ct.electron
    def dispatching() -> str:
        return str(ct.dispatch(ct.lattice(length))(b"x"))

    result = ct.dispatch_sync(ct.lattice(dispatching))()
    assert result.status == ct.status.FAILED
    assert "which does not see the data folder" in str(result.error)


@sampled
def test_the_last_words_of_a_task_that_died(far: Client) -> None:
    """They are in the failure of its node, although its process and its host are elsewhere."""

    @ct.electron(retries=0)
    def dying() -> None:
        print("my last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    result = ct.dispatch_sync(ct.lattice(dying))()
    assert result.status == ct.status.FAILED
    assert "my last words" in result.get_node_result(0)["stdout"]


@sampled
def test_a_value_that_is_lost_here_is_made_again(far: Client, hosts: Hosts) -> None:
    """Its file is gone from the data folder and from the caches: the node that needs it asks, and is answered so."""

    @ct.electron
    def waiting(value: bytes, after: object) -> int:
        return len(value)

    @ct.electron
    def gate(folder: str, value: object) -> str:
        while not Path(folder, "go").exists():
            time.sleep(0.02)
        return "open"

    @ct.lattice
    def flow(folder: str) -> object:
        value = made(400_000, 7)
        return waiting(value, gate(folder, value[:1]))

    folder = hosts.folder / "gate"
    folder.mkdir()
    run = ct.dispatch(flow)(str(folder))
    until(lambda: far.node(run, 0).status == "completed")
    value = far.node(run, 0).value
    assert value is not None
    assert value.digest is not None
    far.blobs.path(value.digest).unlink()
    for host in hosts.hosts:
        (hosts.cache(host) / "blobs" / value.digest[:2] / value.digest).unlink(missing_ok=True)
    (folder / "go").touch()
    result = ct.get_result(run, wait=True, timeout=60)
    assert result.result == 400_000, result.error
    assert far.node(run, 0).attempt == 2


@ct.electron(time_limit=60)  # which is why each is a batch of its own
def read_for_a_while(value: bytes) -> tuple[str, int]:
    """Read a value, and stay, so that other hosts get the next ones."""
    time.sleep(0.3)
    return seen(value)


def to_all(n: int, mark: int) -> object:
    """A value that one host makes and all need."""
    value = made(n, mark)
    return [read_for_a_while(value) for _ in range(6)]


def check_to_all(hosts: Hosts, mark: int, executor: str) -> int:
    """Check that both hosts get a value of 5 MB that one of them makes. Return how many bytes passed here."""
    seen_hosts: set[str] = set()
    while len(seen_hosts) < len(hosts.hosts):
        mark += 1
        before = hosts.passed_here()
        found = ct.dispatch_sync(ct.lattice(to_all, executor=executor))(5_000_000, mark).result
        assert {one[1] for one in found} == {hash_of(pattern(5_000_000, mark))}
        seen_hosts = {one[0] for one in found}
    return hosts.passed_here() - before


def said_by_pools(client: Client) -> str:
    """Return what the pools have logged."""
    return "".join(path.read_text() for path in (client.data_dir / "logs").glob("pool-*.log"))


@sampled
def test_a_value_goes_from_host_to_host_not_through_here_once_more(hosts: Hosts, far: Client) -> None:
    """It comes home once, as it is to be kept, and goes to the other host from the one that made it."""
    passed = check_to_all(hosts, 3100, "dask")
    assert 5_000_000 < passed < 8_000_000


def test_values_travel_through_an_object_store(hosts: Hosts, far: Client, store: Store) -> None:
    """Of all sizes, in all directions; nothing stays there when the dispatch has ended, nobody reads the secret."""
    check_through_store(SIZES, 41)
    assert store.trouble() == ""
    until(lambda: not store.objects())
    shown = CliRunner().invoke(main, ["doctor"]).output
    assert "an object can be written to s3://values/some/where, read and deleted" in shown
    log = said_by_pools(far)
    assert "does not see the data folder: values travel" in log
    assert "object store" not in log
    assert SECRET not in log + shown + str(far.status()) + (hosts.folder / "dask.log").read_text()


WHAT_IS_SAID = {"seen": "is damaged: Expected checksum", "unseen": "these are not the bytes of value"}


@sampled
@pytest.mark.parametrize("how", WHAT_IS_SAID)
def test_what_is_spoilt_in_the_store_is_brought_in_another_way(far: Client, store: Store, how: str) -> None:
    """Whether or not the checksum of the store tells: the values are those that were made."""
    store.flip.write_text(how)
    try:
        check_through_store([70_000, 3_000_001], 51 if how == "seen" else 53)
    finally:
        store.flip.unlink()
    assert WHAT_IS_SAID[how] in said_by_pools(far)


@pytest.mark.nightly
def test_large_values_travel_through_an_object_store(hosts: Hosts, far: Client, store: Store) -> None:
    """Also 200 MB."""
    check_through_store(LARGE, 61)
    passed = check_to_all(hosts, 4300, "stored")
    assert 5_000_000 < passed < 8_000_000


@sampled
def test_a_store_that_dies_in_mid_run_is_done_without(far: Client, store: Store) -> None:
    """The values take the other way, and it is said which store it is and what to do. For a store's last."""

    @ct.lattice(executor="stored")
    def many(n: int) -> object:
        return [made(1_000_000, 700 + mark) for mark in range(n)]

    run = ct.dispatch(many)(30)
    until(lambda: far.summary(run).counts.completed >= 3)
    store.kill()
    assert far.summary(run).counts.completed < 30
    result = ct.get_result(run, wait=True, timeout=120)
    expected = [hash_of(pattern(1_000_000, 700 + mark)) for mark in range(30)]
    assert [hash_of(value) for value in result.result] == expected
    until(lambda: "s3://values/some/where" in store.trouble())
    assert "Start it, or correct data.url" in store.trouble()
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 1
    assert "BAD  values do not go through the object store" in shown.output
    assert SECRET not in shown.output


@sampled
def test_a_cut_line_delays_and_loses_nothing(far: Client, hosts: Hosts, tmp_path: Path) -> None:
    """Both hosts are away for a moment in the middle of a transfer: the values come when they are back."""

    @ct.lattice
    def many(n: int) -> object:
        return [made(2_000_000, mark) for mark in range(n)]

    run = ct.dispatch(many)(30)
    until(lambda: far.summary(run).counts.completed >= 3)
    for host in hosts.hosts:
        host.cut()
    before = far.summary(run).counts.completed
    time.sleep(1.5)  # the time that they are away, no wait for something
    for host in hosts.hosts:
        host.mend()
    result = ct.get_result(run, wait=True, timeout=120)
    assert before < 30
    assert [hash_of(value) for value in result.result] == [hash_of(pattern(2_000_000, mark)) for mark in range(30)]


@sampled
def test_killed_workers_are_replaced(far: Client, hosts: Hosts) -> None:
    """Those of both hosts are killed with their nannies in the middle; that nothing runs is said, until others come."""

    @ct.lattice
    def many(n: int) -> object:
        return [made(1_000_000, 100 + mark) for mark in range(n)]

    run = ct.dispatch(many)(60)
    until(lambda: far.summary(run).counts.completed >= 5)
    for number in (1, 2):
        killed(hosts.processes[number])
    until(lambda: "there is none since" in far.summary(run).notice)
    assert far.summary(run).counts.completed < 60
    for host in hosts.hosts:
        until(lambda host=host: not list((host.folder / "scratch").glob("*/covalab-cache-*")))  # type: ignore[misc]
    for number in (1, 2):
        hosts.processes[number] = hosts.add_worker(hosts.hosts[number - 1])
    result = ct.get_result(run, wait=True, timeout=120)
    expected = [hash_of(pattern(1_000_000, 100 + mark)) for mark in range(60)]
    assert [hash_of(value) for value in result.result] == expected
    assert far.summary(run).notice == ""
    until(lambda: far.status().pools[0].workers == 2)


HOST = """
def host():
    command = ['ip', '-o', '-4', 'addr', 'show', 'dev', 'eth0']
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[3]
"""


@sampled
def test_a_session_goes_on_on_another_host(far: Client, hosts: Hosts, tmp_path: Path) -> None:
    """Bare cells with large names: their host's worker is killed between two, and the next is run by another's."""
    cells = [
        "import os, subprocess, time\nimport numpy as np\na = np.arange(200_000)\nview = a[10:]\nwhere = []",
        HOST + "where.append(host())\nprint('x' * 200_000)\nview[0] = -1",
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n" + waiting(tmp_path / "go"),
        "where.append(host())\ntotal = int(a.sum()), view.base is a",
    ]
    run = ct.dispatch(lattice_of(cells))()
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    until(lambda: far.summary(run).counts.completed == 2)  # what had not arrived would run once more
    pid = int((tmp_path / "pid").read_text())
    here = next(number for number in range(2) if pid in descendants(hosts.processes[1 + number].pid))
    killed(hosts.processes[1 + here])
    (tmp_path / "go").touch()
    result = ct.get_result(run, wait=True, timeout=120)
    assert result.status == ct.status.COMPLETED, result.error
    assert result["total"] == (200_000 * 199_999 // 2 - 11, True)
    assert len(set(result["where"])) == 2
    assert len(far.node(run, 3).stdout) > 200_000
    hosts.processes[1 + here] = hosts.add_worker(hosts.hosts[here])
