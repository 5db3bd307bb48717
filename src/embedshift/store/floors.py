"""What the shards added up about unrelated images → the floor under every metric."""

import functools
from collections.abc import Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.floors import Floor, of_sampled_pairs
from embedshift.store.reader import Reader


def floors(reader: Reader) -> dict[str, Floor]:
    """The floor of every metric of a study that has one: exact over all pairs, or of the pairs that were measured."""
    sampled = reader.sums("floor")
    images = sum(record.images for record in reader.records)
    joined = functools.cache(functools.partial(_joined, reader))
    found: dict[str, Floor | None] = {}
    for place, name in enumerate(reader.info.metrics):
        if name not in METRICS:
            continue
        own = METRICS[name].floor
        if own is not None:
            found[name] = own(joined, images)
        elif sampled:
            parts = (sampled[key][place] for key in ("sums", "squares", "pairs", "images"))
            found[name] = of_sampled_pairs(*map(float, parts))
    return {name: floor for name, floor in found.items() if floor is not None and np.isfinite(floor.value)}


def _joined(reader: Reader, name: str) -> Mapping[str, Values]:
    """What the shards added up under a name, one shard's after the other's; empty where there is nothing."""
    parts = list(reader.shard_sums(name))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}


def group_sizes(known: Mapping[str, Floor]) -> list[int] | None:
    """Numbers of images of the groups that exact floors are resampled by; None where no floor is exact."""
    pairs = [floor.pairs for floor in known.values() if floor.pairs is not None]
    return [int(count) for count in pairs[0].images] if pairs else None
