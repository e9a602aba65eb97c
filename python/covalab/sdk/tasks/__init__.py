"""Tasks: single nodes and single functions by their own id, lists and counts, logging."""
