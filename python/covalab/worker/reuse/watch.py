"""Watch: files and variables that code reads while it runs, and all that it does outside of its process.

By an audit hook of the interpreter, which sees what Python code opens. What a library opens by itself is seen only as
bytes that were read, so code that reads more than was opened is not reused.
"""

from __future__ import annotations

import linecache
import os
import random
import re
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from typing_extensions import Self

from covalab.worker.outputs.recorder import recorder
from covalab.worker.reuse.surroundings import FileFact, is_of_environment, listing_digest
from covalab.worker.variables import ImportVariables, current_variables, recorded_variables

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MACHINE: Final = ("/proc/", "/sys/", "/dev/")
_OWN: Final = f"{os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}{os.sep}"
_MOST_FILES: Final = 2_000
_SLACK: Final = 4_096
"""Bytes that may be read more than twice what was opened: archives are read in parts, some of them more than once."""
_STANDARD: Final = (os.path.dirname(os.__file__), "<frozen")
_FONTS: Final = (".ttf", ".otf", ".ttc", ".pfb", ".afm")
_SEEDED: Final = re.compile(r"\b(?:RandomState|default_rng|SeedSequence|PCG64|MT19937)\(\s*([^),]*?)\s*[),]")
_DEPTH: Final = 12
_OWN_THREADS: Final = ("covalab", "TMonitor")
_HARMLESS_THREADS: Final = frozenset({"TMonitor"})


class Watch:
    """Observation of a piece of code.

    Attributes
    ----------
    effects
        What it did that would not be done again if its values were taken from here, as texts for people.
    files
        The files that it has read.
    written
        The files that it has written.
    variables
        The environment variables that it has read and set.
    variables_before
        All environment variables, as they were before.
    """

    def __init__(self) -> None:
        self.effects: dict[str, None] = {}
        self.files: list[FileFact] = []
        self.written: dict[str, None] = {}
        self.variables = ImportVariables()
        self.variables_before: dict[bytes, bytes] = {}
        self._opened: dict[str, tuple[int, ...]] = {}
        self._listed: dict[str, str] = {}
        self._n_expected = 0

    def __enter__(self) -> Self:
        _install()
        self._threads = set(threading.enumerate())
        self._recording: AbstractContextManager[ImportVariables] = recorded_variables()
        self.variables_before = current_variables()
        self.variables = self._recording.__enter__()
        self._n_events = recorder.n_events
        self._n_read = _bytes_read()
        _Process.watch = self
        return self

    def __exit__(self, *_: object) -> None:
        _Process.watch = None
        n_read = _bytes_read() - self._n_read
        self._recording.__exit__(None, None, None)
        draws = recorder.n_events > self._n_events and "matplotlib.ft2font" in sys.modules  # fonts stay open
        if n_read > 2 * self._n_expected + _SLACK and not draws:
            self.effect("reads from a file in a way that cannot be observed")
        for thread in set(threading.enumerate()) - self._threads:
            if not thread.name.startswith(_OWN_THREADS) and type(thread).__name__ not in _HARMLESS_THREADS:
                self.effect("leaves a thread that runs")

    def effect(self, text: str) -> None:
        """Note an effect."""
        self.effects[text] = None

    def settle(self) -> None:
        """Look at what was read: its content counts, if it did not change meanwhile."""
        if len(self._opened) > _MOST_FILES:
            self.effect(f"reads more than {_MOST_FILES:,} files")
            return
        for path, seen in self._opened.items():
            fact = FileFact.of(path)
            if fact is None:
                self.effect(f"reads {path}, which is no plain file")
            elif fact.mark != seen:
                self.effect(f"reads {path}, which changed meanwhile")
            else:
                self.files.append(fact)
        self.files += [FileFact(path, digest=digest, is_folder=True) for path, digest in self._listed.items()]

    # Called by the hook, whose caller is the code that is observed.

    def on_open(self, path: Any, mode: Any, flags: Any) -> None:
        """Note a file that is opened."""
        if isinstance(path, int) or path is None:
            return
        caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001
        if caller.startswith(("<frozen importlib", _OWN)):
            self._expect(path)
            return
        name = os.path.abspath(os.fsdecode(path))
        is_written = bool(flags & _WRITES) if isinstance(flags, int) and not isinstance(mode, str) else False
        if is_written or (isinstance(mode, str) and not {*mode}.isdisjoint("wax+")):
            if name != os.devnull:
                self.effect(f"writes to {name}")
                self.written[name] = None
        elif name in ("/dev/urandom", "/dev/random"):
            self.effect(_ENTROPY)
        elif name.startswith(_MACHINE):
            if not is_of_environment(caller):
                self.effect(f"reads {name}")
        else:
            self._expect(name)
            if not is_of_environment(name):
                self._opened.setdefault(name, _mark_of(name))

    def _expect(self, path: Any) -> None:
        try:
            # Fonts are read in small pieces, again and again.
            times = 200 if os.fsdecode(path).endswith(_FONTS) else 1
            self._n_expected += times * os.stat(path).st_size
        except (OSError, ValueError):
            return

    def on_list(self, path: Any, *_: Any) -> None:
        """Note a folder that is listed."""
        if isinstance(path, int):
            self.effect("lists a folder by its descriptor")
            return
        caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001
        name = os.path.abspath(os.fsdecode("." if path is None else path))
        if caller.startswith(("<frozen importlib", _OWN)) or is_of_environment(name) or name in self._listed:
            return
        self._listed[name] = ""  # what follows lists it, too
        self._listed[name] = listing_digest(name)

    def on_effect(self, what: str, *arguments: Any) -> None:
        """Note an effect, with what it is about if that is a text."""
        caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001
        if caller.startswith(("<frozen importlib", _OWN)):
            return
        if what == _STARTS and _is_for(("loky/backend/context.py", "platform.py"), sys._getframe(2)):  # noqa: SLF001
            self._n_expected += 1_000_000  # it asks for the number of cores, or the name of the machine
            return
        is_there = what == _CHANGES and len(arguments) == 3 and os.path.isdir(arguments[0])
        if is_there and _is_of_package(sys._getframe(2)):  # noqa: SLF001
            return  # a folder that a package makes for itself, and that it has
        about = next((os.fsdecode(one) for one in arguments[:1] if isinstance(one, str | bytes)), "")
        self.effect(f"{what} {about}".rstrip() if len(about) < 200 else what)


def _mark_of(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(found.st_mode):
        return (-1,)
    return found.st_size, found.st_mtime_ns, found.st_ino


def _bytes_read() -> int:
    """Return how many bytes this process has read from files."""
    try:
        fd = os.open("/proc/self/io", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(fd, 64).split(None, 2)[1])
    finally:
        os.close(fd)


_ENTROPY: Final = "takes random numbers from the operating system"
_NETWORK: Final = "uses the network"
_STARTS: Final = "starts a process"
_CHANGES: Final = "changes files:"

_EFFECTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"), _CHANGES
    ),
    **dict.fromkeys(("os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.lockf", "fcntl.flock"), _CHANGES),
    **dict.fromkeys(("shutil.copyfile", "shutil.move", "shutil.rmtree", "shutil.make_archive"), _CHANGES),
    **dict.fromkeys(("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"), _NETWORK),
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostname", "urllib.Request"), _NETWORK),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty"), _STARTS),
    **dict.fromkeys(("os.posix_spawn", "os.spawn", "pty.spawn", "webbrowser.open"), _STARTS),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "sends a signal"),
    **dict.fromkeys(("sys.settrace", "sys.setprofile", "sys.addaudithook"), "observes the interpreter"),
    **dict.fromkeys(("builtins.input", "builtins.breakpoint"), "asks for input"),
    **dict.fromkeys(("sqlite3.connect", "sqlite3.connect/handle"), "opens a database"),
    "syslog.syslog": "writes to the system's log",
}


_EVENTS: Final[dict[str, tuple[Callable[..., None], tuple[Any, ...]]]] = {
    "open": (Watch.on_open, ()),
    "os.listdir": (Watch.on_list, ()),
    "os.scandir": (Watch.on_list, ()),
    **{event: (Watch.on_effect, (what,)) for event, what in _EFFECTS.items()},
}


class _Process:
    """The observation that is going on, and whether the hook is there: a hook cannot be taken away again."""

    watch: Watch | None = None
    is_installed = False


def _install() -> None:
    if not _Process.is_installed:
        _Process.is_installed = True
        sys.addaudithook(_hook)
        for module, name in ((os, "urandom"), (random, "_urandom")):
            setattr(module, name, _urandom)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    watch = _Process.watch
    if watch is None:
        return
    known = _EVENTS.get(event)
    if known is None:
        return
    try:
        known[0](watch, *known[1], *arguments)
    except Exception as error:  # noqa: BLE001 - it would come out of the user's code
        watch.effect(f"does what cannot be observed: {event}: {type(error).__name__}")


_own_urandom: Final = os.urandom


def _urandom(size: int, /) -> bytes:
    """Return a bytes object containing random bytes suitable for cryptographic use."""
    if _Process.watch is not None and not _is_harmless(sys._getframe(1)):  # noqa: SLF001
        _Process.watch.effect(_ENTROPY)
    return _own_urandom(size)


def _is_harmless(frame: Any) -> bool:
    """Return whether random numbers make an identifier of a package, or are those with which a package is imported."""
    if _is_for(("/joblib/", "/tempfile.py"), frame):
        return True
    if frame.f_code.co_filename.endswith("/uuid.py") and is_of_environment(frame.f_back.f_code.co_filename):
        return True
    if _is_seeded(frame.f_back if frame.f_code.co_filename.endswith("/random.py") else frame):
        return True
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib"):
            return True
        if not is_of_environment(filename):
            return False
        frame = frame.f_back
    return False


def _is_seeded(frame: Any) -> bool:
    """Return whether a line makes a generator of numpy from a seed: before that is used, one without a seed is made."""
    if frame is None:
        return False
    found = _SEEDED.findall(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
    if len(found) != 1:
        return False
    seed = found[0]
    value = frame.f_locals.get(seed, frame.f_globals.get(seed)) if seed.isidentifier() else seed
    return value is not None and (seed.isidentifier() or seed.isdecimal())


def _is_of_package(frame: Any) -> bool:
    """Return whether an installed package has called, by way of the standard library."""
    while frame is not None and _is_standard(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and is_of_environment(frame.f_code.co_filename)


def _is_standard(file: str) -> bool:
    return file.startswith(_STANDARD) and "-packages" not in file


def _is_for(files: tuple[str, ...], frame: Any) -> bool:
    """Return whether some code has called, directly or not."""
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if any(file in frame.f_code.co_filename for file in files):
            return True
        frame = frame.f_back
    return False


_urandom.__name__ = _urandom.__qualname__ = "urandom"
_urandom.__module__ = "os"  # by which it is pickled
