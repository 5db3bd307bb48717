"""Tables of the details of heads, held against loops over made rows: words, tokens, routes, heads put back."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from embedshift import EmbedshiftError
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.heads.details import words_of
from embedshift.questions.heads.named import head_words
from embedshift.questions.heads.route import agreement, agreement_of, head_effect, head_route
from embedshift.questions.heads.textspan import textspan
from embedshift.questions.heads.tokens import head_tokens
from support.headed import detailed, headed
from support.overlap import drawn_texts, overlaps
from support.report_fixtures import LONG
from support.synthetic import make_study

SHAPE = DEPTH, WIDTH = 3, 2
K = DEPTH * WIDTH + DEPTH + 3
NAMES = ["noise", "blur"]
IMAGES, DRAWS, CELLS = 12, 2, 4
# Images whose shifts were followed.
ROUTED = range(1, 11)


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


def with_route(*, images=ROUTED):
    rng, rows = np.random.default_rng(2), base()
    count = rows.select(pl.len()).collect().item()
    lengths = {"route": DEPTH * WIDTH, "put_back": WIDTH, "route_input": None, "route_pooling": None}
    made = {name: rng.normal(size=(count, length) if length else count) for name, length in lengths.items()}
    made["route_input"] = 1 - made["route"].sum(axis=1) - made["route_pooling"]
    return detailed(rows, made, of_view=lambda row: int(row["image_id"].split(".")[0]) in images)


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
    table = head_tokens(rows, NAMES, seed=0)
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


def terms(row):
    """Input, pooling, absolute sum, and the blocks."""
    if row["route"] is None:
        return None
    blocks = [sum(row["route"][WIDTH * block : WIDTH * block + WIDTH]) for block in range(DEPTH)]
    single = [row["route_input"], row["route_pooling"]]
    return [*single, sum(abs(each) for each in single + blocks), *blocks]


def test_routes_against_a_loop():
    rows = with_route()
    table = head_route(rows, NAMES, seed=0)
    parts = [(0, "input"), (0, "pooling"), (0, "absolute"), (1, "pattern"), (2, "pattern"), (3, "pattern")]
    assert table.select("augmentation", "layer", "part").rows() == [(name, *part) for name in NAMES for part in parts]
    for name in NAMES:
        found = table.filter(augmentation=name)
        np.testing.assert_allclose(found["contribution"], weighted(rows, name, terms), rtol=1e-4, atol=1e-5)
        assert found.filter(pl.col("part") != "absolute")["contribution"].sum() == pytest.approx(1, abs=1e-5)
        assert found["ci_low"].null_count() == 0
    few = head_route(with_route(images=range(7)), NAMES, seed=0)
    assert few["contribution"].null_count() == 0
    assert few["ci_low"].null_count() == len(few), "seven images have no interval"
    assert head_route(with_route(images=()), NAMES, seed=0).is_empty()


def test_rounding_of_an_absolute_sum_is_no_spread():
    """In all images but two nothing cancels: resamples without these have no spread of their own."""
    rows = with_route().collect()
    rng, count = np.random.default_rng(3), len(rows)
    route = np.tile(np.full(DEPTH * WIDTH, 0.1), (count, 1))
    route[rows["image_id"].is_in(["2.jpg", "5.jpg"]).to_numpy(), :WIDTH] = -0.1
    made = {"route": route + 3e-6 * rng.normal(size=route.shape), "route_input": 1 - route.sum(axis=1)}
    made["route_pooling"] = np.zeros(count)
    changed = detailed(rows.drop(made).lazy(), made, of_view=lambda row: int(row["image_id"].split(".")[0]) in ROUTED)
    absolute = head_route(changed, NAMES, seed=0).filter(part="absolute")
    assert absolute["contribution"].is_between(1.01, 1.4).all()
    assert (absolute["ci_high"].fill_null(1.0) < 1.5).all()


def test_effects_stand_beside_the_contributions_of_the_same_views():
    rows = with_route()
    table = head_effect(rows, NAMES, seed=0)
    assert table.columns == ["augmentation", "head", "effect", "ci_low", "ci_high", "contribution"]
    assert table["head"].to_list() == [0, 1] * len(NAMES)
    for name in NAMES:
        found = table.filter(augmentation=name)
        effect = weighted(rows, name, lambda row: row["put_back"])
        contribution = weighted(rows, name, lambda row: row["heads"][-WIDTH:] if row["put_back"] is not None else None)
        of_all = weighted(rows, name, lambda row: row["heads"][-WIDTH:])
        np.testing.assert_allclose(found["effect"], effect, rtol=1e-6)
        np.testing.assert_allclose(found["contribution"], contribution, rtol=1e-6)
        assert np.abs(contribution - of_all).max() > 1e-3, "proves nothing"
        assert (found["ci_low"] < found["effect"]).all()
        assert (found["effect"] < found["ci_high"]).all()


def test_agreement_is_that_of_views_and_heads():
    rng = np.random.default_rng(0)
    effects, contributions = rng.normal(size=(2, 30, 4))
    contributions += effects
    found = agreement(np.vstack([effects, [[np.nan, 9, 9, 9]]]), np.vstack([contributions, [[1.0, 2, 3, 4]]]))
    assert found.views == 30
    assert found.correlation == pytest.approx(np.corrcoef(effects.ravel(), contributions.ravel())[0, 1])
    first = [max(range(4), key=one.__getitem__) == max(range(4), key=two.__getitem__) for one, two in zip(effects, contributions, strict=True)]  # fmt: skip  # noqa: E501
    assert 0 < sum(first) < 30
    assert found.same_first == pytest.approx(sum(first) / 30)
    assert np.isnan(agreement(np.ones((3, 2)), contributions[:3, :2]).correlation)
    nothing = agreement(effects[:0], contributions[:0])
    assert (nothing.views, np.isnan(nothing.correlation), np.isnan(nothing.same_first)) == (0, True, True)


def test_agreement_of_a_study_reads_the_last_block():
    rows = with_route()
    kept = rows.collect().drop_nulls("put_back")
    effects = np.array(kept["put_back"].to_list(), float)
    contributions = np.array(kept["heads"].to_list(), float)[:, -WIDTH:]
    found = agreement_of(rows, NAMES)
    assert found.views == len(kept) == len(ROUTED) * DRAWS * len(NAMES)
    assert found.correlation == pytest.approx(np.corrcoef(effects.ravel(), contributions.ravel())[0, 1])


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


def test_words_are_shown_of_the_heads_that_rows_name(tmp_path):
    study = make_study(tmp_path / "study", 9, NAMES, heads=(5, 4))
    places = [(layer, head) for layer in (2, 3) for head in (0, 1)]
    rows = [(*place, rank, f"{place} {rank}", rank / 10) for place in places for rank in (1, 2)]
    table = pl.DataFrame(rows, schema=["layer", "head", "rank", "word", "explained"], orient="row")
    named = [{"heads": [{"place": "block 3, head 1"}, {"place": "block 1, head 0"}]}, {"heads": []}]
    assert words_of(with_table(study, "head_words", table), named) == [
        {"place": "block 3, head 1", "words": ["(3, 1) 1", "(3, 1) 2"], "explained": "20.0 %"}
    ]
    assert words_of(FigureInput(study.reader()), named) == []


@pytest.mark.parametrize(("suite", "depth", "pooling"), [(LONG, 24, 0.1), (["noise"], 1, 0.0)])
def test_depth_draws_the_table(tmp_path, suite, depth, pooling, monkeypatch):
    study = make_study(tmp_path / "study", 12, suite, heads=(depth, 2))
    rng, parts = np.random.default_rng(0), [(0, "input"), (0, "pooling"), (0, "absolute")]
    parts += [(layer, "pattern") for layer in range(1, depth + 1)]
    rows = [(name, *part, pooling if part[1] == "pooling" else rng.normal()) for name in suite for part in parts]
    table = pl.DataFrame(rows, schema=["augmentation", "layer", "part", "contribution"], orient="row")
    # A made study has no route in its rows.
    monkeypatch.setattr("embedshift.questions.heads.depth.routed", lambda rows: ["1", "2", "3"])
    figure = FIGURES["heads_depth"].draw(with_table(study, "head_route", table))
    assert overlaps(figure) == []
    shift = {row["augmentation"]: -row["mean"] for row in study.summary().filter(metric="cosine_similarity").iter_rows(named=True)}  # fmt: skip  # noqa: E501
    order = sorted(suite, key=lambda name: -shift[name])
    cells = figure.axes[0].collections[0].get_array()
    bars = [bar.get_width() for bar in figure.axes[1].patches]
    for place, name in enumerate(order):
        own = {
            (layer, part): contribution for _, layer, part, contribution in table.filter(augmentation=name).iter_rows()
        }
        wanted = [own[0, "input"], *(own[layer, "pattern"] for layer in range(1, depth + 1))]
        np.testing.assert_allclose(cells[place], wanted + ([pooling] if pooling else []))
        assert bars[place] == own[0, "absolute"]
    assert any("of 3 images drawn by the seed" in text.replace("\n", " ") for text, _ in drawn_texts(figure))


def test_without_details_there_are_no_tables_and_figures(tmp_path):
    study = make_study(tmp_path / "study", 9, NAMES, heads=(3, 2))
    for name in ("head_words", "head_tokens", "head_route", "head_effect"):
        assert name not in study.table_names
    with pytest.raises(EmbedshiftError, match="no head_route here: it needs `heads_detail` route"):
        study.table("head_route")
    for name, said in (
        ("heads_depth", "no route; run it with"),
        ("head_tokens", "no contributions of tokens; run it with"),
    ):
        assert not FIGURES[name].is_available(FigureInput(study.reader()))
        with pytest.raises(EmbedshiftError, match=said):
            study.figure(name)
