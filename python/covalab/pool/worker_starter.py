"""Starter of the pool's Dask workers: a process that has imported Dask once and forks each worker from itself.

Python's own fork server. It imports while the pool itself imports, so that the workers of a new pool, and each one that
replaces a lost one, are there at once; `spawn`, Dask's default, imports everything again in each.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from multiprocessing import forkserver
from typing import Final

from covalab import config
from covalab.core.errors import ConfigError

_PRELOAD: Final = "covalab.pool.dask_tasks"  # and with it all of Dask that a worker needs

_ONE_THREAD: Final = {"MALLOC_TRIM_THRESHOLD_": "65536"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)


def begin(*, home: bool = False) -> None:
    """Start the starter, unless the configuration says that workers are others' or that a fork is not safe.

    Parameters
    ----------
    home
        Whether the workers are ours, whatever the configuration says.
    """
    with suppress(ConfigError):  # the pool says what is wrong, when it connects
        wanted = config.load().dask.at_home() if home else config.load().dask
        if not wanted.ways and wanted.forks:
            # As Dask has it for workers. A process that forks should have one thread, and libraries look at the start.
            os.environ.update(_ONE_THREAD)
            multiprocessing.set_forkserver_preload([_PRELOAD])
            forkserver.ensure_running()
