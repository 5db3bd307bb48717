"""Baselines of a study of many shards, whose sums are made less while they are read."""

import numpy as np
import pytest

from embedshift.statistics.baselines import KEPT, merged
from embedshift.store import baselines
from embedshift.store.baselines import joined
from embedshift.store.reader import Reader
from support.synthetic import make_study


def parts_of(*names):
    rng = np.random.default_rng(0)
    return [{name: rng.normal(size=(size, 3)) for name in names} for size in (1, 4, 2, 7, 1, 1, 3)]


def whole(parts, name):
    return np.concatenate([part[name] for part in parts])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 19, 30])
def test_every_so_many_vectors_are_kept_wherever_shards_end(step):
    parts = parts_of("vectors")
    assert np.array_equal(joined(parts, vectors=step, units=9)["vectors"], whole(parts, "vectors")[::step])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 19, 30])
def test_consecutive_groups_are_added_wherever_shards_end(step):
    parts = parts_of("units", "valid", "images")
    wanted = merged({name: whole(parts, name) for name in parts[0]}, most=-(-19 // step))
    found = joined(parts, units=step, vectors=9)
    for name, sums in wanted.items():
        if -(-19 // -(-19 // step)) == step:  # as `merged` would have it
            np.testing.assert_allclose(found[name], sums, rtol=1e-12)
        np.testing.assert_allclose(found[name].sum(axis=0), sums.sum(axis=0), rtol=1e-12)


@pytest.mark.matrix
def test_a_study_has_the_same_baselines(tmp_path, monkeypatch):
    images = KEPT + 600
    study = make_study(tmp_path / "study", images, ["noise"], shard_size=4, with_tables=False, grid=None)
    few = baselines.baselines(Reader(study.folder))
    monkeypatch.setattr(baselines, "MANY", 100)
    many = baselines.baselines(Reader(study.folder))
    assert list(many) == list(few)
    for name, baseline in few.items():
        assert many[name].value == pytest.approx(baseline.value, rel=1e-12)
        assert many[name].error == pytest.approx(baseline.error, rel=1e-9)
