"""Computes the baseline of every metric from the shards' sums over pairs of images."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.baselines import CHUNKS, KEPT, Baseline, sampled_baseline
from embedshift.store.shard_reader import ShardReader

# Shards above which baselines use only a part of the sums of all shards: memory would grow by two vectors a shard.
MANY = 4_096


# Several tables of a study need them, which would read the sums of all shards again.
@functools.lru_cache(maxsize=1)
def baselines(reader: ShardReader) -> dict[str, Baseline]:
    """Baselines are exact over all pairs where the metric declares how, else over the measured pairs."""
    sampled = reader.sums("baseline")
    images = sum(record.images for record in reader.records)
    joined = functools.cache(functools.partial(_joined, reader))
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


def _joined(reader: ShardReader, name: str) -> Mapping[str, Values]:
    """Returns the concatenated sums of all shards under a name; empty if there are none."""
    all_sums = len(reader.records) <= MANY or name not in ("units", "vectors")
    count = 0 if all_sums else sum(len(next(iter(part.values()))) for part in reader.shard_sums(name))
    return joined(reader.shard_sums(name), units=-(-count // CHUNKS), vectors=-(-count // KEPT))


def joined(parts: Iterable[Mapping[str, Values]], *, units: int = 0, vectors: int = 0) -> Mapping[str, Values]:
    rows_by_key: dict[str, list[Values]] = {}
    first = 0
    for part in parts:
        count = len(next(iter(part.values())))
        for key, array in part.items():
            rows = rows_by_key.setdefault(key, [])
            if "vectors" in part and vectors > 1:
                rows.extend(array[-first % vectors :: vectors].copy())
            elif "units" in part and units > 1:
                for index, row in enumerate(array, start=first):
                    if index % units:
                        rows[-1] = rows[-1] + row
                    else:
                        rows.append(row)
            else:
                rows.extend(array)
        first += count
    return {key: np.stack(rows) for key, rows in rows_by_key.items()}


def chunk_sizes(by_metric: Mapping[str, Baseline]) -> list[int] | None:
    """Returns the sizes of the chunks of images by which exact baselines are resampled; None without exact ones."""
    pairs = [baseline.pairs for baseline in by_metric.values() if baseline.pairs is not None]
    return [int(count) for count in pairs[0].images] if pairs else None
