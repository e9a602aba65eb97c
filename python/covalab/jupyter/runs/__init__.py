"""Notebook runs: a whole notebook as a dispatch, from its document and without a kernel."""
