"""Foreign functions of leptons: of a module named by text, of a C library, of a shell script.

Plain data that can be called, so that it is pickled by the name of its class.
"""

from __future__ import annotations

import builtins
import ctypes
import importlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab.worker.shell import run_command

INPUT: Final = 0
OUTPUT: Final = 1
INPUT_OUTPUT: Final = 2

_POINTER: Final = "LP_"


class PythonFunction(msgspec.Struct, frozen=True):
    """A function of a Python module, imported where it runs."""

    library: str
    name: str

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        try:
            module = importlib.import_module(self.library)
        except ModuleNotFoundError as error:
            message = f"the lepton {self.name!r} needs the module {self.library!r}: {error}; install it on the workers"
            raise ModuleNotFoundError(message, name=error.name) from error
        if not hasattr(module, self.name):
            message = f"the module {self.library!r} has no function {self.name!r}"
            raise AttributeError(message)
        return getattr(module, self.name)(*args, **kwargs)


class CFunction(msgspec.Struct, frozen=True):
    """A function of a shared library that returns nothing and writes through pointers.

    `argtypes` are the names of ctypes types (``LP_`` before what a pointer points to) with their directions.
    """

    library: str
    name: str
    argtypes: list[tuple[str, int]]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it. Return the values it wrote: None, one value, or a tuple; arrays as lists."""
        if kwargs:
            message = f"the C function {self.name!r} takes arguments by position, not {', '.join(kwargs)}"
            raise ValueError(message)
        function = self._function()
        given = list(self._arguments(args))
        function(*given)
        written = [
            _from_c(argument)
            for argument, (_, direction) in zip(given, self.argtypes, strict=True)
            if direction != INPUT
        ]
        return written[0] if len(written) == 1 else tuple(written) or None

    def _function(self) -> Any:
        try:
            library = ctypes.CDLL(self.library)
        except OSError as error:
            message = (
                f"the C library {self.library!r} of the lepton {self.name!r} cannot be loaded on this worker: {error}; "
                "compile it there (deps_bash), or give its full path"
            )
            raise OSError(message) from error
        try:
            function = library[self.name]
        except AttributeError as error:
            message = f"the C library {self.library!r} has no function {self.name!r}"
            raise AttributeError(message) from error
        function.argtypes = [_ctype(name) for name, _ in self.argtypes]
        function.restype = None
        return function

    def _arguments(self, args: Sequence[Any]) -> Iterator[Any]:
        """Yield every argument as a C value. Arguments that are only written may be left out of the call."""
        n_given = sum(direction != OUTPUT for _, direction in self.argtypes)
        if len(args) not in (n_given, len(self.argtypes)):
            message = f"the C function {self.name!r} takes {n_given} arguments, {len(args)} were given"
            raise TypeError(message)
        left = iter(args)
        for name, direction in self.argtypes:
            is_given = direction != OUTPUT or len(args) == len(self.argtypes)
            value = next(left) if is_given else None
            yield _to_c(name, None if direction == OUTPUT else value, direction)


def _ctype(name: str) -> Any:
    if name.startswith(_POINTER):
        return ctypes.POINTER(_ctype(name.removeprefix(_POINTER)))
    found = getattr(ctypes, name, None)
    if found is None:
        message = f"{name!r} is not a type of ctypes, nor a pointer to one"
        raise ValueError(message)
    return found


def _to_c(name: str, value: Any, direction: int) -> Any:
    if isinstance(value, str):
        value = value.encode()
    if not name.startswith(_POINTER):
        if direction != INPUT:
            message = f"{name} is passed by value; what a C function writes is a pointer, ctypes.POINTER(ctypes.{name})"
            raise ValueError(message)
        return _ctype(name)(value)
    inner = _ctype(name.removeprefix(_POINTER))
    if hasattr(value, "__getitem__"):
        return (inner * len(value))(*value)
    return ctypes.pointer(inner() if value is None else inner(value))


def _from_c(argument: Any) -> Any:
    return list(argument) if isinstance(argument, ctypes.Array) else argument.contents.value


class ShellCommand(msgspec.Struct, frozen=True):
    """A command of bash, or a function of a script.

    `outputs` are the variables that are read when it has ended, with the names of built-in types.
    """

    command: str
    library: str
    name: str
    outputs: list[tuple[str, str]]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it. Positional arguments are ``$1``, ``$2`` ..., keyword arguments are variables.

        Raises
        ------
        RuntimeError
            If it ends with another exit code than 0; the message is the end of what it printed.
        """
        command = self._formatted(kwargs)
        if self.library:
            command = f"source {shlex.quote(self.library)} && {self.name} {shlex.join(map(str, args))}"
        handle, path = tempfile.mkstemp(prefix="covalab-outputs-")
        os.close(handle)
        try:
            if self.outputs:
                wanted = " ".join(f'"${{{name}}}"' for name, _ in self.outputs)
                command = f"{{ {command}\n}} && printf '%s\\0' {wanted} > {shlex.quote(path)}"
            bash = shutil.which("bash") or "/bin/bash"
            environment = {**os.environ, **{name: str(value) for name, value in kwargs.items()}}
            ended = run_command([bash, "-c", command, self.name or "_", *map(str, args)], environment)
            if ended.code:
                message = f"the command ended with exit code {ended.code}: {ended.tail}"
                raise RuntimeError(message)
            return self._outputs(Path(path).read_text(encoding="utf-8"))
        finally:
            Path(path).unlink()

    def _formatted(self, kwargs: Mapping[str, Any]) -> str:
        try:
            return self.command.format(**kwargs)
        except (KeyError, IndexError, ValueError) as error:
            if not kwargs:
                return self.command  # braces of bash: there is nothing to fill in
            message = f"the command {self.command!r} cannot be filled in ({error!r}); write bash's own braces twice"
            raise ValueError(message) from error

    def _outputs(self, written: str) -> Any:
        texts = written.split("\0")[:-1]
        if len(texts) != len(self.outputs):
            names = ", ".join(name for name, _ in self.outputs)
            message = f"the command ended before its outputs ({names}) could be read; does it call `exit`?"
            raise RuntimeError(message)
        values = [getattr(builtins, type_)(text) for text, (_, type_) in zip(texts, self.outputs, strict=True)]
        return values[0] if len(values) == 1 else tuple(values) or None
