"""`Lepton`, by Covalent's internal path."""

from covalab.sdk.building.lepton import Lepton

__all__ = ["Lepton"]
