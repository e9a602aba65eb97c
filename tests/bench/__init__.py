"""covalab against raw `dask.distributed`, in one run on one machine: `python -m tests.bench`."""
