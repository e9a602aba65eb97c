"""Names that users import: electrons, lattices, dispatches, results. Loads neither Dask nor tornado nor ipywidgets.

Folders, each above those that follow it; a module imports from its own folder and from those below:

- ``dispatching``: sends workflows and single functions; `get_result`, `redispatch`
- ``results``: `Result`, its files, the handle of a dispatch
- ``tasks``: records of single tasks, lists of tasks and dispatches
- ``executions``: a dispatch while it runs: state, stream, interrupts; ``aio``, the verbs for ``await``
- ``building``: a function becomes an electron, a lattice, a graph
- ``hooks``: what runs before and after a task
- the modules of this folder itself
"""
