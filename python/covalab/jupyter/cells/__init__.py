"""Cell analysis: names that a cell reads, sets and changes, and the function that is made of it. Pure."""
