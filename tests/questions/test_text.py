"""`text`, `labels` and `words`: from captions and class names to tables, with encoders whose answer is known."""

import numpy as np
import polars as pl
import pytest
import torch
import transformers as hf
from scipy.spatial.distance import cosine

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.text.tables import phrases
from embedshift.questions.text.texts import TEMPLATES, WORDS
from support import reference, studies
from support.captioned import LABELS, MARKS, NINE, Planted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos():
    return studies.captioned_pictures()


@pytest.fixture(scope="module")
def clip():
    return studies.checkpoint("reader")


@pytest.fixture(scope="module")
def study(photos, clip):
    return studies.measured(photos, clip, shard_size=3, draws=2, text=True, labels=list(LABELS))


def test_a_planted_direction_is_found(tmp_path):
    given = {"model": Planted(), "augmentations": MARKS, "workers": 0, "text": True, "draws": 2}
    study = embedshift.run(studies.pictures(12), out=tmp_path / "study", **given)
    test = study.word_test()
    each, last = test.drop_nulls("rank"), test.row(-1, named=True)
    assert test["augmentation"].to_list() == [*NINE, "all"]
    assert each["rank"].to_list() == [1] * 9
    assert each["n"].to_list() == [12] * 9
    assert each["significant"].all()
    assert (each["low"] > 0.2).all()
    assert last["p_value"] < 0.001
    assert last["difference"] > 0.3
    assert last["own_low"] > 0.3
    for table, words in ((study.zero_shot, "it needs class names, by `labels`"), (study.text_search, "captions")):
        with pytest.raises(EmbedshiftError, match=words):
            table()
    means = study.words()["mean"].to_numpy().reshape(9, 9)
    assert np.diag(means).min() > means[~np.eye(9, dtype=bool)].max() + 0.3
    page = " ".join(study.report(figures=[]).read_text().split())
    assert "significantly above 0. So the shifts point to their phrases." in page
    assert "approximate for fewer than 20 images" in page
    assert page.count("<td>yes</td>") == 9


def text_vectors(clip, texts):
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
    caption = {i: text_vectors(clip, [text])[0] for i, text in captions.items() if text}
    start, *ends = (unit(vector) for vector in text_vectors(clip, WORDS.values()))
    assert list(WORDS)[1:] == list(NINE)
    classes = []
    for label in LABELS:
        prompts = text_vectors(clip, [template.format(label) for template in TEMPLATES])
        classes.append(np.mean([unit(prompt) for prompt in prompts], axis=0))
    originals = {row["image_id"]: np.array(row["embedding"], float) for row in rows if row["view"] == "original"}
    for row in rows:
        names = ("text_alignment_shift", "zero_shot_flip", "word_cosines")
        if row["view"] == "original":
            assert [row[name] for name in names] == [None] * 3
            vector = row["caption_vector"]
            assert (vector is None) == (row["image_id"] not in caption)
            if vector is not None:
                np.testing.assert_allclose(vector, caption[row["image_id"]], rtol=0, atol=1e-5)
            fits = sorted(1 - cosine(row["embedding"], each) for each in classes)
            assert row["zero_shot_margin"] == pytest.approx(fits[-1] - fits[-2], abs=1e-6)
            continue
        assert row["caption_vector"] is row["zero_shot_margin"] is None
        before, after = originals[row["image_id"]], np.array(row["embedding"], float)
        assert row["zero_shot_flip"] == reference.zero_shot_flip(before, after, classes)
        wanted = reference.zero_shot_margin_shift(before, after, classes)
        assert row["zero_shot_margin_shift"] == pytest.approx(wanted, abs=1e-6)
        pointing = [1 - cosine(unit(after) - unit(before), end - start) for end in ends]
        np.testing.assert_allclose(row["word_cosines"], pointing, rtol=0, atol=2e-4)  # words of one token are near
        if row["image_id"] not in caption:
            assert row["text_alignment_shift"] is None
            continue
        wanted = reference.text_alignment_shift(before, after, caption[row["image_id"]])
        assert row["text_alignment_shift"] == pytest.approx(wanted, abs=1e-6)


def test_the_summary_counts_images_with_captions(study):
    rows = study.rows().collect()
    for name, images in (("text_alignment_shift", 4), ("zero_shot_flip", 7)):
        for row in study.summary().filter(pl.col("metric") == name).to_dicts():
            values = rows.filter(pl.col("view") == row["augmentation"])[name].drop_nulls()
            assert row["n"] == len(values) == 2 * images
            assert row["mean"] == pytest.approx(values.mean())
            assert row["images"] == images
            assert row["ci_low"] is row["ci_high"] is None, "fewer than 8 images have a caption"
    assert len(study.summary()) == 9 * 9
    assert study.metrics[6:] == ["text_alignment_shift", "zero_shot_flip", "zero_shot_margin_shift"]
    assert study.ranking().columns[:3] == ["augmentation", "mean_performance", "rank"]


def test_class_names_alone(clip, tmp_path, caplog):
    (tmp_path / "names.txt").write_text("\ufeffcat\n\n dog \ncat\nred boat\n", encoding="utf-8")
    study = embedshift.run(
        studies.pictures(3), out=tmp_path / "study", model=str(clip), workers=0, labels=str(tmp_path / "names.txt")
    )
    assert study.metrics[6:] == ["zero_shot_flip", "zero_shot_margin_shift"]
    assert "word_cosines" not in study.rows().collect_schema()
    page = study.report(figures=[]).read_text()
    assert "3 class names" in page
    assert "caption</b>" not in page


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
