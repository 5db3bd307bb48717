"""What the shards added up about unrelated images → the floor under every metric."""

import functools
from collections.abc import Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.floors import Floor, merged, of_sampled_pairs
from embedshift.store.reader import Reader


def floors(reader: Reader) -> dict[str, Floor]:
    """The floor of every metric of a study that has one: exact over all pairs, or of the pairs that were measured."""
    sampled = reader.sums("floor")
    found: dict[str, Floor] = {}
    for place, name in enumerate(reader.info.metrics):
        if name not in METRICS:
            continue
        exact = METRICS[name].all_pairs
        if exact is not None and (sums := grouped(reader, exact[0])):
            found[name] = exact[1](sums).floor()
        elif sampled:
            parts = (sampled[key][place] for key in ("sums", "squares", "pairs", "images"))
            found[name] = of_sampled_pairs(*map(float, parts))
    return {name: floor for name, floor in found.items() if np.isfinite(floor.value)}


@functools.lru_cache(maxsize=2)
def grouped(reader: Reader, name: str) -> Mapping[str, Values]:
    """What the shards added up by groups of images, one shard's groups after the other's; not too many groups.

    Empty where the shards do not hold it for all images.
    """
    parts = list(reader.shard_sums(name))
    if not parts:
        return {}
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if joined["images"].sum() != sum(record.images for record in reader.records):
        return {}
    return merged(joined)


def group_sizes(reader: Reader) -> list[int] | None:
    """Numbers of images of the groups that exact floors are resampled by; None where no metric has one."""
    names = {METRICS[name].all_pairs for name in reader.metrics}
    for exact in names - {None}:
        if exact is not None and (sums := grouped(reader, exact[0])):
            return [int(count) for count in sums["images"]]
    return None
