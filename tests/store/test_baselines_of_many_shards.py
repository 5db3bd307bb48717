"""Baselines from the sums of shards, which of many shards are made less while they are read."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from embedshift.store import baselines
from embedshift.store.baselines import joined, joined_sums


@pytest.mark.parametrize("step", [1, 2, 3, 5, 19, 30])
def test_every_so_many_vectors_are_kept_wherever_shards_end(step):
    parts = [{"vectors": np.random.default_rng(size).normal(size=(size, 3))} for size in (1, 4, 2, 7, 1, 1, 3)]
    whole = np.concatenate([part["vectors"] for part in parts])
    assert np.array_equal(joined(parts, vectors=step, normalised=9)["vectors"], whole[::step])


class Shards:
    """What baselines need of a study."""

    def __init__(self, sizes, sums, metrics=(), units=None):
        self.records = [SimpleNamespace(images=size) for size in sizes]
        self.info = SimpleNamespace(metrics=metrics)
        self.sums, self.groups = sums, units

    def placed_sums(self, name):
        starts = np.cumsum([0, *(record.images for record in self.records)])
        yield from ((int(start), part[name]) for start, part in zip(starts, self.sums, strict=False) if name in part)


def slow_baseline(shards, groups, column):
    """Each pair of groups counts once; as many pairs of equal weight vary as much (Kish), half the groups at most."""
    values, weights, seen = [], [], set()
    for start, part in shards.placed_sums("baseline"):
        for pair, row in zip(part["images"].astype(int) + start, part["values"], strict=True):
            one, other = groups[pair]
            if one != other and not np.isnan(row[column]):
                values.append(row[column])
                weights.append(1 / (groups == one).sum() / (groups == other).sum())
                seen |= {one, other}
    mean, number = np.average(values, weights=weights), sum(weights) ** 2 / np.square(weights).sum()
    variance = np.average((values - mean) ** 2, weights=weights) * number / (number - 1)
    return mean, np.sqrt(variance / min(number, len(seen) / 2))


@pytest.mark.parametrize("units", [None, np.array([0, 1, 0, 2, 2, 3, 1, 4, 5, 5, 5, 6, 7, 0])])
def test_the_baseline_of_measured_pairs_is_that_of_a_loop(units):
    rng, sizes, sums = np.random.default_rng(0), [5, 3, 6], []
    for size in sizes:
        pairs = np.array([*itertools.combinations(range(size), 2)], float)
        values = rng.gamma(2.0, 1.0, (len(pairs), 4))
        values[rng.random(values.shape) < 0.2] = np.nan
        values[:, 3] = np.nan
        sums.append({"baseline": {"images": pairs, "values": values}})
    study = Shards(sizes, sums, ["edge_preservation", "of_nobody", "patch_similarity", "rms"], units)
    found = baselines.baselines(study)
    assert list(found) == ["edge_preservation", "patch_similarity"], "of others no value is known"
    groups = np.arange(14) if units is None else units
    for name, column in (("edge_preservation", 0), ("patch_similarity", 2)):
        wanted = slow_baseline(study, groups, column)
        assert (found[name].value, found[name].error) == pytest.approx(wanted, rel=1e-12)
    assert baselines.baselines(Shards(sizes, [{}] * 3, ["edge_preservation"], units)) == {}


@pytest.mark.parametrize("many", [2, 3])
def test_sums_of_more_than_so_many_shards_are_made_less(many, monkeypatch):
    monkeypatch.setattr(baselines, "MANY", many)
    monkeypatch.setattr(baselines, "KEPT", 5)
    monkeypatch.setattr(baselines, "CHUNKS", 4)
    rng, sizes, groups = np.random.default_rng(1), [4, 3, 6], np.array([0, 0, 1, 2, 3, 3, 1, 4, 5, 6, 6, 6, 7])
    sums = [{name: {name: rng.normal(size=(size, 2))} for name in ("vectors", "normalised", "terms")} for size in sizes]
    study = Shards(sizes, sums)
    found = {name: joined_sums(study.placed_sums, 3, groups, name) for name in ("vectors", "normalised", "terms")}
    every = {name: np.concatenate([part[name][name] for part in sums]) for name in found}
    step, size = (3, 4) if many == 2 else (1, 1)  # of 13 images: 5 vectors, 4 chunks
    np.testing.assert_array_equal(found["vectors"]["vectors"], every["vectors"][::step])
    assert found["vectors"]["group"].tolist() == groups[::step].tolist()
    assert found["vectors"]["size"].tolist() == np.bincount(groups)[groups][::step].tolist()
    wanted = np.add.reduceat(every["normalised"], np.arange(0, 13, size))
    np.testing.assert_allclose(found["normalised"]["normalised"], wanted, rtol=1e-12)
    np.testing.assert_array_equal(found["terms"]["terms"], every["terms"])
    assert set(joined_sums(study.placed_sums, 3, None, "vectors")) == {"vectors"}
    assert joined_sums(study.placed_sums, 3, groups, "none") == {}
