"""Arrays of NumPy: shape, range, histogram, picture, and a page of rows."""

from __future__ import annotations

import base64
import struct
import sys
import zlib
from typing import Any, Final

from covalab.core.previews import MOST_COLUMNS, Preview, PreviewBars, PreviewColumn, PreviewQuery
from covalab.worker.previews.cells import number_text
from covalab.worker.previews.tables import page

_SAMPLE: Final = 4_000_000
"""The most numbers that are looked at; of more, every n-th."""

_BINS: Final = 32
_PICTURE: Final = 256
"""The most pixels of a picture in each direction."""

_SMALLEST: Final = 8


def array_preview(value: Any, query: PreviewQuery) -> Preview | None:
    """Return the preview of an array, or of what another library makes an array of."""
    numpy = sys.modules.get("numpy")
    torch = sys.modules.get("torch")
    kind = ""
    if torch is not None and isinstance(value, torch.Tensor):
        kind, value = f"torch.Tensor on {value.device}", value.detach().cpu().numpy()
    if numpy is None or not isinstance(value, numpy.ndarray):
        return None
    with numpy.errstate(all="ignore"):  # of numbers near the largest, say
        return _array(numpy, value, kind, query)


def _array(numpy: Any, value: Any, kind: str, query: PreviewQuery) -> Preview:
    facts = [("Shape", " \u00d7 ".join(f"{n:,}" for n in value.shape) or "none"), ("dtype", str(value.dtype)[:100])]
    bars = None
    if value.dtype.kind in "iuf" and value.size:
        numbers, its_facts = _numbers(numpy, value)
        facts += its_facts
        bars = _bars(numpy, numbers)
    elif value.dtype.kind == "b" and value.size:
        facts.append(("True", f"{int(value.sum()):,} of {value.size:,}"))
    picture = _picture(numpy, value)
    flat = value
    while flat.ndim > 2 and flat.size:
        flat = flat[0]
    if value.ndim > 2:
        facts.append(("Rows below", f"of [{', '.join(['0'] * (value.ndim - 2))}, :, :]"))
    return Preview(
        kind or "numpy.ndarray",
        int(value.nbytes),
        facts,
        table=_table(numpy, flat, query) if flat.ndim in (1, 2) else None,
        bars=bars,
        data={"image/png": picture} if picture else {},
    )


def _numbers(numpy: Any, value: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return the finite numbers of an array, or a sample, and facts about them."""
    flat = value.reshape(-1)
    step = max(1, flat.size // _SAMPLE)
    seen = flat[::step]
    finite = seen[numpy.isfinite(seen)] if value.dtype.kind == "f" else seen
    facts = []
    if finite.size:
        wide = finite.astype(float)
        about = "about " if step > 1 else ""
        facts.append(("Range", f"{about}{number_text(wide.min())} to {number_text(wide.max())}"))
        facts.append(("Mean", f"{about}{number_text(wide.mean())}"))
    if finite.size < seen.size:
        facts.append(("Not finite", f"{seen.size - finite.size:,}" + (f" of {seen.size:,} looked at" * (step > 1))))
    return finite, facts


def _bars(numpy: Any, numbers: Any) -> PreviewBars | None:
    if numbers.size < 2 or (low := numbers.min()) == (high := numbers.max()):
        return None
    try:
        counts, _ = numpy.histogram(numbers, bins=_BINS)
    except ValueError:  # the range is larger than a float, or smaller than its precision
        return None
    return PreviewBars([int(count) for count in counts], number_text(low), number_text(high))


def _table(numpy: Any, value: Any, query: PreviewQuery) -> Any:
    names = value.dtype.names
    n_columns = len(names) if names else (value.shape[1] if value.ndim == 2 else 1)
    if names and value.ndim != 1:
        return None

    def column(number: int) -> Any:
        return value[names[number]] if names else (value[:, number] if value.ndim == 2 else value)

    columns = []
    for number in range(min(n_columns, MOST_COLUMNS)):
        kind = value.dtype[number] if names else value.dtype
        name = names[number] if names else (str(number) if value.ndim == 2 else "value")
        columns.append(PreviewColumn(name, str(kind), is_number=kind.kind in "iufc"))
    columns += [PreviewColumn("", "", is_number=False)] * (n_columns - len(columns))
    places = numpy.arange(query.offset, min(query.offset + query.count, len(value)))
    if 0 <= query.sort < min(n_columns, MOST_COLUMNS):
        keys = column(query.sort)
        try:
            order = numpy.argsort(keys, kind="stable")
        except TypeError:  # objects that have no order
            order = numpy.argsort(keys.astype(str), kind="stable")
        places = (order[::-1] if query.descending else order)[query.offset : query.offset + query.count]
    values = [column(number)[places].tolist() for number in range(min(n_columns, MOST_COLUMNS))]
    return page(columns, [str(place) for place in places], values, query, len(value))


def _picture(numpy: Any, value: Any) -> str:
    """Return an array as a PNG in base64: one of colours as they are, one of numbers in shades of grey."""
    is_colour = value.ndim == 3 and value.shape[2] in (3, 4) and value.dtype == numpy.uint8
    if value.ndim != 2 and not is_colour:
        return ""
    if min(value.shape[:2]) < _SMALLEST or value.dtype.kind not in "iufb":
        return ""
    step = max(1, -(-max(value.shape[:2]) // _PICTURE))
    seen = value[::step, ::step]
    if not is_colour:
        seen = seen.astype(float)
        finite = numpy.isfinite(seen)
        if not finite.any():
            return ""
        low, high = seen[finite].min(), seen[finite].max()
        seen = numpy.where(finite, (seen - low) / ((high - low) or 1.0) * 255, 0)
        seen = numpy.nan_to_num(seen).clip(0, 255).astype(numpy.uint8)
    return _png(seen.tobytes(), seen.shape[1], seen.shape[0], seen.shape[2] if is_colour else 1)


def _png(pixels: bytes, width: int, height: int, channels: int) -> str:
    """Return pixels as a PNG in base64. By hand: no library that every array has imported writes one."""
    line = width * channels
    rows = b"".join(b"\0" + pixels[at : at + line] for at in range(0, line * height, line))
    head = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
