"""Shifts against words: cosines, tables and their test, against SciPy, loops and all permutations."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cosine

from embedshift.questions.text.measure import word_cosines
from embedshift.questions.text.section import overall
from embedshift.questions.text.tables import own_and_leads, word_test
from embedshift.statistics import layout
from embedshift.statistics.intervals import mean_interval, simultaneous_intervals
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values
from embedshift.statistics.vectors import direction
from embedshift.store.tables import make_tables
from support.sentences import sentence
from support.synthetic import make_study

RNG = np.random.default_rng(0)
ORIGINAL = RNG.normal(size=(1, 7))
VIEWS = ORIGINAL + 0.8 * RNG.normal(size=(30, 7))


def test_a_shift_is_held_against_every_direction():
    ends, start = RNG.normal(size=(3, 7)), RNG.normal(size=7)
    found = word_cosines(ORIGINAL, VIEWS, direction(ends, start))
    assert found.shape == (30, 3)

    def unit(vector):
        return vector / np.sqrt(np.sum(vector**2))

    for row, view in zip(found, VIEWS, strict=True):
        slow = [1 - cosine(unit(view) - unit(ORIGINAL[0]), unit(end) - unit(start)) for end in ends]
        np.testing.assert_allclose(row, slow, rtol=0, atol=1e-12)


def test_what_did_not_move_points_nowhere():
    directions = RNG.normal(size=(3, 7))
    same = ORIGINAL.astype(np.float32)
    for still in (same, 3 * same, same * np.float32(1 + 1e-7), np.zeros_like(same)):
        assert np.isnan(word_cosines(same, still, directions)).all()
    assert not np.isnan(word_cosines(same, same + 1e-4 * directions[:1], directions)).any()
    assert np.isnan(word_cosines(same, VIEWS[:1], np.zeros((1, 7)))).all()


NAMES = ["noise", "blur", "own"]


def image_means(rows, name):
    """Mean cosines over the draws of every image `[images, words]`, by a loop."""
    part = rows.filter(pl.col("view") == name)
    return np.stack([group["word_cosines"].to_numpy().astype(float).mean(axis=0) for group in
                     part.partition_by("image_id", maintain_order=True)])  # fmt: skip


@pytest.mark.slow
def test_words_and_their_test_by_slow_loops(tmp_path):
    study = make_study(tmp_path / "study", layout.BLOCK + 20, NAMES, text=True, draws=2, seed=4, with_tables=False)
    rows, made = study.rows().collect(), make_tables(study.reader(), {"words", "word_test"})
    means = {name: image_means(rows, name) for name in NAMES}
    for place, row in enumerate(made["words"].to_dicts()):
        values = means[row["augmentation"]][:, [place % 3]]
        low, high = mean_interval(estimates_from_values(values), seed=4)
        assert row["word"] == NAMES[place % 3]
        assert row["n"] == 2 * len(values)
        assert (row["mean"], row["ci_low"], row["ci_high"]) == pytest.approx((values.mean(), low.item(), high.item()))
    own = np.stack([means[name][:, place] for place, name in enumerate(NAMES)], axis=1)
    others = np.stack([np.delete(means[name], place, axis=1).mean(axis=1) for place, name in enumerate(NAMES)], axis=1)
    together = simultaneous_intervals(estimates_from_values(own - others), seed=4)
    *each, last = made["word_test"].to_dicts()
    for place, row in enumerate(each):
        assert row["n"] == layout.BLOCK + 20
        assert row["difference"] == pytest.approx((own - others)[:, place].mean())
        assert (row["low"], row["high"]) == pytest.approx((together.low[place], together.high[place]))
        assert row["significant"] == (row["low"] > 0 or row["high"] < 0)
        ends = mean_interval(estimates_from_values(own[:, [place]]), seed=4)
        assert (row["own_low"], row["own_high"]) == pytest.approx([end.item() for end in ends])
    ends = mean_interval(estimates_from_values(own.mean(axis=1)[:, None]), seed=4)
    assert (last["own_low"], last["own_high"]) == pytest.approx([end.item() for end in ends])


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
    last = word_test(pairs(values), None, seed=seed).row(-1, named=True)
    assert last["difference"] == pytest.approx(leads[0])
    assert last["p_value"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000) + 2e-4)
    ranks = [1 + sorted(row, reverse=True).index(row[i]) for i, row in enumerate(values.tolist())]
    assert word_test(pairs(values), None, seed=seed)["rank"].to_list()[:-1] == ranks


def test_what_has_no_word_or_never_moved_is_left_out_of_the_test():
    values = np.eye(3)
    table = pairs(values).with_columns(
        pl.when(pl.col("augmentation") == "a1").then(None).otherwise("mean").alias("mean")
    )
    assert word_test(table, None, seed=0)["augmentation"].to_list() == ["a0", "a2", "all"]
    assert word_test(table.filter(pl.col("word") != "a2"), None, seed=0)["augmentation"].to_list() == ["a0"]
    flat = word_test(pairs(np.zeros((4, 4))), None, seed=0)
    assert flat["p_value"][-1] == 1.0
    assert flat["rank"].to_list()[:-1] == [1, 1, 1, 1]


def rows_of(cosines):
    """Rows of a study: mean cosines `[images, augmentations, words]`, NaN for a view that did not move."""
    images, augmentations, words = cosines.shape
    return pl.DataFrame(
        {"view": ["original", *(f"a{index}" for index in range(augmentations))] * images,
         "word_cosines": [row for image in cosines.tolist() for row in (None, *image)]},
        schema_overrides={"word_cosines": pl.Array(pl.Float64, words)},
    ).lazy()  # fmt: skip


def the_test_of(cosines):
    """The test of words of image values."""
    names = [f"a{index}" for index in range(cosines.shape[1])]
    sample = own_and_leads(image_rows(rows_of(cosines)), names, names, names)
    return word_test(pairs(np.nanmean(cosines, axis=0)), sample, seed=0)


def around(means, images, spread=0.02):
    """Image values around mean cosines `[augmentations, words]`."""
    noise = np.random.default_rng(0).normal(size=(images, *np.shape(means)))
    return np.asarray(means) + spread * noise


def verdict(test):
    return sentence("text/sentences.html.j2", "verdict", overall(test))


@pytest.mark.parametrize(
    ("means", "images", "said"),
    [
        (-0.198 + 0.098 * np.eye(9), 50, "the shifts point away from their phrases."),  # of a large lead and a small p
        (-0.1 + 0.1 * np.eye(9), 50, "there is no evidence that the shifts point towards their phrases."),
        (0.05 + 0.15 * np.eye(9), 7, "Fewer than 8 images moved: these numbers allow no conclusion."),
    ],
)
def test_shifts_that_do_not_surely_point_to_their_words_are_not_said_to(means, images, said):
    test = the_test_of(around(means, images))
    assert test["n"].to_list() == [images] * 10
    assert test["p_value"][-1] < 0.001
    assert verdict(test).endswith(said)
    assert "So the shifts point" not in verdict(test)


@pytest.mark.parametrize(("matching", "shown"), [(2, False), (4, False), (5, True), (9, True)])
def test_more_than_half_must_point_to_their_own_word(matching, shown):
    """Two real matches of nine are enough for p < 0.05, and not for the sentence."""
    means = np.full((9, 9), 0.05) + np.diag([0.15] * matching + [0.0] * (9 - matching))
    test = the_test_of(around(means, 50))
    assert test["p_value"][-1] < 0.05
    said = verdict(test)
    assert f"For {matching} of 9 augmentations, the own phrase is the nearest" in said
    assert ("So the shifts point to their phrases." in said) == shown


def test_the_verdict_word_for_word():
    row = {"augmentation": "all", "n": 50, "rank": None, "own": 0.2, "own_low": 0.18, "own_high": 0.22}
    row |= {"others": 0.05, "difference": 0.15, "p_value": 0.0001, "significant": None}
    rows = [row | {"augmentation": name, "rank": 1, "significant": True, "p_value": None} for name in "abc"]
    assert verdict(pl.DataFrame([*rows, row])) == (
        "The mean cosine of a shift is 0.200 with its own phrase and 0.050 with the other phrases: a lead of 0.150. Of "
        "10,000 random permutations of the phrases, 0 gave a lead as large or larger (p = 0.0001). The 95 % interval "
        "of the first cosine is 0.180 to 0.220. For 3 of 3 augmentations, the own phrase is the nearest, and cosine "
        "and lead are significantly above 0. So the shifts point to their phrases."
    )
