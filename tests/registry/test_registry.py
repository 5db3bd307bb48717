"""Names → things, what an unknown name is told, and where a metric may be defined."""

import pytest

from embedshift import EmbedshiftError
from embedshift.errors import reason
from embedshift.registry import METRICS, Registry, metric


def test_things_are_found_by_their_names_in_the_order_of_their_adding():
    fruits = Registry("fruit")
    for name in ("pear", "apple", "apricot"):
        fruits.add(name, name.upper())
    assert (list(fruits), len(fruits)) == (["pear", "apple", "apricot"], 3)
    assert "plum" not in fruits
    with pytest.raises(ValueError, match="fruit 'apple' is registered twice"):
        fruits.add("apple", "other")
    assert fruits["apple"] == "APPLE"
    told = {"aple": "'aple'; did you mean 'apple'?", "zzz": "'zzz'."}
    for wrong, words in told.items():
        with pytest.raises(EmbedshiftError) as caught:
            fruits[wrong]
        assert str(caught.value) == f"unknown fruit {words} Known: pear, apple, apricot"
        assert caught.value.exit_code == 2


def test_errors_are_one_line():
    error = EmbedshiftError("two\n  lines\tand more")
    assert str(error) == reason(error) == "two lines and more"
    assert error.exit_code == 1
    assert (reason(ValueError("a\nb")), reason(KeyError())) == ("ValueError: a b", "KeyError")


@pytest.mark.parametrize("module", ["__main__", "measure", "a.measures", "b.measure.c"])
def test_a_metric_elsewhere_than_in_a_measure_py_is_refused_with_the_ways_that_work(module):
    def spread(u, v):
        """A spread."""

    spread.__module__ = module
    words = rf"'spread' is defined in {module}, where no question .* study\.rows\(\), .* embedshift\.questions"
    with pytest.raises(EmbedshiftError, match=words):
        metric("spread", "embedding", no_change=0, low=0, high=9, higher_is_better=False)(spread)
    assert "spread" not in METRICS
