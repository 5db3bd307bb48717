"""Names → things, and what an unknown name is told."""

import pytest

from embedshift import EmbedshiftError
from embedshift.augmentations import SUITES
from embedshift.errors import reason
from embedshift.registry import METRICS, Registry


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


@pytest.mark.parametrize(("registry", "wrong", "right"), [(METRICS, "cosine_similarty", "cosine_similarity"), (SUITES, "papers", "paper")])  # fmt: skip  # noqa: E501
def test_the_registries_of_the_package_do_so_too(registry, wrong, right):
    with pytest.raises(EmbedshiftError, match=f"did you mean '{right}'"):
        registry[wrong]


def test_errors_are_one_line():
    error = EmbedshiftError("two\n  lines\tand more")
    assert str(error) == "two lines and more"
    assert error.exit_code == 1
    assert reason(error) == "two lines and more"
    assert reason(ValueError("a\nb")) == "ValueError: a b"
    assert reason(KeyError()) == "KeyError"
