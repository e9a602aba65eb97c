"""The verbs: dispatch, redispatch, start, cancel, and what a request carries (environment, times, identity of code)."""
