"""Encoders that give what they should not: the images concerned are failures, and the others are measured."""

import signal
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import EncoderOutput
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow

COUNT, BAD = 6, "3.png"
SUITE = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}


class Odd(MeanColour):
    """Does something to the output of every batch that has a view of the bad image in it; `odd(output, places)`."""

    def __init__(self, odd, shade):
        self.odd, self.shade, self.batches = odd, shade, []

    def __call__(self, views):
        self.batches.append(len(views))
        places = [place for place, view in enumerate(views) if view[0, 0].tolist() == self.shade]
        output = super().__call__(views)
        return self.odd(output, places) if places else output


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", [f"{n}.png" for n in range(COUNT)], 0)
    return tmp_path / "photos"


def run(tmp_path, photos, odd, *, name="study", every=False, **settings):
    views = embedshift.make_views(
        np.asarray(Image.open(photos / BAD).convert("RGB")), image_id=BAD, size=32, augmentations=SUITE
    )
    encoder = Odd(odd, views["dark"][0, 0].tolist())
    if every:
        encoder = type("Always", (Odd,), {"__call__": lambda self, v: odd(MeanColour()(v), [0])})(odd, [])
    settings = {"augmentations": SUITE, "workers": 0, "batch_size": 5, "shard_size": 4} | settings
    return embedshift.run(photos, out=tmp_path / name, model=encoder, **settings), encoder


def at(places, value, what="embedding"):
    """The output with a value in the place of the numbers of some views."""

    def change(output, found):
        array = getattr(output, what).copy()
        array[found] = value
        return EncoderOutput(**(vars(output) | {what: array}))

    return change


class Mute(Exception):
    def __str__(self):
        raise AttributeError("no message")


def raises(error):
    def odd(output, places):
        raise error

    return odd


def gives(embedding=lambda array: array, attention=lambda array: array):
    def odd(output, places):
        kept = attention(output.attention)
        return EncoderOutput(embedding(output.embedding), kept, None if kept is None else "mean")

    return odd


FAIL = {
    "NaN": (at([], np.nan), "embedding contains values that are not finite"),
    "Inf": (at([], np.inf), "embedding contains values that are not finite"),
    "NaN in a map": (at([], np.nan, "attention"), "attention contains values that are not finite"),
    "zero vector": (at([], 0.0), "embedding is a zero vector, which has no direction"),
    "raises": (raises(RuntimeError("device-side\nassert")), "the encoder failed: RuntimeError: device-side assert"),
    "exits": (raises(SystemExit(0)), r"the encoder failed: it called sys.exit\(0\)"),
    "raises without a message": (raises(Mute()), "the encoder failed: Mute$"),
    "one row less": (
        lambda output, _: output[: len(output) - 1],
        r"its embedding is float32 \(0, 12\); it must be float32 \(1, 12\)",
    ),
    "one row more": (
        gives(lambda array: np.vstack([array, array[:1]])),
        r"its embedding is float32 \(2, 12\); it must be float32 \(1, 12\)",
    ),
    "other dim": (gives(lambda array: array[:, :5]), r"its embedding is float32 \(1, 5\)"),
    "other grid": (gives(attention=lambda array: array[:, :2]), r"its attention is float32 \(1, 2, 4\)"),
    "no attention": (gives(attention=lambda _: None), r"it returned no attention, and its `grid` is \(4, 4\)"),
    "objects": (gives(lambda array: array.astype(object)), "its embedding is object"),
    "no output": (lambda output, _: output.embedding, "it returned ndarray, not an EncoderOutput"),
    "a list": (gives(lambda array: [["a"] * 12] * len(array)), "its embedding is <U1"),
}


IN_EVERY_RUN = ("exits", "NaN", "zero vector", "other dim", "raises")
CASES = [name if name in IN_EVERY_RUN else pytest.param(name, marks=pytest.mark.matrix) for name in FAIL]


@pytest.mark.parametrize("kind", CASES)
def test_what_one_view_gives_wrong_is_a_failure_of_its_image_alone(tmp_path, photos, kind):
    odd, words = FAIL[kind]
    study, _ = run(tmp_path, photos, odd)
    (failure,) = study.failures().rows(named=True)
    assert (failure["image_id"], failure["stage"], failure["transient"]) == (BAD, "encode", False)
    assert pl.Series([failure["reason"]]).str.contains(words)[0], failure["reason"]
    whole, _ = run(tmp_path, photos, lambda output, _: output, name="whole")
    there, good = study.rows().collect(), whole.rows().filter(pl.col("image_id") != BAD).collect()
    numbers = there.select(pl.selectors.numeric()).to_numpy()
    assert there["image_id"].equals(good["image_id"])
    np.testing.assert_allclose(numbers, good.select(pl.selectors.numeric()).to_numpy(), rtol=1e-5)


def test_the_caller_s_own_handler_of_a_signal_still_ends_the_run(tmp_path, photos):
    def stop(output, places):
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
    try:
        with pytest.raises(SystemExit, match="7"):
            run(tmp_path, photos, stop)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", [kind for kind in FAIL if kind not in ("NaN", "Inf", "NaN in a map", "zero vector")])
def test_an_encoder_that_is_wrong_whatever_it_is_given_ends_the_run(tmp_path, photos, kind):
    odd, _ = FAIL[kind]
    with pytest.raises(EmbedshiftError, match=r"^the encoder mean-colour failed on a batch of 5 views: ") as caught:
        run(tmp_path, photos, odd, every=True)
    assert ("\n" in str(caught.value), caught.value.exit_code) == (False, 1)


def test_an_encoder_of_nothing_but_nan_measures_nothing(tmp_path, photos):
    with pytest.raises(EmbedshiftError, match=r"all 6 failed, first .* not finite"):
        run(tmp_path, photos, gives(lambda array: array * np.nan), every=True)


def test_an_exception_that_does_not_come_again_costs_nothing(tmp_path, photos):
    left = [1]

    def once(output, places):
        if left:
            left.pop()
            raise RuntimeError("a hiccup")
        return output

    study, encoder = run(tmp_path, photos, once)
    assert study.failures().is_empty()
    assert study.summary()["n"].to_list() == [COUNT] * len(study.summary())
    assert encoder.batches.count(1) >= 5, "its views were encoded one by one, after a black one"


@pytest.mark.matrix
@pytest.mark.parametrize(
    "change",
    [lambda array: array.astype(np.float64), np.asfortranarray, lambda array: array.astype(">f4"), np.ndarray.tolist],
    ids=["float64", "Fortran", "big endian", "lists"],
)
def test_numbers_of_another_kind_are_the_same_numbers(tmp_path, photos, change):
    study, _ = run(tmp_path, photos, gives(change, change), every=True)
    whole, _ = run(tmp_path, photos, lambda output, _: output, name="whole")
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)


def test_an_encoder_that_writes_into_its_views_changes_no_number(tmp_path, photos):
    class Writes(MeanColour):
        def __call__(self, views):
            output = super().__call__(views)
            views[:] = 0
            return output

    settings = {"augmentations": SUITE, "workers": 0, "batch_size": 5}
    studies = [
        embedshift.run(photos, out=tmp_path / kind.__name__, model=kind(), **settings) for kind in (Writes, MeanColour)
    ]
    assert studies[0].rows().collect().equals(studies[1].rows().collect(), null_equal=True)
