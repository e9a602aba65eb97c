"""The transport graph, by Covalent's internal path."""

from covalab.core.transportable import TransportableObject
from covalab.sdk.building.transport_graph import TransportGraph as _TransportGraph

__all__ = ["TransportableObject", "_TransportGraph"]
