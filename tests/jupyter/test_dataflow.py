"""The abstract run over a cell: which names come from outside, and which surely have a value at the end."""

from __future__ import annotations

import ast
import textwrap

import pytest

from covalab.jupyter.cells.dataflow import Conflict, scan
from covalab.jupyter.cells.name_state import Scope


def scanned(code: str) -> Scope:
    """Scan code that is indented for reading."""
    return scan(ast.parse(textwrap.dedent(code)).body)


def sure(scope: Scope) -> set[str]:
    """Return the names that surely have a value at the end."""
    return {name for name, binding in scope.bindings.items() if binding.sure}


@pytest.mark.parametrize(
    ("code", "reads", "sure_at_the_end"),
    [
        ("x = 1\nx", "", "x"),
        ("x\nx = 1", "x", "x"),
        ("x += 1", "x", "x"),
        ("if c: x = 1\nelse: x = 2", "c", "x"),
        ("if c: x = 1", "c", ""),
        ("if c: x = 1\nelse: raise E", "c E", "x"),
        ("for i in xs: y = i", "xs", ""),
        ("for i in xs: y = i\nelse: y = 0", "xs", "y"),
        ("while True:\n y = f()\n if y: break", "f", "y"),
        ("while True:\n if f(): break\n y = 1", "f", ""),
        ("while c: y = 1", "c", ""),
        ("try: x = f()\nexcept E: x = None", "f E", "x"),
        ("try: x = f()\nexcept E: pass", "f E", ""),
        ("try: x = f()\nexcept E: raise", "f E", "x"),
        ("try: pass\nfinally: x = 1", "", "x"),
        ("try: x = f()\nfinally: y = 1", "f", "x y"),
        ("try: x = f()\nexcept E as e: x = e", "f E", "x"),
        ("with a as b: c = b", "a", "b c"),
        ("with suppress(E): c = f()", "suppress E f", ""),
        ("if c: del x", "c x", ""),
        ("x = 1\nif c: del x", "c", ""),
        ("x = 1\ntry: f()\nfinally: del x", "f", ""),
        ("for x in xs:\n  if x: continue\n  y = x", "xs", ""),
        ("match v:\n case 1: x = 1\n case _: x = 2", "v", "x"),
        ("match v:\n case 1: x = 1", "v", ""),
        ("match v:\n case [a, *b]: pass\n case {'k': c, **d}: pass\n case K(e) as f: pass", "v K", ""),
        ("a = (b := 1) + b", "", "a b"),
        ("c and (b := 1)", "c", ""),
        ("del x", "x", ""),
        ("x = 1\ndel x", "", ""),
        ("import a.b\nfrom c import d as e", "", "a e"),
        ("(a, [b, *c]), d.e = f", "f d", "a b c"),
        ("x: T = v", "v", "x"),
        ("x: T", "", ""),
        ("async def f(): return y\nawait f()", "y", "f"),
    ],
)
def test_statements_are_followed(code: str, reads: str, sure_at_the_end: str) -> None:
    """Each kind of statement is followed through every way that it can take."""
    scope = scanned(code)

    assert list(scope.reads) == reads.split()
    assert sure(scope) == set(sure_at_the_end.split())


def test_a_turn_before_may_have_set_the_name() -> None:
    """A name that an earlier iteration sets is read unsurely, so that the first iteration is no error."""
    scope = scanned("""
        for i, x in enumerate(xs):
            if i:
                print(x - before)
            before = x
    """)

    assert "before" in scope.unsure
    assert "xs" not in scope.unsure


def test_a_name_that_a_loop_sets_is_no_input_after_it() -> None:
    """The value of an earlier run is not used when the loop turns out to be empty."""
    scope = scanned("for x in xs: last = x\nprint(last)")

    assert "last" not in scope.reads
    assert not scope.bindings["last"].sure
    assert scope.bindings["last"].likely


def test_functions_read_when_they_are_called() -> None:
    """A function may be defined before what it uses; a call before that needs the notebook's value."""
    assert "model" not in scanned("def f(): return model\nmodel = 1\nf()").reads
    assert "model" in scanned("def f(): return model\nf()\nmodel = 1").reads
    assert "model" in scanned("def f(): return model").reads


def test_functions_that_call_each_other_end() -> None:
    """Recursion is followed once."""
    scope = scanned("def f(): return g() + a\ndef g(): return f() + b\nf()")

    assert set(scope.reads) == {"a", "b"}


def test_methods_do_not_see_the_names_of_their_class() -> None:
    """A method's free name is the cell's, whatever the class body has under that name."""
    scope = scanned("class A:\n  size = 1\n  def f(self): return size")

    assert set(scope.reads) == {"size"}


def test_a_class_that_reads_what_it_then_sets_is_refused() -> None:
    """Inside a function Python would not find the outer name, so that is said before it happens."""
    with pytest.raises(Conflict, match="class 'A' reads 'n'"):
        scanned("class A:\n  n = n")


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("df['a'] = 1", "df"),
        ("df.loc[m, 'a'] = 1", "df"),
        ("o.a.b = 1", "o"),
        ("d['a'] += 1", "d"),
        ("del d['a']", "d"),
        ("for r in rows: r['x'] = 1", "rows"),
        ("for i, r in enumerate(rows): r['x'] = i", "rows"),
        ("for r in (a, b): r['x'] = 1", "a b"),
        ("for k, v in d.items(): v['x'] = k", "d"),
        ("a = df\na['x'] = 1", "df"),
        ("def f(): d['x'] = 1\nf()", "d"),
        ("for d['i'] in x: pass", "d"),
        ("f().x = 1", ""),
        ("df = df.copy()\ndf['a'] = 1", ""),
        ("sub = df[m]\nsub['x'] = 1", ""),
    ],
)
def test_changes_in_place_are_found(code: str, changed: str) -> None:
    """Items and attributes that are set change the value they belong to, through aliases and loops too."""
    assert sorted(scanned(code).changes) == changed.split()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("rows.append(1)", "rows"),
        ("x = stack.pop()", "stack"),
        ("[rows.append(x) for x in xs]", "rows"),
        ("for r in rows: r.update(a=1)", "rows"),
        ("df.drop(c, inplace=True)", "df"),
        ("y = df.drop(c, inplace=False)", ""),
        ("np.add(a, b, out=a)", "a"),
        ("random.shuffle(cards)", "cards"),
        ("simulation.run(3)", "simulation"),
        ("y = simulation.run(3)", ""),
        ("df.plot()", ""),
        ("rows = []\nrows.append(1)", ""),
        ("def f(): rows.append(1)\nf()", "rows"),
        ("def f(rows): rows.append(1)\nf([])", ""),
    ],
)
def test_calls_that_may_change_an_input_are_found(code: str, names: str) -> None:
    """Methods that usually change their object, and calls whose value nobody uses."""
    assert sorted({one.name for one in scanned(code).possible}) == names.split()


def test_imports_are_kept_with_their_statements() -> None:
    """Only what is always imported can be repeated in another cell; parts of one package add up."""
    scope = scanned("import os.path\nimport os.abc\nfrom a import b as c\nif x:\n import maybe\nimport gone\ngone = 1")

    assert scope.imports == {"os": ("import os.path", "import os.abc"), "c": ("from a import b as c",)}
