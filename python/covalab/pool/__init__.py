"""The only Dask: a process that runs steps on a cluster and holds nothing that cannot be rebuilt."""
