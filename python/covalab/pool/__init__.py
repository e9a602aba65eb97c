"""Pool: a process that runs batches on a Dask cluster. Only this package imports Dask; it holds no lasting state."""
