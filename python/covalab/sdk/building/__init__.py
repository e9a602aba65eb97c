"""Transport graphs from decorated functions: electrons, lattices, leptons, and the trace that connects them."""
