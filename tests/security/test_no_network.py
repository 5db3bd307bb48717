"""A local model never touches the network: models are loaded, and a study made, on a machine that has none.

So is the bundled one, where its own test makes it: `tests/encoders/test_bundled.py`.
"""

import urllib.request

import pytest

import embedshift
from embedshift import load_encoder
from embedshift.encoders import load_text_encoder
from support.library_models import make_open_clip, make_timm
from support.models import pictures
from support.network import no_network
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow


def test_a_try_is_refused_and_listed():
    with no_network() as tried, pytest.raises(OSError, match="no network"):
        urllib.request.urlopen("http://example.org", timeout=5)
    assert len(tried) == 1


def test_open_clip_timm_and_text_towers(tmp_path):
    folders = [make_clip(tmp_path / "clip"), make_open_clip(tmp_path / "open_clip"), make_timm(tmp_path / "timm")]
    with no_network() as tried:
        for folder in folders:
            load_encoder(str(folder))
        for folder in folders[:2]:
            assert load_text_encoder(str(folder))(["a photo"]).shape == (1, 20)
    assert tried == []


def test_a_run_and_its_report(tmp_path):
    clip, photos = make_clip(tmp_path / "clip"), pictures(tmp_path / "photos", 3)
    dark = {"dark": lambda image, rng: image // 2}
    with no_network() as tried:
        study = embedshift.run(
            photos, out=tmp_path / "s", model=str(clip), augmentations=dark, labels=["cat", "boat"], workers=0
        )
        study.report(figures=["views"], formats=["svg"])
    assert tried == []
    assert (tmp_path / "s" / "report.html").exists()
