"""covalab inside Jupyter: the server extension (`server`), cell analysis (`cells`) and the magics (`notebook`).

Importing this package loads none of them: a kernel has no server, and a server no cells.
"""
