"""The three sentences, against tables whose answer is known."""

import polars as pl
import pytest

from embedshift.questions.embedding.answer import answer
from embedshift.report.numbers import decimals, fixed, places_of


def summary(*rows: tuple[str, float | None, float | None, float | None], n: int = 9) -> pl.DataFrame:
    """Augmentation, mean cosine, interval; L2 = 10 * (1 - cosine), so that the two agree."""
    columns = ["augmentation", "metric", "n", "mean", "ci_low", "ci_high"]
    made = []
    for name, mean, low, high in rows:
        made.append((name, "cosine_similarity", n, mean, low, high))
        far = (None, None, None) if mean is None else (10 * (1 - mean), 10 * (1 - high), 10 * (1 - low))
        made.append((name, "l2_distance", n, *far))
    schema = dict.fromkeys(columns[:2], pl.String) | {"n": pl.Int64} | dict.fromkeys(columns[3:], pl.Float64)
    return pl.DataFrame(made, schema=schema, orient="row")


NOISE, BLUR, JITTER, FLIP = (
    ("noise", 0.5, 0.41, 0.59), ("blur", 0.82, 0.81, 0.83), ("jitter", 0.9, 0.89, 0.91), ("flip", 0.99, 0.985, 0.995)
)  # fmt: skip


def sentences(*rows, n: int = 9, encoder: str = "CLIP") -> list[str]:
    return [sentence.striptags() for sentence in answer(summary(*rows, n=n), encoder, n)]


def test_names_the_ends_whatever_the_order_of_the_rows():
    first, second, third = sentences(FLIP, NOISE, JITTER, BLUR)
    assert first == (
        "noise moves CLIP most: mean cosine similarity to the original 0.50 (95 % interval 0.41 to 0.59), "
        "mean L2 distance 5.0 (4.1 to 5.9)."
    )
    assert second == "flip moves it least: 0.990 (0.985 to 0.995), L2 distance 0.10 (0.05 to 0.15)."
    assert third == (
        "The other 2 lie between blur at 0.820 (0.810 to 0.830) and jitter at 0.900 (0.890 to 0.910), "
        "and neither end's interval overlaps with its neighbour's."
    )


def test_says_what_is_not_settled():
    near = ("jitter", 0.988, 0.980, 0.996)
    assert sentences(NOISE, BLUR, near, FLIP)[2].endswith(
        "; which of flip and jitter moves it less is not settled by 9 images, since their intervals overlap."
    )
    close = ("blur", 0.6, 0.55, 0.65)
    both = sentences(NOISE, close, near, FLIP)[2]
    assert "which of noise and blur moves it more nor which of flip and jitter moves it less is not settled" in both


def test_few_augmentations():
    assert sentences(NOISE)[0].startswith("noise, the only augmentation, moves CLIP: mean cosine similarity")
    assert len(sentences(NOISE)) == 1
    assert sentences(NOISE, FLIP)[2] == "The two intervals do not overlap."
    assert sentences(NOISE, ("blur", 0.55, 0.5, 0.6))[2].startswith("The two intervals overlap: which moves it more")
    assert sentences(NOISE, BLUR, FLIP)[2].startswith("blur, the third, lies between them at 0.820 (0.810 to 0.830)")


def test_one_image_has_no_interval():
    assert "0.500 (one value: no interval)" in sentences(("noise", 0.5, 0.5, 0.5), FLIP, n=1)[0]


def test_missing_values_are_never_an_end():
    nothing = ("broken", None, None, None)
    assert sentences(nothing, NOISE, FLIP)[0].startswith("noise moves")
    assert sentences(nothing) == ["No cosine similarity could be computed: no embedding of CLIP has a norm."]


def test_names_are_escaped():
    made = "".join(answer(summary(("<i>x</i>", 0.5, 0.4, 0.6), FLIP), "<u>net</u>", 9))
    assert "<i>" not in made
    assert "<u>" not in made
    assert "&lt;i&gt;x&lt;/i&gt;" in made


@pytest.mark.parametrize(("low", "high", "places"), [(0.5, 0.5, 3), (0.1, 0.9, 2), (10.0, 310.0, 0), (0.9, 0.90001, 6)])
def test_decimals_follow_the_interval(low, high, places):
    assert decimals(low, high) == places


def test_numbers():
    assert fixed(-0.5, 2) == "−0.50"
    assert fixed(float("nan"), 2) == "–"
    assert places_of("l2_distance", 1234.0) == 0
    assert places_of("l2_distance", 0.02) == 5
