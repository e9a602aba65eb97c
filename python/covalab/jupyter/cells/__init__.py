"""Analysis of cells: names that a cell reads, sets and changes, and its compilation to a function. Pure."""
