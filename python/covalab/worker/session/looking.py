"""Look at a cell that has run: the code that it reached, and what in that code speaks against reuse."""

from __future__ import annotations

import ast
import sys
import time
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from covalab.core.cell_source import text_of
from covalab.core.own_attributes import own_attribute
from covalab.namespace.definitions import tracked_definition
from covalab.worker.outputs.shell import shell
from covalab.worker.reuse import code as code_facts
from covalab.worker.reuse import local_code
from covalab.worker.session.reach import codes_in, names_in_code

_MAIN: Final = "__main__"
_ELECTRON: Final = "%%electron"


def tree_of(text: str, first_line: int = 1) -> ast.AST | None:
    """Return the code of a cell as Python reads it; None if that is not Python."""
    lines = text.split("\n")
    if first_line == 1 and text.startswith(_ELECTRON):
        first_line = 2
    before = "\n" * (first_line - 1)  # so that line numbers are those of the cell
    try:
        code: str = shell().transform_cell("\n".join(lines[first_line - 1 :]))  # type: ignore[no-untyped-call]
        return ast.parse(before + code)
    except (SyntaxError, ValueError):
        return None


class Look:
    """Look at the code that a cell reached.

    Parameters
    ----------
    text, first_line
        The cell.
    names
        The names that it could reach.
    definitions
        The ids of definitions that their values need.
    namespace
        The namespace, after it ran.
    modules
        The modules of the values that it could reach.

    Attributes
    ----------
    identifiers
        The names in all code that it reached.
    settings
        What may have changed the state of a package.
    handed
        The names in what was handed to a package there.
    trees
        The code of the cell, if it is Python alone, and of the functions that it reached.
    all_doubts
        What speaks against reuse, without what it reached in local modules.
    """

    def __init__(
        self,
        text: str,
        first_line: int,
        names: Iterable[str],
        definitions: Iterable[str],
        namespace: Mapping[str, Any],
        modules: set[str],
    ) -> None:
        self._namespace = namespace
        self.modules = modules
        self.all_doubts: list[str] = []
        self.trees: list[ast.AST] = []
        self.identifiers: set[str] = set()
        self.settings: list[str] = []
        self.handed: set[str] = set()
        self.is_dynamic = self.uses_history = False
        self.is_known = True  # the text of all functions that it reached
        tree = tree_of(text, first_line)
        if tree is None:
            self.all_doubts.append("is not Python alone")
            self.is_dynamic = True
        else:
            self.trees.append(tree)
            self._add(code_facts.facts_of(tree, self._is_foreign, _is_local), "")
        self._trees: dict[str, ast.AST | None] = {}
        self.all_doubts += _clocks((name, namespace.get(name)) for name in names)
        self.look_at_functions(names, definitions)

    def _add(self, facts: code_facts.CodeFacts, where: str) -> None:
        self.identifiers |= facts.identifiers
        self.settings += facts.settings
        self.handed |= facts.handed
        self.all_doubts += [f"{where}{doubt}" for doubt in facts.doubts]
        self.all_doubts += [f"{where}may change a package: {one}" for one in facts.settings]
        self.is_dynamic = self.is_dynamic or facts.is_dynamic
        if facts.uses_history:
            self.uses_history = True
            self.all_doubts.append(f"{where}reads what other cells have shown")

    def _is_foreign(self, name: str) -> bool:
        """Return whether a name is a module, or a class or function of one, or of a package."""
        value = self._namespace.get(name)
        if isinstance(value, types.ModuleType):
            return value.__name__ not in local_code.loaded_local_modules()
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.MethodType):
            owner = str(getattr(value, "__module__", None) or "")
            return owner not in ("", _MAIN, "builtins") and owner not in local_code.loaded_local_modules()
        return False

    def look_at_functions(self, names: Iterable[str], definitions: Iterable[str]) -> None:
        """Look at the functions and classes of the notebook among values, and at definitions that these need."""
        values = [(name, self._namespace[name]) for name in sorted(names) if name in self._namespace]
        tracked = [tracked_definition(tracker, self._namespace) for tracker in definitions]
        values += [("a class", one) for one in tracked if one is not None]
        seen: set[types.CodeType] = set()
        for name, value in values:
            for compiled in codes_in(value):
                if compiled not in seen:
                    seen.add(compiled)
                    self._look_at_code(name, compiled)

    def _look_at_code(self, name: str, compiled: types.CodeType) -> None:
        where = f"{name}: "
        tree = self._tree_of(compiled)
        if tree is not None:
            self.trees.append(tree)
            self._add(code_facts.facts_of(tree, self._is_foreign, _is_local), where)
            return
        identifiers = {*names_in_code(compiled)}
        self.identifiers |= identifiers
        self.all_doubts += [f"{where}{doubt}" for doubt in code_facts.doubts_about(identifiers)]
        if compiled.co_name != "<lambda>":
            self.is_known = False
            self.all_doubts.append(f"{where}its text is not known")

    def _tree_of(self, compiled: types.CodeType) -> ast.AST | None:
        filename = compiled.co_filename
        if filename not in self._trees:
            text = text_of(filename)
            self._trees[filename] = None if text is None else tree_of(text)
        tree = self._trees[filename]
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == compiled.co_name:
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                if first == compiled.co_firstlineno:
                    return node
            elif isinstance(node, ast.Lambda) and compiled.co_name == "<lambda>" and _is_at(node, compiled):
                return node if _is_only_lambda(tree, node) else None
        return None

    def doubts(self, modules: Collection[str], imported: Collection[str]) -> Iterator[str]:
        """Yield why the cell is not reused, also for what it reached in local modules."""
        yield from self.all_doubts
        for name in sorted(modules):
            module = sys.modules.get(name)
            source = local_code.source_of_module(name, local_code.place_of_module(name))
            if module is None or not source:
                continue
            try:
                tree = ast.parse(source)
            except (SyntaxError, ValueError):
                yield f"{name}: cannot be read"
                continue
            for part, what in local_code.reached_parts(tree, self.identifiers, with_body=name in imported):
                facts = code_facts.facts_of(part, lambda _: False, _is_local)
                yield from (f"{name}{what}: {doubt}" for doubt in facts.doubts)
                yield from _clocks((f"{name}.{own}", vars(module).get(own)) for own in sorted(facts.identifiers))
                yield from (f"{name}{what}: may change a package: {one}" for one in facts.settings)
                self.settings += facts.settings
                self.handed |= facts.handed
                self.is_dynamic = self.is_dynamic or bool(facts.is_dynamic)

    def tops(self, imported: Iterable[str]) -> set[str]:
        """Return the top-level packages that the cell could reach."""
        named = {name for name in self.identifiers if name in sys.modules}
        return {name.partition(".")[0] for name in (*self.modules, *named, *imported)}


def _clocks(found: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yield doubts about names of the module of clocks, or of a function of it, whatever these are called."""
    for name, value in found:
        is_renamed = value is time and name.rpartition(".")[2] != "time"
        if is_renamed or (own_attribute(value, "__self__") is time and value is not time.sleep):
            yield f"{name}: may ask for the time"


def _is_at(node: ast.Lambda, compiled: types.CodeType) -> bool:
    return node.lineno == compiled.co_firstlineno


def _is_local(module: str) -> bool:
    return module in local_code.loaded_local_modules()


def _is_only_lambda(tree: ast.AST | None, found: ast.Lambda) -> bool:
    lambdas = [node for node in ast.walk(tree or found) if isinstance(node, ast.Lambda) and node.lineno == found.lineno]
    return len(lambdas) == 1
