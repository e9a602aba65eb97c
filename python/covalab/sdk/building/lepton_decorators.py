"""Decorators that make leptons: ``ct.leptons``."""

from __future__ import annotations

from covalab.sdk.building.lepton import bash

__all__ = ["bash"]
