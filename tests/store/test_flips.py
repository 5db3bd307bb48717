"""No single flipped bit in any file of a study is called intact, and none changes a number that is shown."""

import pytest

from support.flips import flips, wrong
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("count", first_only([40, 200]))
def test_no_flipped_bit_is_called_intact(count, tmp_path):
    study = make_study(tmp_path / "study", 12, ["noise", "blur"], shard_size=5)
    study.report(figures=["l2_density"], formats=["svg"])
    truth = {name: study.table(name) for name in study.table_names}
    places = flips(study.folder, count, seed=30)
    assert {path.name for path, *_ in places} >= {"study.json", "part-00002.parquet", "report.html", "summary.csv"}
    assert list(wrong(study, places, truth)) == []
    assert not study.verify().damaged
