"""A kernel on another host: another network, no data folder, another environment; a real Jupyter server, with TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jupyter_client.manager import KernelManager
from tests.jupyter.kernels import Kernel
from tests.system.far_host import FarHost, environment_without, far_host, hidden, needs_namespaces, run
from tests.waiting import until

from covalab.client import Client

pytestmark = needs_namespaces

TOKEN = "the-token-of-ada"
PRIVATE = ("COVALAB_", "JUPYTER", "JPY_")


class JupyterServer:
    """A real server with our extension, below a base URL, reached by TLS."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.data = folder / "data"
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        _write_certificate(self.certificate, self.key, address)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it; a second time on the same port."""
        runtime = self.folder / f"runtime-{self.port}"
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
                    *(f"--ip={self.address}", f"--port={self.port}", "--ServerApp.port_retries=0"),
                    *(f"--certfile={self.certificate}", f"--keyfile={self.key}"),
                    *(f"--IdentityProvider.token={TOKEN}", "--ServerApp.base_url=/user/ada/"),
                    *(f"--ServerApp.root_dir={self.notebooks}", "--ServerApp.jpserver_extensions=covalab=True"),
                ],
                env=environment_without(
                    *PRIVATE,
                    COVALAB_DATA_DIR=str(self.data),
                    COVALAB_CONFIG=str(self.folder / "covalab.toml"),
                    COVALAB_WORKERS="2",
                    JUPYTER_RUNTIME_DIR=str(runtime),
                    JUPYTER_CONFIG_DIR=str(self.folder / "config"),
                    HOME=str(self.folder),
                ),
                cwd=self.notebooks,
                stdout=log,
                stderr=log,
            )
        self.port = until(lambda: self._port(runtime))

    def _port(self, runtime: Path) -> int:
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        for file in runtime.glob("jpserver-*.json"):
            return int(json.loads(file.read_text() or "{}").get("port", 0))
        return 0

    def stop(self) -> None:
        """Kill it: nothing of it is tidied up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"https://{self.address}:{self.port}/user/ada/"


def _write_certificate(certificate: Path, key_file: Path, address: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "covalab tests")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def host() -> Iterator[FarHost]:
    """Make the other host."""
    with far_host() as host:
        yield host


@pytest.fixture(scope="module")
def server(host: FarHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Start the server on this host."""
    server = JupyterServer(tmp_path_factory.mktemp("server"), host.here)
    yield server
    server.stop()
    Client(server.data, start=False).stop()


class FarPlace:
    """What a process on the other host has: an environment in a place that is not on this host, and an empty home."""

    def __init__(self, host: FarHost, server: JupyterServer, folder: Path) -> None:
        self.host = host
        self.home = folder
        venv = folder / "venv"
        self.python = str(venv / "bin" / "python")
        self.script = (
            f"{hidden(server.data, server.notebooks, folder)} && mkdir -p {venv} {folder}/work && "
            f"mount --bind {sys.prefix} {venv} && cd {folder}/work"
        )
        self.variables = environment_without(
            *PRIVATE,
            HOME=str(folder),
            COVALAB_URL=server.url,
            COVALAB_TOKEN=TOKEN,
            COVALAB_CA_FILE=str(server.certificate),
            ONLY_FAR="1",
        )

    def run(self, code: str, **more: str) -> str:
        """Run a program there and return what it printed."""
        return run(self.host.command(self.script, self.python, "-c", code), {**self.variables, **more})


@pytest.fixture(scope="module")
def far(host: FarHost, server: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> FarPlace:
    """Return the place of the processes on the other host."""
    until(server.data.exists)
    return FarPlace(host, server, tmp_path_factory.mktemp("far"))


@pytest.fixture(scope="module")
def kernel(far: FarPlace) -> Iterator[Kernel]:
    """Start a kernel there. Its messages go through sockets in the file system."""
    manager = KernelManager(transport="ipc", ip=str(far.home) + "-kernel")
    assert manager.kernel_spec is not None
    manager.kernel_spec.argv = far.host.command(
        far.script, far.python, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"
    )
    manager.start_kernel(env=far.variables)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    kernel = Kernel(manager, client)
    kernel.succeed("%load_ext covalab\nimport covalab as ct, os, sys")
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def test_cells_run_beside_the_server(kernel: Kernel, far: FarPlace) -> None:
    """Electron cells, a lattice, values up to 24 MB, output; in the environment, folder and home of the server."""
    kernel.succeed("import numpy as np\nbig = np.arange(3_000_000)\nos.environ['MINE'] = 'yes'")
    kernel.succeed("%%electron double(values)\nprint('doubling')\nvalues * 2")
    kernel.succeed(
        "%%electron place()\nimport os, sys\n"
        "(sys.prefix, os.getcwd(), os.environ['HOME'], os.environ.get('MINE'), os.environ.get('ONLY_FAR'),"
        " [name for name in os.environ if name in ('COVALAB_URL', 'COVALAB_TOKEN')])"
    )
    kernel.succeed("@ct.lattice\ndef work(values):\n    return double(values=values), place()")
    shown = kernel.succeed("run = ct.dispatch(work)(big)\nrun")
    kernel.succeed("result = ct.get_result(run, wait=True)\ndoubled, where = result.result")
    kernel.succeed("assert (doubled == big * 2).all() and doubled.nbytes > 20_000_000")

    assert "application/vnd.covalab.dispatch+json" in shown.outputs[0]
    said = kernel.succeed("print(where, sys.prefix, result.get_node_result(0)['stdout'])").text
    assert f"'{sys.prefix}'" in said
    assert f"{far.home}/venv doubling" in said
    assert "'yes', None, []" in said
    assert str(far.home) not in said.split(" doubling")[0].rpartition(")")[0]


def test_bare_cells_run_in_a_session(kernel: Kernel) -> None:
    """A cell with `--run` takes names of the notebook and brings names back, large ones too; a module comes along."""
    kernel.succeed("open('beside.py', 'w').write('def thrice(x):\\n    return 3 * x\\n')")
    kernel.succeed("import beside\nsmall = 7\nlarge = np.ones(100_000)")
    kernel.succeed("%%electron --run\nlarge[5] = beside.thrice(small)\nmade = {'sum': large.sum()}\nprint('in it')")
    kernel.succeed("assert made == {'sum': 100_020.0} and large[5] == 21, (made, large[5])")

    kernel.succeed("%%electron\nfirst = list(range(5))")
    kernel.succeed("%%electron\nfirst.append(large.sum())\nsecond = first")
    kernel.succeed("%lattice flow -> second")
    kernel.succeed("outcome = ct.dispatch_sync(flow)()")
    assert kernel.succeed("[int(one) for one in outcome.result]").text == "[0, 1, 2, 3, 4, 100020]"


def test_state_stream_commands_and_tasks(kernel: Kernel) -> None:
    """What belongs to a running dispatch comes and goes as it does beside the dispatcher."""
    kernel.succeed(
        "@ct.electron\ndef telling():\n    for n in range(3):\n        ct.put_into_stream({'n': n})\n"
        "        ct.set_state('n', n)\n    return n\n"
        "@ct.electron\ndef waiting():\n    import time\n    time.sleep(600)\n"
        "execution = ct.get_execution(ct.dispatch(ct.lattice(telling))())"
    )
    assert kernel.succeed("list(execution.get_runtime_stream())").text == "[{'n': 0}, {'n': 1}, {'n': 2}]"
    kernel.succeed("stuck = ct.dispatch(ct.lattice(waiting))()\nct.pause(stuck)\nct.resume(stuck)\nct.cancel(stuck)")
    assert kernel.succeed("str(ct.get_result(stuck, wait=True).status)").text == "'CANCELLED'"
    assert kernel.succeed("ct.get_task_result(ct.enqueue(pow, 2, 10), wait=True).result").text == "1024"
    again = "ct.get_result(ct.redispatch(run)(np.arange(50_000)), wait=True).result[0][-1]"
    assert kernel.succeed(f"int({again})").text == "99998"
    assert kernel.succeed("[one.status for one in ct.list_dispatches()][:1]").text == "['COMPLETED']"


def test_a_person_answers_from_there_and_the_live_view_follows(kernel: Kernel) -> None:
    """The view of a kernel without our extension, and the page behind it, know the wait, answer it, and see the end."""
    kernel.succeed(
        "import time\nfrom covalab.client import connect\nfrom covalab.view.bundle import MIME_TYPE, dispatch_bundle\n"
        "from covalab.view.widget import DispatchWidget\n"
        "@ct.electron\ndef signed(answer):\n    return f'signed {answer}'\n"
        "asking = str(ct.dispatch(ct.lattice(lambda: signed(ct.pause_for('approval', {'sum': 3}))))())\n"
        "while not (waits := ct.get_interrupts(asking)):\n    time.sleep(0.05)"
    )
    assert kernel.succeed("waits[0]['type'], waits[0]['text'], waits[0]['status']").text == (
        "('approval', '{sum: 3}', 'waiting')"
    )
    kernel.succeed(
        "summary, graph = connect().summary(asking), connect().graph(asking)\n"
        "view = DispatchWidget(bundle=dispatch_bundle(summary, graph, [], widget=False)[MIME_TYPE])\n"
        "told = []\nview.send = lambda content, buffers=None: told.append(content)\n"
        "view._on_message(view, {'type': 'shown', 'since': 0, 'graph': False}, [])\n"
        "view._on_message(view, {'type': 'command', 'request': 'r', 'json': '\"yes\"',"
        " 'command': {'action': 'answer', 'id': waits[0]['id'], 'request_id': 'r1'}}, [])\n"
        "view._thread.join(60)"
    )
    assert kernel.succeed("ct.get_result(asking, wait=True).result").text == "'signed yes'"
    assert kernel.succeed("[one for one in told if one['type'] in ('stale', 'problem')]").text == "[]"
    assert kernel.succeed("told[0]['type'], told[-1]['changes']['summary']['status']").text == "('graph', 'completed')"

    kernel.succeed("asking = str(ct.dispatch(ct.lattice(lambda: ct.pause_for('approval')))())")
    kernel.succeed("while not (waits := ct.get_interrupts(asking)):\n    time.sleep(0.05)")
    kernel.succeed("record = ct.continue_with(asking, waits[0]['id'], {'ok': True}, actor='ada')")
    assert kernel.succeed("record['actor'], ct.get_result(asking, wait=True).result").text == "('ada', {'ok': True})"


def test_triggers_of_a_far_kernel_watch_beside_the_server(kernel: Kernel, server: JupyterServer) -> None:
    """By time and by a folder there; they can be asked for and stopped from here."""
    folder = server.folder / "watched"
    folder.mkdir()
    kernel.succeed(
        "from covalab.triggers import DirTrigger, TimeTrigger\n"
        f"kinds = [TimeTrigger(0.3), DirTrigger({str(folder)!r}, ['created'])]\n"
        "@ct.electron\ndef said(word):\n    return word\n"
        "runs = [ct.dispatch(ct.lattice(said, triggers=kind))(n) for n, kind in enumerate(kinds)]"
    )
    assert kernel.succeed("[kind.state for kind in kinds]").text == "['watching', 'watching']"
    (folder / "new").touch()
    # It may say first that a dispatch waits for its trigger.
    assert kernel.succeed("[ct.get_result(run, wait=True).result for run in runs]").text.endswith("[0, 1]")
    kernel.succeed("while len(kinds[0].new_dispatch_ids) < 2:\n    time.sleep(0.05)")
    kernel.succeed("ct.stop_triggers(runs)")
    assert kernel.succeed("[kind.state for kind in kinds]").text == "['stopped', 'stopped']"


def test_a_notebook_runs_there(kernel: Kernel) -> None:
    """`run_notebook` reads the file where the kernel is."""
    kernel.succeed(
        "import nbformat\nbook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in "
        "('rows = list(range(10))', 'total = sum(rows)\\nprint(total)')])\nnbformat.write(book, 'book.ipynb')"
    )
    kernel.succeed("ran = ct.get_result(ct.run_notebook('book.ipynb'), wait=True)")
    assert kernel.succeed("str(ran.status), ran['total']").text == "('COMPLETED', 45)"
    shown = kernel.succeed("print(ct.export_notebook(ran.dispatch_id, 'out.ipynb'), open('out.ipynb').read())").text
    assert "45" in shown


def test_the_stop_button_ends_a_wait(kernel: Kernel) -> None:
    """And the kernel's next request is answered with its own answer."""
    kernel.succeed("stuck = ct.dispatch(ct.lattice(waiting))()")
    cell, seconds = kernel.stop("print('now')\nct.get_result(stuck, wait=True)", after="now")

    assert cell.reply["status"] == "error"
    assert seconds < 20
    assert kernel.succeed("ct.cancel(stuck)\nct.get_result(stuck, wait=True).dispatch_id == stuck").text == "True"


def test_a_server_that_ends_and_comes_back_is_waited_for(kernel: Kernel, server: JupyterServer) -> None:
    """The work goes on meanwhile; a wait says that it waits, and returns the right result."""
    kernel.succeed(
        "@ct.electron\ndef patient(flag):\n    import os, time\n    while not os.path.exists(flag):\n"
        "        time.sleep(0.05)\n    return 'there'\n"
    )
    flag = server.folder / "flag"
    kernel.succeed(f"patiently = ct.dispatch(ct.lattice(patient))({str(flag)!r})")
    cell = kernel.begin("print(ct.get_result(patiently, wait=True).result)")
    starting = threading.Timer(0, server.stop)
    starting.start()
    while "does not answer" not in cell.printed:
        kernel.receive(cell)
    starting.join()
    flag.touch()
    server.start()
    while not cell.reply:
        kernel.receive(cell)

    assert cell.reply["status"] == "ok"
    assert "waiting" in cell.printed
    assert "answers again" in cell.printed
    assert cell.printed.endswith("there\n")


def test_errors_say_what_to_do(far: FarPlace, server: JupyterServer) -> None:
    """A wrong token, a wrong place, a server that does not run, a certificate that nobody knows, another Python."""
    url = server.url.rstrip("/")
    tried = [(url, "wrong"), (f"{url[:-4]}/bob", TOKEN), (f"http://{far.host.here}:9", "x"), (url, TOKEN)]
    code = (
        "import platform\nplatform.python_version = lambda: '3.99.0'\n"
        "import covalab as ct\n"
        f"for url, token in {tried!r}:\n"
        "    try:\n        ct.connect(url, token)\n"
        "    except ct.CovalabError as error:\n        print(type(error).__name__, error)\n"
    )
    wrong, elsewhere, gone, other = far.run(code).splitlines()

    assert wrong.startswith(f"TokenRefused the Jupyter server at {url} does not accept the token")
    assert elsewhere.startswith("DispatcherUnavailable no covalab answers at")
    assert "jupyter server extension list" in elsewhere
    assert gone.startswith(f"DispatcherUnavailable the Jupyter server at http://{far.host.here}:9 does not answer")
    assert other.startswith("VersionMismatch this process runs Python 3.99.0")
    unknown = far.run(
        "import covalab as ct\ntry:\n    ct.connect()\nexcept ct.CovalabError as error:\n    print(error)",
        COVALAB_CA_FILE="",
    )
    assert "cannot be verified" in unknown
    assert "COVALAB_CA_FILE" in unknown
    assert TOKEN not in unknown + wrong + elsewhere + gone


def test_no_dispatcher_and_no_data_folder_there(far: FarPlace, kernel: Kernel) -> None:
    """Nothing of the data folder was made beside the kernel, and commands name the server."""
    kernel.succeed("ct.get_result(ct.enqueue(pow, 2, 3), wait=True)")
    found = kernel.succeed("sorted(os.listdir(os.path.expanduser('~')))").text
    assert "data" not in found
    assert kernel.succeed("os.path.exists(os.path.expanduser('~/.local/share/jupyter/covalab'))").text == "False"
    pids = subprocess.run(
        ["ip", "netns", "pids", far.host.name], capture_output=True, text=True, check=True
    ).stdout.split()
    commands = [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in pids]
    assert [command for command in commands if "covalab.dispatcher" in command] == []
    stopped = kernel.run("!covalab stop; COLUMNS=200 covalab list > listed\nprint(open('listed').read())")
    assert "this can be done on the host of https:" in stopped.printed
    assert "COMPLETED" in stopped.printed
