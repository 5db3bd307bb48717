"""What a study.json from somebody else may say: no code, no large image, no traceback."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import embedshift
from embedshift.augmentations import load_suite, rebuild_suite
from embedshift.errors import EmbedshiftError
from embedshift.questions.strength.tables import tolerances
from embedshift.store.files import with_checksum
from embedshift.store.info import write_content
from embedshift.store.reader import Reader
from embedshift.store.redraw import redraw
from support import studies
from support.matrix import first_only
from support.models import Colours, pictures
from support.revised import say_identity

pytestmark = pytest.mark.slow

FLIP = load_suite("paper").describe()["horizontal_flip"]


@pytest.fixture
def study(tmp_path):
    return studies.copied(studies.synthetic(4, ["noise", "mirror"], with_pictures=True), tmp_path / "study")


def with_mirror(study, entry):
    content = study.info()
    content["identity"]["augmentations"]["mirror"] = entry
    say_identity(study.folder, content)
    return study


ODD = {
    "value": {"albumentations": {"__class_fullname__": "Blur", "blur_limit": "many", "p": 1.0}},
    "class": {"albumentations": {"__class_fullname__": "os.system", "command": "touch ran"}},
    "lambda": {"albumentations": {"__class_fullname__": "Lambda", "__name__": "x"}},
    "image": {"albumentations": {"__class_fullname__": "PadIfNeeded", "min_height": 200_000, "min_width": 200_000}},
    "nested": {"albumentations": {"__class_fullname__": "Compose", "transforms": [{"a": 1}]}},
    "family": {"built_in": "blur@1", "version": 1,
              "level": {"family": "gaussian_blur", "number": 1, "parameter": 1e9, "unit": "px", "zero": 0}},
    "steps": {"steps": [{"name": "a", "albumentations": {"__class_fullname__": "Blur", "blur_limit": [9, 3]}}]},
    "built in": {"built_in": "mirror", "version": 99},
}  # fmt: skip


def test_an_augmentation_that_cannot_be_made_is_left_out(study):
    for name, entry in ODD.items():
        assert rebuild_suite({"mirror": entry, "flip": FLIP}).names == ("flip",), name
    found, missing = redraw(with_mirror(study, ODD["class"]).reader(), ["image-00000.png"])
    assert missing == {}
    assert set(found[0].views) == {"original", "noise"}
    study.report(figures=["views"], formats=["svg"])


def test_an_augmentation_that_fails_is_said_of_its_view(study):
    entry = {"albumentations": {"__class_fullname__": "Crop", "x_max": 9, "y_max": 9, "p": 1.0}}
    (image,), _ = redraw(with_mirror(study, entry).reader(), ["image-00000.png"])
    assert "mirror" not in image.views
    assert "it must be uint8 (32, 32, 3)" in image.missing["mirror"]


def test_views_and_crops_that_would_be_too_large_are_a_reason(study):
    content, name = study.info(), "image-00000.png"
    write_content(study.folder, content | {"encoder": content["encoder"] | {"size": 30_000}})
    assert redraw(study.reader(), [name]) == ([], {name: "views of more than 4,096 pixels a side are not drawn"})
    content["identity"]["resize"] = "crop"
    content["encoder"]["shortest"] = 10**6
    say_identity(study.folder, content)
    assert "too elongated to be cropped" in redraw(study.reader(), [name])[1][name]


WRONG = {
    "nothing": lambda _: {},
    "a list": lambda _: [],
    **{
        f"no {name}": lambda content, name=name: {key: value for key, value in content.items() if key != name}
        for name in ("encoder", "counts", "augmentations", "identity")
    },
    "no number": lambda content: content | {"counts": content["counts"] | {"images": "many"}},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_study_json_that_no_run_wrote_is_one_line(name, study, cli):
    content = WRONG[name](study.info())
    content = with_checksum(content) if isinstance(content, dict) else content
    (study.folder / "study.json").write_text(json.dumps(content))
    words = r"its study\.json is incomplete or damaged" if "no " in name else "study"
    with pytest.raises(EmbedshiftError, match=words):
        embedshift.load(study.folder)
    done = cli("report", study.folder)
    assert (done.code, bool(done.line)) == (2, True)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 50_000, "", "{", "\udcff", '{"schema_version": 8}'])
def test_what_is_no_study_json_at_all(content, tmp_path):
    (tmp_path / "study.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EmbedshiftError, match=r"no study here|incomplete or damaged"):
        embedshift.load(tmp_path)


def test_a_pipe_in_the_place_of_study_json_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "study.json")
    with pytest.raises(EmbedshiftError, match="not a file"):
        embedshift.load(tmp_path)


def test_a_folder_whose_name_is_no_text(study, tmp_path, cli):
    odd, rules = study.folder.rename(tmp_path / "caf\udce9"), tmp_path / "rules.yaml"
    rules.write_text("- {table: summary, metric: cosine_similarity, augmentation: mirror, at_least: 0}")
    for arguments in (["report"], ["search"], ["verify"], ["compare", tmp_path / "other"], ["check", "--rules", rules]):
        done = cli(arguments[0], odd, *arguments[1:])
        assert done.code in (1, 2)
        assert "caf\\xe9: contains bytes that are not UTF-8; rename it" in " ".join((done.out + done.err).split())


@pytest.mark.parametrize("name", first_only(["clip:v1", "file:/here", "s3:/bucket"]))
def test_a_relative_folder_with_a_colon_is_a_folder(name, tmp_path, monkeypatch):
    """Arrow would take it for a URI."""
    photos, views = pictures(tmp_path / "photos", 2), {"darker": lambda image, rng: image // 2}
    monkeypatch.chdir(tmp_path)
    embedshift.run(photos, out=f"{name}/study", model=Colours(), augmentations=views, workers=0)
    study = embedshift.load(f"{name}/study")
    assert len(study.rows().collect()) == 4
    assert not study.verify().damaged
    study.report(figures=["radar"], formats=["svg"])
    assert {path.name for path in tmp_path.iterdir()} == {"photos", name.partition("/")[0]}


def test_a_folder_above_the_current_one_is_a_folder(study, tmp_path, monkeypatch):
    """Polars refuses an address with `..` in it."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    above = embedshift.load(f"../{study.folder.relative_to(tmp_path)}")
    assert above.rows().collect().equals(study.rows().collect())
    vectors = np.random.default_rng(0).normal(size=(2, 9, 4))
    made = embedshift.from_vectors(vectors[0], {"crop": vectors[1]}, out="../made", groups=["a", "b", "c"] * 3)
    assert made.folder == Path("../made")
    assert {"tables", "shards"} < {path.name for path in (tmp_path / "made").iterdir()}
    assert len(above.search())
    assert not made.verify().damaged


@pytest.mark.parametrize("inside", first_only(["tables", "figures"]))
def test_a_link_in_place_of_a_folder_is_not_followed(inside, study, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "summary.csv").write_text("mine")
    shutil.rmtree(study.folder / inside, ignore_errors=True)
    (study.folder / inside).symlink_to(victim)
    with pytest.raises(EmbedshiftError, match=f"{inside}: a link to another folder"):
        study.report(figures=["radar"], formats=["svg"])
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"summary.csv": "mine"}


def test_a_study_without_its_tables_is_one_line(tmp_path):
    folder = shutil.copytree(studies.families().folder, tmp_path / "study", ignore=shutil.ignore_patterns("tables"))
    with pytest.raises(
        EmbedshiftError, match="the study has no table 'summary'; `embedshift report` makes those that it has"
    ):
        tolerances(Reader(folder))
