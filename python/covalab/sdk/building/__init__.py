"""From decorated functions to a transport graph: electrons, lattices, leptons, and the trace that connects them."""
