"""Small cases worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from embedshift import errors
from embedshift.augmentations import changes, suite, transforms, variant
from embedshift.augmentations import paper as elastic_module
from embedshift.augmentations import paper as paper_module
from embedshift.augmentations import style as style_module
from embedshift.augmentations import suite as pipelines
from embedshift.augmentations import variant as purifiers
from embedshift.augmentations import views as views_module
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import grid
from embedshift.augmentations.suite import load_suite


def test_catalogue_catalogue():
    assert (
        "Blur" in transforms.catalogue(),
        "Compose" in transforms.catalogue(),
        "CenterCrop3D" in transforms.catalogue(),
    ) == (True, False, False)


def test_catalogue_build():
    assert transforms.build("GaussianBlur", {"sigma_limit": [1, 2]}).sigma_limit == (1.0, 2.0)
    with pytest.raises(errors.UsageError, match=r"parameter of GaussianBlur 'sigma'; did you mean 'sigma_limit'\?"):
        transforms.build("GaussianBlur", {"sigma": 1})


def test_changes_geometry_displacement():
    across, down = np.meshgrid(np.arange(10.0), np.arange(10.0))
    assert round(changes.Geometry(np.stack([across + 2, down], axis=2).astype(np.float32)).displacement(), 3) == 0.2


def test_changes_geometry_covered():
    assert changes.Geometry(hidden=np.eye(4, dtype=bool)).covered(4) == 0.25


def test_changes_geometry_then():
    left = changes.Geometry(changes.grid(4) + np.float32([1, 0]))
    assert (left.then(left).displacement(), left.then(left).covered(4)) == (0.5, 0.5)


def test_changes_grid():
    assert changes.grid(2).tolist() == [[[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]]


def test_elastic_elastic():
    moved = elastic_module.elastic(224, 30, np.random.default_rng(0)) - grid(224)
    assert bool(0.1 < np.hypot(*np.moveaxis(moved, 2, 0)).mean() < 0.7)


def test_paper_paper():
    assert [augmentation.name for augmentation in paper_module.paper(Choice())][:3] == ["noise", "blur", "color_jitter"]


def test_pipelines_read_pipelines():
    import tempfile

    file = Path(tempfile.mkdtemp()) / "own.yaml"
    _ = file.write_text("night: [ISONoise, Blur: {blur_limit: 3}]")
    assert [(each.name, len(each.transform.steps)) for each in pipelines.read_pipelines(file, {})] == [("night", 2)]


def test_purifiers_purifier():
    assert purifiers.purifier("bits:1")(np.array([[[0, 100, 200]]], np.uint8)).tolist() == [[[0, 0, 255]]]
    with pytest.raises(
        errors.UsageError, match="purifier 'jpeg:0': jpeg needs a quality from 1 to 100, such as jpeg:50"
    ):
        purifiers.purifier("jpeg:0")


def test_style_style():
    assert [augmentation.name for augmentation in style_module.style(Choice())][:3] == ["stylization", "smooth", "oil"]


def test_suite_suite():
    assert suite.Suite([Augmentation("mirror", lambda image, rng: image[:, ::-1])]).names == ("mirror",)


def test_suite_suite_try_out():
    with pytest.raises(
        errors.UsageError, match="augmentation 'rows' returned uint8 \\(10, 32, 3\\); it must be uint8 \\(32, 32, "
    ):
        suite.load_suite({"rows": lambda image, rng: image[:10]}).try_out(32)


def test_suite_load_suite():
    assert suite.load_suite("paper").names[-1] == "coarse_dropout"
    assert suite.load_suite("strength", families=["jpeg"], levels=2).names == ("jpeg@1", "jpeg@2")


def test_suite_rebuild_suite():
    assert suite.rebuild_suite(suite.load_suite("paper").describe()).names == suite.load_suite("paper").names


def test_transforms_make():
    assert transforms.make("HorizontalFlip").p == 1.0


def test_trial_made_image():
    assert transforms.trial_image(32).shape == (32, 32, 3)


def test_trial_failure():
    assert suite.failure(Augmentation("mirror", lambda image, rng: image[:, ::-1]), 32) is None


def test_variant_variant():
    assert variant.Variant("q50", bytes_hash="5f").describe() == {"variant": "q50", "hash": "5f"}


def test_variant_purified():
    assert (variant.Purified.make("q50", "jpeg:50").name, variant.Purified.make("original", "bits:4").describe()) == (
        "q50+jpeg:50",
        {"of": "original", "purifier": "bits:4", "version": 1},
    )


def test_variant_with_purified():
    assert [each.name for each in variant.with_purified([variant.Variant("q50")], ["jpeg:50"])] == [
        "q50",
        "original+jpeg:50",
        "q50+jpeg:50",
    ]


def test_views_view_seed():
    assert (
        views_module.view_seed(0, "a.jpg", "noise", 0)
        == views_module.view_seed(0, "a.jpg", "noise", 0)
        != views_module.view_seed(0, "a.jpg", "blur", 0)
    )


def test_views_draw_views():
    views, seeds = views_module.draw_views(np.zeros((32, 32, 3), np.uint8), "a.jpg", load_suite("paper"), draws=2)
    assert (views.shape, len(seeds)) == ((19, 32, 32, 3), 19)
