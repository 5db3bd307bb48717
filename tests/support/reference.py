"""Slow references for the metrics: plain loops and integers, no code shared with `src`, nothing imported from it.

`check(metric)` holds a metric to its reference on fixed, varied inputs. A metric without a reference here is refused.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from skimage import data as skimage_data
from sklearn.datasets import load_sample_image

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


def _shares(grid: list[list[float]]) -> list[float]:
    cells = [value for row in grid for value in row]
    return [value / math.fsum(cells) for value in cells] if any(cells) else []


def attention_entropy_rise(a: list[list[float]], b: list[list[float]], _size: int) -> float:
    before, after = _shares(a), _shares(b)
    if not before or not after:
        return math.nan
    return math.fsum(p * math.log(p) for p in before if p) - math.fsum(q * math.log(q) for q in after if q)


def attention_divergence(a: list[list[float]], b: list[list[float]], _size: int) -> float:
    p, q = _shares(a), _shares(b)
    if not p or not q:
        return math.nan
    terms = [
        x * math.log2(2 * x / (x + y)) for one, two in ((p, q), (q, p)) for x, y in zip(one, two, strict=True) if x
    ]
    return math.fsum(terms) / 2


def aligned_attention_similarity(a: list[list[float]], b: list[list[float]]) -> float:
    both = [(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True) if not math.isnan(x)]
    if not both:
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


# Inputs: (name, arguments of the metric), the first two arguments batched.


def embedding_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 6, 32)).astype(np.float32)
    zero = np.zeros_like(u)
    yield "random", (u, v)
    yield "identical", (u, u)
    yield "opposite", (u, -2 * u)
    yield "almost equal", (u, u + np.float32(1e-4) * v)
    yield "one pair", (u[0], v[0])
    yield "one original, many views", (u[:1], v)
    yield "two leading dimensions", (u.reshape(2, 3, 32)[:, :1], v.reshape(2, 3, 32))
    yield "float16", (u.astype(np.float16), v.astype(np.float16))
    yield "float16 whose squares overflow it", (u.astype(np.float16) * 1000, v.astype(np.float16) * 1000)
    yield "very large and very small", (u * np.float32(1e30), v * np.float32(1e-30))
    yield "no direction in the original", (zero, v)
    yield "no direction in the view", (u, np.where(np.arange(6)[:, None] % 2, v, zero))
    yield "no direction at all", (zero, zero)
    yield "lists of integers", ([3, 4], [[4, 3], [-3, -4]])


def caption_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    for case, (u, v) in embedding_inputs():
        yield case, (u, v, np.random.default_rng(7).normal(size=np.shape(u)[-1]).tolist())


def class_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Vectors of very different lengths, which must not decide."""
    for case, (u, v) in embedding_inputs():
        classes = np.random.default_rng(8).normal(size=(5, np.shape(u)[-1])) * 10.0 ** np.arange(-2, 3)[:, None]
        yield case, (u, v, classes.tolist())


def attention_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(1)

    def maps(*shape: int) -> np.ndarray:
        weights = np.exp(2 * rng.normal(size=shape)).astype(np.float32)
        maps: np.ndarray = weights / weights.sum(axis=(-2, -1), keepdims=True)
        return maps

    flat = np.full((3, 7, 7), np.float32(1 / 49))
    peak = np.zeros((3, 7, 7), np.float32)
    peak[[0, 1, 2], [0, 3, 6], [6, 3, 2]] = 1
    yield "random", (maps(3, 7, 7), maps(3, 7, 7), 28)
    yield "identical", ((same := maps(2, 7, 7)), same, 28)
    yield "sides that do not divide", (maps(2, 7, 7), maps(2, 7, 7), 33)
    yield "not square", (maps(2, 3, 5), maps(2, 3, 5), 16)
    yield "one row", (maps(2, 1, 6), maps(2, 1, 6), 12)
    yield "one map", (maps(4, 4), maps(4, 4), 16)
    yield "one original, many views", (maps(1, 4, 4), maps(5, 4, 4), 16)
    yield "two leading dimensions", (maps(2, 1, 4, 4), maps(2, 3, 4, 4), 12)
    yield "single peaks", (peak, peak[::-1], 28)
    yield "constant in the original", (flat, maps(3, 7, 7), 28)
    yield "constant in the view", (maps(3, 7, 7), flat, 30)
    yield "constant in both", (flat, 3 * flat, 33)
    yield "one cell", (maps(2, 1, 1), maps(2, 1, 1), 8)
    yield "float16", (maps(2, 5, 5).astype(np.float16), maps(2, 5, 5).astype(np.float16), 15)
    yield "the size of the grid", (maps(2, 6, 6), maps(2, 6, 6), 6)


def zero_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Maps as distributions: also those that hold zeros, or nothing at all."""
    yield from attention_inputs()
    peak = np.zeros((2, 3, 3))
    peak[[0, 1], 1, [0, 2]] = 5
    yield "one cell against all", (peak, np.ones((2, 3, 3)), 9)
    yield "nothing in the original", (np.zeros((2, 3, 3)), np.ones((2, 3, 3)), 9)
    yield "nothing in the view", (peak, np.zeros((2, 3, 3)), 9)
    yield "equal but for their sums", (peak, 3 * peak, 9)


def aligned_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(6)
    a, b = rng.random((2, 4, 12, 12))
    hole, border, nothing = a.copy(), a.copy(), np.full_like(a, np.nan)
    hole[rng.random(a.shape) < 0.3] = np.nan
    border[..., :5] = np.nan
    inside = np.where(np.isnan(border), 9.0, a)  # equal where it counts
    yield "nothing outside", (a, b)
    yield "holes", (hole, b)
    yield "a border", (border, b)
    yield "all outside", (nothing, b)
    yield "some all outside", (np.where(np.arange(4)[:, None, None] % 2, a, np.nan), b)
    yield "equal inside", (border, inside)
    yield "another scale inside", (border, 0.2 + 0.1 * inside)
    yield "rounding of a constant", (0.5 + 1e-8 * a, b)
    yield "constant in the view", (hole, np.ones_like(b))
    yield "one pair", (border[0], b[0])
    yield "one original, many views", (hole[:1], b)


def pixel_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(2)
    pictures: Any = skimage_data
    astronaut, china = pictures.astronaut(), load_sample_image("china.jpg")
    photos = np.stack([astronaut[100:148, 200:248], china[200:248, 300:348], china[0:48, 0:48]])
    random = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    noisy = np.clip(photos + rng.normal(0, 60, photos.shape), 0, 255).astype(np.uint8)
    flat = np.full((32, 32, 3), 90, np.uint8)
    black, white = np.zeros_like(flat), np.full_like(flat, 255)
    checker = np.repeat((255 * (np.indices((32, 32)).sum(0) % 2)).astype(np.uint8)[..., None], 3, axis=-1)
    one_flat = random[0].copy()
    one_flat[8:12, 4:8] = (7, 200, 33)
    speck = flat.copy()
    speck[9, 9, 2] += 1
    yield "random", (random, random[::-1])
    yield "identical", (random, random)
    yield "photo and noise", (photos, noisy)
    yield "photo and mirror image", (photos, photos[:, :, ::-1])
    yield "photo and half the light", (photos, photos // 2)
    yield "photo and another photo", (photos, photos[[1, 2, 0]])
    yield "one original, many views", (photos[:1], noisy)
    yield "two leading dimensions", (random.reshape(2, 2, 32, 32, 3)[:, :1], random.reshape(2, 2, 32, 32, 3)[::-1])
    yield "one pair", (random[0], random[1])
    yield "sides that do not divide", (random[:2, :29, :31], random[2:, :29, :31])
    yield "not square", (china[None, 100:150, 100:185], china[None, 110:160, 90:175])
    yield "black and white", (black, white)
    yield "white and black", (white, black)
    yield "differences that wrap to 0 when squared", (black, np.full_like(black, 16))
    yield "differences below 0", (np.full_like(black, 3), np.full_like(black, 250))
    yield "checkerboards", (checker, 255 - checker)
    yield "flat original", (flat, random[0])
    yield "flat view", (random[0], flat)
    yield "flat both", (flat, flat + 1)
    yield "one flat patch in the original", (one_flat, random[0])
    yield "one flat patch in the view", (random[0], one_flat)
    yield "one pixel one level of blue", (speck, random[0])
    yield "from much to one pixel one level", (random[0], speck)


INPUTS = {
    "cosine_similarity": embedding_inputs,
    "l2_distance": embedding_inputs,
    "text_alignment_shift": caption_inputs,
    "zero_shot_flip": class_inputs,
    "attention_similarity": attention_inputs,
    "rollout_similarity": attention_inputs,
    "attention_entropy_rise": zero_inputs,
    "attention_divergence": zero_inputs,
    "aligned_attention_similarity": aligned_inputs,
    "patch_similarity": pixel_inputs,
    "patch_similarity_uint8": pixel_inputs,
    "edge_preservation": pixel_inputs,
    "detail_preservation": pixel_inputs,
}
# How many of the last dimensions belong to one thing that is measured.
DEPTH = {
    embedding_inputs: 1,
    caption_inputs: 1,
    class_inputs: 1,
    attention_inputs: 2,
    zero_inputs: 2,
    aligned_inputs: 2,
    pixel_inputs: 3,
}


def expected(name: str, *arguments: Any) -> np.ndarray:
    """The reference of the metric `name`, pair by pair, float64 of the broadcast leading dimensions."""
    depth = DEPTH[INPUTS[name]]
    first, second, *rest = arguments
    first, second = np.broadcast_arrays(first, second) if depth != 2 else _broadcast_maps(first, second)
    lead = first.shape[: first.ndim - depth]
    values = [globals()[name](first[index].tolist(), second[index].tolist(), *rest) for index in np.ndindex(*lead)]
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
    assert metric.name in INPUTS, f"{metric.name}: write its reference and inputs in tests/support/reference.py"
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
