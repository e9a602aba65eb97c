"""Main module of a process that a task spawned: `multiprocessing` runs it, and it has the definitions of the node."""

from covalab.worker.main_module import received

globals().update(received())
