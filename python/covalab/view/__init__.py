"""Views of a dispatch in a notebook: the output bundle, the static picture, the widget.

Importing this loads nothing: `bundle`, `picture` and `widget` are imported where something is displayed.
"""
