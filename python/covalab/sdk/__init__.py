"""What users touch: electrons, lattices, dispatches, results. Loads neither Dask nor tornado nor ipywidgets."""
