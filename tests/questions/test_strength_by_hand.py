"""Small cases worked by hand."""

from embedshift.questions.strength import standard
from embedshift.statistics.families import MeasuredFamily


def test_mean_weights():
    fog, spatter = (
        MeasuredFamily(name, standard.UNIT, 0, (1, 2), (f"{name}@1", f"{name}@2")) for name in ("fog", "spatter")
    )
    assert standard.mean_weights([fog, spatter]).tolist() == [
        [0.5, 0.0, 0.5],
        [0.5, 0.0, 0.5],
        [0.0, 0.5, 0.0],
        [0.0, 0.5, 0.0],
    ]
