"""The baseline of every metric, from the shards' sums over pairs of images."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.registry import METRICS
from embedshift.statistics.baselines import CHUNKS, KEPT, Baseline, sampled_baseline
from embedshift.statistics.summary import Measured, measured, moving
from embedshift.store.reader import Reader

# Maximum shards whose sums are all used for baselines: memory grows by two vectors a shard.
MANY = 4_096

# The sums of shards under a name, each with the number of images before its shard.
Placed = Iterable[tuple[int, dict[str, Values]]]


# Cached, since several tables would read the sums of all shards again.
@functools.lru_cache(maxsize=1)
def baselines(reader: Reader) -> dict[str, Baseline]:
    sampled = _sampled(reader)
    images = sum(record.images for record in reader.records)
    joined = functools.cache(functools.partial(joined_sums, reader.placed_sums, len(reader.records), reader.groups))
    by_metric: dict[str, Baseline | None] = {}
    for column, name in enumerate(reader.info.metrics):
        if name not in METRICS:
            continue
        exact_baseline = METRICS[name].baseline
        if exact_baseline is not None:
            by_metric[name] = exact_baseline(joined, images)
        elif sampled:
            parts = (sampled[key][column] for key in ("sums", "squares", "pairs", "images"))
            by_metric[name] = sampled_baseline(*map(float, parts))
    return {
        name: baseline for name, baseline in by_metric.items() if baseline is not None and np.isfinite(baseline.value)
    }


@functools.lru_cache(maxsize=1)
def measurements(reader: Reader) -> Measured:
    by_metric = baselines(reader)
    distances = moving(reader.metrics, by_metric) if reader.compares_all else {}
    return measured(reader.image_rows, reader.augmentations, reader.metrics, chunk_sizes(by_metric), distances)


def _sampled(reader: Reader) -> dict[str, Values]:
    """Returns the sums of measured pairs of originals of different groups, with equal group weights; empty for none."""
    total: Values | None = None
    groups, used = reader.groups, list[tuple[GroupNumbers, NDArray[np.bool_]]]()
    sizes = None if groups is None else np.bincount(groups)
    for start, part in reader.placed_sums("baseline"):
        pairs = start + part["images"].astype(np.intp)
        weights = np.ones(len(pairs))
        if groups is not None and sizes is not None:
            pairs = groups[pairs]
            weights = (pairs[:, 0] != pairs[:, 1]) / sizes[pairs].prod(axis=1)
        has_value = ~np.isnan(part["values"]) & (weights > 0)[:, None]
        values, weights = np.where(has_value, part["values"], 0.0), has_value * weights[:, None]
        # Sequential, since another order differs by rounding.
        products = weights * values, weights * values**2, weights, weights**2
        sums = np.stack([np.cumsum(product, axis=0)[-1] for product in products])
        total = sums if total is None else sums + total
        used.append((pairs, has_value))
    if total is None:
        return {}
    # Effective number of weighted pairs (Kish).
    with np.errstate(invalid="ignore"):
        scale = total[2] / total[3]
    pairs, has_value = (np.concatenate(arrays) for arrays in zip(*used, strict=True))
    images = [float(len(np.unique(pairs[column]))) for column in has_value.T]
    return {
        "sums": total[0] * scale,
        "squares": total[1] * scale,
        "pairs": total[2] * scale,
        "images": np.array(images),
    }


def joined_sums(
    placed_sums: Callable[[str], Placed], shards: int, groups: GroupNumbers | None, name: str
) -> Mapping[str, Values]:
    """Returns the sums of all shards under a name, thinned or merged if they are many; empty if there are none."""
    all_sums = shards <= MANY or name not in ("normalised", "vectors")
    count = 0 if all_sums else sum(len(next(iter(part.values()))) for _, part in placed_sums(name))
    placed = placed_sums(name)
    if name == "vectors" and groups is not None:
        placed = _grouped_vectors(placed, groups)
    return joined((part for _, part in placed), normalised=-(-count // CHUNKS), vectors=-(-count // KEPT))


def _grouped_vectors(placed: Placed, groups: GroupNumbers) -> Iterator[tuple[int, dict[str, Values]]]:
    sizes = np.bincount(groups)
    for start, part in placed:
        own = groups[start : start + len(part["vectors"])]
        yield start, part | {"group": own.astype(np.float64), "size": sizes[own].astype(np.float64)}


def joined(parts: Iterable[Mapping[str, Values]], *, normalised: int = 0, vectors: int = 0) -> Mapping[str, Values]:
    rows_by_key: dict[str, list[Values]] = {}
    first = 0
    for part in parts:
        count = len(next(iter(part.values())))
        for key, array in part.items():
            rows = rows_by_key.setdefault(key, [])
            if "vectors" in part and vectors > 1:
                rows.extend(array[-first % vectors :: vectors].copy())
            elif "normalised" in part and normalised > 1:
                for index, row in enumerate(array, start=first):
                    if index % normalised:
                        rows[-1] = rows[-1] + row
                    else:
                        rows.append(row)
            else:
                rows.extend(array)
        first += count
    return {key: np.stack(rows) for key, rows in rows_by_key.items()}


def chunk_sizes(by_metric: Mapping[str, Baseline]) -> list[int] | None:
    """Returns the sizes of the chunks of images by which exact baselines are resampled; None without exact ones."""
    return next((baseline.chunk_sizes for baseline in by_metric.values() if baseline.chunk_sizes), None)
