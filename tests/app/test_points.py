"""A study as points: each number against its row."""

import dataclasses
import shutil

import numpy as np
import pytest

from embedshift.app import points as module
from embedshift.app.chart import chart, of_detail, of_failures
from embedshift.app.points import axes, detail, points, shown_views
from embedshift.app.start import scale_of
from embedshift.augmentations import load_suite
from embedshift.errors import UsageError
from embedshift.store.shards import Failure
from support.report_fixtures import CLOSING, NASTY
from support.synthetic import make_study


def test_every_point_is_a_row(reader):
    scale = scale_of(reader)
    found = points(reader, "noise", "l2_distance", "relative_shift", scale)
    rows = {row["image_id"]: row for row in reader.rows().collect().filter(view="noise").to_dicts()}
    baseline = reader.table("summary").filter(metric="cosine_similarity")["baseline"][0]
    assert sorted(found.ids) == sorted(rows)
    assert found.of == 12
    for name, x, y in zip(found.ids, found.x, found.y, strict=True):
        assert x == rows[name]["l2_distance"]
        assert y == pytest.approx((1 - rows[name]["cosine_similarity"]) / (1 - baseline), abs=1e-9)
    assert (np.diff(found.x) >= 0).all()
    mean = reader.table("summary").filter(metric="cosine_similarity", augmentation="noise")["relative_shift"][0]
    assert found.y.mean() == pytest.approx(mean)


def test_all_metrics_of_the_rows_may_stand_on_an_axis(reader):
    scale = scale_of(reader)
    assert axes(reader)[0] == "relative_shift"
    assert {"l2_distance", "attention_similarity", "edge_preservation"} <= {*axes(reader)}
    for name in axes(reader):
        assert len(points(reader, "blur", name, name, scale).ids) == 12


def test_filters(reader):
    scale = scale_of(reader)
    everything = points(reader, "noise", "l2_distance", "relative_shift", scale)
    one = points(reader, "noise", "l2_distance", "relative_shift", scale, holds="PICTURE-07")
    assert one.ids == ["picture-07.png"]
    least = float(np.median(everything.y))
    far = points(reader, "noise", "l2_distance", "relative_shift", scale, least=least)
    assert sorted(far.ids) == sorted(name for name, y in zip(everything.ids, everything.y, strict=True) if y >= least)
    assert points(reader, "noise", "l2_distance", "relative_shift", scale, holds=".*").ids == []  # a text, no pattern
    assert "No image is left" in chart(
        points(reader, "noise", "relative_shift", "relative_shift", scale, holds="none"),
        "relative_shift",
        "relative_shift",
    )


@pytest.mark.parametrize(("which", "x"), [("nothing", "relative_shift"), ("noise", "embedding"), ("noise", "image_id")])
def test_what_the_study_does_not_have_is_a_line(reader, which, x):
    with pytest.raises(UsageError, match="does not have it"):
        points(reader, which, x, "relative_shift", scale_of(reader))


def test_of_a_large_study_some_are_drawn_by_the_seed(reader, monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    found = points(reader, "noise", "relative_shift", "relative_shift", scale_of(reader))
    assert sorted(found.ids) == reader.sample_ids(5)
    assert "5 images of 12 shown" in chart(found, "relative_shift", "relative_shift")


def test_a_click_draws_the_views_again_with_their_numbers(reader):
    found = detail(reader, "picture-03.png", "noise", scale_of(reader))
    assert list(found.image.views) == ["original", *reader.augmentations]
    rows = {row["view"]: row for row in reader.rows().collect().filter(image_id="picture-03.png").to_dicts()}
    suite = load_suite("paper")
    for name in reader.augmentations:
        view = suite[name].draw(found.image.views["original"], rows[name]["view_seed"])
        assert np.array_equal(found.image.views[name], view)
        assert found.image.metrics[name]["l2_distance"] == rows[name]["l2_distance"]
    page = of_detail(found, reader.metrics, "noise")
    assert page.count("<img") == 2 * 10  # each with its attention
    with pytest.raises(UsageError, match="no such image"):
        detail(reader, "../../etc/passwd", "noise", scale_of(reader))


def test_an_image_that_is_gone_is_a_line(tmp_path):
    study = make_study(tmp_path / "study", 4, with_pictures=True)
    (tmp_path / "study" / "pictures" / "image-00002.png").unlink()
    reader = study.reader()
    found = detail(reader, "image-00002.png", "noise", scale_of(reader))
    assert found.image is None
    assert "No such file" in found.missing["original"]
    page = of_detail(found, reader.metrics, "noise")
    assert "The image cannot be shown: No such file" in page
    shutil.rmtree(tmp_path / "study" / "pictures")
    assert detail(reader, "image-00001.png", "noise", scale_of(reader)).image is None
    assert len(points(reader, "noise", "relative_shift", "relative_shift", scale_of(reader)).ids) == 4


def test_images_outside_of_the_folders_of_this_user_are_not_read(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 3, with_pictures=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    reader = study.reader()
    found = detail(reader, "image-00001.png", "noise", scale_of(reader))
    assert found.image is None
    assert "this user has not run embedshift on the image folders" in found.missing["original"]


def test_of_many_views_those_of_the_family_are_shown(tmp_path):
    suite = load_suite("strength", families=["jpeg", "blur", "noise", "grey", "hue"])
    study = make_study(tmp_path / "study", 3, list(suite), with_pictures=True)
    reader = study.reader()
    assert len(reader.augmentations) == 25
    assert shown_views(reader, "blur@2") == [f"blur@{level}" for level in range(1, 6)]
    found = detail(reader, "image-00001.png", "blur@2", scale_of(reader))
    assert list(found.image.views) == ["original", *(f"blur@{level}" for level in range(1, 6))]


def test_names_and_reasons_are_text(tmp_path):
    names = [*NASTY, CLOSING]
    failures = [Failure("<b>broken</b>.jpg", "decode", "damaged </li><script>alert(4)</script>")]
    study = make_study(tmp_path / "study", names, with_pictures=True, failures=failures)
    reader = study.reader()
    scale = scale_of(reader)
    shown = [
        chart(points(reader, "noise", "l2_distance", "relative_shift", scale), "l2_distance", "relative_shift"),
        *(of_detail(detail(reader, name, "noise", scale), reader.metrics, "noise") for name in names),
        of_failures(reader.failures()),
    ]
    assert all("<script" not in each and "<img src=x" not in each and "<b>broken" not in each for each in shown)
    assert "1 image could not be measured" in shown[-1]


def test_a_study_without_a_baseline_has_points_without_a_relative_shift(tmp_path):
    reader = make_study(tmp_path / "study", 1).reader()
    scale = scale_of(reader)
    assert scale.baseline is None
    found = points(reader, "noise", "l2_distance", "relative_shift", scale)
    assert (found.ids, found.left_out) == ([], 1)
    assert len(points(reader, "noise", "l2_distance", "cosine_similarity", scale).ids) == 1


def test_of_several_draws_the_first_is_shown(tmp_path):
    reader = make_study(tmp_path / "study", 5, ["noise"], draws=3, with_pictures=True).reader()
    scale = scale_of(reader)
    found = points(reader, "noise", "l2_distance", "relative_shift", scale)
    first = reader.rows().collect().filter(view="noise", draw=0)
    assert sorted(found.x) == sorted(first["l2_distance"])
    baseline = scale.baseline.value
    cosine = first.filter(image_id="image-00002.png")["cosine_similarity"][0]
    shown = detail(reader, "image-00002.png", "noise", scale)
    assert shown.relative_shifts == {"noise": pytest.approx((1 - cosine) / (1 - baseline))}


def test_one_point_has_axes(reader):
    one = points(reader, "noise", "l2_distance", "relative_shift", scale_of(reader), holds="picture-07")
    assert "50.00%" in chart(dataclasses.replace(one), "l2_distance", "relative_shift")
