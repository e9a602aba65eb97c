"""The version of covalab, in the one place from which the package, the wheel and the wire take it."""

__version__ = "0.1.0"
