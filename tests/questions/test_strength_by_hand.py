"""Small cases worked by hand."""

from embedshift.questions.strength import tables
from embedshift.statistics.strengths import MeasuredFamily


def test_mean_weights():
    fog, spatter = (
        MeasuredFamily(name, tables.UNIT, 0, (1, 2), (f"{name}@1", f"{name}@2")) for name in ("fog", "spatter")
    )
    assert tables.mean_weights([fog, spatter]).tolist() == [
        [0.5, 0.0, 0.5],
        [0.5, 0.0, 0.5],
        [0.0, 0.5, 0.0],
        [0.0, 0.5, 0.0],
    ]
