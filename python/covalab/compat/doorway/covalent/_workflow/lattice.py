"""Lattices, by Covalent's internal path."""

from covalab.sdk.building.lattice import Lattice, lattice

__all__ = ["Lattice", "lattice"]
