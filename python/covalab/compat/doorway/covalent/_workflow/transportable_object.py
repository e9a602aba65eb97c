"""`TransportableObject`, by Covalent's internal path."""

from covalab.sdk.results.transportable import TransportableObject

__all__ = ["TransportableObject"]
