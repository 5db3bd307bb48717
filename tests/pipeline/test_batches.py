"""Views reach the encoder in batches: smaller ones where memory lacks, and a pass before the one before is read."""

import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.base import Pipelined
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow


SHARD, VIEWS = 3, 10


class SmallMemory(MeanColour):
    """An encoder whose device holds `most` views, and says what torch says of more; remembers its batches."""

    def __init__(self, most: int) -> None:
        self.most, self.batches = most, []

    def __call__(self, views):
        if len(views) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.batches.append(len(views))
        return super().__call__(views)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two whole shards, and one of a single image."""
    folder = tmp_path_factory.mktemp("batches") / "photos"
    write_pictures(folder, [f"{n}.png" for n in range(2 * SHARD + 1)], 0)
    return folder


def run(photos, out, encoder, **settings):
    return embedshift.run(photos, out=out, model=encoder, **{"shard_size": SHARD, "workers": 0} | settings)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_the_rows_stay(photos, tmp_path):
    encoder = SmallMemory(7)
    small = run(photos, tmp_path / "small", encoder, batch_size=24)
    large = run(photos, tmp_path / "large", MeanColour(), batch_size=24)
    assert small.rows().collect().equals(large.rows().collect())
    assert max(encoder.batches) == 6
    assert [record.batch_size for record in small.reader().records] == [6] * 3
    assert [record.batch_size for record in large.reader().records] == [24] * 3


def test_a_view_that_does_not_fit_alone_ends_the_run_with_one_line(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match="failed on a batch of 1 views: RuntimeError: CUDA out of memory"):
        run(photos, tmp_path / "none", SmallMemory(0), limit=1)


class Ahead(MeanColour):
    """Writes down which pass was begun and which was read; fails at one of either.

    Args:
        begins: Number of the pass that cannot be begun.
        reads: Number of the pass whose output cannot be read.
        error: What is raised then.
    """

    def __init__(self, begins=-1, reads=-1, error=None):
        self.log, self.begins, self.reads, self.error = [], begins, reads, error

    def begin(self, views):
        number = sum(what == "begin" for what, _ in self.log)
        self.log.append(("begin", number))
        if number == self.begins:
            raise self.error
        views = views.copy()

        def finish():
            self.log.append(("read", number))
            if number == self.reads:
                raise self.error
            return super(Ahead, self).__call__(views)

        return finish

    def __call__(self, views):
        if self.log:  # what it is asked before the first shard is no part
            self.log.append(("call", len(views)))
        return super().__call__(views)


@pytest.mark.parametrize("batch", first_only([8, 15, 100]))
def test_a_pass_is_begun_before_the_one_before_is_read_across_shards_too(photos, tmp_path, batch):
    """A shard's last batch may be full: nothing is begun for no views."""
    encoder = Ahead()
    assert isinstance(encoder, Pipelined)
    found = run(photos, tmp_path / "ahead", encoder, batch_size=batch).rows().collect()
    count = sum(-(-images * VIEWS // batch) for images in (3, 3, 1))  # batches do not cross shards
    wanted = [("begin", 0)]
    for number in range(1, count):
        wanted += [("begin", number), ("read", number - 1)]
    assert encoder.log == [*wanted, ("read", count - 1)]
    assert found.equals(run(photos, tmp_path / "plain", MeanColour(), batch_size=batch).rows().collect())


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("where", "error"), [("begins", RuntimeError("CUDA out of memory")), ("reads", RuntimeError("a hiccup"))]
)
def test_a_pass_that_fails_at_either_end_is_encoded_again(photos, tmp_path, where, error):
    """The fourth pass is the last of a shard."""
    encoder = Ahead(**{where: 3}, error=error)
    found = run(photos, tmp_path / "ahead", encoder, batch_size=8).rows().collect()
    plain = run(photos, tmp_path / "plain", MeanColour(), batch_size=8).rows().collect()
    assert found.columns == plain.columns
    for name in ("image_id", "view", "cosine_similarity", "attention"):
        assert found[name].equals(plain[name])
