"""Decorators that make leptons: ``ct.leptons``."""

from __future__ import annotations

from covalab.sdk.lepton import bash

__all__ = ["bash"]
