"""Words and tokens of heads: the picks of the published procedure on the library's numbers, and a run with both."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import embedshift
from embedshift import load_encoder
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.dissection import head_matrices
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures import FigureInput
from embedshift.questions.heads.figures import maps_of, shown_of
from embedshift.questions.heads.tables import textspan
from embedshift.statistics.vectors import normalised
from embedshift.store.redraw import redraw
from support import models, studies
from support.family_models import CASES
from support.heads_by_hand import NAMED, catch
from support.image_rows import headings, pictures
from support.library_models import make_open_clip
from support.matrix import first_only
from support.overlap import overlaps

pytestmark = pytest.mark.slow


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


def contributions(reference, named, case, view):
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


@pytest.mark.parametrize("seed", range(5))
def test_picks_equal_the_published_procedure(seed: int):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(200, 6)) * np.linspace(3, 0.2, 6) + 1
    matrix, texts = rng.normal(size=(20, 6)), rng.normal(size=(50, 20))
    orthonormal, triangle = np.linalg.qr(matrix)
    picks, explained = published(outputs @ matrix.T, texts, 6)
    found = textspan(np.cov((outputs @ triangle.T).T, bias=True), texts @ orthonormal, 9)
    assert [each.text for each in found] == picks, "never more than the width of the head"
    np.testing.assert_allclose([each.explained for each in found], explained, rtol=0, atol=1e-9)
    assert textspan(np.zeros((3, 3)), np.eye(3)) == [], "what does not vary has no words"


def test_an_embedding_of_many_tokens_has_no_matrices(tmp_path: Path):
    encoder = load_encoder(str(make_open_clip(tmp_path / "model", layers=3, pool_type="avg")))
    with pytest.raises(UsageError, match="reads its embedding from more than one token"):
        head_matrices(Anatomy(encoder.tower), [2])


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


def test_words_equal_the_published_procedure_on_the_librarys_numbers(tmp_path):
    clip = studies.checkpoint("reader")
    (tmp_path / "bank.txt").write_text("\n".join(BANK))
    asked = {"heads": True, "bank": str(tmp_path / "bank.txt"), "shard_size": 4, "families": ["noise"], "workers": 0}
    worded = embedshift.run(studies.pictures(9), out=tmp_path / "study", model=str(clip), **asked)
    case = next(case for case in CASES if case.kind == "clip")
    reference, texts = case.reference(clip).double(), texts_of(clip)
    images, _ = redraw(worded.reader(), sorted(worded.reader().image_ids()))
    data = np.stack([contributions(reference, NAMED["clip"], case, image.views[ORIGINAL]) for image in images])
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


def test_tokens_sum_to_the_heads_of_the_last_block(tokens):
    table, heads = tokens.table("head_tokens"), tokens.heads()
    assert len(table) == 2 * len(tokens.augmentations)
    for name in tokens.augmentations:
        last = heads.filter(pl.col("augmentation") == name, pl.col("layer") == 3, pl.col("part") != "mlp")[
            "contribution"
        ].sum()
        assert table.filter(augmentation=name)["contribution"].sum() == pytest.approx(last, abs=1e-5)
    rows = tokens.rows().filter(pl.col("view") != ORIGINAL).collect()
    for row in rows.iter_rows(named=True):
        assert len(row["tokens_pattern"]) == len(row["tokens_values"]) == 1 + 16
        both = sum(row["tokens_pattern"]) + sum(row["tokens_values"])
        assert both == pytest.approx(sum(row["heads"][-4:]), abs=1e-4)


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
