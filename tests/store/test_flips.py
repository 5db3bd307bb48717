"""No single flipped bit in any file of a study is called intact, and none changes a number that is shown."""

import pytest

from support.flips import flips, wrong
from support.synthetic import make_study

pytestmark = pytest.mark.slow


def test_two_hundred_flipped_bits(tmp_path):
    study = make_study(tmp_path / "study", 12, ["noise", "blur"], shard_size=5)
    study.report(figures=["l2_density"], formats=["svg"])
    truth = {name: study.table(name) for name in study.table_names}
    places = flips(study.folder, 200, seed=30)
    assert {path.name for path, *_ in places} >= {"study.json", "part-00002.parquet", "report.html", "summary.csv"}
    assert list(wrong(study, places, truth)) == []
    assert not study.verify().damaged
