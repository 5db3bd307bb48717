"""The suite `everyday`: each change against a slow version by Pillow, SciPy or by hand, with the recorded numbers."""

import io

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, ImageOps

from embedshift.augmentations import load_suite
from embedshift.augmentations.everyday import CAPTION, CHANGES, INTERFACE, Range
from embedshift.augmentations.views import Canvas
from embedshift.config import make_config
from support.strength import photo

NAMES = (
    "recompress_75", "recompress_40", "messenger", "thumbnail", "crop_90", "screenshot", "watermark", "caption_bar",
    "brightness", "contrast", "warm_cold", "sharpen", "rotate_3", "mirror", "greyscale", "scan",
)  # fmt: skip
SUITE = load_suite("everyday")
SEEDS = (3, 8)
# Wider than high, so that width and height cannot be exchanged.
PHOTO = np.ascontiguousarray(photo("china.jpg", 288)[:192])


def drawn(name: str, image: np.ndarray = PHOTO, seed: int = 3) -> tuple[np.ndarray, dict]:
    return SUITE[name].draw(image, seed).astype(float), SUITE[name].parameters(seed)


def as_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=int(quality), subsampling="4:2:0")
    return np.asarray(Image.open(data))


def far(view: np.ndarray, wanted: object) -> float:
    """The mean difference of two images, in levels."""
    return float(np.abs(view - np.asarray(wanted, float)).mean())


def sampled(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The image at places `[H, W, 2]`, x before y, bilinearly."""
    places = source[..., ::-1].transpose(2, 0, 1)
    layers = np.moveaxis(image.astype(float), 2, 0)
    return np.dstack([scipy.ndimage.map_coordinates(layer, places, order=1, mode="mirror") for layer in layers])


def test_the_suite_has_its_sixteen_changes_in_order_and_is_for_files():
    assert SUITE.names == NAMES
    config = make_config({"augmentations": "everyday"})
    assert (config.apply_to, config.resize) == ("file", "own")
    config = make_config({"augmentations": "everyday", "apply_to": "input", "resize": "squash"})
    assert (config.apply_to, config.resize) == ("input", "squash")


@pytest.mark.parametrize("name", ["recompress_75", "recompress_40"])
def test_recompression_is_that_of_pillow_at_its_quality(name):
    view, numbers = drawn(name)
    assert numbers == {"quality": int(name[-2:])}
    by_quality = {quality: far(view, as_jpeg(PHOTO, quality)) for quality in range(20, 96, 5)}
    assert min(by_quality, key=by_quality.get) == numbers["quality"]
    assert by_quality[numbers["quality"]] < 0.3


@pytest.mark.parametrize(("size", "small"), [((288, 192), (144, 96)), ((3200, 80), (1600, 40))])
def test_a_messenger_halves_a_small_image_and_limits_a_large_one(size, small):
    image = np.asarray(Image.fromarray(PHOTO).resize(size))
    view, numbers = drawn("messenger", image)
    assert numbers == {"longest": 1600, "quality": 70}
    shrunk = np.asarray(Image.fromarray(image).resize(small, Image.Resampling.BOX))
    by_quality = {
        quality: far(view, Image.fromarray(as_jpeg(shrunk, quality)).resize(size, Image.Resampling.BILINEAR))
        for quality in range(50, 91, 5)
    }
    assert min(by_quality, key=by_quality.get) == 70
    assert by_quality[70] < 1.5


def test_a_thumbnail_has_256_pixels_or_half():
    for size, small in (((512, 256), (256, 128)), ((200, 100), (100, 50))):
        image = np.asarray(Image.fromarray(PHOTO).resize(size))
        view, numbers = drawn("thumbnail", image)
        assert numbers == {"longest": 256}
        shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        assert np.abs(view - np.asarray(shrunk.resize(size, Image.Resampling.BILINEAR), float)).max() <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_keeps_nine_tenths_of_both_sides_at_the_recorded_place(seed):
    view, numbers = drawn("crop_90", seed=seed)
    left, top = numbers["across"] * 0.1 * 288, numbers["down"] * 0.1 * 192
    box = (left, top, left + 0.9 * 288, top + 0.9 * 192)
    wanted = Image.fromarray(PHOTO).transform((288, 192), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    assert far(view, wanted) < 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_screenshot_shows_the_image_inside_its_borders(seed):
    view, numbers = drawn("screenshot", seed=seed)
    across, down = round(numbers["border"] * 288), round(numbers["border"] * 192)
    inside = np.zeros((192, 288), bool)
    inside[down : 192 - down, across : 288 - across] = True
    assert (view[~inside] == INTERFACE[numbers["colour"]]).all()
    assert (view[inside] != INTERFACE[numbers["colour"]]).any(axis=1).mean() > 0.9
    half = np.array([144, 96]) / (1 - 2 * numbers["border"])
    box = (*(np.array([144, 96]) - half), *(np.array([144, 96]) + half))
    small = Image.fromarray(PHOTO).transform((288, 192), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    within = np.zeros((192, 288), bool)
    within[down + 2 : 190 - down, across + 2 : 286 - across] = True
    assert far(view[within], np.asarray(small)[within]) < 0.6
    assert SUITE["screenshot"].geometry(PHOTO, seed).source[down, across] == pytest.approx([0, 0], abs=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_watermark_covers_a_tenth_and_is_half_transparent(seed):
    flat = {level: drawn("watermark", np.full_like(PHOTO, level), seed)[0] for level in (0, 100, 255)}
    rows, columns = (np.flatnonzero((flat[100] != 100).any(axis=(axis, 2))) for axis in (1, 0))
    numbers = SUITE["watermark"].parameters(seed)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / (192 * 288)
    assert box == pytest.approx(numbers["area"], abs=0.005)
    assert rows[0] == pytest.approx(numbers["down"] * (192 - np.ptp(rows) - 1), abs=1)
    assert columns[0] == pytest.approx(numbers["across"] * (288 - np.ptp(columns) - 1), abs=1.5)
    assert (flat[100].max(), flat[100].min()) == (round(0.5 * 100 + 0.5 * 255), 50)
    wanted = PHOTO * (flat[255] - flat[0]) / 255 + flat[0]  # what it lets through, and what it adds
    assert np.abs(drawn("watermark", seed=seed)[0] - wanted).max() <= 1.5


@pytest.mark.parametrize("seed", range(4))
def test_a_caption_bar_covers_its_rows_and_nothing_else(seed):
    view, numbers = drawn("caption_bar", seed=seed)
    covered = np.zeros(192, bool)
    covered[slice(0, 29) if numbers["place"] == "top" else slice(163, 192)] = True  # .15 of 192 is 28.8
    assert (view[~covered] == PHOTO[~covered]).all()
    text, ground = CAPTION[numbers["colours"]]
    bar = view[covered]
    assert (bar == bar[..., :1]).all()
    assert set(bar[[0, -1]].ravel()) == {ground}
    assert 0.04 < (np.abs(bar - text) < 64).mean() < 0.4, "letters"
    geometry = SUITE["caption_bar"].geometry(PHOTO, seed)
    assert (geometry.hidden == covered[:, None]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_brightness_contrast_grey_and_mirror_are_those_of_pillow(seed):
    image = Image.fromarray(PHOTO)
    view, numbers = drawn("brightness", seed=seed)
    assert np.abs(view - np.asarray(ImageEnhance.Brightness(image).enhance(1 + numbers["change"]), float)).max() <= 1
    view, numbers = drawn("contrast", seed=seed)
    assert np.abs(view - np.asarray(ImageEnhance.Contrast(image).enhance(1 + numbers["change"]), float)).max() <= 1
    assert np.abs(drawn("greyscale")[0] - np.asarray(image.convert("L"), float)[..., None]).max() <= 1
    assert (drawn("mirror")[0] == np.asarray(ImageOps.mirror(image))).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_warm_or_cold_filter_multiplies_red_and_blue(seed):
    view, numbers = drawn("warm_cold", seed=seed)
    for channel, gain in enumerate((1 + numbers["red"], 1, 1 - numbers["red"])):
        assert np.abs(view[..., channel] - np.minimum(PHOTO[..., channel] * gain, 255)).max() <= 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_sharpening_adds_what_a_gaussian_removes(seed):
    view, numbers = drawn("sharpen", seed=seed)
    blurred = scipy.ndimage.gaussian_filter(PHOTO.astype(float), numbers["radius"] * 288, axes=(0, 1), mode="mirror")
    removed, inner = PHOTO - blurred, (view > 0) & (view < 255)
    added = (view - PHOTO)[inner]
    assert np.abs(added - numbers["amount"] * removed[inner]).mean() < 0.5
    assert (added @ removed[inner]) / (removed[inner] @ removed[inner]) == pytest.approx(numbers["amount"], rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_turn_is_that_of_pillow_and_shows_no_border(seed):
    view, numbers = drawn("rotate_3", seed=seed)
    source = SUITE["rotate_3"].geometry(PHOTO, seed).source
    assert source.min() >= -0.5
    assert (source.reshape(-1, 2).max(axis=0) <= np.array([287.5, 191.5])).all()
    first, last = source[96, 0], source[96, -1]
    turn = -np.rad2deg(np.arctan2(*(last - first)[::-1]))
    assert turn == pytest.approx(numbers["degrees"], abs=1e-3)
    scale = float(np.hypot(*(last - first)) / 287)
    turned = Image.fromarray(PHOTO).rotate(-numbers["degrees"], Image.Resampling.BILINEAR)
    half = scale * np.array([144, 96])
    centre = np.array([144, 96])
    box = (*(centre - half), *(centre + half))
    wanted = turned.transform((288, 192), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    assert far(view, wanted) < 4 < far(view, PHOTO)
    edge = source.reshape(-1, 2)
    assert min(edge.min(), (np.array([287, 191]) - edge.max(axis=0)).min()) < 0.5, "the largest part"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scan_is_aslant_tinted_and_noisy(seed):
    view, numbers = drawn("scan", seed=seed)
    page = np.array([(0, 0), (288, 0), (288, 192), (0, 192)], float)
    moved = np.reshape([value for name, value in numbers.items() if name.startswith("corner")], (4, 2)) * (288, 192)
    places = page + moved * np.where(page > 0, -1, 1)
    equations = [[x, y, 1, 0, 0, 0, -x * u, -y * u] for (x, y), (u, _) in zip(page, places, strict=True)]
    equations += [[0, 0, 0, x, y, 1, -x * v, -y * v] for (x, y), (_, v) in zip(page, places, strict=True)]
    matrix = np.linalg.solve(equations, np.concatenate([places[:, 0], places[:, 1]]))
    image = Image.fromarray(PHOTO).transform((288, 192), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR)
    paper = 1 - numbers["tint"] * np.array([0, 0.04, 0.14])
    wanted = 255 * (np.asarray(image, float) / 255) ** numbers["gamma"] * paper
    noise = (view - wanted)[2:-2, 2:-2][(wanted[2:-2, 2:-2] > 30) & (wanted[2:-2, 2:-2] < 225)]
    assert noise.std() == pytest.approx(255 * numbers["noise"], rel=0.05)
    assert noise.mean() == pytest.approx(0.5, abs=0.2), "Pillow drops the fraction of a level"


@pytest.mark.parametrize("name", ["crop_90", "screenshot", "rotate_3", "mirror", "scan"])
def test_the_geometry_says_which_place_each_pixel_shows(name):
    ramp = np.stack(np.meshgrid(np.linspace(20, 230, 288), np.linspace(230, 20, 192)), axis=2)
    image = np.dstack([ramp, np.full((192, 288), 128)]).round().astype(np.uint8)
    view, _ = drawn(name, image)
    source = SUITE[name].geometry(image, 3).source
    assert source.shape == (192, 288, 2)
    inside = ((source > 3) & (source < np.array([284, 188]))).all(axis=2)
    assert inside.mean() > 0.5
    apart = np.abs(view - sampled(image, source))[inside][:, :2]
    # The paper's gamma and noise change the levels of a scan, though not where they are.
    assert np.median(apart) <= (60 if name == "scan" else 1)
    if name == "scan":
        return
    square = Canvas(np.ascontiguousarray(image[:, :192])).moved_and_hidden(SUITE[name], 3)
    border = SUITE[name].parameters(3).get("border", 0)
    assert square[1] == pytest.approx(1 - (1 - 2 * border) ** 2, abs=0.02)
    assert square[0] > 0


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_seeded_and_drawn_over_their_whole_range(name):
    numbers = [SUITE[name].parameters(seed) for seed in range(300)]
    assert SUITE[name].parameters(7) == numbers[7]
    for key, ends in CHANGES[name][0].ranges.items():
        values = [each[key] for each in numbers]
        if isinstance(ends, Range):
            spare = 0.05 * (ends.high - ends.low)
            assert ends.low <= min(values) <= ends.low + spare
            assert ends.high - spare <= max(values) <= ends.high
        else:
            assert set(values) == set(ends)
