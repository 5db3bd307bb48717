"""Bytes → pixels: turned upright, in strips and by OpenCV the same as in one piece by Pillow, and up to a limit."""

import contextlib
import io
import math

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from embedshift import EmbedshiftError
from embedshift.sources import images
from embedshift.sources.images import decode
from support import corpus
from support.pictures import GREY, PHOTO, PICTURE, encoded, opencv, turned

TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


def flat(data):
    """A picture as Pillow loads it, on white."""
    loaded = Image.open(io.BytesIO(data)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", loaded.size, "white"), loaded).convert("RGB"))


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(orientation):
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        stored = decode(encoded(PICTURE, kind, **options))
        found = decode(encoded(PICTURE, kind, exif=turned(orientation), **options))
        np.testing.assert_array_equal(found, TURNED[orientation](stored), err_msg=kind)
        np.testing.assert_array_equal(
            images.upright_size(encoded(PICTURE, kind, exif=turned(orientation), **options)), found.shape[1::-1]
        )


@pytest.mark.slow
def test_pictures_in_strips_are_those_in_one_piece(monkeypatch):
    made = [kind for kind in corpus.whole() if kind.pixels.size < 100_000 and len(kind.data) < 100_000]
    assert len(made) > 120
    whole = [decode(kind.data) for kind in made]
    monkeypatch.setattr(images, "STRIP", 1000)
    for kind, pixels in zip(made, whole, strict=True):
        if kind.name.startswith("jpeg") and "progressive" in kind.name:
            continue  # that is OpenCV's: the next test
        np.testing.assert_array_equal(decode(kind.data), pixels, err_msg=kind.name)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"subsampling": 0, "keep_rgb": True}])
def test_a_large_progressive_jpeg_has_the_pixels_that_pillow_loads(options, monkeypatch):
    """OpenCV decodes it, in less memory."""
    monkeypatch.setattr(images, "STRIP", 0)
    for size in ((120, 90), (119, 61), (1, 90), (120, 1)):
        for picture in (PICTURE, Image.new("RGB", PICTURE.size, (128, 128, 128))):  # a decoder's grey is read twice
            data = encoded(picture.crop((0, 0, *size)), "JPEG", progressive=True, quality=60, **options)
            with monkeypatch.context() as without_pillow:
                without_pillow.setattr(JpegImagePlugin.JpegImageFile, "load", None)
                decoded = decode(data)
            np.testing.assert_array_equal(decoded, np.asarray(Image.open(io.BytesIO(data))))


def test_a_large_progressive_jpeg_that_ends_early_is_refused_as_a_small_one_is(monkeypatch):
    data = encoded(PICTURE, "JPEG", progressive=True)
    marks = (b"", b"\xff\xd9", bytes(40))  # what a broken download may end in
    broken = [data[:end] + mark for end in range(len(data) // 4, len(data), 400) for mark in marks]
    outcomes = []
    for strip in (images.STRIP, 0):
        monkeypatch.setattr(images, "STRIP", strip)
        outcomes.append([outcome(each) for each in broken])
    assert outcomes[0] == outcomes[1]
    refused = [words for words in outcomes[0] if isinstance(words, str)]
    assert len(outcomes[0]) // 2 < len(refused) < len(outcomes[0])


def outcome(data):
    """The pixels, or the words of the refusal."""
    try:
        return decode(data).tolist()
    except EmbedshiftError as error:
        return str(error)


@pytest.mark.parametrize(("flags", "with_alpha"), [(0x00, True), (0x20, True), (0x10, False), (0x10, True)])
def test_the_codes_of_a_webp_decide_about_its_alpha(flags, with_alpha):
    """As in Pillow: a canvas may deny their alpha, or promise what they lack."""
    data = encoded(np.dstack([PHOTO, GREY]) if with_alpha else PHOTO, "WEBP", lossless=True)
    sides = b"".join((side - 1).to_bytes(3, "little") for side in PICTURE.size)
    content = b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes([flags, 0, 0, 0]) + sides + data[data.index(b"VP8L") :]
    data = b"RIFF" + len(content).to_bytes(4, "little") + content
    np.testing.assert_array_equal(decode(data), flat(data))


def test_a_still_webp_of_any_size_has_the_pixels_that_pillow_loads():
    for size in ((119, 61), (1, 90), (120, 1)):  # colours of half the size are enlarged
        for picture in (PICTURE, Image.fromarray(np.dstack([PHOTO, GREY]))):
            data = encoded(picture.crop((0, 0, *size)), "WEBP", quality=40, icc_profile=b"a profile", xmp=b"<x/>")
            np.testing.assert_array_equal(decode(data), flat(data))


def test_a_film_is_clear_and_not_black_where_no_frame_is():
    frames = [PHOTO[:20, :30], PHOTO[30:50, :30]]
    film = encoded(frames[0], "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(frames[1])])
    at = film.index(b"ANMF") + 8
    small = film[:24] + (39).to_bytes(3, "little") + film[27:]  # a canvas wider than its frames
    np.testing.assert_array_equal(decode(film), frames[0])
    found = decode(small)
    np.testing.assert_array_equal(found[:, :30], frames[0])
    assert (found[:, 30:] == 255).all()
    assert film[at : at + 6] == bytes(6)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}]
)
def test_a_jpeg_that_ends_in_grey_is_whole(options):
    """Grey is what decoders put where codes are missing, and what many pictures have in a corner."""
    for height, width, part in ((7, 8, 0), (33, 50, 0.5), (33, 8, 1), (17, 16, 0.5)):
        values = np.full((height, width, 3), 128, np.uint8)
        values[: math.floor(height * part)] = PHOTO[: math.floor(height * part), :width]
        for level in (values, values[..., 0], Image.new("CMYK", (width, height), (128,) * 4)):
            data = encoded(level, "JPEG", **options)
            with Image.open(io.BytesIO(data)) as image:
                np.testing.assert_array_equal(decode(data), np.asarray(image.convert("RGB")))


def test_a_damaged_tiff_shows_the_same_pixels_whatever_the_memory_held():
    """Pillow shows what its memory happens to hold; OpenCV puts zeros there."""
    fax = encoded(Image.fromarray(GREY > 127), "TIFF", compression="group4")
    jpeg = encoded(PICTURE, "TIFF", compression="jpeg")
    for data in (fax, jpeg):
        damaged, shown = data[: len(data) // 2] + b"\xff\xff\0\x10\x01" + data[len(data) // 2 + 5 :], set()
        for level in range(8):
            for size in range(100, 60_000, 2000):
                np.full(size, level * 37 % 256, np.uint8)
            shown.add(decode(damaged).tobytes())
        assert shown == {opencv(damaged).astype(np.uint8).tobytes()}


def test_the_limit_itself_is_allowed(monkeypatch):
    data = encoded(PICTURE, "PNG")
    monkeypatch.setattr(images, "MAX_PIXELS", GREY.size)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size - 1)  # Pillow warns from here on
    np.testing.assert_array_equal(decode(data), PHOTO)
    monkeypatch.setattr(images, "MAX_PIXELS", GREY.size - 1)
    with pytest.raises(EmbedshiftError, match="megapixels"):
        decode(data)


@pytest.mark.filterwarnings("error")
def test_damaged_directories_bring_no_word_of_a_library(capfd):
    data, _ = corpus.twelve_bits(10)
    with pytest.raises(
        EmbedshiftError, match=r"^a TIFF of 10 bits per channel is not read; convert it to 8 or 16 bits$"
    ):
        decode(data)
    for cut in range(0, len(data), 7):
        for damaged in (data[:cut], data[:cut] + b"\xff" * 12 + data[cut + 12 :]):
            with contextlib.suppress(EmbedshiftError):
                decode(damaged)
    assert capfd.readouterr().err == ""
