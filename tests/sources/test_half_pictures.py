"""Half a picture is refused where its format has a length, a checksum or an end; where it has none, that is pinned."""

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from embedshift import EmbedshiftError
from embedshift.sources import completeness
from embedshift.sources.images import decode
from support.corpus import JPEGS
from support.pictures import GREY, PHOTO, encoded, lines_of, lossless_jpeg, png_of, with_lines, with_segment

LARGE = np.asarray(Image.fromarray(skimage_data.astronaut()).resize((320, 300)))
EOI = b"\xff\xd9"
EARLY = "damaged or ends early"


def cuts(data, first, last, number):
    """The beginning of a JPEG up to places behind its first scan's header, in parts of the file."""
    start = data.index(b"\xff\xda") / len(data) + first
    return [data[: int(len(data) * part)] for part in np.linspace(start, last, number)]


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_cut_anywhere_is_refused_with_zeros_behind_too(kind):
    for cut in cuts(data := encoded(LARGE, "JPEG", **JPEGS[kind]), 0.05, 0.99, 12):
        for zeros in (0, 1, 20):
            with pytest.raises(EmbedshiftError, match=EARLY):
                decode(cut + bytes(zeros * len(data)))


@pytest.mark.parametrize("kind", [kind for kind in JPEGS if kind != "progressive"])
def test_a_jpeg_cut_with_an_end_glued_on_is_refused(kind):
    """Decoders put grey where codes are missing, and say nothing."""
    for cut in cuts(encoded(LARGE, "JPEG", **JPEGS[kind]), 0.05, 0.97, 15):
        with pytest.raises(EmbedshiftError, match=EARLY):
            decode(cut + EOI)


def test_a_progressive_jpeg_with_an_end_glued_on_is_refused_in_its_first_scan_only():
    """Later scans refine what is there: a picture without them is blurred, as it was on the way."""
    data = encoded(LARGE, "JPEG", progressive=True)
    first, second = data.index(b"\xff\xda"), data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    for cut in np.linspace(first + 40, second - 300, 9):
        with pytest.raises(EmbedshiftError, match=EARLY):
            decode(data[: int(cut)] + EOI)
    found = decode(data[: int(len(data) * 0.8)] + EOI)
    assert 0 < np.abs(found.astype(int) - decode(data)).mean() < 6


def test_the_end_of_a_thumbnail_is_not_taken_for_the_picture_s():
    small = encoded(Image.fromarray(LARGE).resize((64, 48)), "JPEG")
    data = encoded(LARGE, "JPEG", exif=b"Exif\0\0MM" + small)
    assert decode(data).shape == LARGE.shape
    with pytest.raises(EmbedshiftError, match=EARLY):
        decode(data[: len(data) * 3 // 4] + bytes(20 * len(data)))


def test_the_scans_and_restarts_of_a_jpeg_are_counted():
    plain, progressive = (encoded(PHOTO, "JPEG", progressive=each) for each in (False, True))
    assert completeness.jpeg_scans(plain) == (0xC0, True)
    assert completeness.jpeg_scans(progressive) == (0xC2, True)
    assert completeness.jpeg_scans(lossless_jpeg()) == (0xC3, True)
    assert completeness.jpeg_scans(plain[:300]) == (0xC0, False)
    for picture, options in ((PHOTO, {"subsampling": 0}), (PHOTO, {"subsampling": 2}), (GREY, {})):
        whole = encoded(picture, "JPEG", restart_marker_blocks=5, **options)
        assert not completeness.lacks_restarts(whole)
        assert completeness.lacks_restarts(whole.replace(b"\xff\xd3", b"", 1))
        assert completeness.lacks_restarts(with_segment(whole, 0xDD, b"\0\7"))
        assert completeness.lacks_restarts(with_segment(whole, 0xDD, None))


def test_zeros_inside_a_jpeg_are_not_promised():
    """Zeros are codes too: the picture has its size and is altered, or the codes run out and it is refused."""
    data, outcomes = encoded(LARGE, "JPEG"), set()
    for fraction in np.linspace(0.2, 0.9, 15):
        at = int(len(data) * fraction)
        try:
            outcomes.add(decode(data[:at] + bytes(64) + data[at + 64 :]).shape)
        except EmbedshiftError as error:
            assert EARLY in str(error)  # noqa: PT017
            outcomes.add("refused")
    assert outcomes <= {LARGE.shape, "refused"}


@pytest.mark.parametrize("options", [{}, {"quality": 95}], ids=str)
def test_a_webp_with_a_tail_of_zeros_is_refused(options):
    data = encoded(LARGE, "WEBP", **options)
    for fraction in (0.3, 0.5, 0.7, 0.9, 0.97):
        kept = int(len(data) * fraction)
        with pytest.raises(EmbedshiftError, match="a WebP whose end is zeros"):
            decode(data[:kept] + bytes(len(data) - kept))


def test_zeros_behind_a_lossless_webp_are_not_promised():
    """Its codes may be zeros for the rest of the picture: some pass, and look like a picture of one colour below."""
    data, outcomes = encoded(LARGE, "WEBP", lossless=True), set()
    for fraction in np.linspace(0.1, 0.9, 9):
        kept = int(len(data) * fraction)
        try:
            outcomes.add(decode(data[:kept] + bytes(len(data) - kept)).shape)
        except EmbedshiftError:
            outcomes.add("refused")
    assert outcomes <= {LARGE.shape, "refused"}


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_zeros_in_raw_pixels_are_not_promised(kind):
    """Nothing tells them from black: the lines that were lost are black, and no others are altered."""
    data = encoded(PHOTO, kind)
    end = len(data) if kind == "BMP" else data.index(PHOTO[0].tobytes()) + PHOTO.nbytes
    found = decode(data[: end - PHOTO.nbytes // 2] + bytes(PHOTO.nbytes // 2) + data[end:])
    same, black = (found == PHOTO).all(axis=(1, 2)), ~found.any(axis=(1, 2))
    assert 20 < same.sum() < len(PHOTO)
    assert (same | black).sum() >= len(PHOTO) - 1


PART = PHOTO[:20, :30]
ALPHA = np.full_like(PART[..., 0], 255)
PNGS = {
    "colours": png_of(PART, 2),
    "grey": png_of(PART[..., 0], 0),
    "grey of 16 bits": png_of(PART[..., 0].astype(np.uint16) * 257, 0, depth=16),
    "grey of 2 bits": png_of(PART[..., 0] >> 6, 0, depth=2),
    "alpha": png_of(np.dstack([PART, ALPHA]), 6),
    "grey and alpha": png_of(np.dstack([PART[..., 0], ALPHA]), 4),
    # The first row and column of each pass count where a side is one more than a multiple of its step.
    **{
        f"interlaced, {height} x {width}": png_of(PHOTO[:height, :width], 2, interlaced=True)
        for height, width in ((20, 3), (17, 13), (13, 17), (11, 10))
    },
}


@pytest.mark.parametrize("kind", PNGS)
def test_a_png_whose_codes_end_early_is_refused_though_all_checksums_are_right(kind):
    data, lines = PNGS[kind], lines_of(PNGS[kind])
    assert not completeness.lacks_lines(data)
    np.testing.assert_array_equal(decode(with_lines(data, lines + bytes(99))), decode(data))
    for part in [*np.linspace(0, 0.97, 12), 1 - 1 / len(lines)]:
        cut = with_lines(data, lines[: round(len(lines) * part)])
        assert completeness.lacks_lines(cut)
        with pytest.raises(EmbedshiftError, match=EARLY):
            decode(cut)
