"""The metrics and their slow references against the libraries of the field, where these have the same thing."""

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import distance

from embedshift.questions.pixels import measure as pixels
from embedshift.registry import METRICS
from embedshift.statistics.maps import scaled_map, upsample
from embedshift.statistics.vectors import pairwise_cosine_distances
from support import inputs, reference

RNG = np.random.default_rng(5)
U, V = RNG.normal(size=(2, 20, 48))
GRIDS = [(7, 7, 224), (16, 16, 224), (14, 14, 224), (37, 37, 518), (3, 5, 33), (1, 6, 12), (7, 7, 7), (1, 1, 8)]


def test_embedding_metrics_equal_scipy():
    wanted = [1 - distance.cosine(u, v) for u, v in zip(U, V, strict=True)]
    np.testing.assert_allclose(METRICS["cosine_similarity"].function(U, V), wanted, rtol=0, atol=1e-12)
    wanted = [distance.euclidean(u, v) for u, v in zip(U, V, strict=True)]
    np.testing.assert_allclose(METRICS["l2_distance"].function(U, V), wanted, rtol=1e-12)
    np.testing.assert_allclose(pairwise_cosine_distances(U), distance.pdist(U, "cosine"), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns", "size"), GRIDS)
def test_upsampling_equals_torch_and_opencv(rows, columns, size):
    maps = np.random.default_rng(rows).random((2, rows, columns))
    found = upsample(maps, size)
    by_torch = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=(size, size), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    np.testing.assert_allclose(found, by_torch, rtol=0, atol=1e-12)
    by_opencv = np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in maps])
    np.testing.assert_allclose(found, by_opencv, rtol=0, atol=1e-6)  # its weights are float32


def test_the_reference_upsampling_equals_torch():
    grid = RNG.random((3, 5))
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=(17, 17), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(reference.upsample(grid.tolist(), 17), wanted, rtol=0, atol=1e-12)


def test_a_constant_map_of_any_value_scales_to_zeros():
    for value in (1 / 49, 0.1, 1 / 3, 0.0, 1e-30, 1e30):
        for size in (28, 33, 224):
            assert not scaled_map(np.full((7, 7), np.float32(value)), size).any(), (value, size)


def test_a_map_that_hardly_varies_is_not_taken_for_constant():
    nearly = np.full((7, 7), np.float32(1 / 49))
    nearly[3, 3] = np.nextafter(nearly[3, 3], np.float32(1))
    scaled = scaled_map(nearly, 28)
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_grey_and_edges_equal_numpy_and_opencv():
    photo = inputs.skimage_data.astronaut()[:64, 200:264]
    np.testing.assert_allclose(pixels.grey(photo), photo @ np.array([299, 587, 114]))
    rounded = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    assert np.abs(pixels.grey(photo) / 1000 - rounded).max() <= 0.51


def test_a_full_size_photo_equals_formulas_on_whole_arrays():
    photo = cv2.resize(inputs.skimage_data.astronaut(), (224, 224))
    view = cv2.GaussianBlur(photo, (7, 7), 0)
    o, a = photo.astype(np.float64), view.astype(np.float64)
    mse = ((o - a) ** 2).reshape(4, 56, 4, 56, 3).transpose(0, 2, 1, 3, 4).reshape(16, -1).mean(1)
    assert METRICS["patch_similarity"].function(photo, view).item() == pytest.approx((1 / (1 + mse / 255**2)).mean())
    grey_o, grey_a = (image @ np.array([0.299, 0.587, 0.114]) for image in (o, a))
    edges = [np.abs(gx) + np.abs(gy) for gy, gx in (np.gradient(grey_o), np.gradient(grey_a))]
    difference = np.abs(edges[0] / edges[0].max() - edges[1] / edges[1].max()).mean()
    assert METRICS["edge_preservation"].function(photo, view).item() == pytest.approx(1 - difference)
    sd_o, sd_a = (g.reshape(8, 28, 8, 28).transpose(0, 2, 1, 3).reshape(64, -1).std(1) for g in (grey_o, grey_a))
    detail = np.exp(-np.abs(np.log(sd_a / sd_o))).mean()
    assert METRICS["detail_preservation"].function(photo, view).item() == pytest.approx(detail)


def test_detail_is_not_a_number_only_where_nothing_can_be_measured():
    flat = np.full((16, 16, 3), 9, np.uint8)
    one_patch = flat.copy()
    one_patch[0, 0] = 200
    detail = METRICS["detail_preservation"].function
    assert np.isnan(detail(flat, one_patch))
    assert detail(one_patch, flat).item() == 0
    assert detail(one_patch, one_patch).item() == 1
