"""The beginnings of node names that are not a function's, and the name of an edge that only waits."""

from covalab.sdk.building.trace import WAIT_EDGE as WAIT_EDGE_NAME

prefix_separator = ":"
parameter_prefix = ":parameter:"
electron_list_prefix = ":electron_list:"
electron_dict_prefix = ":electron_dict:"
subscript_prefix = ":subscripted:"
generator_prefix = ":generated:"
sublattice_prefix = ":sublattice:"
attr_prefix = ":attribute:"
arg_prefix = ":arg:"
postprocess_prefix = ":postprocess:"

__all__ = [
    "WAIT_EDGE_NAME",
    "arg_prefix",
    "attr_prefix",
    "electron_dict_prefix",
    "electron_list_prefix",
    "generator_prefix",
    "parameter_prefix",
    "postprocess_prefix",
    "prefix_separator",
    "sublattice_prefix",
    "subscript_prefix",
]
