"""Bootstrap over images, block by block, so that memory does not grow with their number."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL

RESAMPLES = 2_000
# Images at once. The resamples depend on it: all that should be paired uses the same blocks.
BLOCK = 512


def resampled_sums(blocks: Iterable[Values], images: int, *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Sums over bootstrap resamples of the images (as many images as there are, drawn with replacement).

    How often each image is drawn is multinomial. It is drawn block by block: first how many of a resample's draws fall
    into the block (binomial), then which images of the block they hit. The same seed, number of images and resamples
    give the same draws, so that sums of different calls are paired.

    Args:
        blocks: Per-image values `[BLOCK, K]`, the last block shorter, in the order of the images.
        images: Number of images in all blocks.
        seed: Decides the resamples.
        resamples: R, how many.

    Returns:
        float64 `[R, K]`.

    Raises:
        ValueError: when the blocks do not hold that many images, or are cut otherwise.

    Example:
        >>> resampled_sums([np.ones((3, 1))], 3, seed=0, resamples=2).ravel().tolist()
        [3.0, 3.0]
    """
    rng = np.random.default_rng(seed)
    left = np.full(resamples, images)
    unseen, totals = images, None
    for block in blocks:
        size = len(block)
        if size != min(BLOCK, unseen):
            raise ValueError(f"a block of {size} images where {min(BLOCK, unseen)} belong")
        taken = left if size == unseen else rng.binomial(left, size / unseen)
        hits = rng.integers(size, size=int(taken.sum())) + np.repeat(np.arange(resamples), taken) * size
        weights = np.bincount(hits, minlength=resamples * size).reshape(resamples, size).astype(np.float64)
        part = weights @ block
        totals = part if totals is None else totals + part
        left, unseen = left - taken, unseen - size
    if unseen or totals is None:
        raise ValueError(f"{unseen} of {images} images are missing from the blocks")
    return totals


def in_blocks(values: Values) -> Iterator[Values]:
    """Blocks of an array `[n, K]` that is in memory already."""
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


@dataclass(frozen=True)
class Layout:
    """How the rows of a study follow each other: image by image, the same views of each in the same order.

    Args:
        images: Number of images.
        views: The `view` of each row of one image.
    """

    images: int
    views: tuple[str, ...]

    def positions(self, view: str) -> list[int]:
        """Places of a view among the rows of an image, one per draw.

        Example:
            >>> Layout(5, ("original", "blur", "flip", "blur", "flip")).positions("flip")
            [2, 4]
        """
        return [place for place, name in enumerate(self.views) if name == view]

    def per_image(self, block: pl.DataFrame, view: str, columns: Sequence[str]) -> tuple[Values, Values]:
        """Sums over the draws and counts, without NaN and null, of some columns of one view.

        Args:
            block: Rows of whole images, as `blocks` gives them.
            view: Which view.
            columns: K names.

        Returns:
            Sums `[b, K]` and counts `[b, K]`.
        """
        return sums_and_counts(self.values(block, view, columns))

    def values(self, block: pl.DataFrame, view: str, columns: Sequence[str]) -> Values:
        """Values of one view `[b, draws, K]`; null, and a column that is not there, become NaN."""
        missing = pl.lit(None, pl.Float64)
        found = {name: pl.col(name).cast(pl.Float64) if name in block.columns else missing for name in columns}
        every = block.select(each.fill_null(np.nan).alias(name) for name, each in found.items()).to_numpy()
        return every.reshape(-1, len(self.views), len(columns))[:, self.positions(view)]


def layout(rows: pl.LazyFrame) -> Layout:
    """The layout of a study's rows."""
    counted = rows.select(pl.len().alias("rows"), (pl.col("view") == ORIGINAL).sum().alias("images")).collect()
    images = int(counted["images"][0])
    if not images:
        return Layout(0, ())
    each = int(counted["rows"][0]) // images
    return Layout(images, tuple(rows.select("view").head(each).collect()["view"]))


def blocks(rows: pl.LazyFrame, rows_per_image: int) -> Iterator[pl.DataFrame]:
    """The rows of BLOCK images at a time, in order, read as a stream."""
    size = BLOCK * rows_per_image
    waiting: list[pl.DataFrame] = []
    count = 0
    for batch in rows.collect_batches(chunk_size=size, maintain_order=True):
        waiting.append(batch)
        count += len(batch)
        if count >= size:
            merged = pl.concat(waiting)
            whole = count - count % size
            yield from (merged[start : start + size] for start in range(0, whole, size))
            waiting, count = [merged[whole:]], count - whole
    if count:
        yield pl.concat(waiting)


def sums_and_counts(values: Values) -> tuple[Values, Values]:
    """Over the draws, of what is not NaN: `[b, draws, K]` → sums `[b, K]` and counts `[b, K]`.

    Example:
        >>> sums, counts = sums_and_counts(np.array([[[1.0], [2.0]], [[np.nan], [5.0]]]))
        >>> sums.ravel().tolist(), counts.ravel().tolist()
        ([3.0, 5.0], [2.0, 1.0])
    """
    there = ~np.isnan(values)
    return np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1).astype(np.float64)


def describe_lists(
    rows: pl.LazyFrame, order: Layout, augmentations: Sequence[str], names: Sequence[str], seed: int
) -> tuple[Values, ...]:
    """What columns of lists hold, element by element; the rows are read once, as a stream.

    Args:
        rows: Records of a study.
        order: Their layout.
        augmentations: A names, in suite order.
        names: K columns of lists of L numbers, one for every augmented view.
        seed: Decides the resamples.

    Returns:
        Counts of values that are not NaN, their means, and the ends of the bootstrap's 95 % intervals of the means,
        `[A, K, L]` each; NaN where there is no value.
    """
    moved, views = rows.filter(pl.col("view") != ORIGINAL).select(names), len(order.views) - 1
    places = [[place - 1 for place in order.positions(name)] for name in augmentations]
    found: list[Values] = []

    def parts() -> Iterator[Values]:
        for block in blocks(moved, views):
            values = np.hstack([block[name].to_numpy() for name in names]).astype(np.float64)
            values = values.reshape(-1, views, values.shape[1])
            part = np.hstack([np.hstack(sums_and_counts(values[:, place])) for place in places])
            found[:] = [sum(found) + part.sum(axis=0)]
            yield part

    resampled = resampled_sums(parts(), order.images, seed=seed)
    shape = (-1, len(augmentations), 2, len(names), resampled.shape[1] // (2 * len(augmentations) * len(names)))
    with np.errstate(invalid="ignore", divide="ignore"):
        (sums, counts), again = found[0].reshape(shape)[0].swapaxes(0, 1), resampled.reshape(shape)
        means = again[:, :, 0] / again[:, :, 1]
        low, high = np.nanquantile(np.where(counts > 0, means, 0.0), (0.025, 0.975), axis=0)
        return counts, sums / counts, np.where(counts > 0, low, np.nan), np.where(counts > 0, high, np.nan)


def pair_distances(rows: pl.LazyFrame, pairs: int) -> Iterator[Values]:
    """Cosine distances between views of the same image and draw, some images at a time.

    Args:
        rows: Records of a study.
        pairs: Number of pairs of augmentations.

    Yields:
        `[b, draws, pairs]` for the images of a block (see `bootstrap.blocks`), in the order of the upper triangle.
    """
    for block in blocks(rows.filter(pl.col("view") == ORIGINAL).select("pairwise"), 1):
        yield block["pairwise"].explode().to_numpy().astype(np.float64).reshape(len(block), -1, pairs)
