"""The magics of a notebook: electron cells, lattices, dispatches, interrupts."""
