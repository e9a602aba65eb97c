"""Outputs of a node: what it displays is recorded, in order with what it prints, as a kernel would show it.

`recorder` writes the file that is read while the node runs; `ipython` lets user code that imports IPython find a shell
whose display machinery records (`shell`), which is imported only then; `figures` captures open figures of matplotlib.
"""
