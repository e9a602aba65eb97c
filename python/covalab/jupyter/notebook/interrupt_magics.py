"""Magics for people in a workflow: answer what waits, pause, resume.

Only reads lines and shows answers; `covalab.sdk.executions.interrupts` does it.
"""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, parse_argstring

from covalab.core.errors import NoSuchInterrupt
from covalab.jupyter.cells.header import without_comment
from covalab.jupyter.notebook.display import Waiting
from covalab.jupyter.notebook.magic_helpers import id_in, magic
from covalab.sdk.executions import interrupts


@magics_class
class PeopleMagics(Magics):
    """What a person says to workflows that run."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell

    @magic(line_magic)
    def answer(self, line: str) -> Waiting | str:
        """Answer what a workflow waits for (``ct.pause_for``): ``%answer ID VALUE``.

        ::

            %answer                 # everything that waits for an answer
            %answer ID              # what is asked there
            %answer ID VALUE        # the answer: a Python expression, evaluated in this notebook

        ID is what ``%answer`` lists, ``<dispatch id>:<node>``; or a dispatch that waits for one thing only; or a
        variable that holds either. The value becomes the value of the node that waits. An answer is final.
        """
        id_text, _, expression = without_comment(line).partition(" ")
        if not id_text:
            return Waiting(interrupts.get_interrupts())
        wanted = id_in(self._shell, id_text)
        found = interrupts.find_interrupts(wanted)
        if not expression.strip():
            return Waiting(found)
        try:
            asked = interrupts.the_one(wanted, found, "%answer")
        except NoSuchInterrupt as error:
            raise UsageError(str(error)) from None
        value = self._value(expression.strip())
        record = interrupts.continue_with(wanted.partition(":")[0], asked["id"], value)
        return f"{record['type']!r} ({record['id']}) was answered with {value!r}."

    def _value(self, expression: str) -> Any:
        form = "the answer is a Python expression, so a text has quotes: %answer ID 'yes'"
        try:
            return eval(compile(expression, "<answer>", "eval"), self._shell.user_ns)  # noqa: S307 - the user's own
        except SyntaxError as error:
            message = f"`{expression}` is not an expression ({error.msg}); {form}"
            raise UsageError(message) from None
        except NameError as error:
            message = f"`{expression}`: {error}; {form}"
            raise UsageError(message) from None

    @magic(
        line_magic,
        argument("id", help="a dispatch id, or a variable that holds one"),
    )
    def pause(self, line: str) -> str:
        """Let a dispatch start nothing new, also over restarts; what runs goes on. ``%resume`` lets it go on."""
        wanted = id_in(self._shell, parse_argstring(self.pause, without_comment(line)).id)
        interrupts.pause(wanted)
        return f"Dispatch {wanted} is paused; %resume {wanted} lets it go on."

    @magic(
        line_magic,
        argument("id", help="a dispatch id, or a variable that holds one"),
    )
    def resume(self, line: str) -> str:
        """Let a dispatch that was paused go on where it was."""
        wanted = id_in(self._shell, parse_argstring(self.resume, without_comment(line)).id)
        interrupts.resume(wanted)
        return f"Dispatch {wanted} goes on."
