"""A study as points: each number against its row."""

import shutil

import numpy as np
import pytest

from embedshift.app import points as module
from embedshift.app.points import SHIFT, PointChoice, axes, image_views, points, shown_views
from embedshift.app.start import scale_of
from embedshift.augmentations import load_suite
from embedshift.errors import UsageError
from support.synthetic import make_study

NOISE = PointChoice("noise", "l2_distance", SHIFT)


def shown(reader, choice=NOISE):
    return points(reader, choice, scale_of(reader))[0]


def ids(reader, **choice):
    return shown(reader, PointChoice("noise", SHIFT, SHIFT, **choice))["name"].to_list()


def test_every_point_is_a_row(reader):
    rows = {row["image_id"]: row for row in reader.rows().collect().filter(view="noise").to_dicts()}
    baseline = reader.table("summary").filter(metric="cosine_similarity")["baseline"][0]
    table = shown(reader)
    assert sorted(table["name"]) == sorted(rows)
    for name, x, y in table.iter_rows():
        assert x == rows[name]["l2_distance"]
        assert y == pytest.approx((1 - rows[name]["cosine_similarity"]) / (1 - baseline), abs=1e-9)
    assert (np.diff(table["x"]) >= 0).all()
    mean = reader.table("summary").filter(metric="cosine_similarity", augmentation="noise")["relative_shift"][0]
    assert table["y"].mean() == pytest.approx(mean)


def test_all_metrics_of_the_rows_may_stand_on_an_axis(reader):
    assert axes(reader)[0] == SHIFT
    assert {"l2_distance", "attention_similarity", "edge_preservation"} <= {*axes(reader)}
    for name in axes(reader):
        assert len(shown(reader, PointChoice("blur", name, name))) == 12


def test_filters(reader):
    everything = shown(reader)
    assert ids(reader, name_part="PICTURE-07") == ["picture-07.png"]
    least = float(everything["y"].median())
    assert sorted(ids(reader, least=least)) == sorted(everything.filter(everything["y"] >= least)["name"])
    assert ids(reader, name_part=".*") == []  # a text, no pattern


@pytest.mark.parametrize(("which", "x"), [("nothing", SHIFT), ("noise", "embedding"), ("noise", "image_id")])
def test_what_the_study_does_not_have_is_a_line(reader, which, x):
    with pytest.raises(UsageError, match="does not have it"):
        shown(reader, PointChoice(which, x, SHIFT))


def test_of_a_large_study_some_are_drawn_by_the_seed(reader, monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 5)
    table, how_many = points(reader, NOISE, scale_of(reader))
    assert sorted(table["name"]) == reader.sample_ids(5)
    assert how_many == "5 of 12 images shown"


def test_the_views_of_an_image_are_drawn_again_with_their_numbers(reader):
    found = image_views(reader, "picture-03.png", "noise", scale_of(reader))
    assert list(found.image.views) == ["original", *reader.augmentations]
    rows = {row["view"]: row for row in reader.rows().collect().filter(image_id="picture-03.png").to_dicts()}
    suite = load_suite("paper")
    for name in reader.augmentations:
        view = suite[name].draw(found.image.views["original"], rows[name]["view_seed"])
        assert np.array_equal(found.image.views[name], view)
        assert found.image.metrics[name]["l2_distance"] == rows[name]["l2_distance"]
    with pytest.raises(UsageError, match="no such image"):
        image_views(reader, "../../etc/passwd", "noise", scale_of(reader))


@pytest.mark.slow
def test_an_image_that_is_gone_is_a_line(tmp_path):
    study = make_study(tmp_path / "study", 4, ["noise"], with_pictures=True)
    (tmp_path / "study" / "pictures" / "image-00002.png").unlink()
    reader = study.reader()
    found = image_views(reader, "image-00002.png", "noise", scale_of(reader))
    assert found.image is None
    assert "No such file" in found.missing["original"]
    shutil.rmtree(tmp_path / "study" / "pictures")
    assert image_views(reader, "image-00001.png", "noise", scale_of(reader)).image is None
    assert len(ids(reader)) == 4


def test_images_outside_of_the_folders_of_this_user_are_not_read(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 4, ["noise"], with_pictures=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    reader = study.reader()
    found = image_views(reader, "image-00001.png", "noise", scale_of(reader))
    assert found.image is None
    assert "this user has not run embedshift on the image folders" in found.missing["original"]


def test_of_many_views_those_of_the_family_are_shown(tmp_path):
    suite = load_suite("strength", families=["jpeg", "blur", "noise", "grey", "hue"])
    reader = make_study(tmp_path / "study", 3, list(suite), with_pictures=True).reader()
    assert len(reader.augmentations) == 25
    assert shown_views(reader, "blur@2") == [f"blur@{level}" for level in range(1, 6)]
    found = image_views(reader, "image-00001.png", "blur@2", scale_of(reader))
    assert list(found.image.views) == ["original", *(f"blur@{level}" for level in range(1, 6))]


def test_a_study_without_a_baseline_has_points_without_a_relative_shift(tmp_path):
    reader = make_study(tmp_path / "study", 1, ["noise"]).reader()
    scale = scale_of(reader)
    assert scale.baseline is None
    table, how_many = points(reader, NOISE, scale)
    assert table.is_empty()
    assert how_many == "0 of 1 images shown; 1 without a number on an axis"
    assert len(shown(reader, PointChoice("noise", "l2_distance", "cosine_similarity"))) == 1


def test_of_several_draws_the_first_is_shown(tmp_path):
    reader = make_study(tmp_path / "study", 5, ["noise"], draws=3, with_pictures=True).reader()
    scale = scale_of(reader)
    first = reader.rows().collect().filter(view="noise", draw=0)
    assert sorted(shown(reader)["x"]) == sorted(first["l2_distance"])
    cosine = first.filter(image_id="image-00002.png")["cosine_similarity"][0]
    found = image_views(reader, "image-00002.png", "noise", scale)
    assert found.shifts == {"noise": pytest.approx((1 - cosine) / (1 - scale.baseline.value))}
