"""Electrons, by Covalent's internal path."""

from covalab.sdk.electron import Electron, electron, wait

__all__ = ["Electron", "electron", "wait"]
