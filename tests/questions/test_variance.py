"""The split of variance against SciPy's analysis of variance and loops, its interval by simulation, and the page."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from embedshift.questions.variance.section import row_of
from embedshift.questions.variance.tables import moments, split
from embedshift.statistics import sample
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import gather
from support import studies
from support.matrix import first_only


def by_hand(images):
    """The fraction between images; `images` = the values of each, in any number."""
    images = [values for values in images if len(values)]
    n, count = sum(map(len, images)), len(images)
    grand = sum(sum(values) for values in images) / n
    means = [sum(values) / len(values) for values in images]
    between = sum(len(values) * (mean - grand) ** 2 for values, mean in zip(images, means, strict=True)) / (count - 1)
    within = sum((value - mean) ** 2 for values, mean in zip(images, means, strict=True) for value in values)
    within /= n - count
    assert between / within == pytest.approx(stats.f_oneway(*images).statistic, rel=1e-9)
    size = (n - sum(len(values) ** 2 for values in images) / n) / (count - 1)
    image = (between - within) / size
    return max(0.0, image / (image + within))


def rows_of(values, metric="cosine_similarity"):
    """The rows of a study of one augmentation with these values `[n, draws]`, NaN where a draw failed."""
    count, draws = values.shape
    views = ["original", *["a"] * draws] * count
    numbers = np.hstack([np.full((count, 1), np.nan), values]).ravel()
    return pl.DataFrame({"view": views, metric: numbers}).fill_nan(None).lazy()


def split_of(values, metric="cosine_similarity"):
    parts = moments(image_rows(rows_of(values, metric)), ["a"], metric)
    return [each.item() for each in split(gather(parts, together=False, chunks=[1] * len(values)))]


def drawn(count, draws, image, seed=0):
    rng = np.random.default_rng(seed)
    return 0.9 + 0.01 * (
        math.sqrt(image) * rng.normal(size=(count, 1)) + math.sqrt(1 - image) * rng.normal(size=(count, draws))
    )


@pytest.mark.parametrize("image", [0.0, 0.3, 0.95])
def test_the_fraction_is_that_of_an_analysis_of_variance_where_draws_failed(image):
    values = drawn(30, 4, image)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    values[7] = np.nan  # an image without a value
    fraction, low, high = split_of(values)
    assert fraction == pytest.approx(by_hand([line[~np.isnan(line)] for line in values]), rel=1e-9)
    assert 0 <= low <= fraction <= high <= 1
    assert high - low > 0.01


def test_the_interval_is_the_jackknife_over_chunks_and_groups_of_images():
    values = drawn(24, 3, 0.5)
    parts = [*moments(image_rows(rows_of(values)), ["a"], "cosine_similarity")]
    found = split(gather(parts, together=False, chunks=[2] * 12))
    grouped = gather(parts, together=False, chunks=[1] * 24, groups=np.arange(24) // 2)
    np.testing.assert_allclose(split(grouped), found, rtol=1e-9)
    size, without = 3.0, [by_hand(np.delete(values, [k, k + 1], axis=0)) for k in range(0, 24, 2)]
    full, *logs = (math.log(1 + size * image / (1 - image)) for image in (by_hand(values), *without))
    squares = [(each - np.mean(logs)) ** 2 for each in logs]
    deciding = sum(squares) ** 2 / sum(square**2 for square in squares)
    half = stats.t.ppf(0.975, deciding) * math.sqrt(11 / 12 * sum(squares))
    ends = [1 - size / (math.exp(log) - 1 + size) for log in (full, full - half, full + half)]
    assert [each.item() for each in found] == pytest.approx([ends[0], max(0.0, ends[1]), ends[2]], rel=1e-8)


@pytest.mark.parametrize(("count", "image", "skewed"), first_only([(20, 0.8, True), (8, 0.5, False), (50, 0.2, True)]))
def test_the_interval_contains_the_fraction_whatever_the_skew(count, image, skewed):
    rng, studies_made = np.random.default_rng(0), 400
    draw = (lambda size: rng.exponential(size=size) - 1) if skewed else (lambda size: rng.normal(size=size))
    values = math.sqrt(image) * draw((count, 1, studies_made)) + math.sqrt(1 - image) * draw((count, 2, studies_made))
    sums, means = values.sum(axis=1), values.mean(axis=1)
    ones = np.ones(sums.shape)
    within = ((values - means[:, None]) ** 2).sum(axis=1)
    numbers = np.hstack([ones, 2 * ones, 4 * ones, sums, sums * means, within])
    _, low, high = split(sample.gather([(numbers, np.ones(numbers.shape))], together=False, chunks=[1] * count))
    assert 0.93 <= np.mean((low <= image) & (image <= high)) <= 0.99


def test_large_numbers_that_hardly_differ_keep_their_digits():
    values = 1e3 + drawn(20, 3, 0.5)
    assert split_of(values, "l2_distance")[0] == pytest.approx(by_hand(values - 1e3), rel=1e-4)


def test_draws_that_do_not_differ_and_images_that_do_not():
    still = np.repeat(drawn(12, 1, 1.0), 2, axis=1)
    assert split_of(still) == [1.0, pytest.approx(math.nan, nan_ok=True), pytest.approx(math.nan, nan_ok=True)]
    assert split_of(np.tile([0.5, 0.7], (12, 1)))[0] == 0.0
    assert np.isnan(split_of(np.full((12, 2), 0.3))).all()
    assert np.isnan(split_of(np.full((12, 2), 0.1), "l2_distance")).all()
    assert np.isnan(split_of(drawn(12, 1, 0.5))).all()  # one draw
    assert np.isnan(split_of(drawn(7, 3, 0.5))[1:]).all()  # seven images have no interval


@pytest.mark.slow
def test_the_table_has_both_sources_of_every_augmentation_and_metric():
    study = studies.synthetic(40, ["noise", "blur"], draws=3)
    table = study.variance()
    assert table.columns == ["augmentation", "metric", "source", "fraction", "low", "high"]
    keys = study.summary().select("augmentation", "metric").rows()
    assert table.select("augmentation", "metric", "source").rows() == [
        (*key, source) for key in keys for source in ("image", "draw")
    ]
    for name, metric in keys:
        values = study.rows().filter(view=name).select(metric).collect()[metric].to_numpy().reshape(40, 3)
        image, draw = table.filter(augmentation=name, metric=metric).to_dicts()
        assert image["fraction"] == pytest.approx(by_hand(values), rel=1e-6, abs=1e-9)
        assert draw["fraction"] == pytest.approx(1 - image["fraction"], abs=1e-12)
        assert (draw["low"], draw["high"]) == pytest.approx((1 - image["high"], 1 - image["low"]), abs=1e-12)


def test_the_images_that_an_interval_takes_give_that_interval():
    row = {"augmentation": "a", "mean": 0.9, "sd": 0.05, "fraction": 0.6, "low": 0.5, "high": 0.7}
    found = row_of(row, 4)
    assert found["split"] == ("60.0 %", "50.0 to 70.0 %")
    for images, draws in zip(found["needed"], (1, 4, 10**9), strict=True):
        half = stats.norm.ppf(0.975) * math.sqrt((0.6 + 0.4 / draws) * 0.05**2 / images)
        assert half == pytest.approx(0.01, rel=0.02)
