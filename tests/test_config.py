"""The configuration: Covalent's three functions over one file that several processes may write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import covalab as ct
from covalab import config
from covalab.core.errors import ConfigError
from covalab.sdk.configuration import _ELSEWHERE, default_executor, exhaustive_postprocess

# Every key that Covalent 0.240 documents, except those that are there while it runs.
COVALENTS_KEYS = {
    "sdk": "config_file log_dir log_level enable_logging executor_dir no_cluster exhaustive_postprocess "
    "dispatch_cache_dir task_packing results_dir",
    "dispatcher": "address port cache_dir results_dir log_dir db_path heartbeat_interval heartbeat_file "
    "use_async_dispatcher asset_cache_size",
    "dask": "cache_dir log_dir mem_per_worker threads_per_worker num_workers",
    "workflow_data": "storage_type base_dir",
    "user_interface": "address port dev_port log_dir",
}
KEYS = [f"{section}.{key}" for section, keys in COVALENTS_KEYS.items() for key in keys.split()]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point at a file that is not there, with no variable that goes before it."""
    for names in config.VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    path = tmp_path / "folder" / "covalab.toml"
    monkeypatch.setenv("COVALAB_CONFIG", str(path))
    return path


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_covalent_can_be_read(key: str, file: Path) -> None:
    """With a value of the type that Covalent has there; reading makes no file."""
    value = ct.get_config(key)

    expected = int if key.rpartition(".")[2] in _NUMBERS else str
    assert type(value) is expected
    assert not file.parent.exists()


_NUMBERS = ("port", "dev_port", "heartbeat_interval", "asset_cache_size", "threads_per_worker", "num_workers")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_a_setting_or_says_what_replaces_it(key: str, file: Path) -> None:
    """No key is taken and then ignored."""
    if key in _ELSEWHERE:
        with pytest.warns(UserWarning, match=f"`{key}` is not set: "):
            ct.set_config(key, "7")
        assert not file.exists()
    else:
        value = {"dask.num_workers": 7, "sdk.log_level": "error"}.get(key, "true")
        ct.set_config(key, value)
        assert ct.get_config(key) == value


def test_values_are_read_one_by_one_several_and_all(file: Path) -> None:
    """A key, a list of one, a list of several, a section, everything."""
    everything = ct.get_config()

    assert ct.get_config("dask.threads_per_worker") == ct.get_config(["dask.threads_per_worker"]) == 1
    assert ct.get_config(["dask.threads_per_worker", "sdk.no_cluster"]) == {
        "dask.threads_per_worker": 1,
        "sdk.no_cluster": "false",
    }
    assert ct.get_config("sdk") == everything["sdk"]
    assert ct.get_config([]) == everything
    assert set(everything) == {*COVALENTS_KEYS, "clusters", "executors", "results", "data"}
    assert everything["dask"]["num_workers"] == config.default_workers()
    assert everything["sdk"]["config_file"] == str(file)


def test_a_missing_key_is_a_key_error_that_helps() -> None:
    """It names what is near, or what there is."""
    with pytest.raises(KeyError, match="did you mean 'num_workers'"):
        ct.get_config("dask.num_wrokers")
    with pytest.raises(KeyError, match="nothing below it"):
        ct.get_config("dask.num_workers.more")
    with pytest.raises(KeyError, match=r"'executors\.slurm'"):
        ct.get_config(["sdk.no_cluster", "executors.slurm"])


def test_what_is_set_is_on_the_disk_at_once(file: Path) -> None:
    """By key, by dict, nested; new sections have a heading of their own, and another process sees it."""
    ct.set_config("dask.num_workers", 3)
    ct.set_config({"sdk.no_cluster": "true", "executors.slurm.username": "ada", "executors.slurm.options": {"t": 5}})
    ct.set_config({"sdk": {"log_level": "error"}, "mine.deep.key": [1, 2]})
    ct.reload_config()

    assert ct.get_config("executors.slurm") == {"username": "ada", "options": {"t": 5}}
    assert ct.get_config("mine.deep") == {"key": [1, 2]}
    assert "[executors.slurm]\nusername" in file.read_text()
    assert config.load() == config.Config(
        config.SdkConfig(log_level="error", no_cluster="true"),
        config.DaskConfig(num_workers=3),
        {"slurm": {"username": "ada", "options": {"t": 5}}},
    )
    code = "import covalab as ct; print(ct.get_config('dask.num_workers'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"3\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_none_gives_a_key_its_default_again(file: Path) -> None:
    """The key leaves the file; one that is not there is no trouble."""
    ct.set_config("dask.num_workers", 3)
    ct.set_config("dask.num_workers")
    ct.set_config("executors.slurm.username", None)

    assert ct.get_config("dask.num_workers") == config.default_workers()
    assert "num_workers" not in file.read_text()
    assert "slurm" not in file.read_text()


def test_what_the_user_wrote_stays(file: Path) -> None:
    """Comments, order, blank lines and the file's mode; a link stays a link."""
    real = file.parent / "real.toml"
    file.parent.mkdir()
    real.write_text("# mine\n[dask]  # here\nnum_workers = 2 # two\n\n[executors.slurm]\nuser = 'ada'\n")
    real.chmod(0o644)
    file.symlink_to(real)

    ct.set_config("dask.num_workers", 4)

    assert file.is_symlink()
    assert real.read_text() == "# mine\n[dask]  # here\nnum_workers = 4 # two\n\n[executors.slurm]\nuser = 'ada'\n"
    assert real.stat().st_mode & 0o777 == 0o644


WRONG: list[tuple[object, object, str]] = [
    ("dask.num_workers", "many", "dask.num_workers"),
    ("dask.num_wrokers", 2, "num_wrokers"),
    ("sdk.log_level", "loud", "sdk.log_level"),
    ("sdk.no_cluster", "perhaps", "sdk.no_cluster"),
    ("dask.cluster_kwargs", {"x": object()}, "cluster_kwargs"),
    ("executors.slurm", object(), "a value is text, a number"),
    ("dask.num_workers.more", 2, "dask.num_workers has a value"),
    ("dask", 3, "'dask' is no key"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_value_changes_nothing(key: str, value: object, message: str, file: Path) -> None:
    """The error names key and file, and the file is as it was."""
    ct.set_config("dask.num_workers", 2)
    before = file.read_text()

    with pytest.raises(ConfigError, match=message) as caught:
        ct.set_config(key, value)

    assert str(file) in str(caught.value)
    assert file.read_text() == before


def test_a_damaged_file_is_said_and_left_alone(file: Path) -> None:
    """Neither reading nor writing touches it."""
    file.parent.mkdir()
    file.write_text("[dask\n")

    with pytest.raises(ConfigError, match=r"covalab\.toml"):
        ct.get_config()
    with pytest.raises(ConfigError, match=r"covalab\.toml"):
        ct.set_config("dask.num_workers", 2)
    assert file.read_text() == "[dask\n"


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("COVALAB_CONFIG", "/proc/covalab.toml")

    with pytest.raises(ConfigError, match="COVALAB_CONFIG"):
        ct.set_config("dask.num_workers", 2)
    with pytest.raises(TypeError, match="a dict of them, not 3"):
        ct.set_config(3)  # type: ignore[arg-type]


def test_variables_always_go_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only until there is a file, as in Covalent; ours before Covalent's; writing under one warns."""
    ct.set_config({"sdk.results_dir": "/file", "sdk.no_cluster": "false"})
    monkeypatch.setenv("COVALENT_RESULTS_DIR", "/covalents")
    assert ct.get_config("sdk.results_dir") == "/covalents"
    monkeypatch.setenv("COVALAB_RESULTS_DIR", "/ours")
    monkeypatch.setenv("COVALENT_DISABLE_DASK", "1")
    monkeypatch.setenv("LOGLEVEL", "WARNING")
    monkeypatch.setenv("COVALAB_WORKERS", "5")

    assert ct.get_config("sdk.results_dir") == "/ours"
    assert ct.get_config("sdk.no_cluster") == "true"
    assert ct.get_config("sdk.log_level") == "warning"
    assert ct.get_config("dask.num_workers") == 5
    with pytest.warns(UserWarning, match="COVALAB_RESULTS_DIR goes before it"):
        ct.set_config("sdk.results_dir", "/file2")


def test_a_log_level_of_other_programs_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGLEVEL belongs to everybody."""
    monkeypatch.setenv("LOGLEVEL", "notice")

    assert ct.get_config("sdk.log_level") == "info"


def test_covalents_folder_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COVALENT_CONFIG_DIR holds our file, and Covalent's is left alone."""
    monkeypatch.delenv("COVALAB_CONFIG")
    monkeypatch.setenv("COVALENT_CONFIG_DIR", str(tmp_path))

    ct.set_config("dask.num_workers", 2)

    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [".covalab.toml.lock", "covalab.toml"]
    assert ct.get_config("sdk.config_file") == str(tmp_path / "covalab.toml")


@pytest.mark.parametrize("on", ["true", True])
def test_switches_are_texts_or_truth_values(on: object) -> None:
    """Covalent's programs write "true"; both read as Covalent's."""
    assert (default_executor(), exhaustive_postprocess()) == ("dask", False)

    ct.set_config({"sdk.no_cluster": on, "sdk.exhaustive_postprocess": on})

    assert (default_executor(), exhaustive_postprocess()) == ("local", True)
    assert ct.get_config("sdk.no_cluster") == "true"


WRITER = """
import sys
import covalab as ct
for number in range(25):
    ct.set_config({f"executors.p{sys.argv[1]}.n{number}": number, "dask.num_workers": number + 1})
"""


def test_eight_processes_write_at_once_and_nothing_is_lost(file: Path) -> None:
    """Every change of every process is in the file, which is whole at every moment."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(number)]) for number in range(8)]
    while any(writer.poll() is None for writer in writers):
        config.load()
    assert [writer.returncode for writer in writers] == [0] * 8

    executors = config.load().executors
    assert executors == {f"p{process}": {f"n{number}": number for number in range(25)} for process in range(8)}
    assert [path.name for path in sorted(file.parent.iterdir())] == [".covalab.toml.lock", "covalab.toml"]


def test_a_lock_that_is_kept_is_not_waited_for_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds an error says so, and the file is as it was."""
    monkeypatch.setattr(config, "_LOCK_SECONDS", 0.2)
    ct.set_config("dask.num_workers", 2)
    before = file.read_text()

    with config._locked(file), pytest.raises(ConfigError, match="another process has been writing it"):
        ct.set_config("dask.num_workers", 3)

    assert file.read_text() == before


def test_the_defaults_of_executors_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of the built-in ones and of plug-ins in `sdk.executor_dir`; what is set goes before them."""
    (tmp_path / "mine_too.py").write_text(
        "from covalab.executors import BaseExecutor\n"
        "EXECUTOR_PLUGIN_NAME = 'Mine'\n"
        "_EXECUTOR_PLUGIN_DEFAULTS = {'region': 'north', 'size': 3}\n"
        "class Mine(BaseExecutor):\n"
        "    def __init__(self, region, size): self.region, self.size = region, size\n"
        "    def run(self, function, args, kwargs, task_metadata): return function(*args, **kwargs)\n"
    )
    ct.set_config({"sdk.executor_dir": str(tmp_path), "executors.mine_too.size": 4})
    manager = ct.executor._executor_manager
    manager.list_executors(regenerate=True, print_names=False)
    try:
        assert ct.get_config("executors.mine_too") == {"region": "north", "size": 4}
        assert {"local", "dask", "mine_too"} <= set(ct.get_config()["executors"])
        mine = manager.get_executor("mine_too")
        assert (mine.region, mine.size) == ("north", 4)
    finally:
        sys.modules.pop("mine_too")
        manager._classes.pop("mine_too")
        manager._defaults.pop("mine_too")


def test_workers_by_default_are_within_the_limit_of_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CPU_LIMIT`, as a spawner sets it; what is no number, or none, limits nothing."""
    monkeypatch.delenv("CPU_LIMIT", raising=False)
    cores = config.default_workers()
    for text, expected in {
        "1.0": 1,
        "0.5": 1,
        "1e6": cores,
        "": cores,
        "none": cores,
        "0": cores,
        "nan": cores,
    }.items():
        monkeypatch.setenv("CPU_LIMIT", text)
        assert config.default_workers() == expected, text
