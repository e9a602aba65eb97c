"""Vocabulary and decisions. Pure: nothing in this package reads a clock, opens a file or knows that Dask exists."""
