"""Pairs on the command line, in a file of settings and from Python: the same study; and what is refused in one line."""

import json

import pytest
import yaml

import embedshift
from support import studies
from support.mean_colour import MeanColour


@pytest.fixture
def places():
    return [studies.paired()[0] / name for name in ("originals", "q50", "q10")]


@pytest.fixture
def model():
    return str(studies.checkpoint("dinov2"))


@pytest.mark.matrix
@pytest.mark.slow
def test_flag_file_and_python_are_the_same_study(cli, places, model, tmp_path):
    settings = ["--model", model, "--workers", "0", "--no-report"]
    done = cli("run", "--pairs", *places, "--out", tmp_path / "flag", "--json", *settings)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert {row["augmentation"] for row in content["summary"]} == {"q50", "q10"}
    assert "claims" not in content
    rows = embedshift.load(tmp_path / "flag").rows().collect()
    assert len(rows) == 27
    listed = {"images": str(places[0]), "pairs": [str(place) for place in places[1:]]}
    for number, given in enumerate((listed, listed | {"pairs": {"q50": str(places[1]), "q10": str(places[2])}})):
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(given, sort_keys=False))
        done = cli("run", "--config", file, "--out", tmp_path / f"file{number}", *settings)
        assert done.code == 0, done.err
        assert embedshift.load(tmp_path / f"file{number}").rows().collect().equals(rows, null_equal=True)
    study = embedshift.run(places[0], pairs=places[1:], out=tmp_path / "python", model=model, workers=0)
    assert study.rows().collect().equals(rows, null_equal=True)
    given = [places[0], f"cdn={places[1]}", f"mirror={places[1]}"]
    done = cli("run", "--pairs", *given, "--out", tmp_path / "named", *settings)
    assert done.code == 0, done.err
    assert embedshift.load(tmp_path / "named").augmentations == ["cdn", "mirror"]
    named = embedshift.run(
        str(places[0]), pairs={"noise": places[2]}, out=tmp_path / "s", model=MeanColour(), workers=0
    )
    assert named.augmentations == ["noise"]
    assert "claims" not in named.table_names
    with pytest.raises(embedshift.EmbedshiftError, match="no claims here: it is not available for pairs"):
        named.claims()


def test_a_dry_run_estimates_and_writes_nothing(cli, places, model, tmp_path):
    done = cli("run", "--pairs", *places, "--out", tmp_path / "s", "--model", model, "--dry-run")
    assert done.code == 0, done.err
    assert "views: 3 per image, 27 in total, in 1 shard\n" in done.out
    assert "time: about" in done.out
    assert not (tmp_path / "s").exists()


# What follows --pairs → a part of the line that refuses it; O are the originals, V variants.
REFUSED = {
    "O": "--pairs needs the originals and at least one folder of variants, --pairs ORIGINALS VARIANTS..., or what",
    "": "--pairs needs the originals",
    "O V --augmentations paper": "--augmentations cannot be combined with --pairs, whose views are read",
    "O V --families jpeg": "--families cannot be combined with --pairs",
    "O V --levels 3 --draws 2": "--draws, --levels cannot be combined with --pairs",
    "O V V": "two variants have the name 'q50': ",
    "O Vx": "q50x: no such file or folder",
    "O V/deep": "no variant in deep matches an image",
}


def test_what_cannot_be_combined_is_one_line(cli, places, tmp_path):
    out, words_of = ("--out", tmp_path / "s"), {"O": str(places[0]), "V": str(places[1])}
    for typed, words in REFUSED.items():
        given = [words_of.get(word[0], word[0]) + word[1:] for word in typed.split()]
        done = cli("run", "--pairs", *given, *out, "--model", "dinov2-small-offline")
        assert (done.code, words in done.line) == (2, True), done.err
    done = cli("run", places[0], "--allow-missing", *out)
    assert (done.code, done.line) == (2, "error: --allow-missing needs --pairs")
    for own in ("strength", {"own": lambda image, rng: image}):
        with pytest.raises(embedshift.EmbedshiftError, match="`augmentations` cannot be combined with `pairs`"):
            embedshift.run(places[0], pairs=places[1:], out=tmp_path / "s", model=MeanColour(), augmentations=own)
    assert not (tmp_path / "s").exists()
