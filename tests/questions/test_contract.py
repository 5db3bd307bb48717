"""The contract of every question, on one study with every switch on: tables, figures, sections; and who lacks them.

What the numbers are is shown by the files of each question, against loops and libraries.
"""

import html
import re
import shutil
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

import embedshift
from embedshift import EmbedshiftError
from embedshift.figures import FIGURES
from embedshift.questions.meaning import PROPERTIES
from embedshift.registry import questions
from embedshift.report.section import parts_of_page
from embedshift.store.table import tables_of
from support import models, studies
from support.captioned import LABELS
from support.graded import MADE, corruption, graded
from support.matrix import first_only
from support.once import made
from support.processes import run_python

pytestmark = pytest.mark.slow

FAMILIES = ["noise", "blur", "horizontal_flip"]
# Table → the columns that tell its rows apart, and its other columns.
TABLES = {
    "summary": (
        "augmentation metric",
        "n images groups mean ci_low ci_high sd median q05 q95 baseline relative_shift relative_shift_low "
        "relative_shift_high centred_shift centred_shift_low centred_shift_high common_offset",
    ),
    "ranking": ("augmentation", "mean_performance rank ci_low ci_high baseline"),
    "differences": ("augmentation other metric", "difference low high significant effect ratio ratio_low ratio_high"),
    "claims": ("claim", "statement estimate ci_low ci_high verdict p_value p_adjusted requires"),
    "clusters": ("augmentation", "cluster leaf"),
    "shifts": ("augmentation", "images resultant resultant_by_chance split_half relative_to_others"),
    "geometry": ("views metric", "value ci_low ci_high"),
    "variance": ("augmentation metric source", "fraction low high"),
    "looks": ("augmentation what", "n difference low high significant"),
    "search": ("augmentation metric", "n value ci_low ci_high"),
    "search_ranks": ("image_id view draw", "rank cosine other other_cosine knn_overlap"),
    "search_neighbours": ("image_id other", "cosine"),
    "at_risk": ("image_id", "missed worst rank margin nearest"),
    "content": ("augmentation property", "correlation limit significant"),
    "gallery_sizes": ("augmentation images kind", "recall ci_low ci_high"),
    "hubs": ("augmentation side", "largest skewness"),
    "thresholds": ("false_match_rate", "threshold ci_low ci_high"),
    "matches": ("augmentation false_match_rate", "n value ci_low ci_high"),
    "roc": ("augmentation false_match_rate", "tpr"),
    "duplicates": ("image_id other", "cosine whitened group expected_false"),
    "layers": ("augmentation layer token metric", "n mean ci_low ci_high"),
    "heads": ("augmentation layer part", "contribution ci_low ci_high"),
    "head_words": ("layer head rank", "word explained"),
    "head_tokens": ("augmentation term", "contribution ci_low ci_high"),
    "maps": ("augmentation map metric", "n mean ci_low ci_high"),
    "map_trust": ("map score", "n mean ci_low ci_high gain significant"),
    "words": ("augmentation word", "n mean ci_low ci_high"),
    "word_test": ("augmentation", "n rank own own_low own_high others difference low high p_value significant"),
    "text_search": ("augmentation metric", "n before before_low before_high value ci_low ci_high difference low high"),
    "zero_shot": ("augmentation", "n agreement ci_low ci_high margin_before margin margin_low margin_high"),
    "strength": (
        "family level metric",
        "parameter unit n mean ci_low ci_high relative_shift relative_shift_low relative_shift_high",
    ),
    "tolerance": ("family criterion", "unit value low high reached falls"),
    "corruption": ("corruption severity", "relative_shift relative_shift_low relative_shift_high"),
}
# With a column for each augmentation.
SQUARE = {"pairwise", "directions", "directions_of_images"}
# Their own files make them: on request, and of a study of an attack.
ELSEWHERE = {"chains", "gallery_copies", "index", "meaning", "power", "threshold", "threshold_curve", "worst", "purify"}
# Figures of this study that tests/figures/test_figures_layout.py does not draw: it has all others.
HERE_ALONE = [*(name for name in FIGURES if FIGURES[name].question == "maps"), "head_tokens"]
# They take vectors. `geometry` is there without them, but for alignment alone.
OF_VECTORS = {
    "at_risk", "search", "search_ranks", "search_neighbours", "gallery_sizes", "hubs", "thresholds", "matches", "roc",
    "duplicates", "text_search",
}  # fmt: skip
# Question → its section of the page, and its answer on the first screen.
SECTIONS = {
    "at_risk": "at-risk", "attention": "looks", "claims": "claims", "direction": "direction", "examples": "gallery",
    "geometry": "geometry",
    "heads": "heads", "layers": "layers", "maps": "maps", "profile": "summary", "search": "search",
    "strength": "strength", "text": "text", "variance": "variance", "worst_case": "worst",
}  # fmt: skip
ANSWERS = {
    "embedding": "How far does the embedding move?",
    "examples": "Which images have the largest shift?",
    "search": "Does image search still find the original?",
    "strength": "How strong a change does the embedding tolerate?",
}
COLUMNS = [
    "image_id", "view", "draw", "view_seed", "pixels", "embedding", "attention", "cosine_similarity",
    "l2_distance", "attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation",
    *PROPERTIES, "pairwise", "caption",
]  # fmt: skip
# Table or figure → what is said where nothing was asked for.
TABLES_ASKED = {
    "looks": "`metrics` attention,aligned,rollout",
    "layers": "`layers`", "heads": "`heads`", "head_words": "`heads`", "head_tokens": "`heads`",
    "maps": "`maps`", "map_trust": "`maps`", "words": "`text`", "word_test": "`text`", "text_search": "`text`",
    "zero_shot": "`text`", "variance": "2 draws or more", "strength": "a suite of families",
    "tolerance": "a suite of families", "corruption": "corruptions",
}  # fmt: skip
FIGURES_ASKED = {
    "attention_change": "`metrics` attention,aligned,rollout", "depth": "no layers; run it with `layers`",
    "heads_map": "no heads; run it with `heads`", "heads_bars": "no heads; run it with `heads`",
    "head_tokens": "no contributions of tokens; run it with `heads_tokens`", "maps": "`maps`",
    "maps_moved": "no maps; run it with `maps`", "text": "`text`", "words": "`text`",
    "strength": "no table 'strength'", "tolerance": "no table 'tolerance'",
}  # fmt: skip


def _inputs(folder: Path) -> None:
    """Twelve pictures, all but three with a caption, and a bank of texts."""
    photos = models.pictures(folder / "photos", 12)
    for number, file in enumerate(sorted(photos.glob("*.png"))):
        if number % 4:
            file.with_suffix(".txt").write_text(f"a photo of {LABELS[number % 3]} and {number}")
    (folder / "bank.txt").write_text("a cat\na dog\n<b>red</b> boat\na small picture\nan image\nthe photo")


def settings():
    """Those of the study, but for its images."""
    return {
        "model": studies.checkpoint("reader"),
        "families": FAMILIES,
        "draws": 2,
        "shard_size": 4,
        "metrics": ["attention", "aligned", "rollout", "pixels", "aligned_pixels"],
        "layers": True,
        "heads_tokens": True,
        "bank": str(made(_inputs) / "bank.txt"),
        "maps": ("relevance", "tokens"),
        "maps_images": 9,
        "text": True,
        "labels": list(LABELS),
    }


def run(out, **others):
    given = settings() | {"workers": 0} | others
    return embedshift.run(made(_inputs) / "photos", out=out, **given | {"model": str(given["model"])})


@pytest.fixture(scope="module")
def study():
    return studies.measured(made(_inputs) / "photos", **settings())


@pytest.fixture(scope="module")
def reported(study):
    return studies.reported(study, figures=HERE_ALONE, formats=["svg"])


@pytest.fixture(scope="module")
def families():
    """A suite of families and a corruption, made of numbers."""
    made_of_numbers = studies.synthetic(30, graded(*MADE, corruption("fog")))
    return studies.reported(made_of_numbers, figures=["strength", "tolerance"], formats=["svg"])


@pytest.fixture(scope="module")
def plain():
    """The same images and views, with nothing asked for and one draw."""
    kept = {name: value for name, value in settings().items() if name in ("model", "families", "shard_size")}
    return studies.reported(studies.measured(made(_inputs) / "photos", **kept), figures=[])


def tables(study):
    return {name: study.table(name) for name in study.table_names}


def page_of(study):
    return html.unescape((study.folder / "report.html").read_text())


def test_every_table_is_there_with_its_columns_and_one_row_for_each_key(study, families):
    found = tables(families) | tables(study)
    declared = {table.name for table in tables_of(questions())} | {"summary", "ranking", "differences"}
    assert declared == {*TABLES} | SQUARE | ELSEWHERE
    assert found.keys() == declared - ELSEWHERE
    for name, (keys, others) in TABLES.items():
        table = found[name]
        assert sorted(table.columns) == sorted([*keys.split(), *others.split()]), name
        assert not table.select(keys.split()).is_duplicated().any(), name
        assert table.height or name in ("content", "duplicates", "thresholds", "matches"), (
            name
        )  # twelve images have none
    for name in SQUARE:
        assert found[name].columns == ["augmentation", *FAMILIES], name
        assert found[name]["augmentation"].to_list() == FAMILIES, name
    for name in study.table_names:
        is_per_image = name.startswith(("at_risk", "search_r", "search_n"))
        assert (study.folder / "tables" / f"{name}.csv").is_file() != is_per_image, name


def drawn(*reports):
    return {path.name for each in reports for path in (each.folder / "figures").iterdir()}


def test_figures_that_no_other_study_has_are_drawn(reported, families):
    strength = [name for name in FIGURES if FIGURES[name].question == "strength"]
    assert drawn(reported, families) == {f"fig{FIGURES[name].number}_{name}.svg" for name in (*HERE_ALONE, *strength)}


@pytest.mark.matrix
def test_every_figure_is_drawn(study, families):
    written = drawn(studies.reported(study, formats=["svg"]), families)
    declared = {f"fig{number}_{name}.svg" for each in questions() for name, (number, _) in each.figures.items()}
    names = ("28_power", "29_meaning", "30_threshold", "31_chains", "32_index")
    elsewhere = {f"fig{name}.svg" for name in names}  # as above
    assert written == declared - elsewhere


def test_every_section_is_on_the_page_with_its_terms_and_answer(reported, families):
    pages = {"strength": page_of(families)}
    for question, part in parts_of_page(questions()):
        page = pages.get(question.name, page_of(reported))
        first, glossary = (page[page.index(f'<section id="{name}"') :] for name in ("answer", "glossary"))
        if question.name not in {*ELSEWHERE, "worst_case"}:
            assert part.section is None or f'<section id="{SECTIONS[question.name]}"' in page, question.name
            assert part.section is None or f'href="#{SECTIONS[question.name]}"' in page, question.name
            for term in part.terms:
                assert re.search(rf"<dt[^>]*>{re.escape(term)}</dt>", glossary), f"{question.name}: {term}"
            for statement in part.corrected:
                assert statement in page, f"{question.name}: {statement}"
        title = ANSWERS.get(question.name)
        assert title is None or f"<dt>{title}</dt>" in first, question.name
    page = page_of(reported)
    for figure in (FIGURES[name] for name in FIGURES if not FIGURES[name].single):
        assert page.count(f'alt="{figure.title}') <= 1, f"{figure.name}: in its section, or among the paper's"
    assert "They cover 9 images, drawn by the seed" in " ".join(page.split())
    assert "<b>red</b>" not in (reported.folder / "report.html").read_text()


def test_a_study_that_asked_for_nothing_lists_none_of_it(plain):
    assert plain.rows().collect_schema().names() == COLUMNS
    assert not {*TABLES_ASKED} & {*plain.table_names}
    for name, words in TABLES_ASKED.items():
        with pytest.raises(EmbedshiftError, match=f"no {name} here.*{words}"):
            plain.table(name)
    for name, words in FIGURES_ASKED.items():
        with pytest.raises(EmbedshiftError, match=words):
            plain.figure(name)
    for section in ("looks", "layers", "heads", "maps", "text", "variance", "strength", "worst"):
        assert f'id="{section}"' not in page_of(plain), section
    assert plain.info()["identity"]["questions"] == {"meaning": {"properties": [*PROPERTIES]}}


def test_switches_change_no_other_number(study, plain):
    asked, bare = (each.rows().collect() for each in (study, plain))
    assert_frame_equal(
        asked.filter(draw=0).select(COLUMNS[:-2]), bare.filter(draw=0).select(COLUMNS[:-2]), abs_tol=1e-5, rel_tol=1e-5
    )
    originals = asked.filter(view="original")
    of_views = {
        name for name in asked.columns if name not in COLUMNS and originals[name].null_count() == len(originals)
    }
    assert {"layer_l2_cls", "heads", "map_tokens", "tokens_values", "word_cosines", "zero_shot_flip"} <= of_views


def test_numbers_that_need_no_vectors_are_the_same_without_them(study, tmp_path):
    lean, full = tables(run(tmp_path / "study", store="metrics")), tables(study)
    assert full.keys() - lean.keys() == OF_VECTORS
    assert lean.pop("geometry").equals(full["geometry"].filter(metric="alignment"))
    summary = lean.pop("summary")
    centred = [name for name in summary.columns if name.startswith("centred")]
    assert summary.select(centred).null_count().row(0) == (len(summary),) * 3
    assert_frame_equal(summary.drop(centred), full["summary"].drop(centred), check_exact=True)
    of_search = full["differences"]["metric"].str.contains("@")
    full["differences"] = full["differences"].filter(~of_search)
    for name, table in lean.items():
        assert_frame_equal(table, full[name], check_exact=True)


@pytest.mark.matrix
def test_a_study_that_was_resumed_by_loaders_gives_the_same_rows_and_tables(study, tmp_path):
    copy = studies.copied(study, tmp_path / "study")
    for lost in ("shards/part-00001.parquet", *(f"tables/{name}.parquet" for name in ("layers", "words", "summary"))):
        (copy.folder / lost).unlink()
    again = run(copy.folder, workers=1)
    assert_frame_equal(again.rows().collect(), study.rows().collect(), check_exact=True)
    for name, table in tables(study).items():
        assert_frame_equal(again.table(name), table, check_exact=True)


# Number of images → section → what it says of intervals.
ALLOWED = {
    1: {
        "layers": ["With 1 image there are no intervals", "needs at least 30 images"],
        "heads": ["With 1 image, there are no intervals."],
    },
    12: {
        "layers": ["With 12 images the intervals are approximate", "needs at least 30"],
        "heads": ["With 12 images, intervals are approximate."],
    },
}


@pytest.mark.parametrize("images", first_only(ALLOWED))
def test_a_section_says_what_the_number_of_images_allows(images):
    page = page_of(studies.few(images))
    for name, words in ALLOWED[images].items():
        section = page[page.index(f'<section id="{name}"') :].split("</section>")[0]
        assert [each for each in words if each not in section] == []
        assert ("no intervals" in section, "approximate" in section) == (images < 8, images > 8)
        dashes = section.count(">–</td>") == 2 if name == "layers" else "<td>–</td>" in section
        assert dashes == (images < 8), "without intervals no block is named, and no head is clear"


@pytest.mark.parametrize(
    ("others", "words"),
    first_only(
        [
            ({"layers": False}, 'questions.layers: {"layers": true} there, null now'),
            ({"heads_tokens": False}, "questions.heads"),
            ({"maps": ("relevance",)}, "questions.maps"),
            ({"labels": ["cat", "dog"]}, "questions.text.labels.hash"),
            ({"words": {"blur": "out of focus"}}, '"out of focus"'),
        ]
    ),
    ids=str,
)
def test_another_switch_is_another_study(others, words, study, tmp_path):
    copy = studies.copied(study, tmp_path / "study")
    with pytest.raises(EmbedshiftError, match=rf"contains another study: .*{re.escape(words)}") as caught:
        run(copy.folder, **others)
    assert caught.value.exit_code == 2


def test_another_caption_is_another_study(study, tmp_path):
    copy, photos = studies.copied(study, tmp_path / "study"), shutil.copytree(made(_inputs) / "photos", tmp_path / "p")
    (photos / "picture-01.txt").write_text("another one")
    given = settings() | {"model": str(settings()["model"]), "workers": 0}
    with pytest.raises(EmbedshiftError, match=r"questions\.text\.captions\.hash"):
        embedshift.run(photos, out=copy.folder, **given)


@pytest.mark.matrix
def test_tables_and_report_are_made_again_from_the_shards_without_torch(study, tmp_path):
    copy = studies.copied(study, tmp_path / "study")
    shutil.rmtree(copy.folder / "tables")
    code = (
        "import sys, embedshift; study = embedshift.load(sys.argv[1])\n"
        "study.report(figures=['depth', 'words', 'maps_moved'], formats=['svg']); print('torch' in sys.modules)"
    )
    assert run_python(code, str(copy.folder)) == "False\n"
    for name, table in tables(study).items():
        assert_frame_equal(copy.table(name), table, check_exact=True)
