"""Slow references for the aligned metrics of pixels: of the original, [nan, nan, nan] is a pixel that is not shown."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any


def _grey(pixel: list[float]) -> float:
    red, green, blue = pixel
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _shown(o: list[Any]) -> set[tuple[int, int]]:
    shown = {(y, x) for y, row in enumerate(o) for x, pixel in enumerate(row) if not any(map(math.isnan, pixel))}
    return shown if 10 * len(shown) >= len(o) * len(o[0]) else set()


def _patches(o: list[Any], cells: int) -> Iterator[list[tuple[int, int]]]:
    shown, height, width = _shown(o), len(o) // cells, len(o[0]) // cells
    for i, j in product(range(cells), range(cells)):
        rows, columns = range(i * height, (i + 1) * height), range(j * width, (j + 1) * width)
        patch = [place for place in product(rows, columns) if place in shown]
        if patch and 10 * len(patch) >= len(rows) * len(columns):
            yield patch


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _variance(values: list[float]) -> float:
    mean = _mean(values)
    return _mean([(value - mean) ** 2 for value in values])


def aligned_patch_similarity(o: list[Any], a: list[Any]) -> float:
    terms = []
    for patch in _patches(o, 4):
        squares = [(o[y][x][c] - a[y][x][c]) ** 2 for y, x in patch for c in range(3)]
        terms.append(1 / (1 + _mean(squares) / 255**2))
    return _mean(terms)


def aligned_edge_preservation(o: list[Any], a: list[Any]) -> float:
    shown, height, width = _shown(o), len(o), len(o[0])
    strengths: list[dict[tuple[int, int], float]] = [{}, {}]
    for y, x in shown:
        up, down, left, right = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
        if {(up, x), (down, x), (y, left), (y, right)} <= shown:
            for image, strength in zip((o, a), strengths, strict=True):
                rise = abs(_grey(image[down][x]) - _grey(image[up][x])) / (down - up)
                strength[y, x] = rise + abs(_grey(image[y][right]) - _grey(image[y][left])) / (right - left)
    largest, largest_after = (max(part.values(), default=0) or 1 for part in strengths)
    return 1 - _mean(
        [abs(strengths[0][place] / largest - strengths[1][place] / largest_after) for place in strengths[0]]
    )


def aligned_detail_preservation(o: list[Any], a: list[Any]) -> float:
    terms = []
    for patch in _patches(o, 8):
        levels = ([_grey(image[y][x]) for y, x in patch] for image in (o, a))
        before, after = (math.sqrt(_variance(part)) for part in levels)
        if before >= 1e-3:
            terms.append(math.exp(-abs(math.log(after / before))) if after >= 1e-3 else 0.0)
    return _mean(terms)
