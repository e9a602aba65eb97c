"""Packages for one task: installed once, into a folder of their own, and visible only while that task runs.

Never touches the environment that the worker runs in. A folder belongs to a set of requirements, an interpreter and
what is installed beside it; it is made under a lock and appears whole or not at all. What the environment already has
is used from there.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from covalab.core.errors import DepsFailed
from covalab.worker.shell import CommandResult, run_command

_MODULE_ENDINGS: Final = (".py", ".so", ".pyd")
_stashed: Final[dict[Path, dict[str, ModuleType]]] = {}
"""The modules that came from a folder, while it is not visible: some can be loaded only once in a process."""


def packages_folder(root: Path, packages: Sequence[str], requirements: str = "") -> Path | None:
    """Return the folder that holds some packages, after installing them if necessary.

    Parameters
    ----------
    root
        The folder of all such folders.
    packages
        Arguments of ``pip install``: requirements and options.
    requirements
        The text of a requirements file.

    Returns
    -------
    Path or None
        None if this environment has all of them already.

    Raises
    ------
    DepsFailed
        If they cannot be installed; the message has the command and the end of its output. Nothing is left behind.
    """
    # The packages are in covalab's own folder, where all is private; what a task makes itself has the caller's modes.
    umask = os.umask(0o077)
    try:
        return _packages_folder(root, packages, requirements)
    finally:
        os.umask(umask)


def _packages_folder(root: Path, packages: Sequence[str], requirements: str) -> Path | None:
    installed = _installed()
    if _has_all(packages, requirements, installed):
        return None
    folder = root / _key(packages, requirements, installed)
    if folder.is_dir():
        return folder
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (root / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                for left in root.glob(f".{folder.name}.*"):  # by a worker that was killed
                    shutil.rmtree(left)
                _make(folder, packages, requirements, installed)
    except OSError as error:
        what = ", ".join(packages) or "the requirements file"
        message = f"DepsPip: no folder for {what} can be made in {root}: {error}; free some space or make it writable"
        raise DepsFailed(message) from error
    return folder


def _make(folder: Path, packages: Sequence[str], requirements: str, installed: dict[str, str]) -> None:
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        target = temporary / "packages"
        target.mkdir(parents=True)
        wanted = [word for one in packages for word in (shlex.split(one) if one.startswith("-") else [one])]
        if requirements:
            listed = temporary / "requirements.txt"
            listed.write_text(requirements)
            wanted += ["-r", str(listed)]
        # What is installed here and not asked for by name stays as it is, if that can be: two copies of a library
        # written in C do not go together in one process.
        named = {canonicalize_name(one.name) for one in _requirements(packages, requirements) if one is not None}
        pinned = temporary / "constraints.txt"
        pinned.write_text("".join(f"{name}=={there}\n" for name, there in installed.items() if name not in named))
        ended = _install(target, [*wanted, "-c", str(pinned)])
        if ended.code:
            shutil.rmtree(target)
            target.mkdir()
            ended = _install(target, wanted)
        if ended.code:
            message = f"DepsPip: `{ended.command}` ended with exit code {ended.code}: {ended.tail}"
            raise DepsFailed(message)
        _prune(target, installed)
        # uv compiles nothing, and the import would in a task, with the modes that its caller wants for files.
        compileall.compile_dir(target, quiet=2)
        (target / ".lock").unlink(missing_ok=True)  # uv leaves one that every user could open
        target.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _install(target: Path, wanted: list[str]) -> CommandResult:
    command, variables = _installer()
    return run_command([*command, "--target", str(target), *wanted], {**os.environ, **variables})


def _installer() -> tuple[list[str], dict[str, str]]:
    """Return the command that installs packages here, and the environment variables that it needs."""
    pip = ["-m", "pip", "install", "--no-input", "--no-user", "--disable-pip-version-check"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, *pip], {}
    uv = shutil.which("uv")
    if uv is not None:
        # It reads its own settings and not pip's, so the most common of those are passed on.
        settings = {
            "UV_DEFAULT_INDEX": os.environ.get("PIP_INDEX_URL", ""),
            "UV_INDEX": os.environ.get("PIP_EXTRA_INDEX_URL", ""),
            "UV_FIND_LINKS": ",".join(os.environ.get("PIP_FIND_LINKS", "").split()),
            "UV_NO_INDEX": os.environ.get("PIP_NO_INDEX", ""),
        }
        variables = {name: text for name, text in settings.items() if text and name not in os.environ}
        return [uv, "pip", "install", "--python", sys.executable], variables
    with contextlib.suppress(ImportError):
        import ensurepip  # noqa: PLC0415 - some distributions leave it out

        for wheel in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"):
            return [sys.executable, *pip], {"PYTHONPATH": str(wheel)}
    message = f"DepsPip: {sys.executable} has no pip, and there is no uv on the PATH; install one of them there"
    raise DepsFailed(message)


def _prune(target: Path, installed: dict[str, str]) -> None:
    """Remove the packages from a folder that the environment has in the same version."""
    for distribution in metadata.distributions(path=[str(target)]):
        if installed.get(canonicalize_name(distribution.metadata["Name"])) != distribution.version:
            continue
        for file in distribution.files or ():
            path = Path(os.path.normpath(str(distribution.locate_file(file))))
            if path.is_relative_to(target):  # scripts are said to lie beside the folder
                path.unlink(missing_ok=True)
    for folder, _, _ in os.walk(target, topdown=False):
        compiled = Path(folder) / "__pycache__"
        if compiled.is_dir() and not any(Path(folder).glob("*.py")):
            shutil.rmtree(compiled)
        if folder != str(target) and not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _installed() -> dict[str, str]:
    """Return the version of every package of this environment, by its canonical name."""
    # Read anew each time: a worker lives long, and packages may be installed meanwhile.
    usual = [entry for entry in sys.path if Path(entry) not in _stashed]
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=usual):
        found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution.version)
    return found


def _key(packages: Sequence[str], requirements: str, installed: dict[str, str]) -> str:
    """Return the name of the folder: a hash, of the time of the last change for a local project or wheel, too."""
    changed = [_changed_at(Path(one)) for one in packages if not one.startswith("-") and Path(one).exists()]
    here = [sys.version, platform.machine(), sys.prefix, sorted(installed.items())]
    return hashlib.sha256(json.dumps([list(packages), requirements, changed, here]).encode()).hexdigest()[:32]


def _changed_at(path: Path) -> int:
    return max(file.stat().st_mtime_ns for file in (path, *path.rglob("*.py"), *path.glob("*.toml")))


def _requirements(packages: Sequence[str], requirements: str) -> Iterator[Requirement | None]:
    """Yield each requirement; None for one that only an installer understands: an option, path or address."""
    lines = (line.partition(" #")[0].strip() for line in requirements.splitlines())
    for line in (*packages, *(line for line in lines if line and not line.startswith("#"))):
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            yield None
        else:
            yield requirement


def _has_all(packages: Sequence[str], requirements: str, installed: dict[str, str]) -> bool:
    """Whether the environment satisfies every requirement, as far as that is known without an installer."""
    for one in _requirements(packages, requirements):
        if one is None or one.url or one.extras:
            return False
        if one.marker is not None and not one.marker.evaluate():
            continue
        version = installed.get(canonicalize_name(one.name))
        if version is None or not one.specifier.contains(version, prereleases=True):
            return False
    return True


@contextlib.contextmanager
def visible(folder: Path) -> Iterator[None]:
    """Make a folder the first of the search path, in this process and those it starts.

    Modules of the same names that were loaded before are out of the way meanwhile, and afterwards it is the other way
    round: a task never sees the packages of another. What cannot be undone: a module from elsewhere that was first
    loaded meanwhile keeps what it imported from here, and so does anything else that lives on (a thread, a cache).
    """
    names = {entry.name.partition(".")[0] for entry in folder.iterdir() if _is_importable(entry)}
    before = _pop_modules(names)
    search_path = os.environ.get("PYTHONPATH")
    sys.modules.update(_stashed.pop(folder, {}))
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), search_path)))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _stashed[folder] = _pop_modules(names)
        sys.modules.update(before)
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        if search_path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = search_path
        importlib.invalidate_caches()


def _is_importable(entry: Path) -> bool:
    if entry.is_dir():
        return entry.name.isidentifier() and entry.name not in ("bin", "__pycache__")
    return entry.name.endswith(_MODULE_ENDINGS)


def _pop_modules(names: set[str]) -> dict[str, ModuleType]:
    """Remove and return the modules of these names, and their submodules, from `sys.modules`."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}
