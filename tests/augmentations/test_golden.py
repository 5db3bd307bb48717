"""Views of every suite as they are stored: equal bytes where numbers are whole, eight levels where they are not."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from embedshift.augmentations import load_suite

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

HASHES = json.loads((GOLDEN / "hashes.json").read_text())


def test_every_family_has_a_golden_view():
    for suite in ("paper", "strength", "corruptions"):
        names = [*golden.STORED[suite], *golden.HASHED[suite]]
        families = {name.split("@")[0] for name in load_suite(suite).names}
        assert {name.split("@")[0] for name in names} >= families, suite


# Suite → the part of a view that may differ by more: a flake, a drop or a patch at its threshold.
APART = {"paper": 0, "strength": 0, "corruptions": 0.002, "style": 0.001}
# Views that no seed changes, or hardly, or by a sign alone: another view is the same one turned.
SEEDLESS = (
    "zoom_out@3", "jpeg@3", "downscale@3", "grey@3", "color_jitter@3", "hue@3", "defocus_blur@3", "glass_blur@3",
    "zoom_blur@3", "jpeg_compression@3", "gaussian_blur@3", *golden.STORED["style"],
)  # fmt: skip


@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, names in golden.HASHED.items() for name in names])
def test_bytes_of_views_of_whole_numbers(suite, name):
    assert golden.digest(suite, name) == HASHES[suite][name]


@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, names in golden.STORED.items() for name in names])
def test_other_views_within_eight_levels(suite, name):
    stored = np.load(GOLDEN / f"{suite}.npz")[name].astype(int)
    view = golden.views(suite, golden.STORED[suite])[name]
    assert (np.abs(view - stored) > 8).mean() <= APART[suite]
    by_another_seed = golden.views(suite, golden.STORED[suite], image_id="other.png")[name]
    other = np.rot90(view) if name in SEEDLESS else by_another_seed
    assert (np.abs(other - stored) > 8).mean() > 0.1, "another view must not pass for this one"
