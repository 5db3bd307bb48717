"""Views as files: what `embedshift views` writes, and that measuring its files gives the rows of `run`."""

import errno
import json
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift.engines import views_folder
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.questions.meaning import PROPERTIES
from embedshift.sources.images import decode
from support.mean_colour import MeanColour
from support.models import pictures_of

SUITE = {"augmentations": "strength", "families": ("jpeg", "rotation"), "levels": 2}
UNKNOWN = ["displacement", "hidden"]  # they need to know how pixels move


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    sizes = {"a.png": (40, 50), "b.bmp": (90, 120), "more/c.png": (33, 33)}
    folder = pictures_of(tmp_path_factory.mktemp("photos"), sizes)
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def written(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "views"
    return out, embedshift.write_views(photos, out=out, draws=2, seed=3, longest=64, workers=0, **SUITE)


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*") if path.name[0] != "."}


def run(images, out, **settings):
    return embedshift.run(images, out=out, model=MeanColour(), workers=0, **settings)


@pytest.mark.slow
def test_measuring_the_files_gives_the_rows_of_a_run_on_files(photos, written, tmp_path):
    drawn = run(photos, tmp_path / "drawn", apply_to="file", longest=64, draws=2, seed=3, **SUITE)
    file = written[0] / "views.json"
    read = run(file, tmp_path / "read", pairs=file)
    read_rows, drawn_rows = (study.rows().drop("pixels", *PROPERTIES, *UNKNOWN).collect() for study in (read, drawn))
    assert_frame_equal(read_rows, drawn_rows, check_exact=True)
    assert read.rows().select(pl.col(UNKNOWN).is_not_nan().any()).collect().row(0) == (False, False)
    for name in ("summary", "strength"):
        known = (study.reader().table(name).filter(~pl.col("metric").is_in(UNKNOWN)) for study in (read, drawn))
        assert_frame_equal(*known, check_exact=True)
    assert read.reader().info.counts.failed == drawn.reader().info.counts.failed == 1
    assert "no views were written (decode: " in read.failures()["reason"].item()


def test_the_files_are_the_views_at_their_own_size(photos, written):
    out, views = written
    suite = embedshift.augmentations.load_suite("strength", families=("jpeg", "rotation"), levels=2)
    image = decode((photos / "b.bmp").read_bytes())
    small = np.asarray(Image.fromarray(image).resize((64, 48), Image.Resampling.BICUBIC, reducing_gap=3.0))
    record = views.images["b.bmp"]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "original/b.png")), small)
    for folder, seed in record.seeds.items():
        expected = suite[folder.partition("/")[0]].draw(small, seed, any_size=True)
        np.testing.assert_array_equal(np.asarray(Image.open(out / folder / "b.png")), expected)
    assert record.parameters["jpeg@2/0"] == {"quality": suite["jpeg@2"].level.parameter}
    assert {name for name in files(out) if name.endswith("c.png")} == {
        f"{folder}/more/c.png" for folder in ("original", *record.seeds)
    }


def test_what_is_missing_or_damaged_is_written_again_by_several_processes(photos, written, tmp_path):
    out, before = tmp_path / "views", files(written[0])
    settings = {"draws": 2, "seed": 3, "longest": 64, **SUITE}
    embedshift.write_views(photos, out=out, workers=2, **settings)
    assert files(out) == before
    (out / "jpeg@1/0/a.png").unlink()
    (out / "jpeg@2/1/more/c.png").write_bytes(b"damaged")
    kept = (out / "jpeg@1/0/b.png").stat().st_mtime_ns
    steps = []
    embedshift.write_views(photos, out=out, workers=0, progress=steps.append, **settings)
    assert files(out) == before
    assert (out / "jpeg@1/0/b.png").stat().st_mtime_ns == kept
    assert steps == [1, 1, 1]  # the image without its file, that with a damaged file, and the damaged image


def test_an_image_that_has_changed_is_written_again(photos, tmp_path, caplog):
    own = tmp_path / "own"
    own.mkdir()
    Image.open(photos / "a.png").save(own / "a.png")
    views = embedshift.write_views(own, out=tmp_path / "views", workers=0, **SUITE)
    Image.open(photos / "a.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(own / "a.png")
    again = embedshift.write_views(own, out=tmp_path / "views", workers=0, **SUITE)
    assert "a.png has changed since its views were written" in caplog.text
    assert again.images["a.png"].files["original"] != views.images["a.png"].files["original"]


@pytest.mark.slow
def test_other_formats(photos, tmp_path):
    out = tmp_path / "views"
    for format, ending in (("jpeg", "jpg"), ("webp", "webp")):
        embedshift.write_views(photos / "a.png", out=out / ending, workers=0, format=format, quality=90, **SUITE)
        assert Image.open(out / ending / "jpeg@2" / f"a.{ending}").format == format.upper()
    study = run(out / "jpg" / "views.json", tmp_path / "study", pairs=out / "jpg" / "views.json")
    assert study.reader().info.counts.measured == 1


DARK = {"dark": lambda image, rng: image // 2}


@pytest.mark.parametrize("linked", ["original", "dark"])
def test_a_link_to_another_folder_gets_no_file(photos, tmp_path, linked):
    out, elsewhere = tmp_path / "views", tmp_path / "elsewhere"
    elsewhere.mkdir()
    embedshift.write_views(photos, out=out, augmentations=DARK, workers=0)
    shutil.rmtree(out / linked)
    (out / linked).symlink_to(elsewhere)
    with pytest.raises(EmbedshiftError, match="a link to another folder; replace it by a folder"):
        embedshift.write_views(photos, out=out, augmentations=DARK, workers=0)
    assert not [*elsewhere.iterdir()]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_that_takes_no_file_ends_the_work_in_one_line(photos, tmp_path, monkeypatch, workers):
    out = tmp_path / "views"
    embedshift.write_views(photos / "a.png", out=out, augmentations=DARK, workers=0)
    (out / "dark" / "a.png").unlink()
    write_atomically = views_folder.write_atomically

    def full(path, write):
        if path.suffix == ".json":
            return write_atomically(path, write)
        raise EmbedshiftError(f"{path}: cannot be written (No space left on device)") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(views_folder, "write_atomically", full)
    with pytest.raises(EmbedshiftError, match=r"^[^:]+/a\.png: cannot be written \(No space left on device\)$"):
        embedshift.write_views(photos / "a.png", out=out, augmentations=DARK, workers=workers)


def test_other_views_and_other_files_are_not_mixed(photos, written, tmp_path):
    with pytest.raises(UsageError, match=r"contains other views: seed: 3 there, 4 now"):
        embedshift.write_views(photos, out=written[0], draws=2, seed=4, longest=64, workers=0, **SUITE)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="contains files that `embedshift views` did not write"):
        embedshift.write_views(photos, out=tmp_path, workers=0, **SUITE)
    with pytest.raises(UsageError, match="is in the folder of the images"):
        embedshift.write_views(photos, out=photos / "views", workers=0, **SUITE)
    with pytest.raises(UsageError, match="`seed` 1: the views were drawn with the seed 3"):
        run(written[0] / "views.json", tmp_path / "s", pairs=written[0] / "views.json", seed=1)
    with pytest.raises(UsageError, match="give the file of written views alone"):
        run(written[0] / "views.json", tmp_path / "s", pairs=[written[0] / "views.json", photos])
    (tmp_path / "two").mkdir()
    for name in ("a.png", "a.bmp"):
        Image.open(photos / "a.png").save(tmp_path / "two" / name)
    with pytest.raises(UsageError, match="without the file extension"):
        embedshift.write_views(tmp_path / "two", out=tmp_path / "views", workers=0, **SUITE)


@pytest.mark.slow
def test_a_file_that_was_changed_is_a_failure(photos, tmp_path):
    out = tmp_path / "views"
    embedshift.write_views([photos / "a.png", photos / "b.bmp"], out=out, workers=0, **SUITE)
    Image.open(photos / "a.png").save(out / "jpeg@1/a.png")
    study = run(out / "views.json", tmp_path / "study", pairs=out / "views.json")
    failure = study.failures().row(0, named=True)
    assert (failure["image_id"], failure["stage"]) == ("a.png", "read")
    assert "jpeg@1: it is not the file that `embedshift views` wrote" in failure["reason"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"draws": 0}, "draws: must be greater"),
        ({"draws": 10**6}, "more than 100,000 views of an image"),
        ({"format": "x/../../secret"}, "format: must be"),
        ({"images": {"../../x.png": {"pixels": "1", "files": {"original": "1"}}}}, "cannot be used as a file name"),
        ({"augmentations": {"../x": {"description": ""}}}, "cannot be used as a file name"),
        ({"augmentations": {"x": {"description": "", "level": {"family": "f", "number": 0}}}}, "level"),
        ({"augmentations": {}}, "no augmentation"),
    ],
)
def test_a_foreign_file_is_read_with_care(written, tmp_path, change, words):
    content = json.loads((written[0] / "views.json").read_text()) | change
    (tmp_path / "views.json").write_text(json.dumps(content))
    with pytest.raises(EmbedshiftError, match=words):
        run(tmp_path / "views.json", tmp_path / "study", pairs=tmp_path / "views.json")


def test_the_command_says_how_to_measure(photos, tmp_path, cli):
    out, suite = tmp_path / "views", ["--augmentations", "strength", "--families", "jpeg", "--levels", 1]
    done = cli("views", photos, "--out", out, *suite, "--workers", 0, "-q")
    assert done.code == 0
    assert f"3 of 4 images written, each with 1 views: {out}/views.json" in done.out
    assert f"embedshift run --pairs {out}/views.json" in done.out
    assert "damaged.png, stage decode" in done.err
