"""Verbs: dispatch, redispatch, start, cancel; and the fingerprints by which a redispatch reuses results."""
