"""`text`, `labels` and `words`: from captions and words to tables, with encoders whose answer is known."""

import itertools
import json
import subprocess
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import transformers as hf
from scipy.spatial.distance import cosine

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations.paper import PAPER
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.text.tables import phrases, word_test
from embedshift.questions.text.texts import TEMPLATES, WORDS
from embedshift.sources import open_source
from embedshift.statistics import bootstrap
from embedshift.statistics import summary as tables
from support import command, models
from support.models import Colours, TinyNet, pictures
from support.synthetic import make_study
from support.tokenizers_made import make_clip

NINE = tuple(PAPER)
LABELS = ("cat", "dog", "red boat")
CONTRACT = [
    "image_id", "view", "draw", "view_seed", "embedding", "attention", "cosine_similarity", "l2_distance",
    "attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation", "pairwise", "caption",
]  # fmt: skip


def mark(place):
    """An augmentation that does nothing but write its number into a corner."""

    def draw(image, _rng):
        image = image.copy()
        image[:2, :2] = 20 * (place + 1)
        return image

    return draw


MARKS = {name: mark(place) for place, name in enumerate(NINE)}


@dataclass
class Planted(Colours):
    """It moves by a direction of its own for every mark, besides some noise; texts move alike, or anyhow."""

    dim: int = 16
    knows: bool = True
    lost: str = ""

    def __call__(self, views):
        means = super().__call__(views).embedding
        rows = []
        for view, mean in zip(views, means, strict=True):
            corner = int(view[0, 0, 0]) // 20 - 1 if (view[:2, :2] == view[0, 0, 0]).all() else -1
            rng = np.random.default_rng(zlib.crc32(view.tobytes()))
            rows.append(np.pad(mean, (0, 4)) + 3 + 0.2 * rng.normal(size=16) + 2 * self.axis(corner))
        return embedshift.encoders.EncoderOutput(np.array(rows, np.float32), None, None)

    def axis(self, place):
        return np.eye(16)[place] if place >= 0 else np.zeros(16)

    def encode_text(self, texts):
        phrases = list(WORDS.values())
        if not self.knows:
            return [np.random.default_rng(zlib.crc32(text.encode())).normal(size=16) for text in texts]
        return [3 + self.axis(phrases.index(text) - 1 if text in phrases else -1) for text in texts]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Seven pictures, the first four with a caption."""
    folder = pictures(tmp_path_factory.mktemp("photos"), 7)
    for index, text in enumerate(["a photo of a cat", "a dog\n", "the red boat of a cat", "itap"]):
        (folder / f"picture-{index:02d}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(make_clip(tmp_path_factory.mktemp("models") / "clip"))


@pytest.fixture(scope="module")
def study(photos, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("text") / "study"
    return embedshift.run(photos, out=out, model=clip, workers=0, shard_size=3, draws=2, text=True, labels=list(LABELS))


# Where the answer is known.


def test_a_planted_direction_is_found(photos, tmp_path):
    study = embedshift.run(
        photos, out=tmp_path / "study", model=Planted(), augmentations=MARKS, workers=0, draws=2, text=True
    )
    test = study.word_test()
    assert test.drop_nulls("rank")["rank"].to_list() == [1] * 9
    assert test["augmentation"].to_list() == [*NINE, "all"]
    last = test.row(-1, named=True)
    assert last["p_value"] < 0.001
    assert last["difference"] > 0.3
    means = study.words()["mean"].to_numpy().reshape(9, 9)
    assert np.diag(means).min() > means[~np.eye(9, dtype=bool)].max() + 0.3
    page = study.report(figures=["words"]).read_text()
    assert "so the shifts point to their words" in page


@pytest.mark.parametrize("seed", [0, 1])
def test_texts_that_know_nothing_show_nothing(photos, tmp_path, seed):
    study = embedshift.run(
        photos, out=tmp_path / "s", model=Planted(knows=False), augmentations=MARKS, workers=0, text=True, seed=seed
    )
    assert study.word_test()["p_value"][-1] > 0.05
    page = study.report(figures=[]).read_text()
    assert "nothing says that the shifts point to their words" in page


# Every number, once more by hand.


def reference(clip, texts):
    model, tokenizer = hf.CLIPModel.from_pretrained(clip).eval(), hf.AutoTokenizer.from_pretrained(clip)
    with torch.no_grad():
        given = [tokenizer(text, return_tensors="pt", return_token_type_ids=False) for text in texts]
        return [model.get_text_features(**tokens).pooler_output[0].double().numpy() for tokens in given]


def unit(vector):
    return vector / np.sqrt(np.sum(vector**2))


def test_every_row_by_slow_loops(study, clip):
    rows = study.rows().collect().to_dicts()
    captions = dict(sorted({row["image_id"]: row["caption"] for row in rows}.items()))
    assert list(captions.values()) == ["a photo of a cat", "a dog", "the red boat of a cat", "itap", None, None, None]
    caption = {i: reference(clip, [text])[0] for i, text in captions.items() if text}
    start, *ends = (unit(vector) for vector in reference(clip, WORDS.values()))
    assert list(WORDS)[1:] == list(NINE)
    classes = []
    for label in LABELS:
        prompts = reference(clip, [template.format(label) for template in TEMPLATES])
        classes.append(np.mean([unit(prompt) for prompt in prompts], axis=0))

    def nearest(vector):
        return min(range(3), key=lambda c: cosine(vector, classes[c]))

    originals = {row["image_id"]: np.array(row["embedding"], float) for row in rows if row["view"] == "original"}
    for row in rows:
        names = ("text_alignment_shift", "zero_shot_flip", "word_cosines")
        if row["view"] == "original":
            assert [row[name] for name in names] == [None] * 3
            continue
        before, after = originals[row["image_id"]], np.array(row["embedding"], float)
        assert row["zero_shot_flip"] == float(nearest(before) != nearest(after))
        pointing = [1 - cosine(unit(after) - unit(before), end - start) for end in ends]
        np.testing.assert_allclose(row["word_cosines"], pointing, rtol=0, atol=2e-4)  # words of one token are near
        if row["image_id"] not in caption:
            assert row["text_alignment_shift"] is None
            continue
        text = caption[row["image_id"]]
        assert row["text_alignment_shift"] == pytest.approx(cosine(before, text) - cosine(after, text), abs=1e-6)


def test_the_summary_counts_images_with_captions(study):
    rows = study.rows().collect()
    for name, images in (("text_alignment_shift", 4), ("zero_shot_flip", 7)):
        for row in study.summary().filter(pl.col("metric") == name).to_dicts():
            values = rows.filter(pl.col("view") == row["augmentation"])[name].drop_nulls()
            assert row["n"] == len(values) == 2 * images
            assert row["mean"] == pytest.approx(values.mean())
            assert row["ci_low"] <= row["mean"] <= row["ci_high"]
    assert len(study.summary()) == 9 * 8
    assert study.metrics[6:] == ["text_alignment_shift", "zero_shot_flip"]
    assert study.ranking().columns == ["augmentation", "mean_performance", "rank"]


def test_rows_hold_what_was_asked_for_and_no_more(study, photos, clip, tmp_path):
    assert study.rows().collect_schema().names() == [
        *CONTRACT[:12], "text_alignment_shift", "zero_shot_flip", "pairwise", "word_cosines", "caption",
    ]  # fmt: skip
    plain = embedshift.run(photos, out=tmp_path / "plain", model=clip, workers=0, limit=2)
    assert plain.rows().collect_schema().names() == CONTRACT
    assert set(plain.info()["identity"]) == {
        "images", "weights_hash", "embedding", "size", "mean", "std", "resize", "augmentations", "seed", "draws",
        "precision", "batch_size", "shard_size", "metrics", "questions", "versions",
    }  # fmt: skip
    assert plain.info()["identity"]["questions"] == {}
    assert "text" not in plain.info()["questions"]
    assert not (plain.folder / "tables" / "words.csv").exists()
    for table in (plain.words, plain.word_test):
        with pytest.raises(EmbedshiftError, match="run the study with `text`"):
            table()
    assert 'id="text"' not in plain.report(figures=[]).read_text()
    both = study.rows().filter(pl.col("image_id") == "picture-00.png", pl.col("draw") == 0).select(CONTRACT[:11])
    alone = plain.rows().filter(pl.col("image_id") == "picture-00.png", pl.col("draw") == 0).select(CONTRACT[:11])
    assert (
        both.drop("embedding", "attention").collect().select(CONTRACT[:4]).equals(alone.collect().select(CONTRACT[:4]))
    )
    np.testing.assert_allclose(
        both.collect()["embedding"].to_numpy(), alone.collect()["embedding"].to_numpy(), rtol=0, atol=1e-5
    )


def test_labels_alone_and_a_source_without_captions(tmp_path, clip, caplog):
    bare = pictures(tmp_path / "bare", 2)
    names = tmp_path / "names.txt"
    names.write_text("\ufeffcat\n\n dog \ncat\nred boat\n", encoding="utf-8")
    study = embedshift.run(bare, out=tmp_path / "labels", model=clip, workers=0, labels=str(names))
    assert study.metrics[6:] == ["zero_shot_flip"]
    assert "word_cosines" not in study.rows().collect_schema()
    assert study.info()["identity"]["questions"]["text"]["labels"]["count"] == 3
    possible = {name for name in FIGURES if FIGURES[name].possible(FigureInput(study.reader()))}
    assert {"text", "words"} & possible == {"text"}
    page = study.report(figures=["text"], formats=["svg"]).read_text()
    assert "3 class names" in page
    assert "caption</b>" not in page
    caplog.clear()
    study = embedshift.run(bare, out=tmp_path / "text", model=clip, workers=0, text=True)
    assert "no image has a caption" in caplog.text
    assert study.metrics[6:] == []
    assert len(study.words()) == 81


# Tables.


def test_words_by_slow_loops(tmp_path):
    study = make_study(tmp_path / "study", bootstrap.BLOCK + 20, ["noise", "blur", "own"], text=True, draws=2, seed=4)
    rows = study.rows().collect()
    wide = rows.lazy().with_columns(pl.col("word_cosines").arr.get(i).alias(f"w{i}") for i in range(3))
    described = tables.summary(wide, study.augmentations, ["w0", "w1", "w2"], seed=4)
    for place, row in enumerate(study.words().to_dicts()):
        values = rows.filter(pl.col("view") == row["augmentation"])["word_cosines"].to_numpy()[:, place % 3]
        assert row["word"] == study.augmentations[place % 3]
        assert row["n"] == len(values)
        assert row["mean"] == pytest.approx(values.astype(float).mean())
        assert row["ci_low"] == pytest.approx(described["ci_low"][place])
        assert row["ci_high"] == pytest.approx(described["ci_high"][place])


def pairs(values):
    names = [f"a{index}" for index in range(len(values))]
    cells = [(a, b, values[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)]
    return pl.DataFrame(cells, schema=["augmentation", "word", "mean"], orient="row")


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_that_of_all_permutations(seed):
    values = np.random.default_rng(seed).normal(size=(5, 5)) + 0.5 * np.eye(5)
    leads = []
    for order in itertools.permutations(range(5)):
        own = np.array([values[i, order[i]] for i in range(5)])
        rest = [values[i, order[j]] for i in range(5) for j in range(5) if i != j]
        leads.append(own.mean() - np.mean(rest))
    exact = np.mean(np.array(leads) >= leads[0] - 1e-12)
    last = word_test(pairs(values), seed=seed).row(-1, named=True)
    assert last["difference"] == pytest.approx(leads[0])
    assert last["p_value"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000) + 2e-4)
    ranks = [1 + sorted(row, reverse=True).index(row[i]) for i, row in enumerate(values.tolist())]
    assert word_test(pairs(values), seed=seed)["rank"].to_list()[:-1] == ranks


def test_what_has_no_word_or_never_moved_is_left_out_of_the_test():
    values = np.eye(3)
    table = pairs(values).with_columns(
        pl.when(pl.col("augmentation") == "a1").then(None).otherwise("mean").alias("mean")
    )
    assert word_test(table, seed=0)["augmentation"].to_list() == ["a0", "a2", "all"]
    assert word_test(table.filter(pl.col("word") != "a2"), seed=0)["augmentation"].to_list() == ["a0"]
    flat = word_test(pairs(np.zeros((4, 4))), seed=0)
    assert flat["p_value"][-1] == 1.0
    assert flat["rank"].to_list()[:-1] == [1, 1, 1, 1]


def test_tables_and_report_are_rebuilt_without_torch(study, tmp_path):
    before = {name: getattr(study, name)() for name in ("summary", "words", "word_test")}
    for file in (study.folder / "tables").iterdir():
        file.unlink()
    assert not study.is_complete()
    code = (
        "import sys, embedshift; embedshift.load(sys.argv[1]).report(figures=['text', 'words'], formats=['svg']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, study.folder],
        env=command.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    for name, table in before.items():
        assert getattr(study, name)().equals(table, null_equal=True)
    page = (study.folder / "report.html").read_text()
    assert "4 of the images come with a <b>caption</b>" in page
    for phrase in (*WORDS.values(), "text tower", "zero-shot", "flip rate"):
        assert phrase.lower() in page.lower()
    assert {"fig12_text.svg", "fig13_words.svg"} <= {path.name for path in (study.folder / "figures").iterdir()}


# The same study, and another one.


def test_resumed_and_with_workers_it_is_equal(study, photos, clip, tmp_path):
    settings = {"model": clip, "shard_size": 3, "draws": 2, "text": True, "labels": list(LABELS)}
    again = embedshift.run(photos, out=tmp_path / "study", workers=1, **settings)
    (again.folder / "shards" / "part-00000.parquet").unlink()
    (again.folder / "tables" / "words.parquet").unlink()
    again = embedshift.run(photos, out=tmp_path / "study", workers=0, **settings)
    assert again.info()["config_hash"] == study.info()["config_hash"]
    assert again.rows().collect().equals(study.rows().collect(), null_equal=True)
    assert again.words().equals(study.words(), null_equal=True)


def test_another_text_is_another_study(study, photos, clip, tmp_path):
    settings = {"model": clip, "shard_size": 3, "draws": 2, "workers": 0, "text": True, "labels": list(LABELS)}

    def refused(*words, **others):
        with pytest.raises(EmbedshiftError) as caught:
            embedshift.run(photos, out=study.folder, **settings | others)
        assert caught.value.exit_code == 2
        assert all(word in str(caught.value) for word in words), caught.value

    refused("holds another study", "questions.text.labels.hash", labels=["cat", "dog"])
    refused("questions.text.words.blur", '"out of focus"', words={"blur": "out of focus"})
    refused("questions.text: ", text=False, labels=None)
    caption = photos / "picture-00.txt"
    text = caption.read_text()
    caption.write_text("another one")
    try:
        refused("questions.text.captions.hash")
    finally:
        caption.write_text(text)


def test_the_users_own_words_and_augmentations(photos, tmp_path, caplog):
    file = tmp_path / "words.yaml"
    file.write_text("original: a picture\nmirror: a mirrored picture\n")
    suite = {"mirror": lambda image, rng: image[:, ::-1], "still": lambda image, rng: image}
    study = embedshift.run(
        photos, out=tmp_path / "s", model=Planted(knows=False), augmentations=suite, workers=0, words=str(file)
    )
    assert phrases(study.reader()) == {"mirror": "a mirrored picture"}
    assert study.info()["identity"]["questions"]["text"]["words"]["original"] == "a picture"
    assert "no word for still" in caplog.text
    assert study.words().select("augmentation", "word", "n").rows() == [("mirror", "mirror", 7), ("still", "mirror", 0)]
    assert study.word_test()["augmentation"].to_list() == ["mirror"]
    assert "a mirrored picture" in study.report(figures=["words"], formats=["svg"]).read_text()


def test_an_own_module_that_reads_text(photos, tmp_path):
    stats = {"size": 32, "mean": models.MEAN, "std": models.STD}

    def encode(texts):
        return torch.tensor([[len(text), text.count("a"), text.count("o"), 1.0, 0.0, 2.0] for text in texts])

    wrapped = embedshift.wrap(TinyNet(), **stats, encode_text=encode)
    study = embedshift.run(photos, out=tmp_path / "s", model=wrapped, workers=0, labels=LABELS, text=True, limit=2)
    assert study.summary().filter(pl.col("metric") == "text_alignment_shift")["n"].to_list() == [2] * 9
    short = embedshift.wrap(TinyNet(), **stats, encode_text=lambda texts: np.ones((len(texts), 5)))
    with pytest.raises(EmbedshiftError, match=r"\(9, 5\) for 9 texts .* not of one space"):
        embedshift.run(photos, out=tmp_path / "t", model=short, workers=0, text=True)
    for mute in (embedshift.wrap(TinyNet(), **stats), Colours()):
        with pytest.raises(EmbedshiftError, match=r"has no text tower: .* encode_text") as caught:
            embedshift.run(photos, out=tmp_path / "u", model=mute, workers=0, text=True)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": ["cat"]}, "two class names at least"),
        ({"labels": "nowhere.txt"}, "nowhere.txt: No such file"),
        ({"words": {"blurr": "a blurry photo"}}, "unknown augmentation 'blurr'; did you mean 'blur'"),
        ({"words": {"blur": ""}}, "give 'augmentation: phrase' lines"),
        ({"metrics": ["zero_shot_flip"]}, "zero_shot_flip is switched on by `labels`"),
        ({"metrics": ["text_alignment_shift"]}, "text_alignment_shift is switched on by `text`"),
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
    with pytest.raises(EmbedshiftError, match="no image has a caption, and no augmentation a word"):
        embedshift.run(bare, out=tmp_path / "s", model=Planted(), augmentations=suite, workers=0, text=True)


def test_on_the_command_line(photos, clip, tmp_path, monkeypatch, capsys):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    flags = ["--text", "--labels", names, "--workers", 0, "--no-report", "--limit", 2, "--json", "-q"]
    done = command.call(monkeypatch, capsys, "run", photos, "--out", tmp_path / "s", "--model", clip, *flags)
    content = json.loads(done.out)
    assert len(content["words"]) == 81
    assert content["word_test"][-1]["augmentation"] == "all"
    vision = models.make("vit", tmp_path / "vit")
    done = command.call(monkeypatch, capsys, "run", photos, "--out", tmp_path / "t", "--model", vision, "--text")
    assert done.code == 2
    assert "has no text tower" in done.line
    done = command.call(monkeypatch, capsys, "list", "metrics")
    assert "Off by default (--labels)." in done.out


# Where captions come from.


def test_captions_of_a_folder_are_those_of_its_tar(tmp_path):
    folder = pictures(tmp_path / "photos", 4)
    (folder / "picture-00.txt").write_text(" a cat \n")
    (folder / "picture-01.json").write_text('{"caption": "a dog"}')
    (folder / "picture-02.json").write_text("[1, 2")
    (folder / "readme.txt").write_text("beside no picture")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    sources = [open_source([str(path)]) for path in (folder, tmp_path / "photos.tar")]
    for source in sources:
        assert [sample.caption for sample in source.samples] == ["a cat", "a dog", None, None]
        assert dict(source.skipped) == {".txt": 1}
    single = open_source([str(folder / "picture-00.png"), str(folder / "picture-03.png")])
    assert [(s.image_id, s.caption) for s in single.samples] == [("picture-00.png", "a cat"), ("picture-03.png", None)]
    listed = tmp_path / "list.txt"
    listed.write_text("photos/picture-00.png\nphotos/picture-01.png\n")
    assert [sample.caption for sample in open_source([str(listed)]).samples] == ["a cat", "a dog"]


def test_a_caption_that_cannot_be_read_is_told(tmp_path, caplog):
    folder = pictures(tmp_path / "photos", 1)
    (folder / "picture-00.txt").symlink_to(folder / "nowhere")
    assert open_source([str(folder)]).samples[0].caption is None
    assert "picture-00.txt: no caption could be read" in caplog.text
    assert Path(open_source([str(folder)]).samples[0].location).is_file()
