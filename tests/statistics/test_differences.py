"""The table of paired differences against plain loops."""

import itertools

import numpy as np
import pytest

from embedshift.statistics.sample import estimates_from_values
from embedshift.statistics.summary import DIFFERENCES_SCHEMA, Measured, differences, ordered
from support.resampling import slow_max_t

NAMES = ("blur", "flip", "noise", "still")


def world(n=60, seed=0):
    """Cosines of four augmentations, alike image by image, and L2 distances; noise moves most, blur and flip alike."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 0.12, (n, 1))
    cosine = 0.9 - hardness + rng.normal(0, 0.01, (n, 4)) - np.array([0.0, 0.0, 0.05, 0.0])
    cosine[:, 3] = cosine[:, 0]
    far = 10 * (1 - cosine) + rng.normal(0, 5, (n, 4))
    return np.stack([cosine, far], axis=2).reshape(n, -1)


def measured(values):
    return Measured(NAMES, ("cosine_similarity", "l2_distance"), estimates_from_values(values))


@pytest.mark.slow
def test_differences_equal_a_loop():
    values = world()
    table = differences(measured(values), seed=0)
    assert dict(table.schema) == DIFFERENCES_SCHEMA
    wanted = [(*pair, m) for m in ("cosine_similarity", "l2_distance") for pair in itertools.combinations(NAMES, 2)]
    assert table.select("augmentation", "other", "metric").rows() == wanted
    cube = values.reshape(len(values), 4, 2)
    for metric, part in table.group_by("metric", maintain_order=True):
        k = ["cosine_similarity", "l2_distance"].index(metric[0])
        pairs = [(NAMES.index(row["augmentation"]), NAMES.index(row["other"])) for row in part.iter_rows(named=True)]
        columns = np.stack([cube[:, a, k] - cube[:, b, k] for a, b in pairs], axis=1)
        moving = columns[:, columns.std(axis=0) > 0]
        critical = slow_max_t(moving, seed=9)
        for column, row in zip(columns.T, part.iter_rows(named=True), strict=True):
            assert row["difference"] == pytest.approx(column.mean(), abs=1e-12)
            if column.std() == 0:
                assert (row["low"], row["high"], row["effect"], row["significant"]) == (0, 0, None, False)
                continue
            error = column.std(ddof=1) / np.sqrt(len(column))
            assert row["effect"] == pytest.approx(column.mean() / column.std(ddof=1), rel=1e-9)
            assert (row["high"] - row["low"]) / 2 == pytest.approx(critical * error, rel=0.08)
            assert row["significant"] == (row["low"] > 0 or row["high"] < 0)


def test_pairing_settles_what_marginal_intervals_do_not():
    values = world()
    table = differences(measured(values), seed=0).filter(metric="cosine_similarity")
    assert ordered(table, "cosine_similarity", NAMES).significant >= {
        ("blur", "noise"),
        ("noise", "blur"),
        ("flip", "noise"),
    }
    cosine = values.reshape(-1, 4, 2)[:, :, 0]
    margin = 2 * cosine.std(axis=0, ddof=1) / np.sqrt(len(cosine))
    assert cosine[:, 0].mean() - margin[0] < cosine[:, 2].mean() + margin[2], "marginal intervals overlap"


def test_few_images_settle_nothing():
    table = differences(measured(world(n=7)), seed=0)
    assert table["low"].is_null().all()
    assert not table["significant"].any()
    assert table["difference"].is_not_null().all()


def test_a_metric_that_one_augmentation_lacks():
    values = world()
    values[:, 0] = np.nan  # the cosine of blur
    table = differences(measured(values), seed=0).filter(metric="cosine_similarity")
    lacking = table.filter(augmentation="blur")
    assert lacking["difference"].is_null().all()
    assert not lacking["significant"].any()
    assert table.filter(augmentation="noise", other="still")["significant"].all()


def test_a_pair_is_of_the_images_that_have_both():
    """Two that are equal wherever both are there differ in their means, and not as a pair."""
    values = world()
    values[:, 2] = values[:, 0]  # the cosine of flip is that of blur
    hard = np.argsort(values[:, 0])[:20]
    values[hard, 2] = np.nan
    found = differences(measured(values), seed=0).row(0, named=True)
    assert (found["augmentation"], found["other"], found["metric"]) == ("blur", "flip", "cosine_similarity")
    assert (found["difference"], found["low"], found["high"], found["significant"]) == (0, 0, 0, False)
    table = differences(measured(values), seed=0).filter(augmentation="flip", other="noise", metric="cosine_similarity")
    both = np.delete(values, hard, axis=0)
    difference = both[:, 2] - both[:, 4]
    assert table["difference"][0] == pytest.approx(difference.mean(), rel=1e-9)
    assert table["effect"][0] == pytest.approx(difference.mean() / difference.std(ddof=1), rel=1e-9)


def test_one_augmentation_has_no_pairs():
    found = differences(Measured(("blur",), ("l2_distance",), estimates_from_values(np.ones((9, 1)))), seed=0)
    assert found.is_empty()
    assert dict(found.schema) == DIFFERENCES_SCHEMA
