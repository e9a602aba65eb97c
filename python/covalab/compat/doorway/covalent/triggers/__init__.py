"""Triggers, as `covalent.triggers`."""

from covalab.compat.door import open_to

open_to(__name__, "covalab.triggers")
