"""Partials of chunks of images: merged they are the numbers of all rows at once, wherever each was computed."""

import pickle
from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
import pytest

from embedshift.statistics import chunks, sample
from embedshift.statistics.chunks import Chunks, chunked, gather
from embedshift.statistics.layout import BLOCK, metric_parts
from embedshift.statistics.spread import spreads
from embedshift.store.chunks import study_chunks
from embedshift.store.reader import Reader
from embedshift.store.shards import Failure
from embedshift.store.tables import make_tables
from support.revised import say_metrics
from support.synthetic import make_study

NAMES, METRICS, DRAWS = ["blur", "noise"], ["cosine", "edges", "ties", "never"], 2
VIEWS = ["original", *NAMES * DRAWS]
IMAGES = 3 * BLOCK + 77


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of one block, so that few images are many chunks."""
    monkeypatch.setattr(chunks, "CHUNK", BLOCK)
    monkeypatch.setattr(sample, "IN_MEMORY", BLOCK - 1)


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
    return pl.DataFrame({"view": VIEWS * IMAGES, **columns}).lazy()


def read(study: Chunks):
    return partial(metric_parts, order=study.order, augmentations=NAMES, metrics=METRICS)


def of_image(values, name):
    """Per image the sums over the draws and the counts `[n, M]`."""
    own = values[:, [place for place, view in enumerate(VIEWS) if view == name]]
    return np.nansum(own, axis=1), (~np.isnan(own)).sum(axis=1)


def test_a_study_is_cut_by_its_images_alone(rows):
    study = chunked(rows)
    assert [chunk.start for chunk in study.items] == [0, 512, 1024, 1536]
    assert pl.concat([chunk.rows().collect() for chunk in study.items]).equals(rows.collect(), null_equal=True)


def test_merged_sums_are_those_of_all_rows_at_once(rows, values):
    sizes = [500, 600, IMAGES - 1_100]
    found = gather(chunked(rows), read(chunked(rows)), sizes=sizes)
    for place, name in enumerate(NAMES):
        sums, counts = (each[:, :3] for each in of_image(values, name))
        columns = slice(4 * place, 4 * place + 3)
        mean = sums.sum(axis=0) / counts.sum(axis=0)
        image = mean + (sums - mean * counts) / counts.mean(axis=0)
        np.testing.assert_allclose(found.mean[columns], mean, rtol=1e-14)
        np.testing.assert_array_equal(found.counts[columns], counts.sum(axis=0))
        np.testing.assert_allclose(found.variance[columns], image.var(axis=0, ddof=1), rtol=1e-9)
        np.testing.assert_allclose(found.covariance[columns, columns], np.cov(image.T), rtol=1e-7, atol=1e-9)
        wanted = [part.sum(axis=0) for part in np.split(image, np.cumsum(sizes)[:-1])]
        np.testing.assert_allclose(found.chunked[:, columns], wanted, rtol=1e-12)


@pytest.mark.slow
def test_who_computes_a_partial_changes_no_bit(rows):
    def backwards(function, items: Sequence):
        """As elsewhere: what goes there and comes back is pickled, and the last is computed first."""
        done = [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(item))) for item in reversed(items)]
        return reversed(done)

    study = chunked(rows)
    other = Chunks(study.all_rows, study.order, study.items, backwards)
    for together in (True, False):
        one, two = (gather(each, read(study), together=together, sizes=[9, IMAGES - 9]) for each in (study, other))
        for name, number in vars(one).items():
            np.testing.assert_array_equal(number, getattr(two, name), err_msg=name)
    assert [*spreads(study, NAMES, METRICS)] == [*spreads(other, NAMES, METRICS)]


def test_quantiles_of_many_chunks_are_those_of_all_values_to_the_bit(rows, values):
    for number, found in enumerate(spreads(chunked(rows), NAMES, METRICS)):
        name, metric = NAMES[number // 4], number % 4
        every = values[:, [place for place, view in enumerate(VIEWS) if view == name], metric].ravel()
        every = every[~np.isnan(every)]
        assert found["n"] == len(every)
        if len(every):
            assert [found[each] for each in ("q05", "median", "q95")] == np.quantile(every, [0.05, 0.5, 0.95]).tolist()
            assert found["sd"] == pytest.approx(every.std(ddof=1), rel=1e-12)


def test_other_shards_with_the_same_images_give_the_same_bits(tmp_path):
    """Shards are how images are stored; chunks are cut by images."""
    made = []
    for size in (100, 1_000):
        study = make_study(tmp_path / str(size), BLOCK + 300, NAMES, shard_size=size, with_tables=False)
        reader = Reader(study.folder)
        made.append([chunk.rows().select("image_id", "view").collect() for chunk in reader.chunks.items])
        assert [len(chunk.paths) for chunk in reader.chunks.items] == ([6, 4] if size == 100 else [1, 1])
        assert [len(each) for each in made[-1]] == [3 * BLOCK, 3 * 300]
    assert all(one.equals(other) for one, other in zip(*made, strict=True))


@pytest.mark.slow
def test_a_study_of_many_chunks_has_the_tables_of_one(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", BLOCK + 300, NAMES, shard_size=100, with_tables=False)
    say_metrics(study)
    many = make_tables(Reader(study.folder))
    monkeypatch.setattr(chunks, "CHUNK", 64 * BLOCK)
    one = make_tables(Reader(study.folder))
    assert list(one) == list(many)
    for name, table in one.items():
        for column, kind in table.schema.items():
            if kind != pl.Float64:
                assert table[column].equals(many[name][column], null_equal=True), (name, column)
                continue
            numbers = (each[name][column].fill_null(np.nan).to_numpy() for each in (many, one))
            np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-7, err_msg=f"{name} {column}")


def test_a_study_without_images_has_no_chunk(tmp_path):
    lost = [Failure("one.png", "decode", "no picture")]
    study = make_study(tmp_path / "study", 0, NAMES, failures=lost, with_tables=False)
    found = study_chunks(Reader(study.folder).parts, chunks.map_here)
    assert (found.order.images, [*found.items]) == (0, [])
