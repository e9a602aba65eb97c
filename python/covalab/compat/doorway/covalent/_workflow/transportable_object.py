"""`TransportableObject`, by Covalent's internal path."""

from covalab.sdk.transportable import TransportableObject

__all__ = ["TransportableObject"]
