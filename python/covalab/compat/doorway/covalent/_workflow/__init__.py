"""Electrons, lattices and what they depend on, by Covalent's internal path."""

from covalab.sdk.deps import DepsBash, DepsCall, DepsModule, DepsPip
from covalab.sdk.electron import electron
from covalab.sdk.lattice import lattice
from covalab.sdk.lepton import Lepton

__all__ = ["DepsBash", "DepsCall", "DepsModule", "DepsPip", "Lepton", "electron", "lattice"]
