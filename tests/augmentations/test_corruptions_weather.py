"""Weather: against the published formulas by SciPy, scikit-image and loops, and frost by made textures."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import color
from skimage.filters import gaussian

from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.augmentations.corruptions import plasma
from support.corrupted import SEVERITIES, apart, photo, view_of

BRIGHTNESS = dict(zip(SEVERITIES, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))
FOG = dict(zip(SEVERITIES, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)), strict=True))
FROST = dict(zip(SEVERITIES, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)), strict=True))
SNOW = {
    1: (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    2: (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    3: (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    4: (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    5: (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
}
SPATTER = {
    1: (0.65, 0.3, 4, 0.69, 0.6),
    2: (0.65, 0.3, 3, 0.68, 0.6),
    3: (0.65, 0.3, 2, 0.68, 0.5),
    4: (0.65, 0.3, 1, 0.65, 1.5),
    5: (0.67, 0.4, 1, 0.65, 1.5),
}


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_the_value_of_hsv(severity):
    hsv = color.rgb2hsv(photo() / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + BRIGHTNESS[severity], 0, 1)
    assert apart(view_of(photo(), "brightness", severity), 255 * color.hsv2rgb(hsv)).max() <= 1


def falling(severity, seed):
    """Flakes: the noise's middle enlarged by SciPy, dark ones left out, dragged point by point."""
    mean, sd, size, least, radius, sigma, _ = SNOW[severity]
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(rng.uniform(-135, -45))
    noise = mean + sd * rng.standard_normal((224, 224), np.float32)
    side = int(np.ceil(224 / size))
    start = (224 - side) // 2
    flakes = ndimage.zoom(noise[start : start + side, start : start + side], size, order=1)[:224, :224]
    flakes = np.floor(255 * np.clip(np.where(flakes < least, 0, flakes), 0, 1))
    total, weights = np.zeros((224, 224)), 0.0
    for point in range(2 * radius + 1):
        down, across = (int(np.ceil(point * part - 0.5)) for part in (np.sin(angle), np.cos(angle)))
        weight = np.exp(-(point**2) / (2 * sigma**2))
        places = np.clip(np.arange(224) + down, 0, 223), np.clip(np.arange(224) + across, 0, 223)
        total += weight * flakes[places[0]][:, places[1]]
        weights += weight
    return np.round(total / weights) / 255


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_whitens_and_lets_flakes_fall(severity):
    kept, flakes = SNOW[severity][-1], falling(severity, 4)[..., None]
    image = photo() / 255
    light = (image @ (0.299, 0.587, 0.114))[..., None]
    white = kept * image + (1 - kept) * np.maximum(image, 1.5 * light + 0.5)
    found = apart(view_of(photo(), "snow", severity, 4), 255 * (white + flakes + np.rot90(flakes, 2)))
    # A flake at the threshold, or half a level, may fall to either side.
    assert (found <= 1).mean() > 0.999
    assert found.max() <= 20


def slow_plasma(decay, rng, side):
    """Diamonds and squares, one point after the other, on a torus."""
    heights, mesh, wobble = np.zeros((side, side)), side, 1.0
    while mesh > 1:
        half = mesh // 2
        at = range(0, side, mesh)
        aslant = [(-half, -half), (-half, half), (half, -half), (half, half)]
        straight = [(-half, 0), (half, 0), (0, -half), (0, half)]
        for y0, x0, around in ((half, half, aslant), (0, half, straight), (half, 0, straight)):
            drawn = 2 * rng.random((len(at), len(at)), np.float32) - 1
            for i, y in enumerate(at):
                for j, x in enumerate(at):
                    four = [heights[(y + y0 + dy) % side, (x + x0 + dx) % side] for dy, dx in around]
                    heights[y + y0, x + x0] = sum(four) / 4 + wobble * drawn[i, j]
        mesh, wobble = half, wobble / decay**2
    return (heights - heights.min()) / np.ptp(heights)


@pytest.mark.parametrize("decay", [2.0, 1.4])
def test_plasma_is_made_of_diamonds_and_squares(decay):
    found = plasma(decay, np.random.default_rng(1), 32)
    np.testing.assert_allclose(found, slow_plasma(decay, np.random.default_rng(1), 32), atol=1e-5)
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_adds_plasma_and_keeps_the_range(severity):
    density, decay = FOG[severity]
    image = (photo() * 0.8).astype(np.uint8) / 255
    clouds = plasma(decay, np.random.default_rng(2))[:224, :224, None]
    expected = 255 * (image + density * clouds) * image.max() / (image.max() + density)
    assert apart(view_of(np.rint(255 * image).astype(np.uint8), "fog", severity, 2), expected).max() <= 1


def liquid(severity, seed):
    mean, sd, sigma, least, _ = SPATTER[severity]
    noise = mean + sd * np.random.default_rng(seed).standard_normal((224, 224), np.float32).astype(float)
    smooth = gaussian(noise, sigma=sigma)
    return np.where(smooth < least, 0, smooth), least


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_spatter_of_water_adds_embossed_drops(severity):
    smooth, _ = liquid(severity, 1)
    drops = (smooth * 255).astype(np.uint8)
    far = np.minimum(cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5), 20)
    depth = cv2.equalizeHist(ndimage.uniform_filter(far, 3, mode="mirror").astype(np.uint8))
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    relief = np.clip(ndimage.correlate(depth.astype(int), kernel, mode="mirror"), 0, 255)
    light = drops * np.rint(ndimage.uniform_filter(relief.astype(float), 3, mode="mirror"))
    expected = photo() + (light / light.max() * SPATTER[severity][4])[..., None] * (175, 238, 238)
    found = apart(view_of(photo(), "spatter", severity, 1), expected)
    assert (found <= 1).mean() > 0.995


@pytest.mark.parametrize("severity", [4, 5])
def test_spatter_of_mud_covers(severity):
    smooth, least = liquid(severity, 1)
    cover = gaussian((smooth > least).astype(float), sigma=SPATTER[severity][4])
    cover = np.where(cover < 0.8, 0, cover)[..., None]
    expected = photo() * (1 - cover) + cover * (63, 42, 20)
    assert (apart(view_of(photo(), "spatter", severity, 1), expected) <= 1).mean() > 0.999


# Frost.


@pytest.fixture
def textures(tmp_path):
    """Two textures: a ramp to the right and a ramp downwards, so that a pixel says where its square was cut out."""
    y, x = np.mgrid[:250, :254]
    for name, ramp in (("a.png", x), ("b.png", y)):
        Image.fromarray(np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize("severity", SEVERITIES)
def test_frost_lays_a_square_of_a_texture_over_the_image(severity, textures):
    kept, added = FROST[severity]
    suite = load_suite("corruptions", families=["frost"], frost_textures=str(textures))
    y, x = np.mgrid[:224, :224]
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        which, top, left = rng.integers(2), rng.integers(250 - 223), rng.integers(254 - 223)
        frost = (x + left, y + top)[which][..., None]
        assert apart(suite[f"frost@{severity}"].draw(photo(), seed), kept * photo() + added * frost).max() <= 1
        seen.add(int(which))
    assert seen == {0, 1}


def test_small_textures_are_enlarged_and_large_views_see_the_same_square(tmp_path, textures):
    small = tmp_path / "small"
    small.mkdir()
    Image.new("RGB", (60, 100), (200, 100, 50)).save(small / "a.png")
    frost = load_suite("corruptions", families=["frost"], frost_textures=str(small))["frost@5"]
    assert apart(frost.draw(photo(), 0), 0.6 * photo() + 0.75 * np.array([200, 100, 50])).max() <= 1
    frost = load_suite("corruptions", families=["frost"], frost_textures=str(textures))["frost@3"]
    black = np.zeros((448, 448, 3), np.uint8)
    assert apart(frost.draw(black, 3)[::2, ::2], frost.draw(black[::2, ::2], 3)).max() <= 1


def test_frost_is_known_by_the_bytes_of_its_textures(tmp_path, textures):
    def described(folder):
        return load_suite("corruptions", families=["frost"], frost_textures=str(folder)).describe()

    before = described(textures)
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("a.png", "b.png"):
        (other / name).write_bytes((textures / name).read_bytes())
    assert described(other) == before
    Image.new("RGB", (224, 224), (1, 2, 3)).save(other / "b.png")
    assert described(other) != before


def test_frost_that_cannot_be_made_is_one_line(tmp_path, textures):
    def error(**choice):
        with pytest.raises(EmbedshiftError) as raised:
            load_suite(**({"augmentations": "corruptions"} | choice))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "families: frost needs a folder of frost images" in error(families=["frost"])
    assert "is not a folder" in error(frost_textures=str(tmp_path / "nowhere"))
    assert "no image in" in error(frost_textures=str(empty))
    assert "frost is not among" in error(families=["fog"], frost_textures=str(textures))
    assert "frost is not among" in error(augmentations="strength", frost_textures=str(textures))
    (textures / "c.jpg").write_bytes(b"no image")
    assert "c.jpg cannot be read (not a complete image" in error(frost_textures=str(textures))
