"""Folders of a study with names that libraries read in another way, and with links in place of folders."""

import os
import shutil

import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.questions.strength.tables import tolerances
from embedshift.store.reader import Reader
from embedshift.study import Study
from support import studies
from support.matrix import first_only
from support.models import Colours, pictures

VIEWS = {"darker": lambda image, rng: image // 2, "darkest": lambda image, rng: image // 4}


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(["clip:v1", "file:/here", "s3:/bucket"]))
def test_a_relative_folder_with_a_colon_is_a_folder(name, tmp_path, monkeypatch):
    """Arrow would take it for a URI."""
    photos = pictures(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    out = f"{name}/study"
    embedshift.run(photos, out=out, model=Colours(), augmentations=VIEWS, workers=0)
    study = embedshift.load(out)
    assert len(study.rows().collect()) == 6
    assert not study.verify().damaged
    study.report(figures=["radar"], formats=["svg"])
    assert {path.name for path in tmp_path.iterdir()} == {"photos", name.partition("/")[0]}


@pytest.mark.slow
@pytest.mark.parametrize("inside", first_only(["tables", "figures"]))
def test_a_link_in_place_of_a_folder_is_not_followed(inside, tmp_path):
    folder, victim = tmp_path / "study", tmp_path / "victim"
    shutil.copytree(studies.plain().folder, folder)
    shutil.rmtree(folder / inside)
    victim.mkdir()
    (victim / "summary.csv").write_text("mine")
    os.symlink(victim, folder / inside)
    with pytest.raises(EmbedshiftError, match=f"{inside}: a link to another folder"):
        Study(folder).report(figures=["radar"], formats=["svg"])
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"summary.csv": "mine"}


@pytest.mark.slow
def test_a_study_without_its_tables_is_one_line(tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(studies.families().folder, folder)
    shutil.rmtree(folder / "tables")
    with pytest.raises(EmbedshiftError, match="no table 'summary' here; run the study again until it finishes"):
        tolerances(Reader(folder))
