"""Distances between views of the same image, and mean embeddings, against loops over the embeddings."""

import itertools

import numpy as np
import pytest
from scipy.spatial import distance

from embedshift.questions.clusters import tables
from embedshift.statistics.layout import image_rows
from support.records import SUITE, lazy, records


def pairwise_by_loops(rows, suite, *, original):
    """From the embeddings: mean over images and draws of the cosine distance of two views of one image and draw."""
    vectors = {(row["image_id"], row["view"], row["draw"]): row["embedding"].astype(float) for row in rows}
    images = sorted({row["image_id"] for row in rows})
    draws = sorted({row["draw"] for row in rows})
    names = ["original", *suite] if original else suite
    matrix = np.zeros((len(names), len(names)))
    for (i, first), (j, second) in itertools.product(enumerate(names), repeat=2):
        if i != j:
            of = [
                distance.cosine(*(vectors[image, name, 0 if name == "original" else d] for name in (first, second)))
                for image in images
                for d in draws
            ]
            matrix[i, j] = np.mean(of)
    return names, matrix


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("rows", [records(), records(draws=1), records(images=1, draws=3)])
def test_pairwise_equals_loops_over_embeddings(rows, original):
    found = tables.distances_of_images(image_rows(lazy(rows)), SUITE, include_original=original)
    names, wanted = pairwise_by_loops(rows, SUITE, original=original)
    assert found["augmentation"].to_list() == names
    assert found.columns == ["augmentation", *names]
    matrix = found.drop("augmentation").to_numpy()
    np.testing.assert_allclose(matrix, wanted, rtol=0, atol=1e-7)  # the lists are float32
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 0).all()


def test_pairwise_of_one_and_of_two_augmentations():
    for suite in (["blur"], ["blur", "noise"]):
        rows = records(suite=suite)
        for original in (False, True):
            found = tables.distances_of_images(image_rows(lazy(rows)), suite, include_original=original)
            names, wanted = pairwise_by_loops(rows, suite, original=original)
            assert found["augmentation"].to_list() == names
            np.testing.assert_allclose(found.drop("augmentation").to_numpy(), wanted, rtol=0, atol=1e-7)


def test_pairwise_leaves_out_what_is_not_a_number():
    rows = records(images=4, draws=2)
    originals = [row for row in rows if row["view"] == "original"]
    wanted = np.array([row["pairwise"] for row in originals]).reshape(-1, 6)
    wanted[3, 2] = wanted[:, 4] = np.nan
    for number, row in enumerate(originals):
        row["pairwise"] = wanted[2 * number : 2 * number + 2].ravel().tolist()
    matrix = tables.distances_of_images(image_rows(lazy(rows)), SUITE).drop("augmentation").to_numpy()
    upper = matrix[np.triu_indices(4, 1)]
    expected = [np.nan if np.isnan(column).all() else np.nanmean(column) for column in wanted.T]
    np.testing.assert_allclose(upper, expected, rtol=1e-6)
    assert np.isnan(matrix).sum() == 2
    blank = [row for row in rows if row["view"] == "blur"]
    blank[0]["cosine_similarity"] = np.nan
    edge = tables.distances_of_images(image_rows(lazy(rows)), SUITE, include_original=True)["blur"][0]
    assert edge == pytest.approx(1 - np.mean([row["cosine_similarity"] for row in blank[1:]]))


def test_mean_embeddings_equal_numpy():
    rows = records(images=5, draws=3)
    found = tables.mean_embeddings(lazy(rows), ["original", *SUITE[::-1]])
    assert found.dtype == np.float64
    for name, mean in zip(["original", *SUITE[::-1]], found, strict=True):
        of = np.array([row["embedding"] for row in rows if row["view"] == name], np.float64)
        np.testing.assert_allclose(mean, of.mean(axis=0), rtol=0, atol=1e-12)
