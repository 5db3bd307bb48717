"""Groups of images: chosen by command and function, kept by study.json, and in every number of the analysis."""

import os
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.search.section import near_duplicates
from embedshift.store.groups import stored_groups
from embedshift.store.info import write_content
from embedshift.study import Study, load
from support import studies
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

SCENES, FRAMES = 10, 4
CHANGES = {
    "dark": lambda image, rng: (image * 0.9).astype("uint8"),
    "noise": lambda image, rng: rng.integers(0, 256, image.shape, dtype=np.uint8),
}


def run(images, out, **settings):
    given = {"model": MeanColour(), "augmentations": CHANGES, "workers": 0, "shard_size": 16} | settings
    return embedshift.run(images, out=out, **given)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for scene in range(SCENES):
        (folder / f"scene-{scene}").mkdir()
        colours = rng.integers(60, 200, (4, 4, 3))
        for frame in range(FRAMES):
            pixels = np.kron(colours + rng.integers(-30, 30, (4, 4, 3)), np.ones((8, 8, 1)))
            Image.fromarray(pixels.astype("uint8")).save(folder / f"scene-{scene}" / f"{frame}.png")
    return folder


@pytest.fixture(scope="module")
def grouped(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("grouped") / "study", groups="folder")


@pytest.fixture
def plain():
    return studies.synthetic([f"scene-{i % 10}/{i}.png" for i in range(30)], ["noise", "blur"])


def tables(study):
    return {name: study.table(name) for name in study.table_names}


def test_a_run_keeps_its_groups_and_is_not_measured_again(photos, grouped, tmp_path):
    stored = grouped.info()["groups"]
    assert (stored["chosen"], stored["count"]) == ("folder", SCENES)
    later = run(photos, tmp_path / "study")
    assert later.info()["groups"] is None
    assert later.info()["config_hash"] == grouped.info()["config_hash"]
    assert set(later.summary()["groups"]) == {None}
    before = {path: path.stat().st_mtime_ns for path in (later.folder / "shards").iterdir()}
    run(photos, tmp_path / "study", groups="folder")
    assert later.info()["groups"] == stored
    assert {path: path.stat().st_mtime_ns for path in (later.folder / "shards").iterdir()} == before
    for name, table in tables(later).items():
        assert table.equals(grouped.table(name)), name
    run(photos, tmp_path / "study")  # without groups they stay
    assert later.info()["groups"] == stored
    assert not later.verify().damaged
    cosine = later.summary().filter(metric="cosine_similarity")
    assert cosine["groups"].to_list() == [SCENES] * 2
    assert cosine["images"].to_list() == [SCENES * FRAMES] * 2
    vectors = later.rows().filter(pl.col("view") == "original").select("image_id", "embedding").collect()
    units = vectors["embedding"].to_numpy().astype(float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    scenes = np.array([name.split("/")[0] for name in vectors["image_id"]])
    apart = scenes[:, None] != scenes
    assert cosine["baseline"][0] == pytest.approx((units @ units.T)[apart].mean(), abs=1e-12)


def test_groups_by_names_stay_when_a_shard_is_measured_again(photos, grouped, tmp_path):
    ids = grouped.reader().ordered_ids()
    study = run(photos, tmp_path / "study", groups={name: f"of {name.split('/')[0]}" for name in ids})
    stored = study.info()["groups"]
    (study.folder / "shards" / "part-00001.parquet").unlink()
    run(photos, tmp_path / "study")
    assert study.info()["groups"] == stored
    assert stored["count"] == SCENES
    for name, table in tables(study).items():
        assert table.equals(grouped.table(name)), name
    some = ids[::-3]
    groups, scenes = study.reader().groups_of(some), np.array([name.split("/")[0] for name in some])
    assert ((groups[:, None] == groups) == (scenes[:, None] == scenes)).all()


def test_an_unfinished_study_gets_no_groups_and_those_of_other_images_are_refused(grouped, tmp_path):
    study = studies.copied(grouped, tmp_path / "study")
    study.reader().info.model_copy(update={"complete": False}).write(study.folder)
    with pytest.raises(UsageError, match="not finished"):
        load(study.folder).regroup("none")
    (study.folder / "shards" / "part-00001.parquet").unlink()
    with pytest.raises(UsageError, match="its groups are of other images; choose `groups` again"):
        _ = study.reader().groups


def test_every_command_takes_groups(grouped, tmp_path, cli):
    study = studies.copied(grouped, tmp_path / "study")
    study.regroup("none")
    assert study.info()["groups"] is None
    file = tmp_path / "groups.csv"
    ids = pl.DataFrame({"image_id": study.reader().ordered_ids()})
    ids.with_columns(group=pl.col("image_id").str.slice(0, 7)).write_csv(file)

    def succeeds(*arguments):
        done = cli(*arguments)
        assert done.code == 0, done.err
        return study.info()["groups"]

    stored = grouped.info()["groups"]
    assert succeeds("search", study.folder, "--groups", file) == stored | {"chosen": "groups.csv"}
    assert study.search().equals(grouped.search())
    study.regroup("none")
    rules = tmp_path / "rules.yaml"
    assert succeeds("check", study.folder, "--rules", rules, "--init", "--groups", "folder") is None
    rules.write_text("rules: [{table: summary, metric: cosine_similarity, at_least: -0.99}]")
    assert succeeds("check", study.folder, "--rules", rules, "--groups", "none") is None
    copy = studies.copied(study, tmp_path / "copy")
    assert succeeds("compare", study.folder, copy.folder, "--groups", "folder") == stored == copy.info()["groups"]
    assert succeeds("report", study.folder, "--groups", "none", "--figures", "ruler") is None
    done = cli("compare", study.folder, copy.folder)
    assert done.code != 0
    assert "have different groups of images: choose them for both by --groups" in done.line


def panic(*_given, **_settings):
    raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")


def test_groups_come_from_files_and_mappings_or_are_refused(plain, tmp_path, monkeypatch):
    study = studies.copied(plain, tmp_path / "study")
    ids = study.reader().ordered_ids()
    mapping = {name: int(name[6]) // 2 for name in ids}
    study.regroup(mapping)
    assert study.info()["groups"] | {"digest": ""} == {"chosen": "mapping", "count": 5, "digest": ""}
    table = pl.DataFrame({"image_id": ids, "group": [str(mapping[name]) for name in ids], "other": 1})
    table.write_parquet(tmp_path / "g.parquet")
    digest = study.info()["groups"]["digest"]
    study.regroup(tmp_path / "g.parquet")
    assert study.info()["groups"] == {"chosen": "g.parquet", "count": 5, "digest": digest}
    # An image whose group is empty is alone.
    some = pl.when(pl.col("group") == "0").then(None).otherwise("group")
    table.with_columns(group=some).write_csv(tmp_path / "g.csv")
    study.regroup(tmp_path / "g.csv")
    assert study.info()["groups"]["count"] == 4 + sum(group == 0 for group in mapping.values())
    table.head(20).write_csv(tmp_path / "few.csv")
    pl.concat([table, table.head(1)]).write_csv(tmp_path / "double.csv")
    table.drop("group").write_csv(tmp_path / "none.csv")
    wrong = {"few.csv": "no group for 10 of 30 images", "double.csv": "more than one row", "none.csv": "CSV or Parquet"}
    for name in ("fifo.csv", "fifo.parquet"):
        os.mkfifo(tmp_path / name)
        wrong[name] = "a FIFO, not a file"
    for file, words in (wrong | {"missing.csv": "neither folder, near or none"}).items():
        with pytest.raises(UsageError, match=words):
            study.regroup(tmp_path / file)
    monkeypatch.setattr(pl, "read_parquet", panic)  # as some damaged files make it
    with pytest.raises(UsageError, match="neither folder, near or none"):
        study.regroup(tmp_path / "g.parquet")
    with pytest.raises(UsageError, match="all images are in one group"):
        study.regroup(dict.fromkeys(ids, "one"))
    assert study.info()["groups"]["chosen"] == "g.csv"


def test_tables_that_were_made_with_other_groups_are_refused(plain, tmp_path):
    """As where a process was killed before study.json said which groups its tables are of."""
    study = studies.copied(plain, tmp_path / "study")
    before = study.summary()
    study.regroup("folder")
    after = study.summary()
    assert not after.equals(before)
    content = study.info()
    shutil.copy(plain.folder / "study.json", study.folder)
    with pytest.raises(UsageError, match=r"summary\.parquet: its content does not match its checksum; make the report"):
        load(study.folder).summary()
    write_content(study.folder, content)
    (study.folder / "groups.parquet").write_bytes(b"")
    stored_groups.cache_clear()
    with pytest.raises(UsageError, match=r"groups\.parquet: .*choose `groups` again"):
        Study(study.folder).write_tables()
    study.regroup("none")
    assert study.summary().equals(before)


@pytest.mark.matrix
def test_a_study_without_vectors_takes_groups_when_it_is_run_alone(photos, grouped, tmp_path):
    study = run(photos, tmp_path / "study", store="metrics", groups="folder")
    needs_vectors = "^centred_.*$|^common_offset$"
    summary = study.summary().filter(pl.col("metric").is_in(grouped.metrics)).drop(needs_vectors)
    assert summary.equals(grouped.summary().drop(needs_vectors))
    assert study.info()["groups"] == grouped.info()["groups"]
    with pytest.raises(UsageError, match="takes `groups` only when it is run"):
        study.report(groups="none")
    with pytest.raises(UsageError, match="needs stored embeddings"):
        run(photos, tmp_path / "study", store="metrics", groups="near")


def test_near_copies_are_reported_and_grouped(tmp_path):
    """40 photos, and 40 near-copies of some of them."""
    rng = np.random.default_rng(1)
    photos = [np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1))).astype("uint8") for _ in range(40)]
    (tmp_path / "few").mkdir()
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / "few" / f"{number:02}.png")
    shutil.copytree(tmp_path / "few", tmp_path / "many")
    for number in range(40):
        own = photos[number % 7 if number < 30 else 39 - number % 3]
        noisy = np.clip(own + rng.normal(0, 1.5, own.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "many" / f"copy-{number:02}.png")
    changes = {"pale": lambda image, rng: 255 - (255 - image) // 2, "noise": CHANGES["noise"]}
    few = run(tmp_path / "few", tmp_path / "one", augmentations=changes)
    many = run(tmp_path / "many", tmp_path / "two", augmentations=changes)
    figures = {"figures": []}
    page = " ".join(many.report(**figures).read_text().split())
    assert "50 of 80 images are near-duplicates." in page
    assert "<code>--groups near</code> makes groups of them" in page
    assert "Intervals take the 80 images as independent." in page
    assert near_duplicates(few.reader()) is None
    shown = many.report(groups="near", **figures).read_text()
    assert "The images belong to 40 groups (near)." in " ".join(shown.split())
    assert "near-duplicates.</strong>" not in shown
    baseline = {name: study.summary()["baseline"][0] for name, study in (("few", few), ("many", many))}
    assert baseline["many"] == pytest.approx(baseline["few"], abs=0.005)
    assert many.info()["groups"]["count"] == 40


def test_near_joins_copies_that_moved_further_than_the_mildest_change(tmp_path):
    """Two of ten copies are moved where strong views are, further than the mild ones, but not to another image."""
    rng = np.random.default_rng(2)

    def moved(vectors, by):
        return vectors + np.hstack([np.zeros((len(vectors), 96)), by * rng.normal(size=(len(vectors), 8))])

    photos = rng.normal(size=(60, 104))
    owner = np.concatenate([np.arange(60), np.repeat(np.arange(4), 10)])
    far = np.tile([2.0] * 2 + [0.05] * 8, 4)
    originals = np.vstack([photos, moved(photos[owner[60:]], far[:, None])])
    views = {"strong": moved(originals, 3.0), "mild": originals + 0.05 * rng.normal(size=originals.shape)}
    study = embedshift.from_vectors(originals, views, ids=[f"{number:03}" for number in range(100)], out=tmp_path)
    mildest = study.summary().filter(metric="cosine_similarity")["median"].max()
    units = originals / np.linalg.norm(originals, axis=1, keepdims=True)
    assert (units[60:] * units[owner[60:]]).sum(axis=1)[far == 2].max() < mildest
    study.regroup("near")
    groups = dict(zip(study.reader().ordered_ids(), study.reader().groups.tolist(), strict=True))
    pairs = [(groups[f"{a:03}"] == groups[f"{b:03}"], owner[a] == owner[b]) for a in range(100) for b in range(a)]
    assert all(joined == copies for joined, copies in pairs)
