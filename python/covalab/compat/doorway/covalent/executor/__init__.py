"""Executors, as `covalent.executor`; the classes of plug-ins are here too."""

from covalab.compat.door import open_to

open_to(__name__, "covalab.executor")
