"""Worker process, free of Dask: decodes and calls tasks, encodes their values, captures their output."""
