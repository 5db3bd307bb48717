"""Names → things, what an unknown name is told, and where a metric may be defined."""

import pytest

from embedshift import EmbedshiftError
from embedshift.augmentations import SUITES
from embedshift.errors import reason
from embedshift.registry import METRICS, Registry, metric
from support import command


@pytest.fixture
def fruits():
    registry = Registry("fruit")
    for name in ("pear", "apple", "apricot"):
        registry.add(name, name.upper())
    return registry


def test_things_are_found_in_the_order_of_their_adding(fruits):
    assert list(fruits) == ["pear", "apple", "apricot"]
    assert len(fruits) == 3
    assert fruits["apple"] == "APPLE"
    assert "apple" in fruits
    assert "plum" not in fruits


def test_a_name_cannot_be_taken_twice(fruits):
    with pytest.raises(ValueError, match="fruit 'apple' is registered twice"):
        fruits.add("apple", "other")
    assert fruits["apple"] == "APPLE"


def test_an_unknown_name_is_told_the_nearest_and_all_known(fruits):
    with pytest.raises(EmbedshiftError) as caught:
        fruits["aple"]
    assert str(caught.value) == "unknown fruit 'aple'; did you mean 'apple'? Known: pear, apple, apricot"
    assert caught.value.exit_code == 2
    with pytest.raises(EmbedshiftError) as caught:
        fruits["zzz"]
    assert str(caught.value) == "unknown fruit 'zzz'. Known: pear, apple, apricot"


def test_the_registries_of_the_package_do_so_too():
    for registry, wrong, right in ((METRICS, "cosine_similarty", "cosine_similarity"), (SUITES, "papers", "paper")):
        with pytest.raises(EmbedshiftError, match=f"did you mean '{right}'"):
            registry[wrong]


def test_errors_are_one_line():
    error = EmbedshiftError("two\n  lines\tand more")
    assert str(error) == reason(error) == "two lines and more"
    assert error.exit_code == 1
    assert (reason(ValueError("a\nb")), reason(KeyError())) == ("ValueError: a b", "KeyError")


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
    last = done.err.splitlines()[-1]
    assert "UsageError: the metric 'spread' is defined in __main__, where no question measures it" in last
    assert "study.rows()" in last
    assert "embedshift.questions" in last


@pytest.mark.parametrize("module", ["__main__", "measure", "a.measures", "b.measure.c"])
def test_only_a_measure_py_of_a_question_has_metrics(module):
    def spread(u, v):
        """A spread."""

    spread.__module__ = module
    with pytest.raises(EmbedshiftError, match=f"is defined in {module}, where"):
        metric("spread", "embedding", no_change=0, low=0, high=9, higher_is_better=False)(spread)
    assert "spread" not in METRICS
