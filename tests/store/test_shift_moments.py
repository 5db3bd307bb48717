"""Moments of a study's embeddings, against a loop over its rows."""

import numpy as np

from embedshift.statistics.whitening import moments_of, shift_moments, whitening
from support import studies


def test_moments_are_those_of_a_loop() -> None:
    reader = studies.synthetic(12, ["noise", "blur"], draws=2).reader()
    moments = shift_moments(reader.image_rows)
    originals, shifts = [], []
    by_image: dict[str, np.ndarray] = {}
    for row in reader.rows().collect().iter_rows(named=True):
        vector = np.array(row["embedding"]) / np.linalg.norm(row["embedding"])
        if row["view"] == "original":
            by_image[row["image_id"]] = vector
            originals.append(vector)
        else:
            shifts.append(vector - by_image[row["image_id"]])
    assert (moments.originals, moments.shifts) == (12, len(shifts)) == (12, 48)
    assert np.allclose(moments.mean, np.mean(originals, axis=0), atol=1e-6)
    covariance = np.cov(np.array(originals).T, bias=True)
    second = sum(np.outer(shift, shift) for shift in shifts) / len(shifts)
    vectors = reader.rows().select("embedding").collect()["embedding"].to_numpy()
    for fitted, moment in ((moments.by_originals(), covariance), (moments.by_shifts(), second)):
        expected = whitening(np.mean(originals, axis=0), moment)(vectors)
        assert np.abs(fitted(vectors) @ fitted(vectors).T - expected @ expected.T).max() < 1e-3


def test_moments_of_two_parts_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    originals, views = rng.normal(size=(9, 5)).astype(np.float32), rng.normal(size=(2, 9, 5)).astype(np.float32)
    originals[3] = views[1, 4] = 0
    whole = moments_of(originals, views)
    first, second = moments_of(originals[:5], views[:, :5]), moments_of(originals[5:], views[:, 5:])
    assert (whole.originals, whole.shifts) == (8, 15)
    assert np.allclose((first + second).shift_products, whole.shift_products, atol=1e-6)
    assert np.allclose((whole - first).products, second.products, atol=1e-6)
    assert np.allclose((whole - second).mean, first.mean)
