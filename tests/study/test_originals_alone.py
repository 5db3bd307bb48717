"""A study of originals alone, `augmentations="none"`: it finds duplicates, and all else works without views."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from torch import manual_seed, nn

import embedshift
from embedshift.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder():
    manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 24))
    return embedshift.wrap(net, size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(50):
        image = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32))
        image.save(folder / f"{number:03}.png")
        if number < 2:
            image.save(folder / f"{number:03}-copy.jpg", quality=70)
    Image.open(folder / "003.png").save(folder / "003-same.png")
    return folder


@pytest.fixture(scope="module")
def study(images, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "study"
    return embedshift.run(images, out=out, model=encoder, augmentations="none", workers=0, shard_size=20)


def test_planted_copies_are_the_duplicates(study):
    pairs = study.duplicates().filter(pl.col("expected_false") < 0.01)
    planted = {("000-copy.jpg", "000.png"), ("001-copy.jpg", "001.png"), ("003-same.png", "003.png")}
    assert {*pairs.select("image_id", "other").rows()} == planted
    assert pairs["group"].n_unique() == 3
    assert pairs["whitened"].null_count() == 3
    assert len(study.duplicates()) <= 3 + 3
    assert all(table.is_empty() for table in (study.summary(), study.ranking(), study.differences()))
    assert study.table_names == ("summary", "ranking", "differences", "thresholds", "duplicates")
    study.regroup("near")
    groups = dict(zip(study.reader().ordered_ids(), study.reader().groups.tolist(), strict=True))
    assert groups["003.png"] == groups["003-same.png"] != groups["004.png"]
    study.regroup("none")


def test_report_and_search_show_them_and_verify_finds_the_study_whole(study, cli):
    page = study.report().read_text()
    for words in ("Which images are duplicates?", "2 images, cosine 1.0000", "003-same.png"):
        assert words in page
    assert "Does image search still find" not in page
    assert page.count("data:image/webp") >= 6
    done = cli("search", study.folder)
    assert done.code == 0
    assert "Likely duplicates: " in done.out
    assert "003-same.png  003.png" in done.out
    study.duplicates(expected_false=1e-9)
    assert "Likely duplicates: " in cli("search", study.folder).out, "the exact copy"
    study.duplicates(threshold=1.0)
    study.duplicates(expected_false=1)
    assert cli("search", study.folder, "--json").code == 0
    assert cli("verify", study.folder).code == 0
    refused = cli("search", study.folder, "--gallery", study.folder)
    with pytest.raises(UsageError) as caught:
        study.search()
    assert "needs augmentations" in refused.err + str(caught.value)
    assert study.card().startswith("## ")


def test_it_goes_on_where_it_was_stopped(images, encoder, study, tmp_path):
    out = tmp_path / "study"
    settings = {"model": encoder, "augmentations": "none", "workers": 0, "shard_size": 20}
    embedshift.run(images, out=out, **settings)
    (out / "shards" / "part-00001.parquet").unlink()
    again = embedshift.run(images, out=out, **settings)
    assert again.duplicates().equals(study.duplicates(expected_false=1))
    measured = []
    embedshift.run(images, out=out, progress=measured.append, **settings)
    assert not measured


@pytest.mark.parametrize(
    "setting",
    [{"draws": 2}, {"layers": True}, {"store": "metrics"}, {"metrics": ["aligned"]}, {"until": 0.1},
     {"augmentations": {}}],
)  # fmt: skip
def test_settings_of_views_are_refused(images, encoder, tmp_path, setting):
    with pytest.raises(UsageError, match="give at least one" if "augmentations" in setting else "originals alone"):
        embedshift.run(images, out=tmp_path / "study", model=encoder, **{"augmentations": "none"} | setting)
