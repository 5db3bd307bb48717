"""Pairs on the command line, in a file of settings and from Python: the same study; and what is refused in one line."""

import json

import pytest
import yaml

import embedshift
from support import studies
from support.mean_colour import MeanColour
from support.pairs import tiles, write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), tiles(6))


@pytest.fixture(scope="module")
def model():
    return str(studies.checkpoint("dinov2"))


@pytest.fixture
def places(pairs):
    return [pairs / name for name in ("originals", "q50", "q10")]


@pytest.mark.slow
def test_flag_file_and_python_are_the_same_study(cli, pairs, places, model, tmp_path):
    settings = ["--model", model, "--workers", "0", "--no-report"]
    done = cli("run", "--pairs", *places, "--out", tmp_path / "flag", "--json", *settings)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert {row["augmentation"] for row in content["summary"]} == {"q50", "q10"}
    assert "claims" not in content
    rows = embedshift.load(tmp_path / "flag").rows().collect()
    assert len(rows) == 18
    listed = {"images": str(places[0]), "pairs": [str(place) for place in places[1:]]}
    for number, given in enumerate((listed, listed | {"pairs": {"q50": str(places[1]), "q10": str(places[2])}})):
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(given, sort_keys=False))
        done = cli("run", "--config", file, "--out", tmp_path / f"file{number}", *settings)
        assert done.code == 0, done.err
        assert embedshift.load(tmp_path / f"file{number}").rows().collect().equals(rows, null_equal=True)
    study = embedshift.run(places[0], pairs=places[1:], out=tmp_path / "python", model=model, workers=0)
    assert study.rows().collect().equals(rows, null_equal=True)
    named = embedshift.run(
        str(places[0]), pairs={"cdn": places[2]}, out=tmp_path / "named", model=MeanColour(), workers=0
    )
    assert named.augmentations == ["cdn"]


@pytest.mark.slow
def test_names_on_the_command_line(cli, places, model, tmp_path):
    given = [places[0], f"cdn={places[1]}", f"mirror={places[1]}"]
    done = cli("run", "--pairs", *given, "--out", tmp_path / "s", "--model", model, "--workers", 0, "--no-report")
    assert done.code == 0, done.err
    assert embedshift.load(tmp_path / "s").augmentations == ["cdn", "mirror"]


def test_a_dry_run_estimates_and_writes_nothing(cli, places, model, tmp_path):
    done = cli("run", "--pairs", *places, "--out", tmp_path / "s", "--model", model, "--dry-run")
    assert done.code == 0, done.err
    assert "views: 3 per image, 18 in total, in 1 shard\n" in done.out
    assert "time: about" in done.out
    assert not (tmp_path / "s").exists()


REFUSED = {
    "one argument": (
        ["{o}"],
        "--pairs needs the originals and at least one folder of variants, --pairs ORIGINALS VARIANTS..., or what",
    ),
    "no argument": ([], "--pairs needs the originals"),
    "a suite": (
        ["{o}", "{v}", "--augmentations", "paper"],
        "--augmentations cannot be combined with --pairs, whose views are read",
    ),
    "families": (["{o}", "{v}", "--families", "jpeg"], "--families cannot be combined with --pairs"),
    "levels": (["{o}", "{v}", "--levels", "3", "--draws", "2"], "--draws, --levels cannot be combined with --pairs"),
    "equal names": (["{o}", "{v}", "{v}"], "two variants have the name 'q50': "),
    "no such folder": (["{o}", "{v}x"], "q50x: no such file or folder"),
    "not paired": (["{o}", "{v}/deep"], "no variant in deep matches an image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line(cli, places, tmp_path, case):
    arguments, words = REFUSED[case]
    given = [each.format(o=places[0], v=places[1]) for each in arguments]
    done = cli("run", "--pairs", *given, "--out", tmp_path / "s", "--model", "dinov2-small-offline")
    assert done.code == 2
    assert words in done.line
    assert not (tmp_path / "s").exists()


def test_allow_missing_is_for_pairs(cli, places, tmp_path):
    done = cli("run", places[0], "--allow-missing", "--out", tmp_path / "s")
    assert (done.code, done.line) == (2, "error: --allow-missing needs --pairs")


@pytest.mark.parametrize("given", [{"augmentations": "strength"}, {"augmentations": {"own": lambda image, rng: image}}])
def test_python_refuses_augmentations_beside_pairs(places, tmp_path, given):
    with pytest.raises(embedshift.EmbedshiftError, match="`augmentations` cannot be combined with `pairs`"):
        embedshift.run(places[0], pairs=places[1:], out=tmp_path / "s", model=MeanColour(), **given)


@pytest.mark.slow
def test_claims_say_that_they_are_not_asked(places, tmp_path):
    study = embedshift.run(places[0], pairs={"noise": places[1]}, out=tmp_path / "s", model=MeanColour(), workers=0)
    assert "claims" not in study.table_names
    with pytest.raises(embedshift.EmbedshiftError, match="no claims here: it is not available for pairs"):
        study.claims()
