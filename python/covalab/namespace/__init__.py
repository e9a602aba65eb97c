"""Names of a notebook: pickled together, stored after each cell, exchanged with a task process and changed in place.

A kernel and a task process both have a namespace, the dictionary of `__main__`. `pickling` moves values between two of
them, `covariables` stores one cell after cell, `exchange` is for a cell that runs elsewhere, `hidden_state` moves what
has no name.
"""
