"""Many images, read as a stream: means and covariances are those of all values at once, and quantiles are exact."""

import numpy as np
import polars as pl
import pytest

from embedshift.statistics import sample, summary
from embedshift.statistics.layout import BLOCK, ImageRows, Layout, image_rows, metric_parts
from embedshift.statistics.sample import gather
from embedshift.store.reader import Reader
from embedshift.store.shards import Failure
from embedshift.store.tables import make_tables
from support.revised import say_metrics
from support.synthetic import make_study

NAMES, METRICS, DRAWS = ["blur", "noise"], ["cosine", "edges", "ties", "never"], 2
VIEWS = ["original", *NAMES * DRAWS]
IMAGES = 3 * BLOCK + 77


@pytest.fixture(scope="module")
def values():
    """`[images, views, metrics]`: far from 0, sorted by size over the images, a few values many times; NaN."""
    rng = np.random.default_rng(0)
    found = np.sort(rng.lognormal(0, 1, (IMAGES, len(VIEWS), len(METRICS))), axis=0) + 1_000
    found[..., 2] = rng.choice([0.25, 0.5, 1.0], found.shape[:2], p=[0.1, 0.1, 0.8])
    found[rng.random(found.shape) < 0.1] = np.nan
    found[..., 3] = np.nan
    return found


@pytest.fixture(scope="module")
def rows(values):
    columns = {name: values[..., place].ravel() for place, name in enumerate(METRICS)}
    return image_rows(pl.DataFrame({"view": VIEWS * IMAGES, **columns}).lazy())


def test_sums_of_a_stream_are_those_of_all_values_at_once(rows, values, monkeypatch):
    monkeypatch.setattr(sample, "IN_MEMORY", BLOCK - 1)
    sizes = [500, 600, IMAGES - 1_100]
    found = gather(metric_parts(rows, NAMES, METRICS), chunks=sizes)
    assert not found.in_memory
    for place, name in enumerate(NAMES):
        own = values[:, [at for at, view in enumerate(VIEWS) if view == name], :3]
        sums, counts = np.nansum(own, axis=1), (~np.isnan(own)).sum(axis=1)
        columns = slice(4 * place, 4 * place + 3)
        mean = sums.sum(axis=0) / counts.sum(axis=0)
        image = mean + (sums - mean * counts) / counts.mean(axis=0)
        np.testing.assert_allclose(found.mean[columns], mean, rtol=1e-14)
        np.testing.assert_array_equal(found.counts[columns], counts.sum(axis=0))
        np.testing.assert_allclose(found.variance[columns], image.var(axis=0, ddof=1), rtol=1e-9)
        np.testing.assert_allclose(found.spread.matrix[columns, columns], np.cov(image.T), rtol=1e-7, atol=1e-9)
        wanted = [part.sum(axis=0) for part in np.split(image, np.cumsum(sizes)[:-1])]
        np.testing.assert_allclose(found.chunked[:, columns], wanted, rtol=1e-12)


@pytest.mark.parametrize("passes", [1, 3, 8])
def test_quantiles_are_those_of_all_values_to_the_bit(rows, values, monkeypatch, passes):
    monkeypatch.setattr(summary, "VALUES", -(-8 // passes) * IMAGES * len(VIEWS) // len(NAMES))
    read, plain = [], ImageRows.blocks

    def noted(self, *names):
        read.append(names)
        return plain(self, *names)

    monkeypatch.setattr(ImageRows, "blocks", noted)
    spreads = summary.spreads_of_views(rows, NAMES, METRICS)
    assert len(read) == passes
    for (metric, name), found in spreads.items():
        own = [place for place, view in enumerate(VIEWS) if view == name]
        every = values[:, own, METRICS.index(metric)].ravel()
        every = every[~np.isnan(every)]
        assert found["n"] == len(every)
        if len(every):
            assert [found[each] for each in ("q05", "median", "q95")] == np.quantile(every, [0.05, 0.5, 0.95]).tolist()
            assert found["sd"] == pytest.approx(every.std(ddof=1), rel=1e-12)


def test_the_rows_of_a_study_are_those_of_its_shards(tmp_path):
    study = make_study(tmp_path / "study", 250, NAMES, shard_size=100, with_tables=False)
    found = Reader(study.folder).image_rows
    assert found.layout == Layout(250, ("original", *NAMES))
    assert found.frame.collect().equals(study.rows().collect())


def test_a_study_without_images_has_no_rows(tmp_path):
    lost = [Failure("one.png", "decode", "no picture")]
    study = make_study(tmp_path / "study", 0, NAMES, failures=lost, with_tables=False)
    assert Reader(study.folder).image_rows.layout == Layout(0, ())


@pytest.mark.slow
def test_a_study_of_many_images_has_the_tables_of_one_in_memory(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", BLOCK + 300, NAMES, shard_size=100, with_tables=False)
    say_metrics(study)
    one = make_tables(Reader(study.folder))
    monkeypatch.setattr(summary, "VALUES", 1_000)
    many = make_tables(Reader(study.folder))
    assert list(one) == list(many)
    for name, table in one.items():
        assert table.equals(many[name], null_equal=True), name
