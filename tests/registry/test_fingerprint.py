"""What tells one callable of a user's own from another, and what does not."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch

from embedshift.registry import fingerprint


def strong(image, rng, by=2):
    return image // by


def stronger(image, rng, by=3):
    return image // by


def keyword(image, rng, *, by=3):
    return image // by


def inside(by):
    return lambda image, rng: image // by


class Dim:
    def __init__(self, by):
        self.by = by

    def __call__(self, image, rng):
        return self.darker(image)

    def darker(self, image):
        return image // self.by


class Dimmer(Dim):
    def __call__(self, image, rng):
        return self.darker(image)

    def darker(self, image):
        return image // self.by // 2


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by

    def __call__(self, image, rng):
        return image // self.by


DIFFERENT = {
    "another slot": (Slotted(2), Slotted(3)),
    "another default": (strong, stronger),
    "a keyword's default": (stronger, keyword),
    "another closure": (inside(2), inside(3)),
    "another array in a closure": (inside(np.arange(3)), inside(np.arange(4))),
    "another function in a closure": (inside(strong), inside(stronger)),
    "another state": (Dim(2), Dim(3)),
    "another method that is called": (Dim(2), Dimmer(2)),
    "a method of another object": (Dim(2).darker, Dim(3).darker),
    "other arguments of a partial": (functools.partial(strong, by=2), functools.partial(strong, by=3)),
    "another constant": (lambda image, rng: image // 2, lambda image, rng: image // 3),
    "another name that is called": (lambda image, rng: np.sin(image), lambda image, rng: np.cos(image)),
    "a function inside": (lambda i, rng: (lambda x: x + 1)(i), lambda i, rng: (lambda x: x + 2)(i)),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_what_can_change_a_view_changes_it(pair):
    one, other = map(fingerprint, pair)
    assert one != other


@pytest.mark.parametrize(
    "make",
    [lambda: inside(2), lambda: inside(np.arange(3)), lambda: Dim(2), lambda: Dim(2).darker, lambda: strong],
)
def test_what_is_made_again_is_the_same(make):
    assert fingerprint(make()) == fingerprint(make())


def around(by):
    def again(image, rng):
        return image // by if by else again(image, rng)

    return again


def test_a_function_that_calls_itself_and_an_object_that_holds_itself():
    assert fingerprint(around(1)) == fingerprint(around(1)) != fingerprint(around(2))
    round_and_round = Dim(2)
    round_and_round.me = round_and_round
    assert fingerprint(round_and_round) == fingerprint(round_and_round)


def test_weights_in_a_closure_are_told_apart_and_cost_no_time():
    weights = torch.zeros(4_000_000)
    other = weights.clone()
    other[-1] = 1
    assert fingerprint(inside(weights)) == fingerprint(inside(weights.clone())) != fingerprint(inside(other))
    assert fingerprint(inside(weights.bfloat16()))  # no dtype of NumPy's


def test_a_name_that_is_not_bound_yet():
    def outer():
        def inner(image, rng):
            return later(image)

        print_of = fingerprint(inner)
        later = None
        return print_of, later

    assert outer()[0].startswith("test_a_name")


def test_more_can_be_told_apart():
    assert len({fingerprint(strong), fingerprint(strong, "attention"), fingerprint(None), fingerprint(None, "x")}) == 4


def test_it_is_the_same_in_another_process_and_at_another_line():
    text = "\n\n# moved\n\ndef strong(image, rng, by=2):\n    # a comment\n    return image // by\n"
    program = f"{text}\nfrom embedshift.registry import fingerprint\nprint(fingerprint(strong))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint(strong)
