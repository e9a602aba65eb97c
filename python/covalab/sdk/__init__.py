"""Names that users import: electrons, lattices, dispatches, results. Loads neither Dask nor tornado nor ipywidgets.

Imports point down this list; a module imports from its own folder and from those below it:

- ``dispatching``: sends workflows and single functions; `get_result`, `redispatch`
- ``results``: `Result`, its files, the handle of a dispatch
- ``tasks``: records of single tasks, lists of tasks and dispatches
- ``executions``: a dispatch while it runs: state, stream, interrupts; ``aio``, the verbs for ``await``
- ``building``: a function becomes an electron, a lattice, a graph
- ``hooks``: what runs before and after a task
- ``configuration``, ``recorded_values``, ``values``

Six modules lie in the folder of their subject, but below all of these: ``results.status``, ``results.transportable``,
``dispatching.ids``, ``dispatching.timestamps``, ``dispatching.environment`` and ``dispatching.fingerprint``.
"""
