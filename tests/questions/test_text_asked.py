"""Studies with texts: what makes them the same study, what is refused, and the command line."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.text.tables import phrases
from support import command, models, studies
from support.captioned import LABELS, Planted
from support.models import Colours, TinyNet, pictures

pytestmark = pytest.mark.slow


@pytest.mark.matrix
def test_resumed_and_with_workers_it_is_equal(study, photos, clip, tmp_path):
    settings = {"model": clip, "shard_size": 3, "draws": 2, "text": True, "labels": list(LABELS)}
    again = embedshift.run(photos, out=tmp_path / "study", workers=1, **settings)
    (again.folder / "shards" / "part-00000.parquet").unlink()
    (again.folder / "tables" / "words.parquet").unlink()
    again = embedshift.run(photos, out=tmp_path / "study", workers=0, **settings)
    assert again.info()["config_hash"] == study.info()["config_hash"]
    assert again.rows().collect().equals(study.rows().collect(), null_equal=True)
    assert again.words().equals(study.words(), null_equal=True)


@pytest.mark.matrix
def test_another_text_is_another_study(study, photos, clip, tmp_path):
    study, photos = studies.copied(study, tmp_path / "study"), shutil.copytree(photos, tmp_path / "photos")
    settings = {"model": clip, "shard_size": 3, "draws": 2, "workers": 0, "text": True, "labels": list(LABELS)}

    def refused(*words, **others):
        with pytest.raises(EmbedshiftError) as caught:
            embedshift.run(photos, out=study.folder, **settings | others)
        assert caught.value.exit_code == 2
        assert all(word in str(caught.value) for word in words), caught.value

    refused("contains another study", "questions.text.labels.hash", labels=["cat", "dog"])
    refused("questions.text.words.blur", '"out of focus"', words={"blur": "out of focus"})
    refused("questions.text: ", text=False, labels=None)
    (photos / "picture-00.txt").write_text("another one")
    refused("questions.text.captions.hash")


@pytest.mark.matrix
def test_the_users_own_words_and_augmentations(photos, tmp_path, caplog):
    file = tmp_path / "words.yaml"
    file.write_text("original: a picture\nmirror: a mirrored picture\n")
    suite = {"mirror": lambda image, rng: image[:, ::-1], "still": lambda image, rng: image}
    study = embedshift.run(
        photos, out=tmp_path / "s", model=Planted(knows=False), augmentations=suite, workers=0, words=str(file)
    )
    assert phrases(study.reader()) == {"mirror": "a mirrored picture"}
    assert study.info()["identity"]["questions"]["text"]["words"]["original"] == "a picture"
    assert "no phrase for still" in caplog.text
    assert study.words().select("augmentation", "word", "n").rows() == [("mirror", "mirror", 7), ("still", "mirror", 0)]
    assert study.word_test()["augmentation"].to_list() == ["mirror"]
    assert "a mirrored picture" in study.report(figures=[]).read_text()


@pytest.mark.matrix
def test_an_own_module_that_reads_text(photos, tmp_path):
    stats = {"size": 32, "mean": models.MEAN, "std": models.STD}

    def encode(texts):
        return torch.tensor([[len(text), text.count("a"), text.count("o"), 1.0, 0.0, 2.0] for text in texts])

    wrapped = embedshift.wrap(TinyNet(), **stats, encode_text=encode)
    study = embedshift.run(photos, out=tmp_path / "s", model=wrapped, workers=0, labels=LABELS, text=True, limit=2)
    assert study.summary().filter(pl.col("metric") == "text_alignment_shift")["n"].to_list() == [2] * 9
    short = embedshift.wrap(TinyNet(), **stats, encode_text=lambda texts: np.ones((len(texts), 5)))
    with pytest.raises(EmbedshiftError, match=r"\(9, 5\) for 9 texts .* do not share one space"):
        embedshift.run(photos, out=tmp_path / "t", model=short, workers=0, text=True)
    for mute in (embedshift.wrap(TinyNet(), **stats), Colours()):
        with pytest.raises(EmbedshiftError, match=r"has no text tower: .* encode_text") as caught:
            embedshift.run(photos, out=tmp_path / "u", model=mute, workers=0, text=True)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": ["cat"]}, "at least two class names"),
        ({"labels": "nowhere.txt"}, "nowhere.txt: No such file"),
        ({"words": {"blurr": "a blurry photo"}}, "unknown augmentation 'blurr'; did you mean 'blur'"),
        ({"words": {"blur": ""}}, "give 'augmentation: phrase' lines"),
        ({"metrics": ["zero_shot_flip"]}, "zero_shot_flip needs `labels`"),
        ({"metrics": ["text_alignment_shift"]}, "text_alignment_shift needs `text`"),
    ],
)
def test_what_is_refused_before_any_work(photos, tmp_path, given, words):
    with pytest.raises(EmbedshiftError, match=words) as caught:
        embedshift.run(photos, out=tmp_path / "s", model=Planted(), workers=0, **given)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "s").exists()


def test_words_that_are_no_words(photos, tmp_path):
    file = tmp_path / "words.yaml"
    for content, words in (("- blur", "give 'augmentation: phrase' lines"), ("a: [", "not YAML"), (b"\xff", "UTF-8")):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(EmbedshiftError, match=words):
            embedshift.run(photos, out=tmp_path / "s", model=Planted(), workers=0, words=str(file))
    bare = pictures(tmp_path / "bare", 1)
    suite = {"own": lambda image, rng: image}
    with pytest.raises(EmbedshiftError, match="no image has a caption and no augmentation has a phrase"):
        embedshift.run(bare, out=tmp_path / "s", model=Planted(), augmentations=suite, workers=0, text=True)


def test_on_the_command_line(photos, clip, tmp_path, monkeypatch, capsys):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    flags = [
        "--text",
        "--labels",
        names,
        "--families",
        "noise,blur",
        "--workers",
        0,
        "--no-report",
        "--limit",
        2,
        "--json",
        "-q",
    ]
    done = command.call(monkeypatch, capsys, "run", photos, "--out", tmp_path / "s", "--model", clip, *flags)
    content = json.loads(done.out)
    assert len(content["words"]) == 4
    assert content["word_test"][-1]["augmentation"] == "all"
    vision = models.make("vit", tmp_path / "vit")
    done = command.call(monkeypatch, capsys, "run", photos, "--out", tmp_path / "t", "--model", vision, "--text")
    assert done.code == 2
    assert "has no text tower" in done.line
    done = command.call(monkeypatch, capsys, "list", "metrics")
    assert "Off by default (--labels)." in done.out
