"""How maps compare, and how well one tells which patches count: against scipy, and on cases that are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr

from embedshift.questions.maps import COMPARISONS, column_of
from embedshift.questions.maps.measure import STEPS, areas, blurred, compare, partial_images, ranks
from embedshift.statistics.maps import scaled_map

RNG = np.random.default_rng(0)


def test_a_map_that_moves_with_its_image_is_the_same_once_aligned():
    before = RNG.random((4, 4)).astype(np.float32)
    mirrored = before[:, ::-1]
    moved = [scaled_map(before, 32)[:, ::-1], np.full((32, 32), np.nan)]
    for name in ("attention", "relevance", "tokens"):
        found = compare(name, before, np.stack([mirrored, mirrored]), moved, 32)
        assert {*found} == {column_of(name, metric) for metric in COMPARISONS[name]}
        known, unknown = found[column_of(name, "aligned_correlation")]
        assert known == pytest.approx(1, abs=1e-9)
        assert np.isnan(unknown), "how it moves is not known"
        plain = found[column_of(name, "correlation")]
        assert plain[0] == plain[1] == pytest.approx(pearsonr(before.ravel(), mirrored.ravel()).statistic, abs=1e-6)
        assert plain[0] < 0.9
    assert found.keys() == {"map_tokens_correlation", "map_tokens_aligned_correlation"}, "fractions have no sign"


def test_the_same_map_has_not_changed():
    before = RNG.random((4, 4)).astype(np.float32)
    found = compare("relevance", before, before[None], [scaled_map(before, 32)], 32)
    values = {name.removeprefix("map_relevance_"): float(each[0]) for name, each in found.items()}
    same = {"similarity": 1, "aligned_similarity": 1, "divergence": 0, "correlation": 1, "aligned_correlation": 1}
    assert values == pytest.approx(same, abs=1e-9)


def test_ranks_are_those_of_sorting_and_ties_are_broken_by_the_order_given():
    values = RNG.integers(0, 4, (3, 5)).astype(float)
    ties = RNG.permutation(15)
    found = ranks(values, ties).ravel()
    wanted = sorted(range(15), key=lambda place: (-values.ravel()[place], ties[place]))
    assert [int(np.flatnonzero(found == place)[0]) for place in range(15)] == wanted


def test_patches_are_taken_away_in_order_and_shown_in_order():
    original = RNG.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    places = RNG.permutation(12).reshape(3, 4)
    background, found = blurred(original), partial_images(original, places)
    assert found.shape == (2 * (STEPS - 1), 30, 30, 3)
    for step in range(1, STEPS):
        for y in range(30):
            for x in range(30):
                first = places[y * 3 // 30, x * 4 // 30] < 12 * step / STEPS
                gone, shown = (background, original) if first else (original, background)
                assert (found[step - 1, y, x] == gone[y, x]).all()
                assert (found[STEPS - 2 + step, y, x] == shown[y, x]).all()


def test_blurred_is_a_gaussian_of_a_tenth_of_the_side():
    spot = np.zeros((64, 64, 3), np.uint8)
    spot[20:44, 20:44] = 255
    wanted = gaussian_filter(spot[..., 0].astype(float), 6.4, mode="mirror")
    assert np.abs(blurred(spot)[..., 0] - wanted).max() < 2


def test_areas_are_those_of_the_trapezoidal_rule():
    cosines = RNG.random(2 * (STEPS - 1))
    fractions = np.linspace(0, 1, STEPS + 1)
    deletion = np.trapezoid([0.9, *cosines[: STEPS - 1], 0.2], fractions)
    insertion = np.trapezoid([0.2, *cosines[STEPS - 1 :], 0.9], fractions)
    assert areas(cosines, 0.9, 0.2) == pytest.approx({"deletion": deletion, "insertion": insertion}, abs=1e-12)
