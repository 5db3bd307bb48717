"""Heads: tables against loops over made rows, words by the published procedure, tokens; figures and section."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

import embedshift
from embedshift import EmbedshiftError, load_encoder
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.dissection import head_matrices
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.errors import UsageError
from embedshift.figures import FigureInput
from embedshift.questions.heads.figures import maps_of, shown_of
from embedshift.questions.heads.section import rows_of, words_of
from embedshift.questions.heads.tables import head_tokens, head_words, heads, textspan
from embedshift.statistics.intervals import ratio_interval
from embedshift.statistics.layout import image_rows
from embedshift.statistics.vectors import normalised
from embedshift.store.redraw import redraw
from support import models, studies
from support.family_models import CASES
from support.heads_by_hand import NAMED, catch
from support.image_rows import headings, pictures
from support.library_models import make_open_clip
from support.matrix import first_only
from support.overlap import overlaps

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


def headed(contributions, cosine, missing=None):
    """Rows of a study, image by image and draw by draw: augmentation → contributions `[images, draws, K]`, and cosines.

    A view whose contributions are all NaN has null in the columns, or `missing`.
    """
    images, draws, _ = contributions["noise"].shape
    ends = {"heads": slice(6), "mlps": slice(6, 9), "head_input": 9, "head_pattern": 10, "head_rest": 11}
    rows = []
    for image in range(images):
        rows.append({"image_id": f"{image}.jpg", "view": "original", "draw": 0})
        for draw, name in np.ndindex(draws, len(NAMES)):
            own = contributions[NAMES[name]][image, draw].tolist()
            row = {"image_id": f"{image}.jpg", "view": NAMES[name], "draw": draw}
            row["cosine_similarity"] = cosine[NAMES[name]][image, draw]
            if missing is not None or np.isfinite(own).all():
                row |= {column: own[at] for column, at in ends.items()}
            rows.append(row)
    kinds = {"heads": pl.Array(pl.Float32, 6), "mlps": pl.Array(pl.Float32, 3)}
    return pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None).lazy()


def parts():
    """Layer and name of the parts, in the order of the lists."""
    of_heads = [(layer, str(head)) for layer in (1, 2, 3) for head in range(WIDTH)]
    return [*of_heads, *((layer, "mlp") for layer in (1, 2, 3)), (0, "input"), (0, "pattern"), (0, "rest")]


def by_loops(rows, name, columns, combine=np.asarray):
    """Contributions with their intervals, `[3, K]`: each row's by its shift, and an image with all its draws."""
    above, below = [], []
    for _, image in rows.filter(view=name).group_by("image_id", maintain_order=True):
        of_image = [
            (1 - row["cosine_similarity"], combine(np.hstack([row[column] for column in columns])))
            for row in image.drop_nulls(columns).iter_rows(named=True)
        ]
        above.append(sum(shift * each for shift, each in of_image))
        below.append(sum(shift for shift, _ in of_image))
    above = np.array([np.broadcast_to(each, np.shape(above[0])) for each in above])
    found = ratio_interval([(above, np.array(below, float))], seed=3)
    np.testing.assert_allclose(found[0], above.sum(axis=0) / sum(below), rtol=1e-12)
    return found


@pytest.mark.parametrize("missing", [None, np.nan])
def test_against_a_loop_over_the_rows(missing):
    """Also with views that have no contributions: null, or NaN in their lists."""
    contributions, cosine = made()
    contributions["noise"][3], contributions["noise"][5, 1] = np.nan, np.nan  # both draws of an image, one of another
    table = heads(image_rows(headed(contributions, cosine, missing)), NAMES, seed=3)
    assert len(table) == len(NAMES) * K
    rows = headed(contributions, cosine).collect()
    for name in NAMES:
        wanted = by_loops(rows, name, ["heads", "mlps", "head_input", "head_pattern", "head_rest"])
        own = {tuple(row[1:3]): row[3:] for row in table.filter(augmentation=name).iter_rows()}
        np.testing.assert_allclose([own[part] for part in parts()], np.transpose(wanted), rtol=1e-5, atol=1e-6)
        assert sum(row[0] for row in own.values()) == pytest.approx(1, abs=1e-6)


def test_few_images_have_no_interval_and_nothing_moved_no_contribution():
    contributions, cosine = made(7)
    contributions["blur"][:], cosine["blur"][:] = np.nan, 1.0
    table = heads(image_rows(headed(contributions, cosine)), NAMES, seed=0)
    assert table["ci_low"].null_count() == table["ci_high"].null_count() == len(table)
    assert table.filter(augmentation="noise")["contribution"].null_count() == 0
    assert table.filter(augmentation="blur")["contribution"].null_count() == K
    contributions, cosine = made(8)
    assert heads(image_rows(headed(contributions, cosine)), NAMES, seed=0)["ci_low"].null_count() == 0


def test_tokens_against_a_loop():
    """One view of noise has no contributions."""
    rng, rows = np.random.default_rng(1), headed(*made()).collect()
    there = (pl.col("view") != "original") & ~((pl.col("image_id") == "3.jpg") & (pl.col("draw") == 1))
    for name in ("tokens_pattern", "tokens_values"):
        values = pl.Series(name, rng.normal(size=(len(rows), 5)), dtype=pl.Array(pl.Float32, 5))
        rows = rows.with_columns(values).with_columns(pl.when(there).then(name).alias(name))
    table = head_tokens(image_rows(rows.lazy()), NAMES, seed=3)
    assert table.select("augmentation", "term").rows() == [(n, t) for n in NAMES for t in ("pattern", "values")]
    for name in NAMES:
        wanted = by_loops(rows, name, ["tokens_pattern", "tokens_values"], lambda both: both.reshape(2, 5).sum(axis=1))
        found = table.filter(augmentation=name).select("contribution", "ci_low", "ci_high")
        np.testing.assert_allclose(found.to_numpy(), np.transpose(wanted), rtol=1e-6)


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


SUITE = ["noise", "elastic", "blur"]


def shift(study, name):
    cosine = study.summary().filter(augmentation=name, metric="cosine_similarity")
    return 1 - cosine["mean"].item()


def contributions(study, name, part="head"):
    """Contributions of heads `[L, H]`, or of MLPs `[L]`, by a loop over the table."""
    found = {}
    for row in study.heads().filter(augmentation=name).iter_rows(named=True):
        if row["layer"] and (row["part"] == "mlp") == (part == "mlp"):
            found.setdefault(row["layer"], []).append(row["contribution"])
    return np.array([found[layer] for layer in sorted(found)]).squeeze()


@pytest.mark.slow
def test_the_map_draws_the_table_on_one_scale():
    study = studies.every()
    figure = study.figure("heads_map")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    order = sorted(SUITE, key=lambda name: -shift(study, name))
    assert [axes.get_title(loc="left") for axes in panels] == order
    end = max(np.abs(contributions(study, name)).max() for name in SUITE)
    for axes, name in zip(panels, order, strict=True):
        heads, mlps = axes.collections
        np.testing.assert_allclose(heads.get_array(), contributions(study, name), rtol=1e-12)
        np.testing.assert_allclose(np.ravel(mlps.get_array()), contributions(study, name, "mlp"), rtol=1e-12)
        assert heads.get_clim() == mlps.get_clim() == pytest.approx((-end, end))
        assert axes.get_ylim() == (5, 0), "the first block is on top"
        frame = axes.patches[0].get_xy()
        row, column = np.unravel_index(contributions(study, name).argmax(), (5, 4))
        assert frame == (column, row)
    caption = figure.texts[-1].get_text().replace("\n", " ")
    assert "larger ones of MLPs have the same colour" in caption
    assert "augmentations" not in caption


@pytest.mark.slow
def test_bars_are_stacked_from_0_to_either_side_and_sum_to_the_shift():
    """Every part by a loop over the table; negative parts lie to the left of 0, one after the other."""
    study = studies.every()
    figure = study.figure("heads_bars")
    order = sorted(SUITE, key=lambda name: -shift(study, name))
    for axes, scaled in zip(figure.axes, (True, False), strict=True):
        widths = np.array([[bar.get_width() for bar in bars] for bars in axes.containers])
        starts = np.array([[bar.get_x() for bar in bars] for bars in axes.containers])
        for place, name in enumerate(order):
            scale = shift(study, name) if scaled else 1.0
            heads, mlps = contributions(study, name).sum(axis=1), contributions(study, name, "mlp")
            single = study.heads().filter(augmentation=name, layer=0)["contribution"].to_numpy()
            wanted = {"input": single[0]}
            for kind, values in (("heads", heads), ("MLPs", mlps)):
                wanted |= {f"{kind} of blocks 1–2": values[:2].sum(), f"{kind} of blocks 3–4": values[2:4].sum()}
                wanted["MLP of block 5" if kind == "MLPs" else "heads of block 5"] = values[4]
            labels = [bars.get_label() for bars in axes.containers[0::2]]
            drawn = dict(zip(labels, (widths[0::2] + widths[1::2])[:, place], strict=True))
            assert drawn == pytest.approx({label: scale * wanted.pop(label) for label in labels})
            assert max(map(abs, wanted.values()), default=0) < 0.005, "left out, and carries something"
            negative = np.flatnonzero(widths[:, place] < 0)
            ends = np.concatenate([[0], np.cumsum(widths[negative, place])])
            np.testing.assert_allclose(starts[negative, place], ends[:-1], atol=1e-12)
            dots = axes.collections[0].get_offsets()
            np.testing.assert_allclose(dots[place], (scale, place), atol=1e-6)
    assert (widths < 0).any(), "no part is negative: the made study proves nothing"


@pytest.mark.slow
def test_clear_and_dashes():
    """Of three heads: the first clear of the second, not clear, and an augmentation that moved nothing."""
    parts = [(0, "input"), (0, "pattern"), (0, "rest"), (1, "0"), (1, "1"), (1, "2"), (1, "mlp")]
    numbers = {
        "clear": [(0.5, 0.4, 0.6), (0.2, 0.1, 0.39), (0.1, 0.0, 0.2)],
        "close": [(0.2, 0.1, 0.41), (0.5, 0.4, 0.6), (-0.1, -0.2, 0.0)],
        "still": [(None, None, None)] * 3,
    }
    rows = [
        (name, *part, *ends)
        for name, own in numbers.items()
        for part, ends in zip(parts, [*[(0.0, 0.0, 0.0) if name != "still" else own[0]] * 3, *own, own[2]], strict=True)
    ]
    columns = ["augmentation", "layer", "part", "contribution", "ci_low", "ci_high"]
    found = rows_of(pl.DataFrame(rows, schema=columns, orient="row"), ["still", "close", "clear"])
    still, close, clear = found["rows"]
    assert (found["depth"], found["width"]) == (1, 3)
    assert (clear["ahead"], close["ahead"], still["ahead"]) == ("yes", "no", "–")
    assert [head["name"] for head in close["heads"]] == ["block 1, head 1", "block 1, head 0", "block 1, head 2"]
    assert (still["heads"], still["mlps"], still["last"], still["input"]) == ([], "–", "–", "–")


def test_words_are_shown_of_the_heads_that_rows_name():
    data = FigureInput(studies.every().reader())
    places = [(layer, head) for layer in (2, 3) for head in (0, 1)]
    rows = [(*place, rank, f"{place} {rank}", rank / 10) for place in places for rank in (1, 2)]
    table = pl.DataFrame(rows, schema=["layer", "head", "rank", "word", "explained"], orient="row")
    named = [{"heads": [{"name": "block 3, head 1"}, {"name": "block 1, head 0"}]}, {"heads": []}]
    worded = FigureInput(dataclasses.replace(data.reader, made={"head_words": table}))
    assert words_of(worded, named) == [
        {"name": "block 3, head 1", "words": ["(3, 1) 1", "(3, 1) 2"], "explained": "20.0 %"}
    ]
    assert words_of(data, named) == []


def published(data, texts, count):
    """TextSpan as its authors write it: contributions `[n, D]` and texts `[N, D]`, both deflated pick by pick."""
    _, values, directions = np.linalg.svd(data, full_matrices=False)
    span = directions[values > 1e-9 * values[0]]
    texts = texts @ span.T @ span
    data = data - data.mean(axis=0)
    whole, picks, explained = data.var(axis=0).sum(), [], []
    for _ in range(count):
        best = int((data @ texts.T).std(axis=0).argmax())
        along = texts[best] / np.linalg.norm(texts[best])
        data = data - np.outer(data @ along, along)
        texts = texts - np.outer(texts @ along, along)
        picks.append(best)
        explained.append(1 - data.var(axis=0).sum() / whole)
    return picks, explained


def added_by_heads(reference, named, case, view):
    """What each head adds to the embedding of one image, `[L, H, D']`, by the names of the library."""
    pixels = torch.from_numpy(((view[None] / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2))
    caught = catch(reference, named, lambda: case.embedding(reference, pixels))
    norm = reference.get_submodule(named.norm)
    gamma = norm.weight.detach().numpy()
    after = reference.get_submodule(named.after).weight.detach().numpy() if named.after else np.eye(len(gamma))
    scale = np.sqrt(caught[-1].after[0].var() + norm.eps)
    found = np.zeros((len(caught), 4, len(after)))
    for layer, block in enumerate(reference.get_submodule(named.blocks).children()):
        weight = block.get_submodule(named.projection).weight.detach().numpy()
        own = block.get_parameter(named.scale).detach().numpy() if named.scale else 1
        for head in range(4):
            part = slice(6 * head, 6 * head + 6)
            added = own * (weight[:, part] @ caught[layer].heads[0, part])
            found[layer, head] = after @ (gamma * (added - added.mean()) / scale)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_picks_equal_the_published_procedure(seed):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(200, 6)) * np.linspace(3, 0.2, 6) + 1
    matrix, texts = rng.normal(size=(20, 6)), rng.normal(size=(50, 20))
    orthonormal, triangle = np.linalg.qr(matrix)
    picks, explained = published(outputs @ matrix.T, texts, 6)
    found = textspan(np.cov((outputs @ triangle.T).T, bias=True), texts @ orthonormal, 9)
    assert [each.text for each in found] == picks, "never more than the width of the head"
    np.testing.assert_allclose([each.explained for each in found], explained, rtol=0, atol=1e-9)
    assert textspan(np.zeros((3, 3)), np.eye(3)) == [], "what does not vary has no words"


@pytest.mark.slow
def test_an_embedding_of_many_tokens_has_no_matrices(tmp_path):
    encoder = load_encoder(str(make_open_clip(tmp_path / "model", layers=3, pool_type="avg")))
    with pytest.raises(UsageError, match="reads its embedding from more than one token"):
        head_matrices(Anatomy(encoder.tower), [2])


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", first_only([None, "{"]))
def test_the_heads_are_measured_and_a_warning_says_why_they_have_no_words(tokenizer, tmp_path, caplog, monkeypatch):
    folder = models.make("clip", tmp_path / "clip")
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer)
    photos = models.pictures(tmp_path / "photos", 3)
    changes = {"dark": lambda image, rng: image // 2}
    settings = {"model": str(folder), "augmentations": changes, "workers": 0}
    study = embedshift.run(photos, out=tmp_path / "study", heads=True, **settings)
    (line,) = [each for each in caplog.records if "no texts for heads" in each.message]
    assert line.levelname == "WARNING"
    assert ("no tokenizer in the checkpoint" if tokenizer is None else "its tokenizer cannot be loaded") in line.message
    assert study.heads().height
    assert "head_words" not in study.table_names
    texts = tmp_path / "texts.txt"
    texts.write_text("a cat\na dog\n")
    with pytest.raises(EmbedshiftError, match=r"`bank`: .*tokenizer"):
        embedshift.run(photos, out=tmp_path / "own", heads=True, bank=str(texts), **settings)
    with pytest.raises(EmbedshiftError, match="tokenizer"):
        embedshift.run(photos, out=tmp_path / "text", labels=["a cat", "a dog"], **settings)


BANK = ("a cat", "a dog", "<b>red</b> boat", "a small picture", "an image", "the photo")


@pytest.fixture(scope="module")
def tokens():
    return studies.measured(studies.pictures(9), studies.checkpoint("dinov2"), heads_tokens=True)


@pytest.mark.slow
def test_words_equal_the_published_procedure_on_the_librarys_numbers(tmp_path):
    clip = studies.checkpoint("reader")
    (tmp_path / "bank.txt").write_text("\n".join(BANK))
    asked = {"heads": True, "bank": str(tmp_path / "bank.txt"), "shard_size": 4, "families": ["noise"], "workers": 0}
    worded = embedshift.run(studies.pictures(9), out=tmp_path / "study", model=str(clip), **asked)
    case = next(case for case in CASES if case.kind == "clip")
    reference, texts = case.reference(clip).double(), texts_of(clip)
    images, _ = redraw(worded.reader(), sorted(worded.reader().image_ids()))
    data = np.stack([added_by_heads(reference, NAMED["clip"], case, image.views[ORIGINAL]) for image in images])
    table = worded.table("head_words")
    assert table.select("layer", "head").unique().height == 3 * 4
    for layer in range(3):
        for head in range(4):
            picks, explained = published(data[:, layer, head], texts, 5)
            found = table.filter(layer=layer + 1, head=head)
            assert found["word"].to_list() == [BANK[pick] for pick in picks]
            np.testing.assert_allclose(found["explained"], explained, atol=1e-3)


def texts_of(clip):
    """Unit vectors of the bank by the library itself."""
    import transformers as hf

    model = hf.CLIPModel.from_pretrained(clip).eval()
    read = hf.AutoTokenizer.from_pretrained(clip)(list(BANK), padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.text_model(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
        return normalised(model.text_projection(states.pooler_output).double().numpy())


@pytest.mark.slow
def test_tokens_sum_to_the_heads_of_the_last_block(tokens):
    table, of_heads = tokens.head_tokens(), tokens.heads()
    assert len(table) == 2 * len(tokens.augmentations)
    for name in tokens.augmentations:
        last = of_heads.filter(pl.col("part") != "mlp", augmentation=name, layer=3)["contribution"].sum()
        assert table.filter(augmentation=name)["contribution"].sum() == pytest.approx(last, abs=1e-5)
    rows = tokens.rows().filter(pl.col("view") != ORIGINAL).collect()
    for row in rows.iter_rows(named=True):
        assert len(row["tokens_pattern"]) == len(row["tokens_values"]) == 1 + 16
        both = sum(row["tokens_pattern"]) + sum(row["tokens_values"])
        assert both == pytest.approx(sum(row["heads"][-4:]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.matrix
def test_maps_are_those_of_the_rows_on_one_scale(tokens):
    data = FigureInput(tokens.reader())
    shift = 1 - data.statistic("mean", "cosine_similarity")
    order = sorted(tokens.augmentations, key=lambda name: -shift[tokens.augmentations.index(name)])
    assert shown_of(data) == [order[0], order[4]], "the furthest of nine, and the one in the middle"
    figure = tokens.figure("head_tokens")
    assert overlaps(figure) == []
    images = pictures(figure)
    assert len(images) == 3 * 7
    assert headings(figure)[2:4] == ["attention weights", "token values"]
    ids = tokens.reader().sample_ids(3)
    drawn, _ = redraw(tokens.reader(), ids)
    maps = maps_of(data, drawn, shown_of(data))
    every = np.concatenate([each.ravel() for each in maps.values()])
    end = np.quantile(np.abs(every), 0.99)
    assert figure.axes[-1].get_ylim() == pytest.approx((-end, end))
    row = tokens.rows().filter(image_id=ids[1], view=order[4]).collect().row(0, named=True)
    for place, column in ((12, "tokens_pattern"), (13, "tokens_values")):
        wanted = np.array(row[column][1:]).reshape(4, 4)
        np.testing.assert_array_equal(maps[ids[1], order[4], column.removeprefix("tokens_")], wanted)
        red, _, blue = np.moveaxis(np.asarray(images[place], int), -1, 0)
        strong = np.abs(wanted) > 0.05 * end
        np.testing.assert_array_equal((red > blue)[strong], (wanted > 0)[strong])
