"""`store="metrics"`: everything but the vectors, and so every table and every figure."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import entropy

import embedshift
from embedshift import runner
from embedshift.cli import estimate
from embedshift.config import make_config
from embedshift.encoders.base import EncoderOutput
from embedshift.errors import EmbedshiftError
from embedshift.figures import draw
from embedshift.pipeline import records as other_images
from embedshift.pipeline.prepare import prepared
from embedshift.questions.clusters import Tree
from embedshift.questions.embedding import measure as embedding
from embedshift.sources import open_source, shuffle
from embedshift.store.table import WrittenFiles
from embedshift.study import Study
from support import studies
from support.image_rows import image_names
from support.models import Colours, pictures

pytestmark = pytest.mark.slow

RISE = "attention_entropy_rise"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = pictures(tmp_path_factory.mktemp("photos"), 8)
    (folder / in_order(folder)[3]).write_bytes(b"no picture")
    return folder


def in_order(folder: Path) -> list[str]:
    source = open_source([str(folder)])
    return [sample.image_id for sample in shuffle(source.samples, source, seed=0)[0]]


@pytest.fixture(scope="module")
def order(photos) -> list[str]:
    """The images as a study takes them."""
    return in_order(photos)


@pytest.fixture(scope="module")
def mapped(order) -> list[str]:
    """Images whose attention is kept, one a shard: of the second shard the first cannot be read."""
    return sorted([order[0], order[4], order[6]])


@pytest.fixture(scope="module")
def clip() -> Path:
    return studies.checkpoint("clip")


@pytest.fixture(scope="module")
def both(photos, clip) -> list[Study]:
    """The same study with vectors and without."""
    return [studies.measured(photos, clip, shard_size=3, draws=2, store=store) for store in ("all", "metrics")]


def test_tables_are_equal_to_the_bit(both):
    full, lean = both
    # Embeddings are centred as vectors.
    full_summary, lean_summary = (study.summary().drop(pl.selectors.starts_with("centred_")) for study in both)
    assert lean_summary.filter(pl.col("metric") != RISE).equals(full_summary, null_equal=True)
    for table in ("ranking", "clusters", "claims"):
        assert getattr(lean, table)().equals(getattr(full, table)(), null_equal=True), table
    for original in (False, True):
        assert lean.pairwise(include_original=original).equals(full.pairwise(include_original=original))


def test_claims_on_attention_are_those_of_the_maps(both):
    full, lean = both
    rows = full.rows().collect()
    maps = {key: of["attention"].to_numpy() for (key,), of in rows.partition_by("view", as_dict=True).items()}
    before = np.repeat(entropy(maps["original"].astype(float), axis=1), 2)
    found = dict(lean.claims().select("claim", "estimate").iter_rows())
    for claim, name in {"10a": "blur", "10b": "shift_scale_rotate", "10c": "perspective"}.items():
        wanted = np.mean(entropy(maps[name].astype(float), axis=1) - before)
        assert found[claim] == pytest.approx(wanted, abs=1e-9)


def test_rows_are_equal_but_for_the_vectors(both, order, mapped):
    full, lean = (study.rows().collect() for study in both)
    assert set(full.columns) - set(lean.columns) == {"embedding"}
    assert set(lean.columns) - set(full.columns) == {RISE}
    kept = [name for name in lean.columns if name not in ("attention", RISE)]
    assert lean.select(kept).equals(full.select(kept), null_equal=True)
    assert lean["image_id"].unique(maintain_order=True).to_list() == [name for name in order if name != order[3]]
    there = pl.col("image_id").is_in(mapped)
    assert lean.filter(~there)["attention"].null_count() == 4 * 19 == lean["attention"].null_count()
    assert lean.filter(there)["attention"].to_numpy().tobytes() == full.filter(there)["attention"].to_numpy().tobytes()


@pytest.mark.matrix
def test_attention_is_drawn_of_images_that_have_it(both, order, mapped, caplog):
    lean = both[1].reader()
    assert lean.image_ids(with_attention=True) == set(mapped)
    assert image_names(draw(lean, "attention", images=3)) == mapped
    assert image_names(draw(lean, "views", images=7)) == sorted(lean.image_ids())
    pipeline = [text.get_text() for axes in draw(lean, "pipeline").axes for text in axes.texts]
    assert pipeline == ["not stored"] * 2, "the embeddings, but not the attention"
    assert image_names(draw(lean, "attention", images=[order[1], *mapped[:2]])) == mapped[:2]
    assert f"omits {order[1]}: its attention is not stored (`store` metrics)" in caplog.text
    with pytest.raises(EmbedshiftError, match="no image to show"):
        draw(lean, "attention", images=[order[1]])
    shown = studies.reported(both[1], figures=["attention"], formats=["svg"])
    text = (shown.folder / "report.html").read_text()
    assert "This study stored no embeddings, and attention maps of only one image per shard" in text
    assert 'class="heat"' in text


def test_what_needs_embeddings_is_refused_in_one_line(both, cli):
    _, lean = both
    with pytest.raises(EmbedshiftError, match="was run with `store` metrics; clusters on means need `store` all"):
        lean.clusters(Tree(on="means"))
    done = cli("report", lean.folder, "--clusters-on", "means")
    assert done.code == 2
    assert "was run with --store metrics; clusters on means need --store all" in done.line


def test_compare_takes_both(both):
    found = embedshift.compare(both)
    rows = found.comparison.filter(pl.col("metric").is_in(both[0].reader().metrics), pl.col("augmentation") != "all")
    assert rows["difference"].to_list() == [0.0] * 9 * 6
    assert RISE not in found.comparison["metric"].to_list()


def test_goes_on_with_its_own_shards_and_with_no_others(both, photos, clip, tmp_path, cli):
    full, lean = both
    assert "store" not in full.info()["identity"]  # studies from before there was a choice keep their hash
    for study, other in ((full, "metrics"), (lean, "all")):
        out = shutil.copytree(study.folder, tmp_path / other)
        (out / "shards" / "part-00001.parquet").unlink()
        (out / "tables" / "summary.parquet").unlink()
        again = ["run", photos, "--out", out, "--model", clip, "--shard-size", 3, "--draws", 2, "--workers", 0]
        refused = cli(*again, "--no-report", "--store", other)
        assert refused.code == 2
        assert re.search("contains another study: .*store: ", refused.line)
    # The last of them; that a study with vectors goes on is shown in test_resume.py.
    assert cli(*again, "--no-report", "--store", "metrics").code == 0
    assert Study(out).rows().collect().equals(lean.rows().collect(), null_equal=True)


@dataclass
class Wide(Colours):
    """Vectors as large as those of CLIP ViT-B/32, of numbers that do not compress."""

    dim: int = 512
    grid: tuple[int, int] | None = (7, 7)

    def __call__(self, views: np.ndarray) -> EncoderOutput:
        rngs = [np.random.default_rng(int(view.sum())) for view in views]
        maps = np.float32([rng.dirichlet(np.ones(49)) for rng in rngs]).reshape(-1, 7, 7)
        return EncoderOutput(np.float32([rng.normal(size=512) for rng in rngs]), maps, "cls")


def test_a_million_images_take_one_and_a_half_gigabytes_at_most(tmp_path, monkeypatch):
    for module in (embedding, estimate):  # so many of 64 images as of a million: one a shard
        monkeypatch.setattr(module, "KEPT", 1)
        monkeypatch.setattr(module, "CHUNKS", 1)
    monkeypatch.setattr(other_images, "LEAST_PAIRS", 1)
    monkeypatch.setattr(runner, "write_tables", lambda *_: WrittenFiles())  # the shards alone grow with the images
    photos = pictures(tmp_path / "photos", 64, width=40, height=32)
    bytes_of = {}
    for store in ("all", "metrics"):
        config = {"images": [str(photos)], "store": store}
        study = embedshift.run(photos, out=tmp_path / store, model=Wide(), workers=0, store=store)
        bytes_of[store] = sum(part.stat().st_size for part in (study.folder / "shards").iterdir()) / 64
        with prepared(make_config(config), tmp_path / "none", encoder=Wide()) as ready:
            plan = ready.plan
        assert estimate.shard_bytes(Wide(), plan, 1) / 64 == pytest.approx(bytes_of[store], rel=0.1)
    assert bytes_of["metrics"] < 1500
    assert bytes_of["all"] > 19_000
