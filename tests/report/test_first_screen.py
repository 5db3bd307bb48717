"""The first screen: what it names first, its rows, the misses beside them, and what to do now."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from inline_snapshot import snapshot

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.check.check import record_rules
from embedshift.report.changes import changes_of, few_words, finding
from embedshift.report.head import between, typical_image
from embedshift.report.next_steps import command_of, is_repeatable, next_steps
from embedshift.sources.base import Failure
from embedshift.statistics.summary import COSINE
from embedshift.store.info import write_content
from support import studies
from support.graded import MADE, graded
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.synthetic import make_study

VIEWS = ["noise", "blur", "horizontal_flip"]


def searched(folder, images=40, lost=(0, 0, 0), views=VIEWS, **given):
    """A made study whose search loses some images under each view."""
    study = make_study(folder, images, views, **given)
    names = study.augmentations
    return with_search(study, {v: ranked(images, lost=n) for v, n in zip(names, lost, strict=True)})


def repeatable(study):
    """The study as one whose augmentations have a name, as its own command says."""
    config = study.info()["config"] | {"augmentations": "paper"}
    write_content(study.folder, study.info() | {"config": config})
    return study


def found_in(study):
    return finding(study.reader(), changes_of(study.reader()))


def test_the_finding_is_what_a_search_loses_most(tmp_path):
    lost = {"some": (1, 9, 4), "two alike": (9, 9, 1), "all": (40, 0, 0), "none": (0, 0, 0)}
    said = {name: found_in(searched(tmp_path / name, lost=each)) for name, each in lost.items()}
    said["one change"] = found_in(searched(tmp_path / "one", lost=(3,), views=["blur"]))
    said["few images"] = found_in(searched(tmp_path / "few", 5))
    said["levels"] = found_in(searched(tmp_path / "levels", 20, range(11), graded(*MADE)))
    assert said == snapshot(
        {
            "some": "Of 40 images, a search misses 9 under blur, the worst of 3 changes.",
            "two alike": "Of 40 images, a search misses 9 under noise and blur.",
            "all": "Of 40 images, a search misses all under noise, the worst of 3 changes.",
            "none": "Of 40 images, a search misses none under any of 3 changes; too few to rule out 8.8 %.",
            "one change": "Of 40 images, a search misses 3 under blur.",
            "few images": "Of 5 images, a search misses none under any of 3 changes; too few to rule out 52.2 %.",
            "levels": "Of 20 images, a search misses 10 under once, the worst of 3 changes.",
        }
    )


@pytest.mark.slow
def test_without_a_search_the_finding_is_how_far_the_embedding_moves(tmp_path):
    def moved(name, effect, images=30, **given):
        study = make_study(tmp_path / name, images, [*effect], effect=effect, dim=16, **given)
        return found_in(without_vectors(study))

    said = {
        "one furthest": moved("far", {"noise": 0.9, "blur": 0.2, "elastic": 0.2}),
        "no difference": moved("near", {"noise": 0.3, "blur": 0.3}, images=9),
        "one change": moved("one", {"noise": 0.5}),
        "one image": moved("image", {"noise": 0.5, "blur": 0.2}, images=1),
        "nothing moves": moved("same", {"noise": 0.0}),
    }
    assert said == snapshot(
        {
            "one furthest": "Under noise the embedding moves furthest: 0.167 of the way to another image.",
            "no difference": "All 2 changes move the embedding about as far: 0.031 of the way to another image.",
            "one change": "Under noise the embedding moves: 0.049 of the way to another image.",
            "one image": "Under blur the embedding moves furthest: to a cosine similarity of 0.980.",
            "nothing moves": "No change moves the embedding of 30 images.",
        }
    )


def test_rows_are_those_of_the_tables_sorted_by_what_is_missed_then_by_shift(tmp_path):
    study = searched(tmp_path / "study", lost=(2, 2, 7), effect={"noise": 0.2, "blur": 0.6, "horizontal_flip": 0.1})
    changes = changes_of(study.reader())
    assert [change.name for change in changes] == ["horizontal_flip", "blur", "noise"]
    summary = {row["augmentation"]: row for row in study.summary().filter(metric=COSINE).to_dicts()}
    search = {row["augmentation"]: row for row in study.search().filter(metric="recall@1").to_dicts()}
    for change in changes:
        row, found = summary[change.name], search[change.name]
        assert (change.n, change.missed) == (40, {"horizontal_flip": 7}.get(change.name, 2))
        assert change.missed_ends == (1 - found["ci_high"], 1 - found["ci_low"])
        assert change.shift_ends == (row["relative_shift_low"], row["relative_shift_high"])
        assert (change.shift, change.cosine) == (row["relative_shift"], row["mean"])


@pytest.mark.slow
def test_levels_of_a_family_are_one_row_of_the_worst_with_its_tolerance(tmp_path):
    study = searched(tmp_path / "study", 20, (0, 1, 3, 3, 9, *(0,) * 6), graded(*MADE))
    changes, families = changes_of(study.reader()), study.reader().families
    assert len(changes) == len(families) < len(study.augmentations)
    assert (changes[0].missed, changes[0].view) == (9, families[0].views[4])
    assert changes[0].strength == changes[0].in_words.partition(" at ")[2] != ""
    reached = study.table("tolerance").filter(pl.col("reached"), criterion="relative shift 0.1")
    assert {change.name for change in changes if change.tolerance} == {*reached["family"]}
    by_view = changes_of(study.reader(), in_families=False)
    assert sorted(change.name for change in by_view) == sorted(study.augmentations)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("Printed and scanned: corners moved in by 0 to 2 % of the side", "Printed and scanned"),
        ("Cut to 90 % of width and height at a drawn place", "Cut to 90 %"),
        ("Gaussian noise, sd .44 to .88 of the range", "Gaussian noise"),
        ("Mirrored left to right", "Mirrored left to right"),
        ("Brightness ±20 % of the range (both)", "Brightness ±20 % of the range"),
        ("One two three four five six seven", "One two three four five six"),
        ("Levels .5 to .8", "Levels .5 to .8"),
        ("", ""),
    ],
)
def test_a_description_in_six_words_at_most(description, words):
    assert few_words(description) == words
    assert few_words(f"A thin line: {description}", "thin_line") == words


def test_the_image_shown_is_the_most_colourful_of_the_middle_half(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 15, VIEWS)
    reader = study.reader()
    rows, means = reader.rows().collect(), {}
    for row in rows.to_dicts():
        if row["view"] in VIEWS[:2]:
            means.setdefault(row["image_id"], []).append(row[COSINE])
    by_shift = sorted(means, key=lambda image_id: sum(means[image_id]))
    assert "saturation" not in rows.columns
    assert typical_image(reader, VIEWS[:2]) == by_shift[7]
    assert typical_image(reader, ["none"]) is None
    colours = dict.fromkeys(by_shift, 0.1) | {by_shift[0]: 0.9, by_shift[5]: 0.5, by_shift[14]: 0.9}
    is_original = pl.col("view") == "original"
    coloured = rows.with_columns(
        saturation=pl.when(is_original).then(pl.col("image_id").replace_strict(colours, return_dtype=float))
    )
    monkeypatch.setattr(type(reader), "rows", lambda _: coloured.lazy())
    assert typical_image(study.reader(), VIEWS[:2]) == by_shift[5]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (("2026-05-03", "2026-05-03"), "3 May 2026"),
        (("2026-05-03", "2026-05-04"), "3 to 4 May 2026"),
        (("2026-04-30", "2026-05-02"), "30 April to 2 May 2026"),
        (("2025-12-31", "2026-01-01"), "31 December 2025 to 1 January 2026"),
    ],
)
def test_days_are_named_once(days, words):
    assert between(*(np.datetime64(f"{day}T12:00").astype("datetime64[s]").astype(float) for day in days)) == words


def cosine(one, other):
    return one @ other / np.sqrt((one @ one) * (other @ other))


def screen(page):
    """The parts of the first screen as text, by their class."""
    section = page.partition('<section id="answer"')[2].partition("</section>")[0]
    parts = re.split(r'<div class="(now|changes|misses)[^"]*">|<p class="(rules)">', section)
    names = [first or second for first, second in zip(parts[1::3], parts[2::3], strict=True)]
    return {name: " ".join(re.sub("<[^>]+>", " ", text).split()) for name, text in zip(names, parts[3::3], strict=True)}


@pytest.mark.slow
def test_misses_show_those_beaten_most_and_near_copies(tmp_path):
    rng, count = np.random.default_rng(3), 80
    originals = rng.normal(size=(count, 32))
    originals[70] = originals[0] + 0.01 * rng.normal(size=32)
    views = {name: originals + 0.3 * rng.normal(size=originals.shape) for name in ("edit", "filter")}
    views["edit"][0], views["edit"][5] = originals[70] - 0.01 * (originals[0] - originals[70]), originals[6]
    views["edit"][70] = originals[70] + 0.002 * (originals[70] - originals[0])
    for name in ("edit", "filter"):
        views[name][7] = 0.6 * originals[8] + 0.4 * originals[7]
    study = embedshift.from_vectors(originals, views, ids=[f"{n:02}" for n in range(count)], out=tmp_path / "s")
    missed = {}
    for name, rows in views.items():
        cosines = np.array([[cosine(row, original) for original in originals] for row in rows])
        ranks = (cosines >= np.diag(cosines)[:, None]).sum(axis=1)
        missed |= {(name, n): ranks[n] for n in range(count) if ranks[n] > 1}
    shown = screen(study.report(figures=[]).read_text())["misses"]
    assert f"of {len(missed)} misses" in shown
    rows = re.findall(r"(edit|filter)( near-copy)? query: (\d+) came first: (\d+) original, rank (\d+): (\d+)", shown)
    assert len(rows) == 4
    for view, copied, query, first, rank, own in rows:
        assert (query, int(rank)) == (own, missed[view, int(query)])
        assert bool(copied) == ({query, first} == {"00", "70"})
    assert [row[0] for row in rows[:2]] == ["edit", "filter"], "first one of each augmentation"


@pytest.mark.slow
def test_what_now_has_at_most_three_commands_in_their_order(tmp_path):
    rng = np.random.default_rng(5)
    originals = rng.normal(size=(24, 8))
    originals[20:] = originals[:4] + 1e-3 * rng.normal(size=(4, 8))
    views = {"edit": originals + 0.9 * rng.normal(size=(24, 8)), "mild": originals + 0.01 * rng.normal(size=(24, 8))}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "my study")
    steps = [(step.why, step.command("my study")) for step in next_steps(study.reader())]
    assert steps == snapshot(
        [
            ("leave near-copies out of the results", "embedshift search 'my study' --groups near"),
            ("an index of other parts may find more", "embedshift index 'my study'"),
            ("24 images are few: finding 1 % less recall needs 40,000", "embedshift power 'my study'"),
        ]
    )
    page = screen(study.report(figures=[]).read_text())
    assert [command in page["now"].replace("&#39;", "'") for _, command in steps] == [True] * len(steps)


def test_images_that_failed_come_first_and_nothing_says_so(tmp_path):
    failed = repeatable(searched(tmp_path / "failed", failures=[Failure("a.png", "decode", "damaged")], lost=(9, 9, 9)))
    [first, *_] = next_steps(failed.reader())
    assert (first.why, first.command("s")) == snapshot(
        (
            "1 image could not be measured: failures.parquet says why",
            "embedshift run pictures --model synthetic-encoder --out s --retry-failed",
        )
    )
    fine = make_study(tmp_path / "fine", 90, VIEWS)
    assert next_steps(with_search(fine, {v: ranked(90, lost=1) for v in VIEWS}).reader()) == []


RULES = "rules:\n  - {table: search, metric: recall@1, at_least: 0.9}  # ours\n"


@pytest.mark.slow
def test_rules_and_their_verdict_are_kept_without_a_path(tmp_path, cli):
    study = searched(tmp_path / "study", 60, lost=(40, 0, 4))
    (tmp_path / "rules.yaml").write_text(RULES)
    assert cli("report", study.folder, "--rules", tmp_path / "rules.yaml", "--figures", "ruler").code == 0
    page = (study.folder / "report.html").read_text()
    assert screen(page)["rules"] == snapshot("Rules 2 kept 1 broken noise, recall@1 is 0.3333, required: at least 0.9")
    checked = embedshift.check(study, tmp_path / "rules.yaml")
    kept = study.info()["rules"]
    counts = {outcome: len(checked.of(outcome)) for outcome in ("kept", "broken", "undecided")}
    assert kept["counts"] == {outcome: count for outcome, count in counts.items() if count}
    assert kept["text"] == RULES
    assert str(tmp_path) not in json.dumps(kept) + page
    assert "# ours" in page
    assert screen(study.report(figures=[]).read_text())["rules"] == screen(page)["rules"], "it stays"
    done = cli("report", study.folder, "--against", study.folder)
    assert (done.code, "give them by --rules FILE" in done.err) == (2, True)
    info = study.reader().info
    assert info.model_copy(update={"rows": "of other rows"}).checked is None


def test_rules_as_a_list_and_a_reference(tmp_path):
    study = searched(tmp_path / "a", 30, lost=(3, 0, 0))
    rule = {
        "table": "comparison",
        "augmentation": "noise",
        "metric": "recall@1",
        "column": "difference",
        "at_least": -0.1,
    }
    with pytest.raises(UsageError, match="need a reference study"):
        record_rules(study, [rule])
    record_rules(study, [rule], against=studies.copied(study, tmp_path / "b"))
    assert study.info()["rules"]["counts"] == {"kept": 1}


@pytest.mark.slow
def test_without_pictures_no_command_and_no_image(tmp_path):
    study = repeatable(searched(tmp_path / "study", lost=(5, 0, 0), with_pictures=True))
    shown, hidden = (study.report(figures=[], pictures=pictures).read_text() for pictures in (True, False))
    for page, seen in ((shown, True), (hidden, False)):
        head = page.partition("<header")[2].partition('<section id="answers"')[0]
        assert ("data:image/webp" in head, "$ embedshift run" in head) == (seen, seen)


def test_the_command_names_places_apart_and_no_folder_above_them(tmp_path):
    study = make_study(tmp_path / "study", 12, ["noise"], with_pictures=True)
    reader = study.reader()

    def command(**config):
        info = reader.info.model_copy(update={"config": {**reader.info.config, **config}})
        given = SimpleNamespace(info=info, naming=reader.naming)
        return is_repeatable(given), command_of(given, "s"), command_of(given, "s", whole=True)

    paper = {"augmentations": "paper"}
    _, short, whole = command(images=["/a/x/train", "/a/y/train"], model="/models/clip", **paper)
    assert short[:6] == ["embedshift", "run", "x/train", "y/train", "--model", "clip"]
    assert whole[2:6] == ["/a/x/train", "/a/y/train", "--model", "/models/clip"]
    _, short, _ = command(images=["/p/imgs"], pairs=["a=/z/q50/imgs", "b=/z/q10/imgs"], **paper)
    assert short[2:6] == ["--pairs", "p/imgs", "a=q50/imgs", "b=q10/imgs"]
    assert command(**paper)[0]
    assert not command()[0], "augmentations of Python"
    assert not command(images=[f"/a/{number}.png" for number in range(500)], **paper)[0]


def test_changes_of_fewer_views_and_galleries_are_named_as_such(tmp_path):
    study = searched(tmp_path / "study", 20, lost=(0, 0, 0))
    table = study.search()
    lacking = (pl.col("augmentation") == "blur") & (pl.col("metric") == "recall@1")
    numbers = [pl.when(~lacking).then(name).alias(name) for name in ("value", "ci_low", "ci_high")]
    for name, columns in (("no view", numbers), ("one view", [pl.when(lacking).then(1).otherwise("n").alias("n")])):
        reader = dataclasses.replace(study.reader(), made={"search": table.with_columns(columns)})
        changes = changes_of(reader)
        assert finding(reader, changes) == (
            f"Of 20 images, a search misses none under any of {2 if name == 'no view' else 3} changes; "
            "too few to rule out 16.8 %."
        )
        assert {change.n for change in changes if change.name == "blur"} == {0 if name == "no view" else 1}


@pytest.mark.slow
def test_groups_make_a_verdict_old_and_vectors_name_no_command(tmp_path):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(24, 8))
    views = originals + 0.9 * rng.normal(size=(24, 8))
    views[3] = np.nan
    study = embedshift.from_vectors(originals, {"edit": views}, out=tmp_path / "-s")
    record_rules(study, [{"table": "search", "metric": "recall@1", "at_least": 0.9}])
    assert study.reader().info.checked
    study.regroup({image: str(place // 2) for place, image in enumerate(study.reader().ordered_ids())})
    assert study.reader().info.checked is None
    commands = [step.command("-s") for step in next_steps(study.reader())]
    assert all(command.startswith("embedshift ") and " ./-s" in command for command in commands if command)
    failed = [step for step in next_steps(study.reader()) if "could not be measured" in step.why]
    assert [step.command("-s") for step in failed] == [""] * len(failed)
