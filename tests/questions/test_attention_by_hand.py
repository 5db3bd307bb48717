"""Small cases worked by hand."""

import polars as pl

from embedshift.questions.attention import ALIGNED, DIVERGENCE
from embedshift.questions.attention import section as section_module
from embedshift.questions.attention.tables import ALIGNMENT


def test_looks():
    row = {"augmentation": "flip", "what": ALIGNMENT, "n": 30, "difference": 0.08, "low": 0.07, "high": 0.09}
    found = section_module.changes(pl.DataFrame([row | {"significant": True}]), [ALIGNED])
    assert found["alignment"]["above"] == [{"name": "flip", "shown": ("0.080", "0.070 to 0.090")}]


def test_ends():
    table = pl.DataFrame({"augmentation": ["flip", "turn"], "metric": DIVERGENCE, "images": [9, 9], "mean": [0.1, 0.4]})
    assert section_module.extremes(table, [DIVERGENCE])[0]["shown"] == {"turn": "0.400", "flip": "0.100"}
