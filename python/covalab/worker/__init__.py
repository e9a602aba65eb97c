"""What runs inside a worker process, free of Dask: decode, call, encode, and what was printed meanwhile."""
