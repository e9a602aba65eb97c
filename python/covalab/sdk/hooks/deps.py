"""Dependencies of an electron: `DepsBash`, `DepsPip`, `DepsCall`, `DepsModule`.

These only describe; `worker.hook_runner` does it, in the task's own process. They behave as Covalent's (concepts
"Dependencies"), with packages in a folder of their own instead of in the user's environment.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Final

from covalab.client.paths import data_dir, packages_folder
from covalab.core.codec import encode
from covalab.core.errors import GraphError
from covalab.core.hooks import Action, Bash, Call, Pip
from covalab.core.os_text import sendable
from covalab.core.transportable import TransportableObject
from covalab.sdk.code.modules import by_value
from covalab.sdk.code.source import name_of
from covalab.sdk.values import FieldDict, UserFunction, UserValue

if TYPE_CHECKING:
    from typing_extensions import Self

RESERVED_KEYWORDS: Final = ("files",)
"""Keywords that `DepsCall` may not fill: file transfers do."""


class Deps(abc.ABC):
    """Base of the kinds of dependencies that amount to a call."""

    _attributes: ClassVar[tuple[str, ...]] = ()
    """Attributes that a dictionary of it has, beside the call that it amounts to."""

    retval_keyword = ""

    def short_name(self) -> str:
        """Return Covalent's short name of the kind, e.g. ``"depsbash"``."""
        return type(self).__name__.lower()

    @abc.abstractmethod
    def call(self) -> tuple[UserFunction, Sequence[UserValue], Mapping[str, UserValue]]:
        """Return the function, with its arguments, that does it."""

    @abc.abstractmethod
    def hook(self, where: str) -> Action:
        """Return it as it travels; `where` is how an error calls its electron."""

    @property
    def apply_fn(self) -> TransportableObject:
        """The function that does it."""
        return TransportableObject(self.call()[0])

    @property
    def apply_args(self) -> TransportableObject:
        """Its positional arguments."""
        return TransportableObject(self.call()[1])

    @property
    def apply_kwargs(self) -> TransportableObject:
        """Its keyword arguments."""
        return TransportableObject(self.call()[2])

    def apply(self) -> tuple[TransportableObject, TransportableObject, TransportableObject, str]:
        """Return the function, its arguments and the keyword under which the task gets what it returns."""
        return self.apply_fn, self.apply_args, self.apply_kwargs, self.retval_keyword

    def to_dict(self) -> FieldDict:
        """Return it as a dictionary that JSON can hold."""
        attributes = {name: getattr(self, name) for name in self._attributes}
        for name in ("apply_fn", "apply_args", "apply_kwargs"):
            attributes[name] = getattr(self, name).to_dict()
        attributes["retval_keyword"] = self.retval_keyword
        return {"type": type(self).__name__, "short_name": self.short_name(), "attributes": attributes}

    def from_dict(self, object_dict: Mapping[str, UserValue]) -> Self:
        """Become what `to_dict` described, and return this object; an empty dictionary changes nothing."""
        for name in self._attributes:
            if object_dict:
                setattr(self, name, object_dict["attributes"][name])
        return self


class DepsBash(Deps):
    """Shell commands that run before the electron, in its process's folder.

    Parameters
    ----------
    commands
        One command or several. Each runs in a shell of its own; what they print is output of the node.

    Notes
    -----
    A command that ends with another exit code than 0 fails the electron, which then does not run.

    Examples
    --------
    >>> DepsBash("echo hello").commands
    ['echo hello']
    """

    _attributes = ("commands",)

    def __init__(self, commands: Sequence[str] | str | None = None) -> None:
        self.commands = _texts("DepsBash", "commands", commands)

    def call(self) -> tuple[UserFunction, Sequence[UserValue], Mapping[str, UserValue]]:
        """Return the function, with its arguments, that runs the commands."""
        from covalab.worker.hook_runner import run_commands  # noqa: PLC0415 - describing a command loads nothing

        return run_commands, [self.commands], {}

    def hook(self, where: str) -> Bash:
        """Return it as it travels."""
        return Bash([sendable(command) for command in self.commands])


class DepsPip(Deps):
    """Packages that the electron can import.

    Parameters
    ----------
    packages
        One requirement or several, as ``pip install`` takes them; options too, e.g. ``"--find-links=wheels"``.
    reqs_path
        A requirements file. It is read here and now, and goes before `packages`.

    Notes
    -----
    They are installed once for each set of requirements and each environment, into a folder below the data folder,
    and only this electron sees them: nothing is ever installed into your environment. Packages that the environment
    has already, in a version that will do, are used from there.

    Raises
    ------
    FileNotFoundError
        If there is no such requirements file.
    """

    _attributes = ("packages", "reqs_path", "requirements_content")

    def __init__(self, packages: Sequence[str] | str | None = None, reqs_path: str | Path = "") -> None:
        self.packages = _texts("DepsPip", "packages", packages)
        self.reqs_path = str(reqs_path)
        self.requirements_content = Path(reqs_path).read_text(encoding="utf-8") if reqs_path else ""

    def call(self) -> tuple[UserFunction, Sequence[UserValue], Mapping[str, UserValue]]:
        """Return the function, with its arguments, that installs the packages, and returns their folder."""
        from covalab.worker.packages import packages_folder as install  # noqa: PLC0415 - few ask for packages

        return install, [packages_folder(data_dir()), *self._wanted()], {}

    def hook(self, where: str) -> Pip:
        """Return it as it travels."""
        return Pip(*self._wanted())

    @classmethod
    def recorded(cls, hook: Pip) -> Self:
        """Return one that has travelled."""
        found = cls(hook.packages)
        found.requirements_content = hook.requirements
        return found

    def _wanted(self) -> tuple[list[str], str]:
        return ([], self.requirements_content) if self.requirements_content else (list(self.packages), "")


class DepsCall(Deps):
    """Function that is called in the task's process, before or after it.

    Parameters
    ----------
    func
        The function.
    args, kwargs
        Its arguments.
    retval_keyword
        The parameter of the electron that gets what the function returns, if it is called before. When several calls
        have the same keyword, the electron gets a list, in their order.
    override_reserved_retval_keys
        Allow a keyword that covalab itself fills (``files``).

    Raises
    ------
    RuntimeError
        If the keyword is reserved.
    """

    def __init__(
        self,
        func: UserFunction | None = None,
        args: Sequence[UserValue] | None = None,
        kwargs: Mapping[str, UserValue] | None = None,
        *,
        retval_keyword: str = "",
        override_reserved_retval_keys: bool = False,
    ) -> None:
        if retval_keyword in RESERVED_KEYWORDS and not override_reserved_retval_keys:
            message = (
                f"DepsCall: retval_keyword {retval_keyword!r} is reserved for file transfers; choose another name, or "
                "pass override_reserved_retval_keys=True"
            )
            raise RuntimeError(message)
        self._function, self._args, self._kwargs = func, tuple(args or ()), dict(kwargs or {})
        self.retval_keyword = retval_keyword

    def call(self) -> tuple[UserFunction, Sequence[UserValue], Mapping[str, UserValue]]:
        """Return the function with its arguments."""
        if not callable(self._function):
            message = f"DepsCall needs a function to call, not {self._function!r}"
            raise GraphError(message)
        return self._function, list(self._args), self._kwargs

    def hook(self, where: str) -> Call:
        """Return it as it travels, serialized."""
        function, args, kwargs = self.call()
        name = name_of(function)
        code = encode((function, args, kwargs), what=f"the hook {name!r} of {where}")
        return Call(name, code.join(), self.retval_keyword)

    def from_dict(self, object_dict: Mapping[str, UserValue]) -> Self:
        """Become what `to_dict` described, and return this object; an empty dictionary changes nothing."""
        if object_dict:
            attributes = object_dict["attributes"]
            parts = (attributes[name] for name in ("apply_fn", "apply_args", "apply_kwargs"))
            values = [TransportableObject.from_dict(part).get_deserialized() for part in parts]
            self._function, self._args, self._kwargs = values[0], tuple(values[1]), dict(values[2])
            self.retval_keyword = attributes["retval_keyword"]
        return self


class DepsModule:
    """Module that travels with the electron, by value: the worker needs no file of it.

    Parameters
    ----------
    module
        The module, or its name.

    Notes
    -----
    Modules that lie beside the notebook travel on their own; this is for any other.
    """

    def __init__(self, module: str | ModuleType) -> None:
        found: object = import_module(module) if isinstance(module, str) else module
        if not isinstance(found, ModuleType):
            message = f"DepsModule takes a module or the name of one, not {module!r}"
            raise TypeError(message)
        self.module = found

    def short_name(self) -> str:
        """Return Covalent's short name of the kind."""
        return "depsmodule"

    @property
    def pickled_module(self) -> TransportableObject:
        """The module, pickled by value."""
        with by_value([self.module]):
            return TransportableObject(self.module)

    def to_dict(self) -> FieldDict:
        """Return it as a dictionary that JSON can hold."""
        attributes = {"pickled_module": self.pickled_module.to_dict()}
        return {"type": "DepsModule", "short_name": self.short_name(), "attributes": attributes}

    def from_dict(self, object_dict: Mapping[str, UserValue]) -> Self:
        """Become what `to_dict` described, and return this object; an empty dictionary changes nothing."""
        if object_dict:
            self.module = TransportableObject.from_dict(object_dict["attributes"]["pickled_module"]).get_deserialized()
        return self


def _texts(where: str, what: str, given: Sequence[str] | str | None) -> list[str]:
    """Return one text or several as a list."""
    texts: list[UserValue] = [given] if isinstance(given, str) else list(given or ())
    for text in texts:
        if not isinstance(text, str):
            message = f"{where}: `{what}` is text or a list of texts, not {text!r}"
            raise TypeError(message)
    return texts
