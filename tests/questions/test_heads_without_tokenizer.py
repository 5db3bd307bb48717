"""`heads` on a checkpoint whose tokenizer is missing or damaged: the heads are measured, their words are left out."""

import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from support import models
from support.matrix import first_only

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tokenizer", first_only([None, "{"]))
def test_the_heads_are_measured_and_a_warning_says_why_they_have_no_words(tokenizer, tmp_path, caplog, monkeypatch):
    folder = models.make("clip", tmp_path / "clip")
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer)
    photos = models.pictures(tmp_path / "photos", 3)
    changes = {"dark": lambda image, rng: image // 2}
    settings = {"model": str(folder), "augmentations": changes, "workers": 0}
    study = embedshift.run(photos, out=tmp_path / "study", heads=True, **settings)
    (line,) = [each for each in caplog.records if "no texts for heads" in each.message]
    assert line.levelname == "WARNING"
    assert ("no tokenizer in the checkpoint" if tokenizer is None else "its tokenizer cannot be loaded") in line.message
    assert study.heads().height
    assert "head_words" not in study.table_names
    texts = tmp_path / "texts.txt"
    texts.write_text("a cat\na dog\n")
    with pytest.raises(EmbedshiftError, match=r"`bank`: .*tokenizer"):
        embedshift.run(photos, out=tmp_path / "own", heads=True, bank=str(texts), **settings)
    with pytest.raises(EmbedshiftError, match="tokenizer"):
        embedshift.run(photos, out=tmp_path / "text", labels=["a cat", "a dog"], **settings)
