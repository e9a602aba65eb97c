"""`DaskExecutor`, by Covalent's path."""

from covalab.executors.dask import DaskExecutor

__all__ = ["DaskExecutor"]
