"""Studies that cannot stand beside each other: what is refused, and what is compared with a warning."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import EmbedshiftError
from support.command import call
from support.comparing import moved, variant
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.studies import compared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first():
    return compared()[0]


def one_draw(rows):
    """The rows of the first draw; five augmentations have ten pairs."""
    return rows.filter(pl.col("draw") == 0).with_columns(pl.col("pairwise").list.head(10))


NOISE = {"albumentations": {"std_range": [0.1, 0.2]}}
REFUSED = {
    "seed": ({"identity": {"seed": 4}}, "seed: 3 in X, 4 in Y"),
    "draws": (
        {"identity": {"draws": 1}, "rows": one_draw},
        "draws: 2 in X, 1 in Y",
    ),
    "resize": ({"identity": {"resize": "crop"}}, 'resize: "squash" in X, "crop" in Y'),
    "parameter": (
        {"identity": {"augmentations": {"noise": NOISE}}},
        "augmentations.noise.albumentations.std_range: [0.44, 0.88] in X, [0.1, 0.2] in Y",
    ),
    "suite": (
        {
            "identity": {"augmentations": {"perspective": None, "tilt": {"callable": "def tilt(): ..."}}},
            "rows": lambda rows: rows.with_columns(pl.col("view").replace("perspective", "tilt")),
        },
        "augmentations.perspective: {",
    ),
}


@pytest.mark.parametrize("name", first_only(REFUSED))
def test_what_differs_is_refused_by_name(first, tmp_path, monkeypatch, capsys, name):
    info, words = REFUSED[name]
    other = variant(first, tmp_path / "b", **info)
    done = call(monkeypatch, capsys, "compare", first.folder, other.folder)
    assert done.code == 2
    assert words.replace("X", str(first.folder)).replace("Y", str(other.folder)) in done.line
    assert f"{other.folder} does not have the same images and views as {first.folder}" in done.line
    assert done.line.count(" in ") == words.count(" in ") or name == "suite"


@pytest.mark.matrix
def test_other_images_are_refused_by_name(first, tmp_path, monkeypatch, capsys):
    renamed = variant(first, tmp_path / "b", lambda rows: rows.with_columns(
        pl.col("image_id").replace({"image-00001.png": "mine.png"}).alias("image_id")
    ))  # fmt: skip
    done = call(monkeypatch, capsys, "compare", first.folder, renamed.folder)
    assert done.code == 2
    assert f"images: 1 only in {first.folder} (image-00001.png)" in done.line
    assert f"images: 1 only in {renamed.folder} (mine.png)" in done.line
    fewer = variant(first, tmp_path / "c", lambda rows: rows.filter(pl.col("image_id") > "image-00004.png"))
    done = call(monkeypatch, capsys, "compare", first.folder, fewer.folder)
    assert done.code == 2
    assert "images: 5 only in" in done.line
    assert "(image-00000.png, image-00001.png, image-00002.png, …)" in done.line


@pytest.mark.matrix
def test_other_pictures_of_the_same_names_are_refused(first, tmp_path):
    def shifted(by):
        one = (pl.col("image_id") == "image-00005.png") & (pl.col("view") == "blur")
        return lambda rows: rows.with_columns(patch_similarity=pl.col("patch_similarity") - by * one.cast(pl.Float64))

    # Another machine, another OpenCV: a few levels.
    embedshift.compare([first, variant(first, tmp_path / "b", shifted(0.013), encoder={"name": "b"})])
    with pytest.raises(EmbedshiftError, match=r"images of the same name differ \(first: image-00005.png\)") as caught:
        embedshift.compare([first, variant(first, tmp_path / "c", shifted(0.03), encoder={"name": "b"})])
    assert caught.value.exit_code == 2


@pytest.mark.matrix
def test_forty_other_images_of_the_same_names_are_refused_where_no_size_changes(tmp_path):
    """Every view is a level darker: patch similarity, which is of pixels alone, is the same for any image."""
    darker = {"darker": lambda image, rng: image - 1}
    studies = []
    for seed in (0, 1):
        (tmp_path / f"photos-{seed}").mkdir()
        rng = np.random.default_rng(seed)
        for number in range(40):
            pixels = rng.integers(1, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"photos-{seed}" / f"{number:02}.png")
        out = tmp_path / f"study-{seed}"
        photos = tmp_path / f"photos-{seed}"
        studies.append(embedshift.run(photos, out=out, model=MeanColour(), augmentations=darker, workers=0))
    patches = [study.rows().collect()["patch_similarity"].drop_nulls() for study in studies]
    assert (patches[0] - patches[1]).abs().max() < 1e-6
    with pytest.raises(EmbedshiftError) as caught:
        embedshift.compare(studies)
    words = (
        f"{tmp_path / 'study-1'} does not have the same images as {tmp_path / 'study-0'}: the pixels of 40 of 40 images"
    )
    assert str(caught.value) == f"{words} differ (first: 00.png)"
    assert caught.value.exit_code == 2


def other_pixels(rows):
    """Three images whose hashes differ."""
    chosen = pl.col("image_id").is_in([f"image-{number:05}.png" for number in (4, 7, 9)])
    return rows.with_columns(pl.when(chosen).then(pl.col("pixels").str.reverse()).otherwise("pixels").alias("pixels"))


@pytest.mark.matrix
def test_images_that_only_some_studies_measured_need_not_be_equal(first, tmp_path):
    lost = ("image-00004.png", "image-00007.png", "image-00009.png")
    left = variant(first, tmp_path / "b", other_pixels, encoder={"name": "b"})
    with pytest.raises(EmbedshiftError, match=r"the pixels of 3 of 24 images differ \(first: image-00004.png\)"):
        embedshift.compare([first, left])
    embedshift.compare([first, left, variant(first, tmp_path / "c", failed=lost, encoder={"name": "c"})])


@pytest.mark.matrix
def test_another_pillow_may_decode_otherwise(first, tmp_path, caplog):
    versions = {"versions": {"pillow": "13.0"}, "encoder": {"name": "b"}}
    embedshift.compare([first, variant(first, tmp_path / "b", **versions)])
    assert caplog.text == ""
    other = variant(first, tmp_path / "c", other_pixels, **versions)
    embedshift.compare([first, other])
    words = (
        "the pixels of 3 of 24 images differ (first: image-00004.png); other versions may decode an image differently: "
    )
    assert f"{words}Pillow unknown in {first.folder}, 13.0 in {other.folder}" in caplog.text


def test_five_levels_move_patch_similarity_by_less_than_what_is_refused():
    from embedshift.questions.pixels.measure import patch_similarity
    from embedshift.study.paired.checks import SAME_PICTURE

    def grey(level):
        return np.full((1, 16, 16, 3), level, np.uint8)

    moved_by = [
        abs(patch_similarity(grey(0), grey(level)) - patch_similarity(grey(0), grey(level + 5))).item()
        for level in range(251)
    ]
    assert 0.012 < max(moved_by) < 0.013 < SAME_PICTURE


def test_studies_that_cannot_be_compared(first, tmp_path, monkeypatch, capsys):
    unfinished = variant(first, tmp_path / "b", complete=False)
    untold = variant(first, tmp_path / "c")
    (untold.folder / "tables" / "claims.parquet").unlink()
    wrong = {
        "not finished": [first.folder, unfinished.folder],
        f"{untold.folder}: not finished": [first.folder, untold.folder],
        "at least two": [first.folder],
        "given 2 times": [first.folder, first.folder / ".." / first.folder.name],
        "no study here": [first.folder, tmp_path / "nothing"],
        "contains a study": [first.folder, variant(first, tmp_path / "d").folder, "--out", first.folder],
    }
    for words, arguments in wrong.items():
        done = call(monkeypatch, capsys, "compare", *arguments)
        assert words in done.line
        assert done.code == 2


@pytest.mark.matrix
def test_nothing_in_common_is_an_error(first, tmp_path):
    ids = sorted(first.reader().image_ids())
    one = variant(first, tmp_path / "b", failed=tuple(ids[:12]))
    two = variant(first, tmp_path / "c", failed=tuple(ids[12:]))
    with pytest.raises(EmbedshiftError, match="no image was measured by every study") as caught:
        embedshift.compare([one, two])
    assert caught.value.exit_code == 1


@pytest.mark.matrix
def test_another_view_size_is_told_and_not_refused(first, tmp_path, caplog):
    def rescaled(rows):
        return moved(0.1, 1)(rows).with_columns(patch_similarity=1 - (1 - pl.col("patch_similarity")) * 0.9)

    other = variant(first, tmp_path / "b", rescaled, encoder={"name": "b", "size": 64}, identity={"size": 64})
    found = embedshift.compare([first, other])
    words = f"size: 32 in {first.folder}, 64 in {other.folder}"
    assert f"the views of the studies do not have the same pixels: {words}" in caplog.text
    assert found.studies["size"].to_list() == [32, 64]


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("info", "words"),
    first_only(
        [
            ({"identity": {"resize": "crop"}, "encoder": {"shortest": 40}}, "shortest: null in X, 40 in Y"),
            ({"identity": {"versions": {"opencv": "5.1.0"}}}, 'opencv: "5.0.0" in X, "5.1.0" in Y'),
        ]
    ),
)
def test_what_else_changes_pixels_is_told(first, tmp_path, caplog, info, words):
    both = {"identity": {"resize": info["identity"].get("resize", "squash")}}
    one = variant(first, tmp_path / "a", **both)
    other = variant(first, tmp_path / "b", **info)
    embedshift.compare([one, other])
    assert words.replace("X", str(one.folder)).replace("Y", str(other.folder)) in caplog.text
