"""Previews of values, made in a process of their own: opening a value runs the user's code."""
