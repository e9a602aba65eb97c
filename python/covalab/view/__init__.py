"""How a dispatch looks in a notebook: the output bundle, the static picture, the widget.

Importing this loads nothing: `bundle`, `picture` and `widget` are imported by whoever shows something.
"""
