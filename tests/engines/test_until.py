"""Runs that end when every relative shift is known closely: where they end, and that it is the same everywhere."""

import itertools
import shutil

import numpy as np
import polars as pl
import pytest
from scipy import stats

import embedshift
from embedshift import runner
from embedshift.engines.local import run_local
from embedshift.errors import UsageError
from embedshift.statistics.baselines import LEAST
from embedshift.store.info import read_content, write_content
from embedshift.store.listing import verify
from support import models
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

IMAGES, SHARD, WIDTH = 200, 16, 0.12


def darker(image, rng):
    return np.maximum(image - rng.uniform(60, 120), 0).astype("uint8")


def mirror(image, rng):
    return image[:, ::-1]


SUITE = {"darker": darker, "mirror": mirror}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return models.pictures(tmp_path_factory.mktemp("until") / "photos", IMAGES, width=40, height=32)


def run(photos, out, **settings):
    settings = {"until": WIDTH, "workers": 0, "shard_size": SHARD, **settings}
    return embedshift.run(photos, out=out, model=MeanColour(), augmentations=SUITE, **settings)


@pytest.fixture(scope="module")
def ended(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("ended") / "study")


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("whole") / "study", until=None)


def end_of(study):
    """The shards of a finished study, which are all that its folder holds."""
    info = study.reader().info
    assert info.complete
    names = sorted(path.name for path in (study.folder / "shards").iterdir())
    assert names == [f"part-{index:05d}.parquet" for index in range(info.shard_count)]
    return info.shard_count


def cosines_and_units(study):
    rows = study.rows().collect()
    vectors = rows.filter(view="original")["embedding"].to_numpy().astype(np.float64)
    cosines = np.stack([rows.filter(view=name)["cosine_similarity"].to_numpy() for name in SUITE], axis=1)
    return cosines, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def student_widths(cosines, units):
    """Student's intervals by leaving out one image after the other, as a fraction of the relative shift or of .1."""

    def shifts(kept):
        products, pairs = units[kept] @ units[kept].T, len(kept) * (len(kept) - 1)
        return (1 - cosines[kept].mean(axis=0)) / (1 - (products.sum() - len(kept)) / pairs)

    count = len(cosines)
    without = np.array([shifts(np.delete(np.arange(count), image)) for image in range(count)])
    error = np.sqrt((count - 1) / count * np.square(without - without.mean(axis=0)).sum(axis=0))
    return stats.t.ppf(0.975, count - 1) * error / np.maximum(0.1, shifts(np.arange(count)))


def shown_widths(study):
    rows = study.summary().filter(metric="cosine_similarity")
    value, low, high = (rows[f"relative_shift{end}"].to_numpy() for end in ("", "_low", "_high"))
    return np.maximum(value - low, high - value) / np.maximum(0.1, value)


def test_it_ends_at_the_first_shard_whose_tables_have_narrow_intervals(photos, ended, whole, tmp_path):
    end, (cosines, units) = end_of(ended), cosines_and_units(whole)
    assert LEAST[0] < end * SHARD < IMAGES
    assert (shown_widths(ended) <= WIDTH).all()
    assert (student_widths(cosines[: end * SHARD], units[: end * SHARD]) <= WIDTH).all()
    until = ended.reader().info.until
    assert until.present == pytest.approx(shown_widths(ended).max(), rel=1e-12)
    assert until.augmentation == [*SUITE][shown_widths(ended).argmax()]
    # One shard less is not enough: a study of these images alone says so.
    for shards in range(LEAST[0] // SHARD, end):
        if (student_widths(cosines[: shards * SHARD], units[: shards * SHARD]) > 0.95 * WIDTH).any():
            continue
        shutil.copytree(whole.folder, tmp_path / str(shards))
        for index in range(shards, IMAGES // SHARD + 1):
            (tmp_path / str(shards) / "shards" / f"part-{index:05d}.parquet").unlink(missing_ok=True)
        content = read_content(whole.folder)
        write_content(tmp_path / str(shards), {**content, "complete": False, "tables": {}})
        assert (shown_widths(embedshift.load(tmp_path / str(shards))) > WIDTH).any()


def shuffled_shards(shards, *others):
    """An engine that measures shards four by four, each four from its last to its first, as parallel devices may."""
    for start in range(0, len(shards), 4):
        yield from reversed(list(run_local(shards[start : start + 4], *others)))


@pytest.mark.matrix
def test_the_end_is_the_same_with_two_loaders_out_of_order_and_after_a_kill(photos, ended, tmp_path, monkeypatch):
    checksum = ended.reader().measured_checksum()
    assert run(photos, tmp_path / "two", workers=2).reader().measured_checksum() == checksum
    monkeypatch.setattr(runner, "find_engine", lambda plan: shuffled_shards)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "killed", progress=killer(5 * SHARD))
    assert len(list((tmp_path / "killed" / "shards").iterdir())) == 4
    resumed = run(photos, tmp_path / "killed")
    assert end_of(resumed) == end_of(ended)
    assert resumed.reader().measured_checksum() == checksum
    assert resumed.summary().equals(ended.summary())


def killer(images):
    """Ends the run after so many images."""
    left = itertools.count(images, -1)

    def progress(_count):
        if next(left) <= 0:
            raise KeyboardInterrupt

    return progress


@pytest.mark.matrix
def test_shards_behind_the_end_that_a_killed_run_left_are_not_kept(photos, ended, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "study")
    content = read_content(whole.folder)
    asked = {"width": WIDTH, "kept": 0, "shards": None, "augmentation": "", "present": None}
    write_content(tmp_path / "study", {**content, "complete": False, "until": asked})
    study = run(photos, tmp_path / "study")
    assert end_of(study) == end_of(ended)
    assert study.reader().measured_checksum() == ended.reader().measured_checksum()


@pytest.mark.matrix
def test_it_is_finished_for_a_wider_width_and_goes_on_for_a_narrower_one_and_without(photos, ended, whole, tmp_path):
    shutil.copytree(ended.folder, tmp_path / "study")
    counted = []
    for width in (WIDTH, 2 * WIDTH):
        assert end_of(run(photos, tmp_path / "study", until=width, progress=counted.append)) == end_of(ended)
    assert not counted
    further = run(photos, tmp_path / "study", until=0.8 * WIDTH)
    assert end_of(ended) < end_of(further) < end_of(whole)
    last = run(photos, tmp_path / "study", until=None)
    assert last.reader().measured_checksum() == whole.reader().measured_checksum()
    assert end_of(run(photos, tmp_path / "study", progress=pytest.fail)) == end_of(whole)


@pytest.mark.matrix
def test_what_another_command_measured_is_kept(photos, ended, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "study", until=None, progress=killer(SHARD * (end_of(ended) + 2)))
    kept = len(list((tmp_path / "study" / "shards").iterdir()))
    assert kept > end_of(ended)
    assert end_of(run(photos, tmp_path / "study")) >= kept


def test_an_ended_study_is_whole_and_says_why_it_ended(ended, tmp_path):
    shutil.copytree(ended.folder, tmp_path / "study")
    assert not verify(tmp_path / "study").damaged
    study = embedshift.load(tmp_path / "study")
    assert study.is_complete()
    images = end_of(ended) * SHARD
    page = study.report(figures=[]).read_text()
    words = f"Ended after {images} of {IMAGES} images by until {WIDTH}: "
    assert words in page
    assert f"{WIDTH} x max(0.1, r)" in page
    (tmp_path / "study" / "shards" / "part-00001.parquet").unlink()
    assert [finding.name for finding in verify(tmp_path / "study").damaged][-1] == "shards/part-00001.parquet"


@pytest.mark.matrix
def test_all_images_are_measured_where_the_width_is_not_reached(photos, tmp_path):
    study = run(photos, tmp_path / "study", until=0.001, limit=80)
    info = study.reader().info
    assert (info.ended, info.shard_count) == (None, 5)
    assert info.until.present == pytest.approx(student_widths(*cosines_and_units(study)).max(), rel=0.02)
    words = "All 80 of 80 images were measured, but until 0.001 was not reached: "
    assert words in study.report(figures=[]).read_text()


@pytest.mark.matrix
def test_groups_must_be_twenty_and_known_beforehand(photos, ended, tmp_path):
    folders = {f"picture-{index:02d}.png": str(index % (LEAST[1] - 1)) for index in range(IMAGES)}
    study = run(photos, tmp_path / "few", groups=folders, until=1.0)
    assert study.reader().info.ended is None
    pairs = {f"picture-{index:02d}.png": str(index // 2) for index in range(IMAGES)}
    study = run(photos, tmp_path / "pairs", groups=pairs, until=0.3)
    assert study.reader().info.ended
    assert (shown_widths(study) <= 0.3).all()
    with pytest.raises(UsageError, match="`until` cannot be combined with `groups` near"):
        run(photos, tmp_path / "near", groups="near")


@pytest.mark.matrix
def test_a_first_shard_without_images_ends_nothing(photos, tmp_path):
    some = shutil.copytree(photos, tmp_path / "photos", ignore=lambda _, names: sorted(names)[24:])
    order = run(some, tmp_path / "before", until=None, shard_size=1).reader().ordered_ids()
    (some / order[0]).write_bytes(b"no image")
    study = run(some, tmp_path / "study", until=1.0, shard_size=1)
    info = study.reader().info
    assert (info.counts.images, info.counts.failed, info.shard_count, info.ended) == (24, 1, 24, None)
    assert study.reader().ordered_ids() == order[1:]


def test_a_few_archives_first_are_a_warning(photos, tmp_path, caplog):
    content = [(path.name, path.read_bytes()) for path in sorted(photos.iterdir())[:12]]
    table = pl.DataFrame(content, schema=["image_id", "image"], orient="row")
    table.write_parquet(tmp_path / "photos.parquet", row_group_size=1)
    study = run(tmp_path / "photos.parquet", tmp_path / "study", until=1.0)
    assert "the first images are of few archives: they must be like all others" in caplog.text
    assert study.reader().info.counts.images == 12
