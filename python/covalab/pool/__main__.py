"""`python -m covalab.pool --socket PATH`: started by the dispatcher, under the kernel's interpreter, in a session."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

from covalab import open_files
from covalab.pool import worker_starter
from covalab.pool.place import Place


async def _serve(socket: str, place: Place, data: Path) -> None:
    from covalab.pool.server import PoolServer  # noqa: PLC0415 - takes as long as the import in the starter of the workers

    open_files.handle_in(asyncio.get_running_loop(), logging.getLogger("covalab.pool"))
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await PoolServer(reader, writer, Path(socket).with_suffix(".workers"), data, place).serve()
    except Exception:  # a bug, which would be lost with the process
        logging.getLogger("covalab.pool").exception("the pool failed")
    finally:
        # Here and not after `asyncio.run`: that waits for what it cancels, and a cluster's start may not let itself be
        # cancelled. The pool of a dispatcher that is gone would stay for ever.
        end_with_everything()


def end_with_everything() -> None:
    """Kill this process, its workers and the processes of their tasks. There is nothing to save."""
    if os.getpgrp() == os.getpid():
        with suppress(ProcessLookupError):
            os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Serve one dispatcher, then end with every process in this session."""
    parser = argparse.ArgumentParser(prog="python -m covalab.pool", description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--data", required=True, type=Path, help="the data folder")
    parser.add_argument("--scheduler", default="", help="the address of a Dask scheduler to join")
    parser.add_argument("--home", action="store_true", help="workers on this machine, whatever the configuration names")
    parser.add_argument("--cluster", default="", help="the name of the cluster, in the configuration")
    arguments = parser.parse_args()
    place = Place(arguments.scheduler, arguments.cluster, arguments.home)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s pool %(levelname)s %(message)s")
    open_files.take_limit()
    if not (place.scheduler or place.cluster):
        worker_starter.begin(home=arguments.home)
    open_files.raise_limit()  # after that: the workers, and so the tasks, have the limit of the notebook
    try:
        asyncio.run(_serve(arguments.socket, place, arguments.data))
    finally:
        end_with_everything()


if __name__ == "__main__":
    main()
