"""Corners of a run that a user can get into: odd folders, settings that contradict, encoders that give too little."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import EncoderOutput
from embedshift.errors import UsageError
from embedshift.questions.clusters import Tree
from embedshift.store import listing
from embedshift.store.info import write_content
from embedshift.study import Study
from embedshift.study.gate import propose
from support import studies
from support.models import MEAN, SIZE, STD, Colours, SmallTransformer
from support.synthetic import make_study

pytestmark = pytest.mark.slow

MIRROR = {"mirror": lambda image, rng: image[:, ::-1]}


class Constant:
    """An encoder that gives one vector, whatever it sees."""

    name, dim, grid, size = "constant", 2, None, 32
    mean = std = (0.5, 0.5, 0.5)
    weights_hash = "constant"

    def __init__(self, value=1.0):
        self.value = value

    def __call__(self, views):
        return EncoderOutput(np.full((len(views), 2), self.value, np.float32), None, None)


class Reads:
    """A user's own encoder that reads texts, over a module that gets hooks."""

    name, dim, grid, size, mean, std, weights_hash = "reads", 16, None, SIZE, MEAN, STD, "0"

    def __init__(self):
        self.inner = wrapped()
        self.observing, self.grid = self.inner.observing, self.inner.grid

    def __call__(self, views):
        return self.inner(views)

    def encode_text(self, texts):
        return np.stack([np.full(16, len(text)) + np.arange(16) for text in texts])


class Forgets(Colours):
    """Says that it can be observed, and gives nothing more."""

    def observing(self, names):
        return contextlib.nullcontext()


def wrapped():
    return embedshift.wrap(SmallTransformer(), size=SIZE, mean=MEAN, std=STD, device="cpu")


@pytest.fixture
def photos(tmp_path):
    return shutil.copytree(studies.pictures(3), tmp_path / "photos")


@pytest.mark.matrix
def test_a_folder_with_brackets_is_no_pattern(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study [v2]*", model=Constant(), augmentations=MIRROR, workers=0)
    assert (study.summary()["n"].max(), len(study.rows().collect()), len(study.failures())) == (3, 6, 0)


def test_the_folder_of_the_images_is_no_place_for_the_study(photos, monkeypatch, cli):
    before = sorted(path.name for path in photos.iterdir())
    with pytest.raises(EmbedshiftError, match="is the folder of the images; choose another `out`") as caught:
        embedshift.run(photos, out=photos, model=Constant(), workers=0)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in photos.iterdir()) == before
    monkeypatch.chdir(photos)
    done = cli("run", ".", "--dry-run", "--model", studies.checkpoint("clip"))
    assert (done.code, "images: 3" in done.out) == (0, True), done.err


@pytest.mark.parametrize("out", ["", "s3://bucket/study", Path("s3://bucket/study"), "a\0b"])
def test_what_is_no_path_of_an_output_is_refused_before_anything_is_written(out, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = np.eye(4)
    calls = [
        lambda: embedshift.run(photos, out=out, model=Constant(), augmentations=MIRROR, workers=0),
        lambda: embedshift.from_vectors(vectors, {"a": vectors}, out=out),
        lambda: embedshift.write_views(photos, out=out, augmentations=MIRROR, workers=0),
    ]
    for call in calls:
        with pytest.raises(EmbedshiftError, match=r"^`out`"):
            call()
    assert [*tmp_path.iterdir()] == [photos]


@pytest.mark.parametrize(
    ("name", "value"), [("size", 64), ("precision", "float32"), ("device", "auto"), ("embedding", "cls")]
)
def test_a_setting_of_a_loaded_encoder_is_refused_even_where_it_is_the_default(photos, tmp_path, name, value):
    with pytest.raises(EmbedshiftError, match=f"^{name}: constant is already loaded") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Constant(), **{name: value})
    assert caught.value.exit_code == 2


def test_an_encoder_that_gives_less_than_it_says_is_one_line(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match="colours gives no layers") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Forgets(), workers=0, layers=True)
    assert caught.value.exit_code == 2
    with pytest.raises(EmbedshiftError, match=r"all 3 failed, .* zero vector, which has no direction"):
        embedshift.run(photos, out=tmp_path / "zeros", model=Constant(0.0), workers=0)


def test_failures_are_those_of_the_shards_where_their_file_is_gone(photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no picture")
    settings = {"model": Constant(), "augmentations": MIRROR, "workers": 0}
    study = embedshift.run(photos, out=tmp_path / "study", shard_size=2, **settings)
    path, content = study.folder / "failures.parquet", study.failures()
    assert content["image_id"].to_list() == ["broken.png"]
    path.unlink()
    assert study.failures().equals(content)
    assert not path.exists(), "reading writes nothing"


def test_another_seed_is_said_to_be_that(photos, tmp_path):
    settings = {"out": tmp_path / "study", "model": Colours(), "families": ["noise"], "workers": 0}
    embedshift.run(photos, **settings)
    with pytest.raises(EmbedshiftError) as caught:
        embedshift.run(photos, seed=5, **settings)
    _, what = str(caught.value).split(" contains another study: ")
    assert what == "seed: 0 there, 5 now. Choose another `out`, or delete it"


@pytest.mark.matrix
def test_an_encoder_that_reads_texts_is_known_again(photos, tmp_path):
    given = {"out": tmp_path / "study", "text": True, "workers": 0}
    study = embedshift.run(photos, model=Reads(), **given)
    (study.folder / "tables" / "summary.parquet").unlink()
    assert embedshift.run(photos, model=Reads(), **given).is_complete()
    encoder = Reads()
    embedshift.run(photos, model=encoder, out=tmp_path / "layers", text=True, layers=True, workers=0)
    assert embedshift.run(photos, model=encoder, **given).is_complete()
    labels = embedshift.run(photos, out=tmp_path / "labels", model=Reads(), labels=("cat", "dog"), workers=0)
    assert {"words", "word_test"} & {*labels.table_names} == set()
    with pytest.raises(EmbedshiftError, match="no words here; run the study with `text`"):
        labels.words()


@pytest.mark.matrix
def test_an_encoder_observed_by_its_owner_stays_so(photos, tmp_path):
    encoder, views = wrapped(), np.zeros((2, SIZE, SIZE, 3), np.uint8)
    with encoder.observing(["layers"]):
        before = encoder(views).layers
        embedshift.run(photos, out=tmp_path / "study", model=encoder, workers=0, layers=True, metrics=["rollout"])
        after = encoder(views)
        np.testing.assert_array_equal(after.layers, before)
        assert after.rollout is None
    assert encoder(views).layers is None


def test_a_wrong_tree_is_refused_before_anything_is_computed(tmp_path, monkeypatch, cli):
    study = studies.copied(studies.plain(), tmp_path / "study")
    monkeypatch.setattr("embedshift.store.tables.summary", lambda *_, **__: pytest.fail("it was computed"))
    refused = cli("report", study.folder, "--linkage", "word")
    words = "unknown linkage 'word'; did you mean 'ward'? Known: ward, average, complete, single"
    assert (refused.code, refused.line) == (2, f"error: {words}")
    refused = cli("report", study.folder, "--clusters-on", "means", "--pdist-metric", "x")
    assert "pdist metric 'x': " in refused.line


@pytest.mark.matrix
def test_a_report_reads_footers_once_and_takes_earlier_pictures_away_where_it_has_none(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 12, ["noise", "blur"], shard_size=4, with_pictures=True)
    read, real = [], listing.read_record
    monkeypatch.setattr(listing, "read_record", lambda path: read.append(path) or real(path))
    study, figures = Study(study.folder), ["attention", "views", "heatmap"]
    study.report(images=12, figures=figures, formats=["svg"])
    assert len(read) == 3
    assert {path.stem for path in (study.folder / "figures").iterdir()} == {
        "fig01_attention", "fig04a_views", "fig03_heatmap",
    }  # fmt: skip
    study.report(figures=figures, formats=["svg"], pictures=False)
    assert {path.stem for path in (study.folder / "figures").iterdir()} == {"fig03_heatmap"}
    study.write_tables(Tree(include_original=True))
    assert len(study.pairwise()) == 1
    assert len(study.pairwise(include_original=True)) == len(study.table("pairwise")) == 3


def test_what_is_not_finished_or_not_there_is_one_line_that_names_the_study(tmp_path):
    study = studies.copied(studies.plain(), tmp_path / "a")
    with pytest.raises(UsageError, match=r"no table 'nonsense' here; it has .*summary"):
        study.table("nonsense")
    write_content(study.folder, study.info() | {"complete": False})
    unfinished = r"a: not finished; let its run end, or run the same command again first"
    for call in (study.card, lambda: propose(study.folder, tmp_path / "rules.yaml")):
        with pytest.raises(UsageError, match=unfinished):
            call()
    assert not (tmp_path / "rules.yaml").exists()
    (study.folder / "tables" / "summary.parquet").unlink()
    with pytest.raises(UsageError, match=r"not finished, no table 'summary' yet; run the same command again"):
        embedshift.load(study.folder).summary()
