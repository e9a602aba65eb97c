"""Magics for interrupts: `%answer`, `%pause`, `%resume`.

They only parse lines and return answers; `covalab.sdk.executions.interrupts` does the work.
"""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, parse_argstring

from covalab.core.errors import NoSuchInterrupt
from covalab.jupyter.cells.header import without_comment
from covalab.jupyter.notebook.display import Interrupts
from covalab.jupyter.notebook.magic_helpers import evaluate, id_in, magic
from covalab.sdk.executions import interrupts


@magics_class
class InterruptMagics(Magics):
    """Magics about workflows that wait for an answer, or are to wait."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell

    @magic(line_magic)
    def answer(self, line: str) -> Interrupts | str:
        """Answer an interrupt, a question that a workflow asks with ``ct.pause_for``: ``%answer ID VALUE``.

        ::

            %answer                 # list all interrupts that are not answered
            %answer ID              # show the interrupts of ID
            %answer ID VALUE        # answer with a Python expression, evaluated in this notebook

        ID is the id of an interrupt as ``%answer`` lists it, ``<dispatch id>:<node>``; or the id of a dispatch with
        only one open interrupt; or a variable that holds either. VALUE becomes the value of the waiting node. An answer
        is final.
        """
        id_text, _, expression = without_comment(line).partition(" ")
        if not id_text:
            return Interrupts(interrupts.get_interrupts())
        id_ = id_in(self._shell, id_text)
        found = interrupts.find_interrupts(id_)
        if not expression.strip():
            return Interrupts(found)
        try:
            interrupt = interrupts.the_one(id_, found, "%answer")
        except NoSuchInterrupt as error:
            raise UsageError(str(error)) from None
        value = self._value(expression.strip())
        record = interrupts.continue_with(id_.partition(":")[0], interrupt["id"], value)
        return f"{record['type']!r} ({record['id']}) was answered with {value!r}."

    def _value(self, expression: str) -> Any:
        form = "the answer is a Python expression, so a text has quotes: %answer ID 'yes'"
        try:
            return evaluate(compile(expression, "<answer>", "eval"), self._shell.user_ns)
        except SyntaxError as error:
            message = f"`{expression}` is not an expression ({error.msg}); {form}"
            raise UsageError(message) from None
        except NameError as error:
            message = f"`{expression}`: {error}; {form}"
            raise UsageError(message) from None

    @magic(
        line_magic,
        argument("id", help="dispatch id, or a variable that holds one"),
    )
    def pause(self, line: str) -> str:
        """Pause a dispatch: no new task starts, also after a restart; running tasks continue. ``%resume`` ends it."""
        dispatch = id_in(self._shell, parse_argstring(self.pause, without_comment(line)).id)
        interrupts.pause(dispatch)
        return f"Dispatch {dispatch} is paused; %resume {dispatch} lets it go on."

    @magic(
        line_magic,
        argument("id", help="dispatch id, or a variable that holds one"),
    )
    def resume(self, line: str) -> str:
        """Resume a paused dispatch."""
        dispatch = id_in(self._shell, parse_argstring(self.resume, without_comment(line)).id)
        interrupts.resume(dispatch)
        return f"Dispatch {dispatch} goes on."
