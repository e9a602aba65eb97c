"""`Lepton`, by Covalent's internal path."""

from covalab.sdk.lepton import Lepton

__all__ = ["Lepton"]
