"""An encoder that begins a pass before the output of the one before is read: when, and that rows stay the same."""

import pytest

import embedshift
from embedshift.encoders.base import Pipelined
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.synthetic import write_pictures

pytestmark = pytest.mark.slow

IMAGES, VIEWS, SHARD = 7, 10, 3


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


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ahead") / "photos"
    write_pictures(folder, [f"{n}.png" for n in range(IMAGES)], 0)
    return folder


def rows(photos, out, encoder, **settings):
    sizes = {"shard_size": SHARD, "batch_size": 8, "workers": 0} | settings
    return embedshift.run(photos, out=out, model=encoder, **sizes).rows().collect()


def test_a_pass_is_begun_before_the_one_before_is_read_across_shards_too(photos, tmp_path):
    encoder = Ahead()
    assert isinstance(encoder, Pipelined)
    found = rows(photos, tmp_path / "ahead", encoder)
    passes = [-(-3 * VIEWS // 8), -(-3 * VIEWS // 8), -(-VIEWS // 8)]  # batches do not cross shards
    count = sum(passes)
    wanted = [("begin", 0)]
    for number in range(1, count):
        wanted += [("begin", number), ("read", number - 1)]
    assert encoder.log == [*wanted, ("read", count - 1)]
    assert found.equals(rows(photos, tmp_path / "plain", MeanColour()))


@pytest.mark.matrix
@pytest.mark.parametrize("batch", first_only([10, 15, 30, 100]))
def test_batches_that_end_with_an_image_or_a_shard(photos, tmp_path, batch):
    """A shard's last batch may be full: nothing is begun for no views."""
    encoder = Ahead()
    found = rows(photos, tmp_path / "ahead", encoder, batch_size=batch)
    of_shards = [-(-images * VIEWS // batch) for images in (3, 3, 1)]
    assert sum(what == "begin" for what, _ in encoder.log) == sum(of_shards)
    assert found.equals(rows(photos, tmp_path / "plain", MeanColour(), batch_size=batch))


@pytest.mark.matrix
@pytest.mark.parametrize("where", first_only(["begins", "reads"]))
@pytest.mark.parametrize("error", first_only([RuntimeError("CUDA out of memory"), RuntimeError("a hiccup")]))
def test_a_pass_that_fails_at_either_end_is_encoded_again(photos, tmp_path, where, error):
    """The fourth pass is the last of a shard."""
    encoder = Ahead(**{where: 3}, error=error)
    found = rows(photos, tmp_path / "ahead", encoder)
    plain = rows(photos, tmp_path / "plain", MeanColour())
    assert found.columns == plain.columns
    for name in ("image_id", "view", "cosine_similarity", "attention"):
        assert found[name].equals(plain[name])
