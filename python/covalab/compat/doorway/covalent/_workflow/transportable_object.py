"""`TransportableObject`, by Covalent's internal path."""

from covalab.core.transportable import TransportableObject

__all__ = ["TransportableObject"]
