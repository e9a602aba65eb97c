"""Electrons, by Covalent's internal path."""

from covalab.sdk.building.electron import Electron, electron, wait

__all__ = ["Electron", "electron", "wait"]
