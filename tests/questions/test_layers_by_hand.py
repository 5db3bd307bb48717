"""Small cases worked by hand."""

import re

import numpy as np
import polars as pl

from embedshift.questions import layers as columns
from embedshift.questions.layers import measure
from embedshift.questions.layers import section as section_module
from embedshift.report.page import fill
from embedshift.statistics import agreement as cka_module


def test_cka_hsic():
    near = np.eye(4)[[1, 0, 3, 2]]
    assert round(float(cka_module.hsic(near, near)), 6) == 0.666667


def test_cka_gram_terms():
    x = np.random.default_rng(0).normal(size=(8, 2, 3))
    assert cka_module.cka(cka_module.gram_terms(*map(cka_module.gram_matrices, (x, 5 * x)))).round(6).tolist() == [
        1.0,
        1.0,
    ]


def test_cka_cka():
    assert cka_module.cka([1.0, 4.0, 1.0]).item() == 0.5


def test_cka_interval():
    shards = [np.array([1.0, 2.0, 1.0]), np.array([1.2, 2.0, 1.0]), np.array([1.1, 2.0, 1.0])]
    assert [round(end.item(), 3) for end in cka_module.cka_interval(sum(shards), shards)] == [0.602, 0.953]


def test_columns_column():
    assert columns.column("l2_distance", "cls") == "layer_l2_cls"


def test_measure_shift():
    moved = measure.shift([[[[1.0, 0.0]]], [[[0.0, 2.0]]]])
    assert {name: round(values.item(), 3) for name, values in moved.items()} == {
        "layer_cosine_patches": 0.0,
        "layer_l2_patches": 2.236,
    }


def test_measure_cka_sums():
    rng, sums = (np.random.default_rng(0), measure.CkaSums(draws=1))
    for _ in range(5):
        sums.add_layers(rng.normal(size=(3, 2, 1, 4)))
    found = sums.close()
    assert (found["images"].item(), found["terms"].shape) == (5.0, (2, 1, 2, 3))


def test_section_rows_of():
    table = pl.DataFrame(
        {
            "augmentation": ["noise"] * 3,
            "layer": [1, 2, 3],
            "token": ["cls"] * 3,
            "metric": ["cosine_similarity"] * 3,
            "mean": [0.95, 0.8, 0.7],
            "ci_high": [0.96, 0.83, 0.74],
        }
    )
    assert section_module.rows_of(table, 20)["rows"] == [
        {"augmentation": "noise", "first": "0.050", "last": "0.30", "half": 2}
    ]


def test_section_notes():
    row = {"augmentation": "blur", "first": "0.01", "last": "0.05", "half": 2}
    content = {"depth": 2, "token": "class token", "has_cls": True, "rows": [row], "has_cka": False, "least_cka": 30}
    said = {}
    for images in (5, 12, 20):
        html = fill("layers/section.html.j2", {"layers": content | {"figure": None, "images": images}})
        said[images] = re.findall(r"<p>(With .*?)</p>", html)
    few = "With 5 images there are no intervals, and the last column is empty: both need at least 8 images."
    assert said == {5: [few], 12: ["With 12 images the intervals are approximate."], 20: []}


def test_section_change():
    assert (
        section_module.change(0.0471),
        section_module.change(3e-05),
        section_module.change(1e-08),
        section_module.change(None),
    ) == ("0.047", "0.000030", "0", "–")


def test_section_half_way():
    assert (section_module.half_way([0.01, 0.3, 0.1, 0.4]), section_module.half_way([0.0, 0.0])) == (2, None)
