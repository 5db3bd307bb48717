"""What a question cannot answer is refused in one line, before anything is measured."""

import re

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.text import default_bank
from embedshift.sources.bank import read_bank
from support import studies
from support.captioned import Planted
from support.models import MEAN, SIZE, STD, Colours, TinyNet

pytestmark = pytest.mark.slow


LOOK = {"size": SIZE, "mean": MEAN, "std": STD}
# Encoders that read texts, that are no torch module and have neither blocks nor texts, of a checkpoint, of the user.
ENCODERS = {
    "planted": Planted,
    "colours": Colours,
    "dinov2": lambda: str(studies.checkpoint("dinov2")),
    "own": lambda: embedshift.wrap(TinyNet(), **LOOK),
    "own with texts": lambda: embedshift.wrap(TinyNet(), **LOOK, encode_text=lambda texts: np.ones((len(texts), 5))),
}
MAPS = {"maps": ("relevance",)}
NEED_GRADIENTS = "`maps` need gradients, which are accurate only in float32; run without"
CASES = [
    ("planted", {"labels": ["cat"]}, "at least two class names"),
    ("planted", {"labels": "nowhere.txt"}, "nowhere.txt: No such file"),
    ("planted", {"words": {"blurr": "a blurry photo"}}, "unknown augmentation 'blurr'; did you mean 'blur'"),
    ("planted", {"words": {"blur": ""}}, "give 'augmentation: phrase' lines"),
    ("planted", {"words": "list.yaml"}, "give 'augmentation: phrase' lines"),
    ("planted", {"words": "no.yaml"}, "not YAML"),
    ("planted", {"words": "bytes.yaml"}, "UTF-8"),
    ("planted", {"metrics": ["zero_shot_flip"]}, "zero_shot_flip needs `labels`"),
    ("planted", {"metrics": ["text_alignment_shift"]}, "text_alignment_shift needs `text`"),
    (
        "planted",
        {"text": True, "augmentations": {"own": lambda image, rng: image}},
        "no image has a caption and no augmentation has a phrase",
    ),
    ("own with texts", {"text": True}, "(9, 5) for 9 texts"),
    ("own", {"text": True}, "has no text tower"),
    ("colours", {"text": True}, "has no text tower"),
    ("colours", {"layers": True}, "colours gives no layers"),
    ("colours", {"metrics": ["rollout"]}, "gives no rollout: it has no `observing`"),
    ("colours", MAPS, "colours cannot provide these maps: it is not a torch module; run it without `maps`"),
    ("dinov2", {"maps": ("relevanc",)}, "maps: unknown map 'relevanc'; did you mean 'relevance'?"),
    ("dinov2", MAPS | {"precision": "bfloat16"}, f"{NEED_GRADIENTS} `precision`"),
    ("dinov2", MAPS | {"compile": True}, f"{NEED_GRADIENTS} `compile`"),
    ("dinov2", {"maps_images": 3}, "choose the maps as well: `maps` relevance,tokens"),
    ("dinov2", {"maps_target": "caption"}, "choose the maps as well: `maps` relevance,tokens"),
    ("dinov2", MAPS | {"maps_images": 0}, "`maps_images`: give a number of at least 1"),
    ("dinov2", MAPS | {"maps_target": "caption"}, "`maps_target` caption: no image has a caption"),
    ("dinov2", MAPS | {"maps_target": " "}, "`maps_target`: give image, caption, or your own text"),
    ("dinov2", MAPS | {"maps_target": "a boat"}, "text"),
    ("dinov2", {"heads_tokens": True, "precision": "bfloat16"}, "run it without `precision` bfloat16"),
    ("dinov2", {"heads_tokens": True, "compile": True}, "run it without `compile`"),
    ("dinov2", {"bank": "bank.txt"}, "`bank`: "),
    ("dinov2", {"bank": "nowhere.txt"}, "nowhere.txt"),
]


@pytest.mark.parametrize(("encoder", "settings", "words"), CASES, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_one_line(encoder, settings, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"list.yaml": b"- blur", "no.yaml": b"a: [", "bytes.yaml": b"\xff", "bank.txt": b"a cat\na dog\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    given = {"augmentations": "paper", "workers": 0} | settings
    with pytest.raises(EmbedshiftError, match=re.escape(words)) as caught:
        embedshift.run(studies.pictures(3), out=tmp_path / "study", model=ENCODERS[encoder](), **given)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study" / "shards").exists()


def test_texts_for_heads_are_each_there_once_and_printable(tmp_path):
    file = tmp_path / "bank.txt"
    file.write_text("a cat\n\n  a dog \na cat\n", encoding="utf-8")
    assert read_bank(str(file)) == ("a cat", "a dog")
    assert default_bank()[:2] == ("a photo of a tench", "a photo of a goldfish")
    refused = {
        "a cat\na \x1b[31mdog\n": r"bank\.txt: 'a \\x1b\[31mdog' contains characters that cannot be printed",
        "a cat\na cat\n": r"has 1 texts, one per line; it must have 2 to 10,000",
    }
    for content, words in refused.items():
        file.write_text(content, encoding="utf-8")
        with pytest.raises(EmbedshiftError, match=words):
            read_bank(str(file))
