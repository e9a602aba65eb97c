"""Reuse of earlier runs: what code reads and does beside its inputs while it runs, and whether that is still the same.

`watch` observes a run, `code` finds in a text what cannot be observed, `surroundings` compares then with now.
"""
