"""Layout of a graph: layers by longest path, order by barycentre, places by isotonic regression.

Pure, and linear in boxes, edges and bends (but for sorting within a layer). `labextension/src/graph/layout.ts` is the
same for the browser; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_ORDER_SWEEPS: Final = 4
_PLACE_SWEEPS: Final = 6

_BENDS_PER_BOX: Final = 4
"""With more bends than this per box (and 2,000 in all) long edges are drawn straight instead."""

_BEND_SIZE: Final = 10.0
"""How much room a bend takes within its layer."""


class Ranks(NamedTuple):
    """Layers and the order within them: the part of a layout that does not depend on the size of a box.

    Items are boxes first, then the bends of long edges; a route names the items that an edge passes.
    """

    layer_of: list[int]
    layers: list[list[int]]
    routes: list[list[int]]


class Places(NamedTuple):
    """The centre of every box and bend within its layer; layers reach from 0 to `breadth`."""

    across: list[float]
    breadth: float


def rank(count: int, edges: Sequence[tuple[int, int]]) -> Ranks:
    """Give every box a layer and an order within it."""
    layer_of = _layer(count, edges)
    bends = sum(max(0, layer_of[target] - layer_of[source] - 1) for source, target in edges)
    bend = bends <= max(2000, _BENDS_PER_BOX * count)
    routes: list[list[int]] = []
    for source, target in edges:
        between = range(layer_of[source] + 1, layer_of[target]) if bend else ()
        # Each bend is an item of its own, so that long edges take room between the boxes they pass.
        routes.append([source, *range(len(layer_of), len(layer_of) + len(between)), target])
        layer_of.extend(between)
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for item, at in enumerate(layer_of):
        layers[at].append(item)

    _sort_layers(layers, len(layer_of), routes)
    return Ranks(layer_of, layers, routes)


def _sort_layers(layers: list[list[int]], count: int, routes: Sequence[Sequence[int]]) -> None:
    """Sort the items within each layer by the mean index of their neighbours, so that few edges cross."""
    before, after = _neighbours(count, routes)
    index_of = [0] * count

    def number(layer: list[int]) -> None:
        for index, item in enumerate(layer):
            index_of[item] = index

    def sort(layer: list[int], around: Sequence[Sequence[int]]) -> None:
        weight = {item: _mean(around[item], index_of, index_of[item]) for item in layer}
        # Equal weights keep their order: the picture must be the same each time, here and in the browser.
        layer.sort(key=lambda item: (weight[item], index_of[item]))
        number(layer)

    for layer in layers:
        number(layer)
    for _ in range(_ORDER_SWEEPS):
        for layer in layers[1:]:
            sort(layer, before)
        for layer in reversed(layers[:-1]):
            sort(layer, after)


def place(ranks: Ranks, sizes: Sequence[float], gap: float) -> Places:
    """Give every box and bend its place, for boxes `sizes` broad and `gap` apart."""
    layer_of, layers, routes = ranks
    if not layer_of:
        return Places([], 0.0)
    room = [*sizes, *[_BEND_SIZE] * (len(layer_of) - len(sizes))]
    before, after = _neighbours(len(layer_of), routes)
    offsets = [_offsets(layer, room, gap) for layer in layers]
    across = [0.0] * len(layer_of)
    for layer, offset in zip(layers, offsets, strict=True):
        for item, start in zip(layer, offset, strict=True):
            across[item] = start - offset[-1] / 2

    def align(index: int, *around: Sequence[Sequence[int]]) -> None:
        layer, offset = layers[index], offsets[index]
        wanted = [
            _mean([other for side in around for other in side[item]], across, across[item]) - start
            for item, start in zip(layer, offset, strict=True)
        ]
        for item, start, value in zip(layer, offset, _isotonic(wanted), strict=True):
            across[item] = value + start

    down, up = range(1, len(layers)), range(len(layers) - 2, -1, -1)
    for sweep in range(_PLACE_SWEEPS):
        for index in up if sweep % 2 else down:
            align(index, after if sweep % 2 else before)
    for index in range(len(layers)):
        align(index, before, after)
    low = min(value - size / 2 for value, size in zip(across, room, strict=True))
    high = max(value + size / 2 for value, size in zip(across, room, strict=True))
    return Places([value - low for value in across], high - low)


def _offsets(layer: Sequence[int], room: Sequence[float], gap: float) -> list[float]:
    """Return the centres of a layer's items, packed as closely as allowed, from 0 on."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (room[left] + room[right]) / 2 + gap)
    return offsets


def _layer(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Return the layer of each box: its longest path from a source; a source is just above its first consumer."""
    parents = [0] * count
    children: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        parents[target] += 1
        children[source].append(target)
    missing = list(parents)
    result = [0] * count
    order = [box for box, left in enumerate(missing) if left == 0]
    for box in order:  # the list grows while the loop runs over it
        for child in children[box]:
            result[child] = max(result[child], result[box] + 1)
            missing[child] -= 1
            if missing[child] == 0:
                order.append(child)
    for box in range(count):
        if parents[box] == 0 and children[box]:
            result[box] = min(result[child] for child in children[box]) - 1
    return result


def _neighbours(count: int, routes: Iterable[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the neighbours of each item in the layer before and in the layer after."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for route in routes:
        for source, target in pairwise(route):
            before[target].append(source)
            after[source].append(target)
    return before, after


def _mean(items: Sequence[int], values: Sequence[float], otherwise: float) -> float:
    total = 0.0  # added one by one, as the browser does: `sum` may round differently
    for item in items:
        total += values[item]
    return total / len(items) if items else otherwise


def _isotonic(wanted: Iterable[float]) -> list[float]:
    """Return the non-decreasing sequence closest to `wanted` (least squares), by pooling adjacent violators."""
    blocks: list[tuple[float, int]] = []
    for value in wanted:
        total, size = value, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            last_total, last_size = blocks.pop()
            total, size = last_total + total, last_size + size
        blocks.append((total, size))
    return [total / size for total, size in blocks for _ in range(size)]
