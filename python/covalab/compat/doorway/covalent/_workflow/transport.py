"""The transport graph, by Covalent's internal path."""

from covalab.sdk.building.transport_graph import TransportGraph as _TransportGraph
from covalab.sdk.results.transportable import TransportableObject

__all__ = ["TransportableObject", "_TransportGraph"]
