"""Electrons, lattices and what they depend on, by Covalent's internal path."""

from covalab.sdk.building.electron import electron
from covalab.sdk.building.lattice import lattice
from covalab.sdk.building.lepton import Lepton
from covalab.sdk.hooks.deps import DepsBash, DepsCall, DepsModule, DepsPip

__all__ = ["DepsBash", "DepsCall", "DepsModule", "DepsPip", "Lepton", "electron", "lattice"]
