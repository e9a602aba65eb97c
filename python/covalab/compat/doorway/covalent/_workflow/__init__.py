"""Electrons and lattices, by Covalent's internal path."""

from covalab.sdk.electron import electron
from covalab.sdk.lattice import lattice

__all__ = ["electron", "lattice"]
