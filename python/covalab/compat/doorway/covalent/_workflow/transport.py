"""The transport graph, by Covalent's internal path."""

from covalab.sdk.transport_graph import TransportGraph as _TransportGraph
from covalab.sdk.transportable import TransportableObject

__all__ = ["TransportableObject", "_TransportGraph"]
