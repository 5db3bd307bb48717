"""Warps of the suite `strength` against scikit-image's transforms, SciPy's sampling and slow loops."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.transform import EuclideanTransform, SimilarityTransform

from embedshift.augmentations import strength as warps
from embedshift.augmentations.changes import grid
from embedshift.augmentations.family import FAMILIES
from support.strength import photo

# Wider than high, as files are: lengths are fractions of the shorter side, SIDE.
SHAPE = SIDE, WIDTH = 64, 96
CENTRE = (np.array([WIDTH, SIDE]) - 1) / 2
WARPS = {
    "shift_scale_rotate": warps.shift_scale_rotate, "elastic": warps.elastic, "perspective": warps.perspective,
    "rotation": warps.rotation, "zoom_out": warps.zoom_out, "translation": warps.translation, "crop": warps.crop,
    "flip": warps.flip,
}  # fmt: skip
BLACK = ("shift_scale_rotate_black", "rotation_black", "zoom_out_black", "translation_black")


def sampled(pixels, source, mode):
    """SciPy's bilinear samples, channel by channel."""
    places = (source[..., 1].astype(float), source[..., 0].astype(float))
    channels = np.moveaxis(pixels.astype(float), 2, 0)
    return np.stack([map_coordinates(each, places, order=1, mode=mode) for each in channels], axis=2)


@pytest.mark.parametrize("name", [*WARPS, *BLACK])
def test_views_are_scipy_s_samples_at_the_recorded_places(name):
    family, image = FAMILIES[name], np.ascontiguousarray(photo("astronaut", WIDTH)[16:80])
    for each in family.augmentations():
        source = each.transform.geometry(np.zeros_like(image), np.random.default_rng(4)).source
        assert source.dtype == np.float32
        view = each.draw(image, 4).astype(int)
        mode = "grid-constant" if name.endswith("_black") else "mirror"
        difference = np.abs(view - sampled(image, source, mode))
        # OpenCV rounds places to a part of a pixel.
        assert difference.max() <= 12
        assert difference.mean() < 1


def around_the_centre(transform, pivot=(0.0, 0.0)):
    """The transform with a point in the place of the corner: the centre of the image, or some sides from it."""
    there = CENTRE + SIDE * np.asarray(pivot)
    return SimilarityTransform(translation=-there) + transform + SimilarityTransform(translation=there)


def drawn(seed, signs, *parts):
    """What a family draws behind its signs: uniform numbers between two ends."""
    rng = np.random.default_rng(seed)
    rng.integers(0, 2, signs)
    return [rng.uniform(low, high, count) for low, high, count in parts]


def is_one_of(source, transforms):
    """Whether view places go to their source as one of the transforms (original → view) says."""
    flat = source.reshape(-1, 2)
    wanted = [transform.inverse(grid(SHAPE).reshape(-1, 2)) for transform in transforms]
    return [np.abs(flat - each).max() < 1e-3 for each in wanted].count(True) == 1


def both(value):
    return (-value, value)


@pytest.mark.parametrize("seed", range(6))
def test_rotation_zoom_and_shift_are_scikit_image_s(seed):
    rng = np.random.default_rng
    (pivot,) = drawn(seed, 1, (-1 / 16, 1 / 16, 2))
    turns = [around_the_centre(EuclideanTransform(rotation=np.deg2rad(angle)), pivot) for angle in both(20)]
    assert is_one_of(warps.rotation(SHAPE, 20, rng(seed)), turns)
    (pivot,) = drawn(seed, 0, (-1 / 16, 1 / 16, 2))
    assert is_one_of(warps.zoom_out(SHAPE, 0.5, rng(seed)), [around_the_centre(SimilarityTransform(scale=0.5), pivot)])
    ((across, down),) = drawn(seed, 4, (1 / 2, 3 / 2, 2))
    every = [
        around_the_centre(SimilarityTransform(scale=1 + scale, rotation=np.deg2rad(turn), translation=(x, y)))
        for scale in both(0.15)
        for turn in both(22.5)
        for x in both(1.5 * 0.0625 * SIDE * across)
        for y in both(1.5 * 0.0625 * SIDE * down)
    ]
    assert is_one_of(warps.shift_scale_rotate(SHAPE, 1.5, rng(seed)), every)
    _, (phase,) = drawn(seed, 0, (0, 1, 1), (-1 / 32, 1 / 32, 1))
    moved = grid(SHAPE) - warps.translation(SHAPE, 0.1, rng(seed))
    np.testing.assert_allclose(np.hypot(*moved.reshape(-1, 2).T), (0.1 + phase) * SIDE, atol=1e-3)
    assert np.ptp(moved.reshape(-1, 2), axis=0).max() < 1e-3


def lengths(fraction, seeds):
    """How far each seed shifts, in sides."""
    return np.array([np.hypot(*warps.translation(8, fraction, np.random.default_rng(s))[0, 0]) / 8 for s in seeds])


@pytest.mark.parametrize("fraction", [0.001, 0.025, 0.0625, 0.2])
def test_shifts_end_at_every_phase_of_a_patch_and_have_the_level_s_length_on_average(fraction):
    off = lengths(fraction, range(400)) - fraction
    patch = min(fraction, 1 / 16)
    counts, _ = np.histogram(off, np.linspace(-patch / 2, patch / 2, 5))
    assert counts.sum() == 400
    assert counts.min() > 70, "each quarter of a patch"
    assert abs(off.mean()) < 0.05 * patch
    phases = off / patch
    np.testing.assert_allclose(phases, (lengths(0.4, range(400)) - 0.4) * 16, atol=2e-3)  # the same at every level


@pytest.mark.parametrize("name", ["rotation", "zoom_out"])
def test_all_levels_leave_the_same_place_where_it_is_near_the_centre(name):
    places = []
    for seed in range(20):
        fixed = []
        for level in FAMILIES[name].levels:
            source = WARPS[name](SHAPE, level, np.random.default_rng(seed)).astype(float)
            across, down = source[0, 1] - source[0, 0], source[1, 0] - source[0, 0]
            fixed.append(np.linalg.solve(np.eye(2) - np.stack([across, down], axis=1), source[0, 0]))
        np.testing.assert_allclose(fixed, [fixed[0]] * 5, atol=0.05)
        places.append((np.array(fixed[0]) - CENTRE) / SIDE)
    assert np.abs(places).max() < 1 / 16 + 1e-3
    assert (np.ptp(places, axis=0) > 1 / 16).all()


def test_signs_and_directions_differ_between_seeds():
    def found(source, parameter):
        return [source(SHAPE, parameter, np.random.default_rng(seed))[0, 0] for seed in range(40)]

    turned = [warps.rotation(SHAPE, 20, np.random.default_rng(seed)) for seed in range(40)]
    assert len({tuple((source[0, 1] - source[0, 0]).round(3)) for source in turned}) == 2
    assert len({tuple(place.round(1)) for place in found(warps.shift_scale_rotate, 1)}) > 10
    shifts = np.array(found(warps.translation, 0.1))
    quadrants = {tuple(np.sign(shift)) for shift in shifts}
    assert len(quadrants) == 4
    assert len({tuple(place.round(2)) for place in found(warps.crop, 0.5)}) == 40


def projected(points, four, onto):
    """Where the projection that takes four points onto four others takes points `[..., 2]`, by its eight equations."""
    rows = []
    for (x, y), (u, v) in zip(four, onto, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    matrix = np.append(np.linalg.solve(np.array(rows), onto.ravel()), 1).reshape(3, 3)
    found = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ matrix.T
    return found[..., :2] / found[..., 2:]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shift", [0.05, 0.3])
def test_perspective_is_the_projection_that_takes_corners_so_far(seed, shift):
    source = warps.perspective(SHAPE, shift, np.random.default_rng(seed))
    right, bottom = WIDTH - 1, SIDE - 1
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])
    shown = np.array([source[y, x] for x, y in corners])
    np.testing.assert_allclose(np.hypot(*(shown - corners).T), shift * SIDE, atol=0.01)
    np.testing.assert_allclose(source, projected(grid(SHAPE), corners, shown.astype(float)), atol=0.02)
    # Nothing is folded: the pixels of the view go around every one of them in the same sense.
    right, below = np.diff(source, axis=1)[:-1], np.diff(source, axis=0)[:, :-1]
    assert (right[..., 0] * below[..., 1] - right[..., 1] * below[..., 0] > 0).all()


def test_elastic_is_a_scaled_smooth_field():
    """Its mean length is exact, levels are multiples of each other, and its smoothness is 4 % of the side."""
    weak, strong = (
        warps.elastic(SHAPE, shift, np.random.default_rng(2)).astype(float) - grid(SHAPE) for shift in (0.01, 0.04)
    )
    np.testing.assert_allclose(strong, 4 * weak, atol=1e-4)
    assert np.sqrt((strong**2).sum(axis=2).mean()) == pytest.approx(0.04 * SIDE, rel=1e-5)
    noise = np.random.default_rng(2).standard_normal((*SHAPE, 2), dtype=np.float32)
    smooth = gaussian_filter(noise.astype(float), (0.04 * SIDE, 0.04 * SIDE, 0), mode="mirror", truncate=4)
    alike = (smooth * strong).sum() / np.sqrt((smooth**2).sum() * (strong**2).sum())
    assert alike > 0.999
    rough = gaussian_filter(noise.astype(float), (0.02 * SIDE, 0.02 * SIDE, 0), mode="mirror")
    assert (rough * strong).sum() / np.sqrt((rough**2).sum() * (strong**2).sum()) < 0.9


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_lies_inside_keeps_its_area_and_holds_every_smaller_one(seed):
    before = None
    for area in (0.9, 0.7, 0.5, 0.3, 0.1):
        source = warps.crop(SHAPE, area, np.random.default_rng(seed))
        # Half a pixel of the view around its centres.
        half = (source[0, 1, 0] - source[0, 0, 0]) / 2
        edges = np.array([*(source[0, 0] - half), *(source[-1, -1] + half)]).round(3)
        assert (edges[2] - edges[0]) * (edges[3] - edges[1]) == pytest.approx(area * SIDE * WIDTH, rel=1e-3)
        outer = (-0.5, -0.5, WIDTH - 0.5, SIDE - 0.5) if before is None else before
        assert (edges[:2] >= np.array(outer[:2]) - 0.01).all()
        assert (edges[2:] <= np.array(outer[2:]) + 0.01).all()
        before = edges
