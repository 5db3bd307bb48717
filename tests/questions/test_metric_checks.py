"""Every metric against its slow reference, and formulas on a whole photo; what it refuses; its bounds."""

import cv2
import numpy as np
import pytest

from embedshift.registry import METRICS
from embedshift.statistics.summary import PAPER_METRICS, RADAR_METRICS
from support import inputs, reference
from support.matrix import first_only

EVERY = list(METRICS)
SIGNED = {"attention_entropy_rise", "text_alignment_shift", "zero_shot_margin_shift"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_metric_equals_its_reference(name):
    reference.check(METRICS[name])


@pytest.mark.parametrize("constant", first_only(["no change", "0", "NaN"]))
@pytest.mark.parametrize("name", EVERY)
def test_check_refuses_a_function_that_returns_a_constant(name, constant):
    metric = METRICS[name]
    value = {"no change": metric.no_change, "0": 0.0, "NaN": np.nan}[constant]

    def fake(*arguments):
        return np.full_like(metric.function(*arguments), value)

    with pytest.raises(AssertionError):
        reference.check(metric, fake)


@pytest.mark.parametrize("name", EVERY)
def test_values_lie_between_low_and_high(name):
    metric = METRICS[name]
    for case, arguments in inputs.INPUTS[name]():
        value = np.asarray(metric.function(*arguments))
        defined = value[~np.isnan(value)]
        assert (defined >= metric.low).all(), case
        assert (defined <= metric.high).all(), case


def test_the_bounds_are_reached():
    random = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    extreme = {
        "cosine_similarity": ([1.0, 0.0], [-1.0, 0.0]),
        "patch_similarity": (np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)),
        "detail_preservation": (random, np.zeros_like(random)),
    }  # fmt: skip
    for name, arguments in extreme.items():
        assert METRICS[name].function(*arguments).item() == METRICS[name].low


VECTORS = [
    (np.ones(3), np.ones(4)),
    (np.ones((2, 3)), np.ones((3, 3))),
    (np.ones(3), np.ones(1)),
    (np.float64(1), np.ones(3)),
]
MAPS = [(np.ones(49), np.ones(49), 28), (np.ones((2, 7, 7)), np.ones((3, 7, 7)), 28)]
OTHER_SIZES = [
    (np.ones((8, 8, 3), np.uint8), np.ones((9, 8, 3), np.uint8)),
    (np.ones((2, 8, 8, 3), np.uint8), np.ones((3, 8, 8, 3), np.uint8)),
]
BAD_SHAPES = {
    "rms": OTHER_SIZES,
    "dissimilarity": OTHER_SIZES,
    "displacement": [(np.ones((8, 8, 3)),), (np.ones(8),)],
    "hidden": [(np.ones(8, bool),)],
    "embedding": VECTORS,
    "text": [(u, v, np.ones((3, 3))) for u, v in VECTORS] + [(np.ones(3), np.ones(3), np.ones((3, 4)))],
    "attention": MAPS,
    "rollout": MAPS,
    "aligned": [maps[:2] for maps in MAPS],
    "aligned_pixels": [
        *OTHER_SIZES,
        (np.ones((8, 8)), np.ones((8, 8), np.uint8)),
        (np.ones((8, 8, 4)), np.ones((8, 8, 4), np.uint8)),
        (np.ones((2, 8, 8, 3)), np.ones((3, 8, 8, 3), np.uint8)),
    ],
    "pixels": [
        *OTHER_SIZES,
        (np.ones((8, 8), np.uint8), np.ones((8, 8), np.uint8)),
        (np.ones((8, 8, 4), np.uint8), np.ones((8, 8, 4), np.uint8)),
        (np.ones((8, 8, 3), np.float32), np.ones((8, 8, 3), np.float32)),
        (np.ones((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.int64)),
    ],
}


def bad_shapes(name):
    return BAD_SHAPES.get(name) or BAD_SHAPES[METRICS[name].needs]


@pytest.mark.parametrize(("name", "index"), [(name, index) for name in EVERY for index in range(len(bad_shapes(name)))])
def test_wrong_shapes_and_dtypes_raise(name, index):
    with pytest.raises((ValueError, IndexError)):
        METRICS[name].function(*bad_shapes(name)[index])


def test_names_and_order_of_the_metrics():
    assert PAPER_METRICS == (
        "cosine_similarity", "l2_distance", "attention_similarity", "patch_similarity", "edge_preservation",
        "detail_preservation",
    )  # fmt: skip
    assert set(RADAR_METRICS) == set(PAPER_METRICS) - {"l2_distance"}
    for name in (name for name in METRICS if METRICS[name].question != "own_metrics"):  # of other tests
        metric = METRICS[name]
        assert metric.name == name == metric.function.__name__
        assert metric.low <= metric.no_change <= metric.high
        assert metric.no_change == (0 if name in SIGNED else metric.high if metric.higher_is_better else metric.low)
        assert metric.summary.endswith(".")


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
