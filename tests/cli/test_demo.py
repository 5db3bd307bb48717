"""`embedshift demo`: the pieces of photographs, and the study of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedshift.report import build
from embedshift.sources import demo
from support import mean_colour
from support.matrix import first_only


@pytest.mark.slow
@pytest.mark.parametrize("encoder", first_only(["stand-in", "bundled"]))
def test_demo_measures_two_pieces_of_each_photograph(encoder, cli, tmp_path, monkeypatch):
    """Four of its photographs, without its figures and report, which take longest and have tests of their own."""
    few = {"skimage/data": "astronaut.png coffee.png rocket.jpg", "sklearn/datasets/images": "china.jpg"}
    monkeypatch.setattr(demo, "PHOTOS", few)
    monkeypatch.setattr(demo, "MORE", {})
    if encoder == "stand-in":
        mean_colour.in_place_of_bundled(monkeypatch)
    reported = []
    monkeypatch.setattr(build, "build_report", lambda reader, **_: reported.append(reader.folder))
    monkeypatch.chdir(tmp_path)
    done = cli("demo", "--out", "demo", "--quiet", "--json")
    assert done.code == 0
    assert reported == [Path("demo")]
    found = json.loads(done.out)
    assert found["counts"]["measured"] == found["counts"]["images"] == 8
    assert {row["groups"] for row in found["summary"]} == {4}
    assert found["encoder"]["name"] == "dinov2-small-offline"
    ranks = {row["augmentation"]: row["rank"] for row in found["ranking"]}
    assert encoder == "stand-in" or ranks["noise"] == 9
    assert sorted(ranks.values()) == list(range(1, 10))


@pytest.mark.slow
def test_the_pieces_of_the_demo_do_not_overlap(tmp_path):
    """Two quarters of each photograph, in a folder of its own, hold the pixels of its corners."""
    folder = demo.cut_photos(tmp_path / "photos")
    pieces = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert len(pieces) == 32
    assert len({piece.split("/")[0] for piece in pieces}) == 16
    whole = demo.copy_photos(folder.parent / "whole")
    photo = np.asarray(Image.open(whole / "coffee.png"))
    for name, corner in (("lower-right", photo[200:, 300:]), ("upper-left", photo[:200, :300])):
        assert (np.asarray(Image.open(folder / "coffee" / f"{name}.png")) == corner).all()


def test_a_folder_of_something_else_is_refused_and_stays(tmp_path, cli):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").touch()
    done = cli("demo", "--out", tmp_path)
    assert (done.code, "holds something else than a demo; choose another --out" in done.line) == (2, True)
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "mine.png"]
