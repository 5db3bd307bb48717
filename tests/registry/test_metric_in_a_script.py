"""A metric that no question measures is refused where it is defined, with the ways that work."""

import sys

import pytest

from embedshift import EmbedshiftError
from embedshift.registry import METRICS, metric
from support import command

SCRIPT = """
from embedshift.registry import metric

@metric("spread", "embedding", no_change=0, low=0, high=9, higher_is_better=False, optional=True)
def spread(u, v):
    \"\"\"A spread.\"\"\"
    return abs(u - v).max(axis=-1)
"""


def test_a_metric_in_a_script_is_refused_with_the_way_that_works():
    done = command.finish(command.start_python(SCRIPT))
    assert done.code == 1
    assert "IndexError" not in done.err
    last = done.err.splitlines()[-1]
    assert "UsageError: the metric 'spread' is defined in __main__, where no question measures it" in last
    assert "study.rows()" in last
    assert "embedshift.questions" in last


@pytest.mark.parametrize("module", ["__main__", "measure", "notebook.cells", "a.measures", "b.measure.c"])
def test_only_a_measure_py_of_a_question_has_metrics(module):
    def spread(u, v):
        """A spread."""

    spread.__module__ = module
    with pytest.raises(EmbedshiftError, match=f"is defined in {module}, where"):
        metric("spread", "embedding", no_change=0, low=0, high=9, higher_is_better=False)(spread)
    assert "spread" not in METRICS
    assert sys.modules["embedshift"]
