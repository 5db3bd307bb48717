"""Tables of words, and the test of them, against loops and all permutations."""

import itertools

import numpy as np
import polars as pl
import pytest

from embedshift.questions.text.tables import word_test
from embedshift.statistics import bootstrap
from embedshift.statistics import summary as tables
from support.synthetic import make_study


def test_words_by_slow_loops(tmp_path):
    study = make_study(tmp_path / "study", bootstrap.BLOCK + 20, ["noise", "blur", "own"], text=True, draws=2, seed=4)
    rows = study.rows().collect()
    wide = rows.lazy().with_columns(pl.col("word_cosines").arr.get(i).alias(f"w{i}") for i in range(3))
    described = tables.summary(wide, study.augmentations, ["w0", "w1", "w2"], seed=4)
    for place, row in enumerate(study.words().to_dicts()):
        values = rows.filter(pl.col("view") == row["augmentation"])["word_cosines"].to_numpy()[:, place % 3]
        assert row["word"] == study.augmentations[place % 3]
        assert row["n"] == len(values)
        assert row["mean"] == pytest.approx(values.astype(float).mean())
        assert row["ci_low"] == pytest.approx(described["ci_low"][place])
        assert row["ci_high"] == pytest.approx(described["ci_high"][place])


def pairs(values):
    names = [f"a{index}" for index in range(len(values))]
    cells = [(a, b, values[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)]
    return pl.DataFrame(cells, schema=["augmentation", "word", "mean"], orient="row")


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_that_of_all_permutations(seed):
    values = np.random.default_rng(seed).normal(size=(5, 5)) + 0.5 * np.eye(5)
    leads = []
    for order in itertools.permutations(range(5)):
        own = np.array([values[i, order[i]] for i in range(5)])
        rest = [values[i, order[j]] for i in range(5) for j in range(5) if i != j]
        leads.append(own.mean() - np.mean(rest))
    exact = np.mean(np.array(leads) >= leads[0] - 1e-12)
    last = word_test(pairs(values), seed=seed).row(-1, named=True)
    assert last["difference"] == pytest.approx(leads[0])
    assert last["p_value"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000) + 2e-4)
    ranks = [1 + sorted(row, reverse=True).index(row[i]) for i, row in enumerate(values.tolist())]
    assert word_test(pairs(values), seed=seed)["rank"].to_list()[:-1] == ranks


def test_what_has_no_word_or_never_moved_is_left_out_of_the_test():
    values = np.eye(3)
    table = pairs(values).with_columns(
        pl.when(pl.col("augmentation") == "a1").then(None).otherwise("mean").alias("mean")
    )
    assert word_test(table, seed=0)["augmentation"].to_list() == ["a0", "a2", "all"]
    assert word_test(table.filter(pl.col("word") != "a2"), seed=0)["augmentation"].to_list() == ["a0"]
    flat = word_test(pairs(np.zeros((4, 4))), seed=0)
    assert flat["p_value"][-1] == 1.0
    assert flat["rank"].to_list()[:-1] == [1, 1, 1, 1]
