"""Tables of the details of heads, held against loops over made rows: words and tokens."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from embedshift import EmbedshiftError
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.heads.section import words_of
from embedshift.questions.heads.tables import head_tokens, head_words, textspan
from embedshift.statistics.layout import image_rows
from support.headed import detailed, headed
from support.synthetic import make_study

SHAPE = DEPTH, WIDTH = 3, 2
K = DEPTH * WIDTH + DEPTH + 3
NAMES = ["noise", "blur"]
IMAGES, DRAWS, CELLS = 12, 2, 4


def base(seed=0):
    rng = np.random.default_rng(seed)
    contributions = {name: rng.normal(size=(IMAGES, DRAWS, K)) for name in NAMES}
    return headed(contributions, {name: 1 - rng.lognormal(-3, 1, (IMAGES, DRAWS)) for name in NAMES}, SHAPE)


def with_tokens():
    """One view of noise has no contributions: null; one has NaN."""
    rng, rows = np.random.default_rng(1), base()
    count = rows.select(pl.len()).collect().item()
    made = {name: rng.normal(size=(count, 1 + CELLS)) for name in ("tokens_pattern", "tokens_values")}
    return detailed(rows, made, of_view=lambda row: row["image_id"] != "3.jpg" or row["draw"] != 1)


def weighted(rows, name, numbers):
    """Sums of numbers * (1 - cosine) over sums of 1 - cosine, row by row."""
    above, below = 0.0, 0.0
    for row in rows.collect().filter(view=name).iter_rows(named=True):
        found = numbers(row)
        if found is not None:
            above = above + (1 - row["cosine_similarity"]) * np.array(found)
            below += 1 - row["cosine_similarity"]
    return above / below


def test_tokens_against_a_loop():
    rows = with_tokens()
    table = head_tokens(image_rows(rows), NAMES, seed=0)
    assert table.columns == ["augmentation", "term", "contribution", "ci_low", "ci_high"]
    assert table.select("augmentation", "term").rows() == [(n, t) for n in NAMES for t in ("pattern", "values")]
    for name in NAMES:
        wanted = weighted(
            rows, name, lambda row: row["tokens_pattern"] and [sum(row["tokens_pattern"]), sum(row["tokens_values"])]
        )
        found = table.filter(augmentation=name)
        np.testing.assert_allclose(found["contribution"], wanted, rtol=1e-6)
        assert (found["ci_low"] < found["contribution"]).all()
        assert (found["contribution"] < found["ci_high"]).all()


def moments(images=20, blocks=2, heads=3, width=4, texts=6):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(images, blocks, heads, width)) * rng.uniform(0.2, 3, (blocks, heads, width))
    second = np.einsum("nbhd,nbhe->bhde", data, data)
    vectors = rng.normal(size=(blocks, heads, texts, width))
    sums = {"images": np.array(float(images)), "first": data.sum(axis=0), "second": second, "texts": vectors}
    return data, sums, [f"text {number}" for number in range(texts)]


def test_words_stand_by_block_head_and_rank():
    data, sums, bank = moments()
    table = head_words(sums, bank, 12)
    assert table.columns == ["layer", "head", "rank", "word", "explained"]
    # Never more words than a head is wide.
    assert table.select("layer", "head", "rank").rows() == [
        (layer, head, rank) for layer in (11, 12) for head in range(3) for rank in range(1, 5)
    ]
    for block in range(2):
        for head in range(3):
            found = table.filter(layer=11 + block, head=head)
            picks = textspan(np.cov(data[:, block, head].T, bias=True), sums["texts"][block, head])
            assert found["word"].to_list() == [bank[each.text] for each in picks]
            assert found["explained"].to_list() == pytest.approx([each.explained for each in picks])
            assert found["explained"].is_sorted()


def test_no_words_without_sums_or_with_few_images():
    _, sums, bank = moments(images=7)
    assert head_words(sums, bank, 12).is_empty()
    assert head_words({}, bank, 12).is_empty()
    _, sums, bank = moments(images=8)
    assert not head_words(sums, bank, 12).is_empty()
    with pytest.raises(EmbedshiftError, match="its shards do not fit its bank of 5 texts"):
        head_words(sums, bank[:5], 12)


def with_table(study, name, table):
    return FigureInput(dataclasses.replace(study.reader(), made={name: table}))


@pytest.mark.slow
def test_words_are_shown_of_the_heads_that_rows_name(tmp_path):
    study = make_study(tmp_path / "study", 9, NAMES, heads=(5, 4))
    places = [(layer, head) for layer in (2, 3) for head in (0, 1)]
    rows = [(*place, rank, f"{place} {rank}", rank / 10) for place in places for rank in (1, 2)]
    table = pl.DataFrame(rows, schema=["layer", "head", "rank", "word", "explained"], orient="row")
    named = [{"heads": [{"name": "block 3, head 1"}, {"name": "block 1, head 0"}]}, {"heads": []}]
    assert words_of(with_table(study, "head_words", table), named) == [
        {"name": "block 3, head 1", "words": ["(3, 1) 1", "(3, 1) 2"], "explained": "20.0 %"}
    ]
    assert words_of(FigureInput(study.reader()), named) == []


@pytest.mark.slow
def test_without_details_there_are_no_tables_and_figures(tmp_path):
    study = make_study(tmp_path / "study", 9, NAMES, heads=(3, 2))
    for name in ("head_words", "head_tokens"):
        assert name not in study.table_names
    with pytest.raises(EmbedshiftError, match="no head_tokens here: it needs `heads_tokens`"):
        study.table("head_tokens")
    assert not FIGURES["head_tokens"].is_available(FigureInput(study.reader()))
    with pytest.raises(EmbedshiftError, match="no contributions of tokens; run it with `heads_tokens`"):
        study.figure("head_tokens")
