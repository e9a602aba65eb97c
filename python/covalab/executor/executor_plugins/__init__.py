"""Covalent's package of built-in executors, each module of it one of `covalab.executors`."""
