"""covalab inside Jupyter: the server extension, the magics. Importing this loads neither."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Tell the Jupyter server which extension this package has."""
    from covalab.jupyter.extension import CovalabApp  # noqa: PLC0415 - kernels import this package, and have no server

    return [{"module": "covalab", "app": CovalabApp}]
