"""Studies that are run, read or reported again: by other instances, with other choices, with less than everything."""

import numpy as np
import pytest

import embedshift
from embedshift.questions.clusters import Tree
from embedshift.store import listing
from embedshift.study import Study
from support import command, studies
from support.models import MEAN, SIZE, STD, Colours, SmallTransformer, pictures
from support.synthetic import make_study

pytestmark = pytest.mark.slow


class Reads:
    """A user's own encoder that reads texts, over a module that gets hooks."""

    name, dim, grid, size, mean, std, weights_hash = "reads", 16, None, SIZE, MEAN, STD, "0"

    def __init__(self):
        self.inner = embedshift.wrap(SmallTransformer(), size=SIZE, mean=MEAN, std=STD, device="cpu")
        self.observing, self.grid = self.inner.observing, self.inner.grid

    def __call__(self, views):
        return self.inner(views)

    def encode_text(self, texts):
        return np.stack([np.full(16, len(text)) + np.arange(16) for text in texts])


@pytest.fixture
def photos(tmp_path):
    return pictures(tmp_path / "photos", 3)


@pytest.mark.matrix
def test_an_encoder_that_reads_texts_is_known_again(photos, tmp_path):
    given = {"out": tmp_path / "study", "text": True, "workers": 0}
    study = embedshift.run(photos, model=Reads(), **given)
    (study.folder / "tables" / "summary.parquet").unlink()
    assert embedshift.run(photos, model=Reads(), **given).is_complete()
    encoder = Reads()
    embedshift.run(photos, model=encoder, out=tmp_path / "layers", text=True, layers=True, workers=0)
    assert embedshift.run(photos, model=encoder, **given).is_complete()


@pytest.mark.matrix
def test_pairwise_has_the_original_where_it_is_asked_for_alone(tmp_path):
    study = make_study(tmp_path / "study", 4)
    study.write_tables(Tree(include_original=True))
    assert len(study.pairwise()) == 9
    assert len(study.pairwise(include_original=True)) == len(study.table("pairwise")) == 10


@pytest.mark.matrix
def test_labels_alone_give_no_table_of_words(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study", model=Reads(), labels=("cat", "dog"), workers=0)
    assert {"words", "word_test"} & {*study.table_names} == set()
    assert not (study.folder / "tables" / "words.csv").exists()
    with pytest.raises(embedshift.EmbedshiftError, match="no words here; run the study with `text`"):
        study.words()


def test_another_seed_is_said_to_be_that(photos, tmp_path):
    embedshift.run(photos, out=tmp_path / "study", model=Colours(), families=["noise"], workers=0)
    with pytest.raises(embedshift.EmbedshiftError) as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Colours(), families=["noise"], workers=0, seed=5)
    _, what = str(caught.value).split(" contains another study: ")
    assert what == "seed: 0 there, 5 now. Choose another `out`, or delete it"


@pytest.mark.matrix
def test_a_dry_run_may_stand_in_the_folder_of_the_images(photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    done = command.call(monkeypatch, capsys, "run", ".", "--dry-run", "--model", "dinov2-small-offline", "--size", 28)
    assert done.code == 0, done.err
    assert "images: 3" in done.out


@pytest.mark.parametrize("setting", [{"precision": "float32"}, {"device": "auto"}])
def test_a_setting_of_a_loaded_encoder_is_refused_even_where_it_is_the_default(setting, photos, tmp_path):
    with pytest.raises(embedshift.EmbedshiftError, match=f"^{next(iter(setting))}: colours is already loaded"):
        embedshift.run(photos, out=tmp_path / "study", model=Colours(), **setting)


def test_a_wrong_tree_is_refused_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    study = studies.copied(studies.plain(), tmp_path / "study")
    monkeypatch.setattr("embedshift.store.tables.summary", lambda *_, **__: pytest.fail("it was computed"))
    refused = command.call(monkeypatch, capsys, "report", study.folder, "--linkage", "word")
    assert refused.code == 2
    assert refused.line == (
        "error: unknown linkage 'word'; did you mean 'ward'? Known: ward, average, complete, single"
    )
    refused = command.call(monkeypatch, capsys, "report", study.folder, "--clusters-on", "means", "--pdist-metric", "x")
    assert "pdist metric 'x': " in refused.line


class Forgets(Colours):
    """Says that it can be observed, and gives nothing more."""

    def observing(self, names):
        import contextlib

        return contextlib.nullcontext()


def test_an_encoder_that_gives_less_than_it_says_is_one_line(photos, tmp_path):
    with pytest.raises(embedshift.EmbedshiftError, match="colours gives no layers") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Forgets(), workers=0, layers=True)
    assert caught.value.exit_code == 2


@pytest.mark.matrix
def test_footers_are_read_once_a_report(tmp_path, monkeypatch):

    study = make_study(tmp_path / "study", 12, ["noise", "blur"], shard_size=4, with_pictures=True)
    read, real = [], listing.read_record
    monkeypatch.setattr(listing, "read_record", lambda path: read.append(path) or real(path))
    study = Study(study.folder)
    study.report(images=12, figures=["views", "l2_bars"], formats=["svg"])
    assert len(read) == 3


@pytest.mark.matrix
def test_an_encoder_observed_by_its_owner_stays_so(photos, tmp_path):
    encoder = embedshift.wrap(SmallTransformer(), size=SIZE, mean=MEAN, std=STD, device="cpu")
    views = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    with encoder.observing(["layers"]):
        before = encoder(views).layers
        embedshift.run(photos, out=tmp_path / "study", model=encoder, workers=0, layers=True, metrics=["rollout"])
        after = encoder(views)
        np.testing.assert_array_equal(after.layers, before)
        assert after.rollout is None
    assert encoder(views).layers is None
