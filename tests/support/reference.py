"""Slow references for the metrics: plain loops and integers, no code shared with `src`, nothing imported from it.

`check(metric)` holds a metric to its reference on fixed, varied inputs. A metric without a reference here is refused.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from support.inputs import ALONE, DEPTH, INPUTS, pixel_inputs

PIXELS, REST = 1e-6, 1e-9


# Embeddings.


def cosine_similarity(u: list[float], v: list[float]) -> float:
    if not any(u) or not any(v):
        return math.nan
    # Scaled by the largest value first, which changes no angle: squares of extreme values would overflow.
    top_u, top_v = max(map(abs, u)), max(map(abs, v))
    u, v = [x / top_u for x in u], [y / top_v for y in v]
    dot = math.fsum(x * y for x, y in zip(u, v, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in u)) / math.sqrt(math.fsum(y * y for y in v))


def l2_distance(u: list[float], v: list[float]) -> float:
    return math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(u, v, strict=True)))


def pairwise_cosine_distances(views: list[list[float]]) -> list[float]:
    """Pair by pair: (0, 1), (0, 2) … (1, 2) …"""
    return [1 - cosine_similarity(views[i], views[j]) for i in range(len(views)) for j in range(len(views)) if i < j]


# Against texts: a vector, or one per class.


def text_alignment_shift(u: list[float], v: list[float], text: list[float]) -> float:
    return cosine_similarity(v, text) - cosine_similarity(u, text)


def zero_shot_flip(u: list[float], v: list[float], classes: list[list[float]]) -> float:
    fits = [[cosine_similarity(picture, text) for text in classes] for picture in (u, v)]
    if any(math.isnan(fit) for row in fits for fit in row):
        return math.nan
    before, after = (row.index(max(row)) for row in fits)
    return float(before != after)


def zero_shot_margin_shift(u: list[float], v: list[float], classes: list[list[float]]) -> float:
    before, after = ([cosine_similarity(picture, text) for text in classes] for picture in (u, v))
    if any(math.isnan(fit) for fit in before + after):
        return math.nan
    own = before.index(max(before))
    leads = [fits[own] - max(fits[:own] + fits[own + 1 :]) for fits in (before, after)]
    return leads[1] - leads[0]


# Attention maps: lists of rows.


def upsample(grid: list[list[float]], size: int) -> list[list[float]]:
    """Bilinear, half-pixel centres, the edge repeated."""
    rows, columns = len(grid), len(grid[0])
    result = []
    for y in range(size):
        cy = min(max((y + 0.5) * rows / size - 0.5, 0.0), rows - 1.0)
        top, fy = int(cy), cy - int(cy)
        bottom = min(top + 1, rows - 1)
        line = []
        for x in range(size):
            cx = min(max((x + 0.5) * columns / size - 0.5, 0.0), columns - 1.0)
            left, fx = int(cx), cx - int(cx)
            right = min(left + 1, columns - 1)
            above = grid[top][left] * (1 - fx) + grid[top][right] * fx
            below = grid[bottom][left] * (1 - fx) + grid[bottom][right] * fx
            line.append(above * (1 - fy) + below * fy)
        result.append(line)
    return result


def scaled_map(grid: list[list[float]], size: int) -> list[list[float]]:
    cells = [value for row in grid for value in row]
    if min(cells) == max(cells):
        return [[0.0] * size for _ in range(size)]
    large = upsample(grid, size)
    low, high = min(map(min, large)), max(map(max, large))
    return [[(value - low) / (high - low) for value in row] for row in large]


def attention_similarity(a: list[list[float]], b: list[list[float]], size: int) -> float:
    first, second = scaled_map(a, size), scaled_map(b, size)
    squares = [(first[y][x] - second[y][x]) ** 2 for y in range(size) for x in range(size)]
    return 1 / (1 + math.fsum(squares) / size**2)


rollout_similarity = attention_similarity


def _relative_shifts(grid: list[list[float]]) -> list[float]:
    cells = [value for row in grid for value in row]
    return [value / math.fsum(cells) for value in cells] if any(cells) else []


def attention_entropy_rise(a: list[list[float]], b: list[list[float]], _size: int) -> float:
    before, after = _relative_shifts(a), _relative_shifts(b)
    if not before or not after:
        return math.nan
    return math.fsum(p * math.log(p) for p in before if p) - math.fsum(q * math.log(q) for q in after if q)


def attention_divergence(a: list[list[float]], b: list[list[float]], _size: int) -> float:
    p, q = _relative_shifts(a), _relative_shifts(b)
    if not p or not q:
        return math.nan
    terms = [
        x * math.log2(2 * x / (x + y)) for one, two in ((p, q), (q, p)) for x, y in zip(one, two, strict=True) if x
    ]
    return math.fsum(terms) / 2


def aligned_attention_similarity(a: list[list[float]], b: list[list[float]]) -> float:
    both = [(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True) if not math.isnan(x)]
    if len(both) < 0.1 * sum(map(len, a)):
        return math.nan
    scaled = []
    for cells in zip(*both, strict=True):
        low, high = min(cells), max(cells)
        scaled.append([(value - low) / (high - low) if high - low > 1e-6 else 0.0 for value in cells])
    return 1 / (1 + math.fsum((x - y) ** 2 for x, y in zip(*scaled, strict=True)) / len(both))


# Pixels: rows of [r, g, b]. Grey is counted in thousandths of a level, so that everything up to the last division is
# exact.


def _grid(image: list[Any], cells: int) -> Iterator[tuple[range, range]]:
    height, width = len(image) // cells, len(image[0]) // cells
    for i, j in product(range(cells), range(cells)):
        yield range(i * height, (i + 1) * height), range(j * width, (j + 1) * width)


def _patch_similarity(o: list[Any], a: list[Any], square: Callable[[int, int], int]) -> float:
    terms = []
    for rows, columns in _grid(o, 4):
        squares = [square(o[y][x][c], a[y][x][c]) for y in rows for x in columns for c in range(3)]
        terms.append(1 / (1 + sum(squares) / len(squares) / 255**2))
    return sum(terms) / 16


def patch_similarity(o: list[Any], a: list[Any]) -> float:
    return _patch_similarity(o, a, lambda p, q: (p - q) ** 2)


def patch_similarity_uint8(o: list[Any], a: list[Any]) -> float:
    return _patch_similarity(o, a, lambda p, q: ((p - q) % 256) ** 2 % 256)


def _thousandths(image: list[Any]) -> list[list[int]]:
    return [[299 * r + 587 * g + 114 * b for r, g, b in row] for row in image]


def _edges(image: list[Any]) -> list[list[float]]:
    grey = _thousandths(image)
    height, width = len(grey), len(grey[0])
    strength = []
    for y in range(height):
        line = []
        for x in range(width):
            # Twice the gradient: central differences inside, one-sided ones at the border.
            up, down, left, right = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
            gy = (grey[down][x] - grey[up][x]) * (2 // (down - up))
            gx = (grey[y][right] - grey[y][left]) * (2 // (right - left))
            line.append(abs(gx) + abs(gy))
        strength.append(line)
    highest = max(map(max, strength))
    return [[value / highest if highest else 0.0 for value in line] for line in strength]


def edge_preservation(o: list[Any], a: list[Any]) -> float:
    before, after = _edges(o), _edges(a)
    differences = [
        abs(p - q) for row_o, row_a in zip(before, after, strict=True) for p, q in zip(row_o, row_a, strict=True)
    ]
    return 1 - math.fsum(differences) / len(differences)


def _patch_sd(grey: list[list[int]], rows: range, columns: range) -> float:
    values = [grey[y][x] for y in rows for x in columns]
    n = len(values)
    return math.sqrt(n * sum(value * value for value in values) - sum(values) ** 2) / n / 1000


def detail_preservation(o: list[Any], a: list[Any]) -> float:
    grey_o, grey_a = _thousandths(o), _thousandths(a)
    terms = []
    for rows, columns in _grid(o, 8):
        before, after = _patch_sd(grey_o, rows, columns), _patch_sd(grey_a, rows, columns)
        if before >= 1e-3:
            terms.append(math.exp(-abs(math.log(after / before))) if after > 0 else 0.0)
    return sum(terms) / len(terms) if terms else math.nan


# Pixels of originals that were moved: of the original, [nan, nan, nan] is a pixel that is not shown.


def _grey(pixel: list[float]) -> float:
    red, green, blue = pixel
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _shown(o: list[Any]) -> set[tuple[int, int]]:
    shown = {(y, x) for y, row in enumerate(o) for x, pixel in enumerate(row) if not any(map(math.isnan, pixel))}
    return shown if 10 * len(shown) >= len(o) * len(o[0]) else set()


def _patches(o: list[Any], cells: int) -> Iterator[list[tuple[int, int]]]:
    shown = _shown(o)
    for rows, columns in _grid(o, cells):
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


# How strong a change was.


def rms(o: list[Any], a: list[Any]) -> float:
    squares = [
        (p - q) ** 2
        for row_o, row_a in zip(o, a, strict=True)
        for one, two in zip(row_o, row_a, strict=True)
        for p, q in zip(one, two, strict=True)
    ]
    return math.sqrt(sum(squares) / len(squares)) / 255


def dissimilarity(o: list[Any], a: list[Any]) -> float:
    """By scikit-image."""
    if min(len(o), len(o[0])) < 11:
        return math.nan
    before, after = (np.array(_thousandths(image)) / 1000 for image in (o, a))
    measure: Any = structural_similarity
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return max(0.0, 1 - float(measure(before, after, **settings)))


def displacement(source: list[Any]) -> float:
    side, squares = len(source), []
    for y, row in enumerate(source):
        for x, (from_x, from_y) in enumerate(row):
            if -0.5 < from_x < side - 0.5 and -0.5 < from_y < side - 0.5:
                squares.append((from_x - x) ** 2 + (from_y - y) ** 2)
    return math.sqrt(math.fsum(squares) / len(squares)) / side if squares else math.nan


def hidden(covered: list[list[bool]]) -> float:
    return sum(map(sum, covered)) / sum(map(len, covered))


def expected(name: str, *arguments: Any) -> np.ndarray:
    """The reference of the metric `name`, pair by pair, float64 of the broadcast leading dimensions."""
    depth = DEPTH[INPUTS[name]]
    reference = globals()[name]
    if INPUTS[name] in ALONE:
        (one,) = arguments
        lead = one.shape[: one.ndim - depth]
        return np.array([reference(one[index].tolist()) for index in np.ndindex(*lead)]).reshape(lead)
    first, second, *rest = arguments
    first, second = np.broadcast_arrays(first, second) if depth != 2 else _broadcast_maps(first, second)
    lead = first.shape[: first.ndim - depth]
    values = [reference(first[index].tolist(), second[index].tolist(), *rest) for index in np.ndindex(*lead)]
    return np.array(values, np.float64).reshape(lead)


def _broadcast_maps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])


def check(metric: Any, function: Callable[..., Any] | None = None) -> None:
    """Raises AssertionError where a metric (anything with `name` and `function`) differs from its reference.

    Args:
        metric: Tells which reference; its own function is run unless another is given.
        function: Run in its place.
    """
    assert metric.name in INPUTS, f"{metric.name}: write its reference and its inputs in tests/support"
    inputs = INPUTS[metric.name]
    tolerance = PIXELS if inputs is pixel_inputs else REST
    for case, arguments in inputs():
        found = np.asarray((function or metric.function)(*arguments))
        wanted = expected(metric.name, *arguments)
        label = f"{metric.name}, {case}"
        assert found.dtype == np.float64, f"{label}: {found.dtype}"
        assert found.shape == wanted.shape, f"{label}: shape {found.shape}, expected {wanted.shape}"
        assert np.array_equal(np.isnan(found), np.isnan(wanted)), f"{label}: {found}, expected {wanted}"
        # Relative for values above 1, which only distances have.
        worst = np.nan_to_num(np.abs(found - wanted) / np.maximum(1, np.abs(wanted)), posinf=np.inf).max(initial=0)
        assert worst <= tolerance, f"{label}: off by {worst:.2g}: {found}, expected {wanted}"
