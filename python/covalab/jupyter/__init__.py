"""covalab inside Jupyter: the server extension (`extension`, `routes`, `relay`, `watch`) and the magics.

Importing this package loads none of them: a kernel has no server, and a server no cells.
"""
