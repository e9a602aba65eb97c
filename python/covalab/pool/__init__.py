"""The only Dask: a process that runs batches on a cluster and holds nothing that cannot be rebuilt."""
