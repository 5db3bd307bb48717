"""Chains of augmentations: read from a file, drawn by the seed, known again by their steps, and measured."""

import numpy as np
import pytest

import embedshift
from embedshift.augmentations import load_suite
from embedshift.augmentations.chains import chains_of, with_chains
from embedshift.augmentations.views import Canvas
from embedshift.errors import UsageError
from support.mean_colour import MeanColour
from support.models import pictures

EVERYDAY = load_suite("everyday")


def test_chains_of_a_file_are_its_lists(tmp_path):
    file = tmp_path / "chains.yaml"
    file.write_text("- [messenger, scan]\n- [mirror, scan, brightness]\n")
    suite = with_chains(EVERYDAY, str(file), 0)
    assert suite.names == (*EVERYDAY.names, "messenger_then_scan", "mirror_then_scan_then_brightness")
    described = suite.describe()
    assert [step["name"] for step in described["mirror_then_scan_then_brightness"]["steps"]] == [
        "mirror",
        "scan",
        "brightness",
    ]
    assert chains_of(described) == {
        "messenger_then_scan": ("messenger", "scan"),
        "mirror_then_scan_then_brightness": ("mirror", "scan", "brightness"),
    }


def test_a_chain_applies_its_parts_one_after_the_other(tmp_path):
    file = tmp_path / "chains.yaml"
    file.write_text("- [mirror, greyscale]\n")
    chain = with_chains(EVERYDAY, str(file), 0)["mirror_then_greyscale"]
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    drawn = Canvas(image).changed(chain, 7)
    by_hand = EVERYDAY["greyscale"].draw(EVERYDAY["mirror"].draw(image, 0), 0)  # neither draws a number
    np.testing.assert_array_equal(drawn, by_hand)


def test_pairs_are_drawn_by_the_seed_each_once_and_of_different_families():
    drawn = with_chains(EVERYDAY, "60", 3).names[len(EVERYDAY.names) :]
    assert len({*drawn}) == 60
    assert drawn == with_chains(EVERYDAY, "60", 3).names[len(EVERYDAY.names) :]
    assert drawn != with_chains(EVERYDAY, "60", 4).names[len(EVERYDAY.names) :]
    every = with_chains(EVERYDAY, "240", 0)
    assert len(every.names) == 16 + 16 * 15
    strength = load_suite("strength", families=["jpeg", "noise"], levels=2)
    pairs = chains_of(with_chains(strength, "8", 0).describe())
    assert len(pairs) == 8
    for one, two in pairs.values():
        assert one.split("@")[0] != two.split("@")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- [messenger]", "chain 1: give two augmentations or more"),
        ("- [messenger, scan]\n- [messenger, scn]", "chain 2: unknown augmentation of this study 'scn'; did you mean"),
        ("- [messenger, 3]", "chain 1: give two augmentations or more"),
        ("a: [messenger, scan]", "give at least one chain"),
        ("[]", "give at least one chain"),
    ],
)
def test_a_file_of_no_chains_is_refused(text, words, tmp_path):
    (tmp_path / "chains.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        with_chains(EVERYDAY, str(tmp_path / "chains.yaml"), 0)


def test_too_many_pairs_are_refused():
    with pytest.raises(UsageError, match="`chains` 241: give 1 to 240"):
        with_chains(EVERYDAY, "241", 0)
    with pytest.raises(UsageError, match="needs two augmentations or more"):
        with_chains(load_suite("everyday", families=["scan"]), "1", 0)


def test_a_pipeline_is_a_chain_where_all_its_steps_are_measured_alone(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("forwarded: [messenger, screenshot]\nsent: messenger\nseen: screenshot\nlost: [messenger, scan]\n")
    described = load_suite(file).describe()
    described["sent"], described["seen"] = (EVERYDAY[name].describe() for name in ("messenger", "screenshot"))
    assert chains_of(described) == {"forwarded": ("sent", "seen")}


def test_a_run_measures_chains_and_knows_the_study_again(tmp_path):
    images, out = pictures(tmp_path / "images", 9), tmp_path / "study"
    given = {"model": MeanColour(), "augmentations": "everyday", "families": ["mirror", "scan", "greyscale"]}
    study = embedshift.run(images, out=out, chains=2, workers=0, **given)
    table = study.chains()
    assert len(table) == 2
    known = chains_of(study.info()["identity"]["augmentations"])
    assert dict(table.select("chain", "parts").iter_rows()) == {name: ", ".join(pair) for name, pair in known.items()}
    assert (table["n"] == 9).all()
    with pytest.raises(embedshift.EmbedshiftError, match="contains another study: augmentations"):
        embedshift.run(images, out=out, workers=0, **given)
    with pytest.raises(UsageError, match="`chains` cannot be combined with `pairs`"):
        embedshift.run(images, out=tmp_path / "other", pairs=images, chains=2, model=MeanColour(), workers=0)
