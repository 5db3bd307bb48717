"""Studies that cannot stand beside each other: what is refused, and what is compared with a warning."""

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.statistics.summary import PAPER_METRICS
from support.comparing import A, moved, variant
from support.matrix import first_only
from support.revised import revise_shard, say_identity
from support.studies import compared, copied
from support.synthetic import make_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first():
    return compared()[0]


def named(column, names):
    return lambda rows: rows.with_columns(pl.col(column).replace(names))


def other_pixels(rows):
    """Three images whose hashes differ."""
    chosen = pl.col("image_id").is_in([f"image-{number:05}.png" for number in (4, 7, 9)])
    return rows.with_columns(pl.when(chosen).then(pl.col("pixels").str.reverse()).otherwise("pixels").alias("pixels"))


def shifted(by):
    one = (pl.col("image_id") == "image-00005.png") & (pl.col("view") == "blur")
    return lambda rows: rows.with_columns(patch_similarity=pl.col("patch_similarity") - by * one.cast(pl.Float64))


def fewer(rows):
    return rows.filter(pl.col("image_id") > "image-00004.png")


VIEWS, IMAGES = ("Y does not have the same images and views as X: ", "Y does not have the same images as X: ")
TILT = {"perspective": None, "tilt": {"callable": "def tilt(): ..."}}
NOISE = {"noise": {"albumentations": {"std_range": [0.1, 0.2]}}}
# What a second study is → how the line begins that refuses it.
REFUSED = [
    ({"identity": {"seed": 4}}, f"{VIEWS}seed: 3 in X, 4 in Y"),
    (
        {"identity": {"augmentations": NOISE}},
        f"{VIEWS}augmentations.noise.albumentations.std_range: [0.44, 0.88] in X, [0.1, 0.2] in Y",
    ),
    (
        {"identity": {"augmentations": TILT}, "rows": named("view", {"perspective": "tilt"})},
        f"{VIEWS}augmentations.perspective: {{",
    ),
    (
        {"rows": named("image_id", {"image-00001.png": "mine.png"})},
        f"{VIEWS}images: 1 only in X (image-00001.png); images: 1 only in Y (mine.png)",
    ),
    ({"rows": fewer}, f"{VIEWS}images: 5 only in X (image-00000.png, image-00001.png, image-00002.png, …)"),
    ({"rows": shifted(0.03)}, f"{IMAGES}images of the same name differ (first: image-00005.png)"),
    ({"rows": other_pixels}, f"{IMAGES}the pixels of 3 of 24 images differ (first: image-00004.png)"),
]


@pytest.mark.parametrize(("info", "words"), first_only(REFUSED))
def test_what_differs_is_refused_by_name(first, tmp_path, cli, info, words):
    other = variant(first, tmp_path / "b", **info)
    done = cli("compare", first.folder, other.folder)
    line = done.line.replace(str(first.folder), "X").replace(str(other.folder), "Y")
    assert (done.code, line.startswith(f"error: {words}")) == (2, True), line
    assert line.count(" in ") == words.count(" in ") or words.endswith("{")


def rescaled(rows):
    return moved(0.1, 1)(rows).with_columns(patch_similarity=1 - (1 - pl.col("patch_similarity")) * 0.9)


PIXELS, PILLOW = "the views of the studies do not have the same pixels: ", {"versions": {"pillow": "13.0"}}
# What a second study is → what a comparison warns of; "" = nothing.
TOLD = [
    ({"rows": rescaled, "encoder": {"size": 64}, "identity": {"size": 64}}, f"{PIXELS}size: 32 in X, 64 in Y"),
    ({"identity": {"versions": {"opencv": "5.1.0"}}}, f'{PIXELS}opencv: "5.0.0" in X, "5.1.0" in Y'),
    ({"rows": shifted(0.013)}, ""),  # another machine, another OpenCV: a few levels
    (PILLOW, ""),
    (
        PILLOW | {"rows": other_pixels},
        "the pixels of 3 of 24 images differ (first: image-00004.png); other versions may decode an image differently: "
        "Pillow unknown in X, 13.0 in Y",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("info", "words"), first_only(TOLD))
def test_what_else_changes_pixels_is_told(first, tmp_path, caplog, info, words):
    other = variant(first, tmp_path / "b", **info)
    found = embedshift.compare([first, other])
    assert words in caplog.text.replace(str(first.folder), "X").replace(str(other.folder), "Y")
    assert words or not caplog.text
    assert found.studies["size"].to_list() == [32, info.get("identity", {}).get("size", 32)]


def test_a_crop_is_told_by_its_shortest_side(first, tmp_path, caplog):
    one, same, other = (
        variant(first, tmp_path / str(shortest), identity={"resize": "crop"}, encoder={"shortest": shortest})
        for shortest in (None, 32, 40)
    )
    embedshift.compare([one, same])
    assert not caplog.text, "by its default"
    embedshift.compare([one, other])
    where = f"shortest: 32 in {one.folder}, 40 in {other.folder}"
    assert f"{PIXELS}{where}; `embedshift parity` says what that changes" in caplog.text


@pytest.mark.matrix
def test_images_that_only_some_studies_measured_need_not_be_equal(first, tmp_path):
    lost = ("image-00004.png", "image-00007.png", "image-00009.png")
    left = variant(first, tmp_path / "b", other_pixels, encoder={"name": "b"})
    embedshift.compare([first, left, variant(first, tmp_path / "c", failed=lost, encoder={"name": "c"})])
    ids = sorted(first.reader().image_ids())
    halves = [variant(first, tmp_path / str(part), failed=tuple(ids[12 * part :][:12])) for part in (0, 1)]
    with pytest.raises(EmbedshiftError, match="no image was measured by every study") as caught:
        embedshift.compare(halves)
    assert caught.value.exit_code == 1


def test_five_levels_move_patch_similarity_by_less_than_what_is_refused():
    from embedshift.questions.pixels.measure import patch_similarity

    def grey(level):
        return np.full((1, 16, 16, 3), level, np.uint8)

    moved_by = [
        abs(patch_similarity(grey(0), grey(level)) - patch_similarity(grey(0), grey(level + 5))).item()
        for level in range(251)
    ]
    assert 0.012 < max(moved_by) < 0.013, "which is told of by nothing above"


def test_studies_that_cannot_be_compared(first, tmp_path, cli):
    untold = variant(first, tmp_path / "c")
    (untold.folder / "tables" / "claims.parquet").unlink()
    wrong = {
        "not finished": [first.folder, variant(first, tmp_path / "b", complete=False).folder],
        f"{untold.folder}: not finished": [first.folder, untold.folder],
        "at least two": [first.folder],
        "given 2 times": [first.folder, first.folder / ".." / first.folder.name],
        "no study here": [first.folder, tmp_path / "nothing"],
        "contains a study": [first.folder, variant(first, tmp_path / "d").folder, "--out", first.folder],
    }
    for words, arguments in wrong.items():
        done = cli("compare", *arguments)
        assert (done.code, words in done.line) == (2, True), done.err


@pytest.mark.matrix
def test_metrics_that_not_all_have_on_the_same_basis_are_left_out_and_named(first, tmp_path, caplog):
    other = variant(first, tmp_path / "b", moved(0.01, 1), encoder={"name": "b"})
    for index in range(4):
        revise_shard(other.folder, index, lambda rows: rows.drop_columns([PAPER_METRICS[-1]]))
    content = other.info()
    content["identity"]["metrics"] = list(PAPER_METRICS[:-1])
    say_identity(other.folder, content)
    metrics = set(embedshift.compare([first, other]).comparison["metric"])
    assert metrics & {*PAPER_METRICS} == set(PAPER_METRICS[:-1])
    assert "skipping metrics that not every study has: detail_preservation" in caplog.text
    one = make_study(tmp_path / "one", 8, ["noise", "blur"], text=True)
    same = variant(one, tmp_path / "same", encoder={"name": "b"})
    labels = {"text": {"labels": {"count": 3, "hash": "1" * 64}}}
    texts = variant(one, tmp_path / "texts", encoder={"name": "c"}, questions=labels)
    both, fewer = (set(embedshift.compare([one, study]).comparison["metric"]) for study in (same, texts))
    assert both - fewer == {"zero_shot_flip"}
    assert "text_alignment_shift" in fewer
    assert "labels differ between the studies; skipping these metrics: zero_shot_flip" in caplog.text


def test_studies_of_one_name_are_told_apart_by_their_folders(first, tmp_path):
    a, b, again = (copied(first, tmp_path / place) for place in ("x/a", "x/b", "y/a"))
    other = variant(first, tmp_path / "x" / "c", encoder={"name": "vit"})
    names = embedshift.compare([a, b, other]).studies["study"].to_list()
    assert names == [f"{A}, a", f"{A}, b", "vit (float32)"]
    assert embedshift.compare([a, again]).studies["study"].to_list() == [f"{A}, x/a", f"{A}, y/a"]
