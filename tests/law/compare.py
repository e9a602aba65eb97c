"""Comparison of a run in the background with the plain run: a list of differences, empty if the law holds."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from tests.law.normal import (
    Output,
    error_lines,
    outputs_of,
    text_of,
    traceback_text,
    without_missed_updates,
    without_views,
)
from tests.law.ways import Run, Way, error_of

_PIXEL_STEP = 16  # of 255: anti-aliasing
_PIXEL_SHARE = 0.002
_SHOWN = {"text", "output", "picture"}


class Difference(msgspec.Struct, frozen=True):
    """One difference: its kind, where it is, and the two sides."""

    kind: str
    where: str
    plain: str
    background: str

    def __str__(self) -> str:
        return (
            f"[{self.kind}] {self.where}\n    plain:      {self.plain[:500]}\n    background: {self.background[:500]}"
        )


def differences(plain: Run, background: Run, *, cells: int | None = None, way: Way | None = None) -> list[Difference]:
    """Return all differences; of outputs only in the first `cells` cells.

    Hidden state is compared where the notebook has all that the cells made: after a second plain run and after `run`.
    """
    found: list[Difference] = []
    pairs = zip(plain.outputs[:cells], background.outputs[:cells], strict=True)
    for number, (one, other) in enumerate(pairs):
        n_missed, without = without_missed_updates(other)
        for _ in range(n_missed):  # the display of an earlier cell stays as it was
            shown = next((n for n, old in enumerate(found) if old.kind in _SHOWN and ", output " in old.where), None)
            found = [old for n, old in enumerate(found) if n != shown]
        found += _outputs(one, without, f"cell {number}")
    found += _files(plain.files, background.files)
    names = [*_names(plain.names, background, plain.unstorable)]
    if plain.names_before_error is not None:
        before = _names(plain.names_before_error, background, plain.unstorable)
        if all(_is_of_another_place(one, way) for one in before):
            names = []
    found += [one for one in names if not _is_of_another_place(one, way)]
    # To show an error, IPython draws random numbers in the kernel.
    if way in {None, "run"} and plain.failed_at is None:
        found += _values(_hidden_state(plain, plain), _hidden_state(background, plain), "hidden state")
    return found


def _hidden_state(run: Run, plain: Run) -> dict[str, Any]:
    """Return the hidden state of a run without what is an accident in the plain one: numbers that nobody seeded."""
    left_out = {"numpy.random is seeded"}
    if not plain.hidden.get("numpy.random is seeded"):
        left_out.add("numpy.random")
    return {name: value for name, value in run.hidden.items() if name not in left_out}


def _is_of_another_place(found: Difference, way: Way | None) -> bool:
    """Return whether a difference only says that values of a lattice are not in the notebook, where its functions are.

    They are in the result. A function that is in the notebook reads the notebook's names.
    """
    if way in {None, "run"}:
        return False
    is_unread = way == "mixed" and ".reads." in found.where and '"nothing"' in {found.plain, found.background}
    return is_unread or found.where.endswith("lives in the notebook")


def report(found: Sequence[Difference], title: str) -> str:
    """Return differences as text."""
    return "\n".join([f"{title}: {len(found)} differences", *map(str, found[:12])])


# Outputs.


def _outputs(plain: Sequence[Output], background: Sequence[Output], where: str) -> Iterator[Difference]:
    ones, others = without_views(outputs_of(plain), outputs_of(background))
    kinds = [_kinds(one) for one in ones], [_kinds(one) for one in others]
    if kinds[0] != kinds[1]:
        yield Difference("outputs", where, f"{kinds[0]} {_text(ones)}", f"{kinds[1]} {_text(others)}")
        return
    for number, (one, other) in enumerate(zip(ones, others, strict=True)):
        yield from _output(one, other, f"{where}, output {number}")


def _kinds(output: Output) -> list[str]:
    return [output["output_type"], *([output["name"]] if "name" in output else sorted(output.get("data", {})))]


def _text(outputs: Sequence[Output]) -> str:
    return json.dumps(
        [one.get("text") or one.get("data", {}).get("text/plain") or one.get("evalue") for one in outputs]
    )


def _output(plain: Output, background: Output, where: str) -> Iterator[Difference]:
    if plain["output_type"] == "error":
        yield from _errors(plain, background, where)
        return
    if plain["output_type"] == "stream":
        yield from _texts(plain["text"], background["text"], where)
        return
    if plain["metadata"] != background["metadata"]:
        yield Difference("metadata", where, str(plain["metadata"]), str(background["metadata"]))
    for kind, content in plain["data"].items():
        other = background["data"][kind]
        if kind in {"image/png", "image/jpeg"}:
            if said := picture_difference(content, other):
                yield Difference("picture", f"{where}, {kind}", "", said)
        elif isinstance(content, str) and isinstance(other, str):
            yield from _texts(content, other, f"{where}, {kind}")
        elif content != other:
            yield Difference("output", f"{where}, {kind}", json.dumps(content), json.dumps(other))


def _texts(plain: str, background: str, where: str) -> Iterator[Difference]:
    if plain != background:
        start = next((n for n, (a, b) in enumerate(zip(plain, background, strict=False)) if a != b), 0)
        start = max(0, start - 60)
        yield Difference("text", where, repr(plain[start : start + 400]), repr(background[start : start + 400]))


def _errors(plain: Output, background: Output, where: str) -> Iterator[Difference]:
    ones, others = ((one["ename"], text_of(one["evalue"])) for one in (plain, background))
    if ones != others:
        yield Difference("error", where, ": ".join(ones), ": ".join(others))
    trace = traceback_text(background)
    there = error_lines(background)
    for number, code in error_lines(plain):
        numbers = [n for n, text in there if text == code]
        if not numbers and code not in trace:
            yield Difference("error line", where, f"{number}: {code}", trace[-400:])
        elif numbers and not {*numbers} & {number, number + 1}:  # the magic's line counts
            yield Difference("line number", where, f"{number}: {code}", str(numbers))
    if "/covalab/" in trace or "/IPython/" in trace:
        yield Difference("traceback through us", where, "", trace[-400:])


def picture_difference(plain: str, background: str) -> str:
    """Return how two pictures differ, or nothing if they do not: in size, or in more pixels than anti-aliasing does."""
    one, other = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) for data in (plain, background)
    )
    if one.shape != other.shape:
        return f"size {one.shape} is {other.shape}"
    share = float((np.abs(one.astype(int) - other.astype(int)) > _PIXEL_STEP).any(axis=-1).mean())
    return f"{share:.1%} of the pixels differ" if share > _PIXEL_SHARE else ""


# Files.


def _files(plain: dict[str, str], background: dict[str, str]) -> Iterator[Difference]:
    for path in sorted({*plain, *background}):
        sides = plain.get(path, "no such file"), background.get(path, "no such file")
        if sides[0] != sides[1]:
            yield Difference("file", path, *sides)


# Names.


def _names(plain: dict[str, Any], background: Run, unstorable: Sequence[str]) -> Iterator[Difference]:
    for name in sorted({*plain, *background.names}):
        if name not in background.names:
            if name in unstorable:
                said = background.unavailable.get(name, name)
                if name not in said:
                    yield Difference("unnamed", name, "cannot be stored", said)
                continue
            said = background.unavailable.get(name, "")
            yield Difference("missing name", name, json.dumps(plain[name]), said)
        elif name not in plain:
            yield Difference("extra name", name, "", json.dumps(background.names[name]))
        else:
            yield from _values(plain[name], background.names[name], name)


def _values(plain: Any, background: Any, where: str) -> Iterator[Difference]:
    if plain == background or (type(plain) is type(background) is str and text_of(plain) == text_of(background)):
        return
    is_alias = [type(one) is list and one[:1] == ["same as"] for one in (plain, background)]
    if any(is_alias):
        yield Difference("alias", where, json.dumps(plain), json.dumps(background))
    elif type(plain) is dict and type(background) is dict:
        yield from _mappings(plain, background, where)
    elif type(plain) is list and type(background) is list and len(plain) == len(background):
        for number, (one, other) in enumerate(zip(plain, background, strict=True)):
            yield from _values(one, other, f"{where}/{number}")
    else:
        yield Difference("value", where, json.dumps(plain), json.dumps(background))


def _mappings(plain: dict[str, Any], background: dict[str, Any], where: str) -> Iterator[Difference]:
    for key in sorted({*plain, *background}):
        if key not in plain or key not in background:
            sides = (json.dumps(side.get(key, "nothing")) for side in (plain, background))
            yield Difference("shared memory" if key == "memory of" else "value", f"{where}.{key}", *sides)
        elif key == "image/png":
            if said := picture_difference(plain[key], background[key]):
                yield Difference("picture", where, "", said)
        else:
            yield from _values(plain[key], background[key], f"{where}.{key}")


def failed(run: Run) -> str:
    """Return the first error of a run, in one line."""
    error = next((found for found in map(error_of, run.outputs) if found is not None), None)
    return "" if error is None else f"{error['ename']}: {error['evalue']}"
