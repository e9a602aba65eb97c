"""How a module of the doorway shows what is in another."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class Door(ModuleType):
    """A module that has the names of another, and is that one when it is pickled."""

    def __getattr__(self, name: str) -> Any:
        target: str = self.__dict__["_covalab_target"]
        try:
            return getattr(importlib.import_module(target), name)
        except AttributeError as error:
            message = f"module {self.__name__!r} has no attribute {name!r} ({target} stands behind it)"
            raise AttributeError(message) from error

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(importlib.import_module(self.__dict__["_covalab_target"]))})

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__dict__["_covalab_target"],)


def open_to(name: str, target: str) -> None:
    """Let the module `name`, which is being imported, show the names of the module `target`."""
    module = sys.modules[name]
    module.__dict__["_covalab_target"] = target
    module.__class__ = Door


def become(name: str, target: str) -> None:
    """Let the module `target` be what is imported as `name`."""
    sys.modules[name] = importlib.import_module(target)
