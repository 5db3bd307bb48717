"""Computes the baseline of every metric from the shards' sums over other images."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.baselines import GROUPS, KEPT, Baseline, of_sampled_pairs
from embedshift.store.reader import Reader

# Shards above which baselines are made of less than what all of them hold: memory would grow by two vectors a shard.
MANY = 4_096


def baselines(reader: Reader) -> dict[str, Baseline]:
    """Returns the baselines of a study's metrics: exact over all pairs, or over the measured pairs."""
    sampled = reader.sums("baseline")
    images = sum(record.images for record in reader.records)
    joined = functools.cache(functools.partial(_joined, reader))
    found: dict[str, Baseline | None] = {}
    for place, name in enumerate(reader.info.metrics):
        if name not in METRICS:
            continue
        own = METRICS[name].baseline
        if own is not None:
            found[name] = own(joined, images)
        elif sampled:
            parts = (sampled[key][place] for key in ("sums", "squares", "pairs", "images"))
            found[name] = of_sampled_pairs(*map(float, parts))
    return {name: baseline for name, baseline in found.items() if baseline is not None and np.isfinite(baseline.value)}


def _joined(reader: Reader, name: str) -> Mapping[str, Values]:
    """Returns the concatenated sums of all shards under a name; empty if there are none."""
    few = len(reader.records) <= MANY or name not in ("units", "vectors")
    count = 0 if few else sum(len(next(iter(part.values()))) for part in reader.shard_sums(name))
    return joined(reader.shard_sums(name), units=-(-count // GROUPS), vectors=-(-count // KEPT))


def joined(parts: Iterable[Mapping[str, Values]], *, units: int = 0, vectors: int = 0) -> Mapping[str, Values]:
    """Concatenates arrays of shards."""
    found: dict[str, list[Values]] = {}
    at = 0
    for part in parts:
        count = len(next(iter(part.values())))
        for key, array in part.items():
            kept = found.setdefault(key, [])
            if "vectors" in part and vectors > 1:
                kept.extend(array[-at % vectors :: vectors].copy())
            elif "units" in part and units > 1:
                for place, row in enumerate(array, start=at):
                    if place % units:
                        kept[-1] = kept[-1] + row
                    else:
                        kept.append(row)
            else:
                kept.extend(array)
        at += count
    return {key: np.stack(rows) for key, rows in found.items()}


def group_sizes(known: Mapping[str, Baseline]) -> list[int] | None:
    """Returns the sizes of the groups of images by which exact baselines are resampled; None if no baseline is exact."""
    pairs = [baseline.pairs for baseline in known.values() if baseline.pairs is not None]
    return [int(count) for count in pairs[0].images] if pairs else None
