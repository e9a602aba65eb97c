"""Whole values as files, in a format that other programs read where there is one."""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any, Final

from covalab.core import pickling
from covalab.core.codec import type_name
from covalab.core.previews import Preview, PreviewFile
from covalab.worker.previews.displays import displayed

FILE_LIMIT: Final = 50_000_000
"""The most bytes of a file that is sent to a page."""


def whole(value: Any) -> Preview:
    """Return a value as a file: a table as CSV, an array as NPY, a picture, text, JSON, else a pickle."""
    kind = type_name(value)
    ending, mime, content = _file(value)
    if len(content) > FILE_LIMIT:
        why = f"the file would have {len(content):,} bytes; at most {FILE_LIMIT:,} are sent to a page"
        return Preview(kind, why=f"{why}. Fetch it with ct.get_result instead")
    return Preview(kind, file=PreviewFile(ending, mime, base64.b64encode(content).decode()))


def _file(value: Any) -> tuple[str, str, bytes]:  # noqa: PLR0911 - one line for each format
    if isinstance(value, str):
        return "txt", "text/plain", value.encode("utf-8", "backslashreplace")
    table = _table(value)
    if table is not None:
        return "csv", "text/csv", table
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        file = io.BytesIO()
        numpy.save(file, value, allow_pickle=False)
        return "npy", "application/octet-stream", file.getvalue()
    if isinstance(value, bytes | bytearray):
        return "bin", "application/octet-stream", bytes(value)
    picture = displayed(value).get("image/png")
    if picture is not None:
        return "png", "image/png", base64.b64decode(picture)
    if isinstance(value, dict | list | tuple | int | float | bool | None):
        try:
            return "json", "application/json", json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            pass  # parts that JSON does not have
    return "pkl", "application/octet-stream", pickling.dumps(value)


def _table(value: Any) -> bytes | None:
    """Return a frame or series as CSV."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return str(value.to_csv()).encode("utf-8", "backslashreplace")
    if polars is not None and isinstance(value, polars.DataFrame | polars.Series):
        frame = value.to_frame() if isinstance(value, polars.Series) else value
        return str(frame.write_csv()).encode()
    return None
