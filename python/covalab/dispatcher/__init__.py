"""The process that decides. Imports no Dask and opens no pickle."""
