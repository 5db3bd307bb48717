"""The table `heads`, held against loops over the rows, a planted head, and views that have no contributions."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from embedshift import EmbedshiftError
from embedshift.config import make_config
from embedshift.questions.heads.tables import heads
from embedshift.registry import QUESTIONS
from embedshift.statistics.layout import image_rows
from support.headed import headed
from support.synthetic import make_study

SHAPE = DEPTH, WIDTH = 3, 2
K = DEPTH * WIDTH + DEPTH + 3
NAMES = ["noise", "blur"]


def made(images=12, draws=2, seed=0):
    """Contributions that sum to 1, and shifts of very different lengths."""
    rng = np.random.default_rng(seed)
    contributions = {name: rng.normal(size=(images, draws, K)) for name in NAMES}
    for each in contributions.values():
        each[..., -1] += 1 - each.sum(axis=-1)
    return contributions, {name: 1 - rng.lognormal(-3, 1, (images, draws)) for name in NAMES}


def parts():
    """Layer and name of the parts, in the order of the lists."""
    of_heads = [(layer, str(head)) for layer in (1, 2, 3) for head in range(WIDTH)]
    return [*of_heads, *((layer, "mlp") for layer in (1, 2, 3)), (0, "input"), (0, "pattern"), (0, "rest")]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_against_a_loop_over_the_rows(missing):
    """Also with views that have no contributions: null, or NaN in their lists."""
    contributions, cosine = made()
    contributions["noise"][3], contributions["noise"][5, 1] = np.nan, np.nan  # both draws of an image, one of another
    table = heads(image_rows(headed(contributions, cosine, SHAPE, missing)), NAMES, seed=0)
    assert table.columns == ["augmentation", "layer", "part", "contribution", "ci_low", "ci_high"]
    assert len(table) == len(NAMES) * K
    rows = headed(contributions, cosine, SHAPE).collect()
    for name in NAMES:
        above, below = np.zeros(K), 0.0
        for row in rows.filter(view=name).iter_rows(named=True):
            if row["heads"] is not None:
                every = [*row["heads"], *row["mlps"], row["head_input"], row["head_pattern"], row["head_rest"]]
                below += 1 - row["cosine_similarity"]
                above += np.array(every) * (1 - row["cosine_similarity"])
        for (layer, part), contribution in zip(parts(), above / below, strict=True):
            found = table.filter(augmentation=name, layer=layer, part=part)
            assert found["contribution"].item() == pytest.approx(contribution, rel=1e-5, abs=1e-6)
            assert found["ci_low"].item() < contribution < found["ci_high"].item()
        assert table.filter(augmentation=name)["contribution"].sum() == pytest.approx(1, abs=1e-6)


def test_rows_stand_by_layer_and_part():
    table = heads(image_rows(headed(*made(), SHAPE)), NAMES, seed=0)
    first = [(0, "input"), (0, "pattern"), (0, "rest"), *((1, part) for part in ("0", "1", "mlp"))]
    rest = [(layer, part) for layer in (2, 3) for part in ("0", "1", "mlp")]
    assert table.select("augmentation", "layer", "part").rows() == [
        (name, *each) for name in NAMES for each in (*first, *rest)
    ]


def test_intervals_are_those_of_the_ratio_over_images():
    """Near to scipy's bootstrap, in which an image is drawn with both its draws."""
    contributions, cosine = made(80)
    table = heads(image_rows(headed(contributions, cosine, SHAPE)), NAMES, seed=0)
    weight = 1 - cosine["blur"]
    for number in (0, 4, 7):
        above = (contributions["blur"][..., number] * weight).sum(axis=1)
        wanted = stats.bootstrap(
            (above, weight.sum(axis=1)), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        layer, part = parts()[number]
        row = table.row(by_predicate=(pl.col("augmentation") == "blur") & (pl.col("layer") == layer) & (pl.col("part") == part), named=True)  # fmt: skip  # noqa: E501
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(
            (wanted.low, wanted.high), abs=0.3 * (wanted.high - wanted.low)
        )


def test_a_planted_head_carries_all():
    contributions, cosine = made()
    contributions["blur"][:] = np.eye(K)[3]  # block 2, head 1
    table = heads(image_rows(headed(contributions, cosine, SHAPE)), NAMES, seed=0).filter(augmentation="blur")
    head = (pl.col("layer") == 2) & (pl.col("part") == "1")
    assert table.filter(head).select("contribution", "ci_low", "ci_high").row(0) == pytest.approx((1, 1, 1))
    assert table.filter(~head).select("contribution", "ci_low", "ci_high").unique().row(0) == (0, 0, 0)


def test_small_shifts_hardly_count():
    """One view in two moves by a millionth and has wild contributions."""
    contributions, cosine = made(draws=2)
    contributions["blur"][:, 0], cosine["blur"][:, 0] = np.eye(K)[0], 0.5
    contributions["blur"][:, 1] *= 1_000
    cosine["blur"][:, 1] = 1 - 1e-9
    table = heads(image_rows(headed(contributions, cosine, SHAPE)), NAMES, seed=0).filter(
        augmentation="blur", layer=1, part="0"
    )
    assert table["contribution"].item() == pytest.approx(1, abs=1e-4)


def test_few_images_have_no_interval_and_nothing_moved_no_contribution():
    contributions, cosine = made(7)
    contributions["blur"][:], cosine["blur"][:] = np.nan, 1.0
    table = heads(image_rows(headed(contributions, cosine, SHAPE)), NAMES, seed=0)
    assert table["ci_low"].null_count() == table["ci_high"].null_count() == len(table)
    assert table.filter(augmentation="noise")["contribution"].null_count() == 0
    assert table.filter(augmentation="blur")["contribution"].null_count() == K
    contributions, cosine = made(8)
    assert heads(image_rows(headed(contributions, cosine, SHAPE)), NAMES, seed=0)["ci_low"].null_count() == 0


@pytest.mark.slow
def test_from_the_shards_to_the_table(tmp_path):
    study = make_study(tmp_path / "study", 20, NAMES, heads=(4, 3), shard_size=8)
    table = study.heads()
    assert len(table) == 2 * (4 * 3 + 4 + 3)
    of_heads = table.filter(pl.col("part").str.contains(r"^\d+$")).sort("contribution", descending=True)
    assert of_heads.select("layer", "part").head(2).unique().rows() == [(4, "1")]
    assert (study.folder / "tables" / "heads.csv").is_file()
    plain = make_study(tmp_path / "plain", 8, NAMES)
    with pytest.raises(EmbedshiftError, match="no heads here; run the study with `heads`"):
        plain.heads()


@pytest.mark.parametrize(
    ("given", "asked"),
    [({}, False), ({"heads": True}, True), ({"heads_tokens": True}, True), ({"bank": "words.txt"}, True)],
)
def test_each_switch_asks_it(given, asked):
    assert make_config(given).asks(QUESTIONS["heads"]) == asked
