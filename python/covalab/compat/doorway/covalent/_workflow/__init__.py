"""Electrons, lattices and what they depend on, by Covalent's internal path."""

from covalab.sdk.deps import DepsBash, DepsCall, DepsModule, DepsPip
from covalab.sdk.electron import electron
from covalab.sdk.lattice import lattice

__all__ = ["DepsBash", "DepsCall", "DepsModule", "DepsPip", "electron", "lattice"]
