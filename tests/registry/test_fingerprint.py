"""What tells one callable of a user's own from another, and what does not."""

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from embedshift.registry import fingerprint
from support.processes import run_python


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


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by

    def __call__(self, image, rng):
        return image // self.by


@dataclasses.dataclass
class Strength:
    by: int


def objects(method):
    """Of a class with this method and of its heir, whose names tell nothing."""

    class Darker:
        darker = method

        def __call__(self, image, rng):
            return self.darker(image, rng)

    class Heir(Darker):
        pass

    return Darker(), Heir()


DIFFERENT = {
    "another state of an object in it": (inside(Strength(2)), inside(Strength(3))),
    "a method of an object that is not called": (Strength(2).__eq__, Strength(3).__eq__),
    "an inherited method": (objects(strong)[1], objects(stronger)[1]),
    **{
        f"another {type(one).__name__}": (inside(one), inside(other))
        for one, other in (({1, 2}, {1, 3}), (b"a", b"b"), (Path("a"), Path("b")), (range(3), range(4)))
    },
    "weights that learn": (inside(torch.ones(2, requires_grad=True)), inside(torch.zeros(2, requires_grad=True))),
    "another slot": (Slotted(2), Slotted(3)),
    "another default": (strong, stronger),
    "a keyword's default": (stronger, keyword),
    "another closure": (inside(2), inside(3)),
    "another array in a closure": (inside(np.arange(3)), inside(np.arange(4))),
    "another function in a closure": (inside(strong), inside(stronger)),
    "another state": (Dim(2), Dim(3)),
    "another method that is called": (objects(strong)[0], objects(stronger)[0]),
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
    "make", [lambda: inside(2), lambda: inside(np.arange(3)), lambda: Dim(2), lambda: Dim(2).darker, lambda: strong]
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


def test_a_module_is_known_by_its_weights_and_not_by_its_hooks():
    net, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = fingerprint(inside(net))
    net.register_forward_hook(lambda *_: None)
    assert fingerprint(inside(net)) == before != fingerprint(inside(other))


@pytest.mark.slow
def test_objects_in_arrays_and_sets_are_the_same_in_every_process():
    """Their bytes are addresses, their order is drawn anew."""
    program = """
        import functools, numpy as np
        from embedshift.registry import fingerprint
        words = np.array(["a", None, "b"], object)
        print(fingerprint(functools.partial(max, k=words, among={"x", "y", "z", "w"})))
    """
    assert len({run_python(program) for _ in range(3)}) == 1


def test_it_is_the_same_in_another_process_at_another_line_and_with_another_comment(tmp_path):
    body = '    """Its words."""\n    # a comment\n    return image // by\n'
    text = f"\n\n# moved\n\ndef strong(image, rng, by=2):\n{body}"
    program = f"{text}\nfrom embedshift.registry import fingerprint\nprint(fingerprint(strong))"
    (tmp_path / "own.py").write_text(program)
    done = subprocess.run([sys.executable, tmp_path / "own.py"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint(strong)
