"""Decorators that make leptons, as `covalent.leptons`."""

from covalab.compat.door import become

become(__name__, "covalab.sdk.building.leptons")
