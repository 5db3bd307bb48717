"""Studies with details of heads, from the command to the report: tiny CLIP with words, tiny DINOv2 with the others."""

import numpy as np
import polars as pl
import pytest
import torch

import embedshift
from embedshift.augmentations import ORIGINAL
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.heads.figures import maps_of, shown_of
from embedshift.statistics.vectors import normalised
from embedshift.store.redraw import redraw
from support import studies
from support.family_models import CASES
from support.heads_by_hand import NAMED
from support.image_rows import headings, pictures
from support.overlap import overlaps
from support.words_by_hand import contributions, published

pytestmark = pytest.mark.slow

BANK = ("a cat", "a dog", "<b>red</b> boat", "a small picture", "an image", "the photo")


FEW = ["noise", "blur", "elastic"]


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(9)


@pytest.fixture(scope="module")
def clip():
    return studies.checkpoint("reader")


@pytest.fixture(scope="module")
def dinov2():
    return studies.checkpoint("dinov2")


@pytest.fixture(scope="module")
def worded(photos, clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worded")
    (folder / "bank.txt").write_text("\n".join(BANK))
    asked = {"heads": True, "bank": str(folder / "bank.txt"), "shard_size": 4}
    return embedshift.run(photos, out=folder / "study", model=str(clip), families=FEW, workers=0, **asked)


@pytest.fixture(scope="module")
def tokens(photos, dinov2, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokens") / "study"
    return embedshift.run(photos, out=out, model=str(dinov2), workers=0, heads_tokens=True)


def section_of(study, *figures):
    html = study.report(figures=["heads_map", *figures], formats=["svg"]).read_text()
    return " ".join(html[html.index('<section id="heads"') :].split("</section>")[0].split())


def test_words_equal_the_published_procedure_on_the_librarys_numbers(worded, clip):
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


@pytest.mark.matrix
def test_words_of_the_named_heads_are_shown_as_text(worded):
    section = section_of(worded)
    assert "Texts that describe the heads" in section
    assert "<bdi>&lt;b&gt;red&lt;/b&gt; boat</bdi>" in section
    assert "<b>red</b>" not in section
    table = section[section.index("texts, the most important first") :]
    rows = table.split("<tr>")[1:]
    assert rows
    for row in rows:
        place = row[row.index('"row">') + 6 :].split("<")[0]
        layer, head = (int(part.split()[1]) for part in place.split(", "))
        own = worded.table("head_words").filter(layer=layer, head=head)
        words = [each.split("</bdi>")[0].replace("&lt;", "<").replace("&gt;", ">") for each in row.split("<bdi>")[1:]]
        assert words == own["word"].to_list()
        assert f"{place}: " in section, "a head that no row names"


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


@pytest.mark.matrix
def test_the_report_shows_tokens(tokens):
    section = section_of(tokens, "head_tokens")
    assert "token values" in section
    assert 'alt="Attention weights or token values: what carries the shift"' in section
    contribution = tokens.table("head_tokens").filter(augmentation="noise", term="pattern")["contribution"].item()
    row = section[section.index("token values</th>") :]
    row = row[row.index("<bdi>noise</bdi>") :].split("</tr>")[0]
    shown = row.split('class="number">')[1].split(" %")[0].replace("−", "-")
    assert float(shown) == pytest.approx(100 * contribution, abs=0.06)
    assert "The maps show" in section
    with pytest.raises(embedshift.EmbedshiftError, match="no image to show, because the source images are missing"):
        FIGURES["head_tokens"].draw(FigureInput(tokens.reader()))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--heads-tokens", "--precision", "bfloat16"), "run it without --precision bfloat16"),
        (("--heads-tokens", "--compile"), "run it without --compile"),
        (("--bank", "BANK"), "error: --bank: "),
        (("--bank", "SHORT"), "has 1 texts, one per line; it must have 2 to 10,000"),
        (("--bank", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_refusals_are_one_line(photos, dinov2, clip, tmp_path, cli, flags, said):
    files = {"BANK": "a cat\na dog\n", "SHORT": "a cat\n\n a cat \n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    model = dinov2 if "BANK" in flags or "--bank" not in flags else clip
    flags = [tmp_path / each if each in files else each for each in flags]
    done = cli("run", photos, "--out", tmp_path / "study", "--model", model, "--workers", 0, *flags)
    assert done.code == 2
    assert said in done.line
    assert not (tmp_path / "study").exists()
