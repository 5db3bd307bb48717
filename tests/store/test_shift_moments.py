"""Moments of a study's embeddings, against a loop over its rows."""

import numpy as np
import pytest

from embedshift.statistics.whitening import unit, whitening
from embedshift.store.shift_moments import shift_moments
from support import studies


@pytest.mark.parametrize("views", [None, ("blur",)])
def test_moments_are_those_of_a_loop(views: tuple[str, ...] | None) -> None:
    reader = studies.synthetic(12, ["noise", "blur"], draws=2).reader()
    images = np.arange(12) % 3 > 0
    moments = shift_moments(reader, images=images, views=views)
    originals, shifts = [], []
    kept = [image_id for image_id, keep in zip(reader.ordered_ids(), images, strict=True) if keep]
    by_image: dict[str, np.ndarray] = {}
    for row in reader.rows().collect().iter_rows(named=True):
        vector = np.array(row["embedding"]) / np.linalg.norm(row["embedding"])
        if row["view"] == "original":
            by_image[row["image_id"]] = vector
            originals += [vector] if row["image_id"] in kept else []
        elif row["image_id"] in kept and row["view"] in (views or ("noise", "blur")):
            shifts.append(vector - by_image[row["image_id"]])
    assert (moments.originals, moments.shifts) == (8, len(shifts)) == (8, 16 if views else 32)
    assert np.allclose(moments.mean, np.mean(originals, axis=0), atol=1e-6)
    covariance = np.cov(np.array(originals).T, bias=True)
    second = sum(np.outer(shift, shift) for shift in shifts) / len(shifts)
    vectors = reader.rows().select("embedding").collect()["embedding"].to_numpy()
    for fitted, moment in ((moments.by_originals(), covariance), (moments.by_shifts(), second)):
        expected = whitening(np.mean(originals, axis=0), moment)(vectors)
        assert np.abs(fitted(vectors) @ fitted(vectors).T - expected @ expected.T).max() < 1e-3


def test_moments_of_two_parts_add_up_to_those_of_the_whole() -> None:
    reader = studies.synthetic(12, ["noise", "blur"]).reader()
    first = np.arange(12) < 5
    both, whole = shift_moments(reader, images=first) + shift_moments(reader, images=~first), shift_moments(reader)
    assert np.allclose(both.shift_products, whole.shift_products, atol=1e-5)
    assert np.allclose((whole - both).products, 0, atol=1e-5)
    assert unit(whole.mean[None]).shape == (1, reader.info.encoder.dim)
