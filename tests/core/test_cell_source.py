"""A function made from a cell keeps its text wherever it runs."""

from __future__ import annotations

import linecache
import traceback

import pytest

from covalab.core.cell_source import filename_for, register, remember


def test_two_texts_are_two_files() -> None:
    """A cell that was changed never shows the lines of what it was before."""
    assert filename_for("electron", "f", "a") != filename_for("electron", "f", "b")
    assert filename_for("electron", "f", "a") == filename_for("electron", "f", "a")


def test_remembered_text_survives_a_check() -> None:
    """What is on no disk stays known when `linecache` looks for changed files."""
    remember("<electron kept 0>", "one\ntwo")

    linecache.checkcache()

    assert linecache.getline("<electron kept 0>", 2) == "two\n"


def test_a_registered_function_shows_its_lines() -> None:
    """A traceback has the line of the text that the function carries."""
    text = "%%electron f()\n1 / 0"
    namespace: dict[str, object] = {}
    exec(compile("def f():\n    1 / 0", "<electron f 1>", "exec"), namespace)
    function = namespace["f"]
    assert callable(function)
    function.__covalab_source__ = text  # type: ignore[attr-defined]

    register(function)

    with pytest.raises(ZeroDivisionError) as caught:
        function()
    assert "    1 / 0\n" in "".join(traceback.format_exception(caught.value))


def test_other_functions_are_left_alone() -> None:
    """Registering what did not come from a cell changes nothing."""
    before = set(linecache.cache)

    register(len)
    register(test_other_functions_are_left_alone)

    assert set(linecache.cache) == before
