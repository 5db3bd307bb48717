"""What a run finds in its folder before it begins: shards of this very study, or what makes another study of it."""

import pytest

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.files import Damaged
from embedshift.store.info import differences, identity_hash
from embedshift.store.listing import Listing
from embedshift.store.resume import resumable
from embedshift.store.shards import Failure
from support.synthetic import make_study

LOST = [Failure("lost.png", "decode", "no image")]


@pytest.fixture
def study(tmp_path):
    """Six images, one of which failed, in three shards of a folder whose name is no pattern."""
    return make_study(tmp_path / "study [v2]*", 5, ["noise"], failures=LOST, shard_size=2, with_tables=False)


def ids(*, without=(), more=()):
    return [each for each in [*(f"image-{i:05d}.png" for i in range(5)), "lost.png"] if each not in without] + [*more]


def found(study, images, *, changed=True, repair=False):
    info = study.reader().info
    identity = {**info.identity, "images": {"count": len(images), "ids_hash": "2" * 64}} if changed else info.identity
    return resumable(Listing(study.folder), identity, "other" if changed else info.config_hash, images, repair=repair)


def words(study, images):
    """What the refusal says of images beside their number and their hash."""
    with pytest.raises(UsageError) as caught:
        found(study, images)
    head, _, rest = str(caught.value).partition(" contains another study: ")
    assert head == str(study.folder)
    assert rest.endswith(". Choose another `out`, or delete it")
    parts = rest.removesuffix(". Choose another `out`, or delete it").split("; ")
    assert any(part.startswith("images.ids_hash: ") for part in parts)
    return [part for part in parts if not part.startswith("images.")]


def test_the_shards_of_this_very_study(study):
    records = found(study, ids(), changed=False)
    assert sorted(records) == [0, 1, 2]
    assert [records[index].images for index in range(3)] == [2, 2, 1]


def test_images_that_were_added_or_removed_are_named_three_at_most(study):
    assert words(study, ids(more=["new.png"])) == ["added: new.png"]
    assert words(study, ids(without=["image-00003.png"])) == ["removed: image-00003.png"]
    assert words(study, ids(without=["lost.png"], more=["b", "a"])) == ["added: a, b", "removed: lost.png"]
    assert words(study, ids(more=["d", "c", "b", "a"])) == ["added: a, b, c, …"]
    assert words(study, ids(more=["c", "b", "a"])) == ["added: a, b, c"]
    assert words(study, []) == ["removed: image-00000.png, image-00001.png, image-00002.png, …"]


def test_an_image_that_is_still_to_come_was_not_added(study):
    (study.folder / "shards" / "part-00001.parquet").unlink()
    assert words(study, ids(more=["new.png"])) == []
    assert words(study, ids(without=["image-00000.png"])) == ["removed: image-00000.png"]


def test_a_name_that_is_no_utf_8_is_the_one_that_was_stored(tmp_path):
    made = make_study(tmp_path / "study", ["b\\xff.png"], ["noise"], with_tables=False)
    assert words(made, ["b\udcff.png"]) == []


def test_images_are_not_named_where_they_are_the_same(study):
    info = study.reader().info
    with pytest.raises(UsageError, match=r"contains another study: seed: 0 there, 1 now\. Choose"):
        resumable(Listing(study.folder), {**info.identity, "seed": 1}, "other", ids(more=["new.png"]))


def test_another_study_that_has_no_shard_yet_is_refused_too(study):
    for path in (study.folder / "shards").iterdir():
        path.unlink()
    assert words(study, ids(more=["new.png"])) == []


def test_a_damaged_shard_is_deleted_where_that_is_asked_for_and_it_is_known_whose_it_is(study, caplog):
    path = study.folder / "shards" / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Damaged, match="part-00001"):
        found(study, ids(), changed=False)
    assert path.exists()
    with pytest.raises(UsageError, match="contains another study"):
        found(study, ids(more=["new.png"]), repair=True)
    assert path.exists(), "of another study nothing is deleted"
    assert sorted(found(study, ids(), changed=False, repair=True)) == [0, 2]
    assert not path.exists()
    assert f"{path}: damaged; deleting it and measuring it again" in caplog.text


def test_where_nothing_says_whose_a_damaged_shard_is_it_stays(study):
    info = study.reader().info
    (study.folder / "study.json").unlink()
    for path in (study.folder / "shards").iterdir():
        path.write_bytes(b"PAR1")
    with pytest.raises(EmbedshiftError, match="damaged"):
        resumable(Listing(study.folder), info.identity, info.config_hash, ids(), repair=True)
    assert len(list((study.folder / "shards").iterdir())) == 3


def test_shards_are_counted_by_the_images_where_there_is_no_study_yet(study):
    info = study.reader().info
    (study.folder / "study.json").unlink()
    assert sorted(resumable(Listing(study.folder), info.identity, info.config_hash, ids())) == [0, 1, 2]
    with pytest.raises(UsageError, match="not part of this study"):
        resumable(Listing(study.folder), info.identity, info.config_hash, ids()[:4])


def test_what_differs_is_named_by_its_whole_path_and_cut():
    then = {"a": {"b": {"c": 1}}, "d": "x" * 59, "e": 2}
    now = {"a": {"b": {"c": 2}}, "d": "y" * 58, "e": 2}
    long, whole = f'"{"x" * 56}...', f'"{"y" * 58}"'
    assert differences(then, now) == ["a.b.c: 1 there, 2 now", f"d: {long} there, {whole} now"]
    assert identity_hash(then) == identity_hash(dict(reversed(then.items()))) != identity_hash(now)
