"""Which images a study has, and in which order: against loops that hash by themselves."""

import random

import fsspec
import numpy as np
import pytest

from embedshift import EmbedshiftError
from embedshift.sources import ImageRef, open_source, select, shuffle, split
from support.archives import write_parquet, write_tar
from support.ordered import (
    BLOCKS,
    BLOCKS_OF_TWO,
    MEMBERS,
    NAMES,
    SHUFFLED,
    folder,
    groups_of,
    order_of,
    slowly,
    slowly_in_blocks,
    two_parquets,
)


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.fixture
def parquets(tmp_path):
    return two_parquets(tmp_path)


def test_images_that_are_read_one_by_one_are_shuffled_in_full(tmp_path):
    places = [folder(tmp_path / "photos")]
    for seed in (0, 17, 2**40):
        assert order_of(places, seed=seed) == (slowly(NAMES, seed), SHUFFLED)
    assert len({tuple(order_of(places, seed=seed)[0]) for seed in range(6)}) == 6


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("chosen", [{}, {"limit": 70}, {"sample": 60}, {"limit": 80, "sample": 41}])
def test_rows_of_a_parquet_are_shuffled_within_eight_row_groups(parquets, seed, chosen):
    assert len(BLOCKS_OF_TWO) == 23
    first = sorted(NAMES)[: chosen.get("limit")]
    if "sample" in chosen:
        drawn = random.Random(seed).sample(range(len(first)), chosen["sample"])
        first = [image_id for index, image_id in enumerate(first) if index in drawn]
    blocks = [[image_id for image_id in block if image_id in first] for block in BLOCKS_OF_TWO]
    windows = slowly_in_blocks([block for block in blocks if block], seed)
    found, name = order_of(parquets, seed=seed, **chosen)
    assert name == BLOCKS
    assert found == [image_id for window in windows for image_id in window]
    assert sorted(found) == first


def test_members_of_a_tar_behind_a_url_are_shuffled_within_eight_blocks(tmp_path, memory, monkeypatch):
    monkeypatch.setattr("embedshift.sources.tar.MEMBERS", 5)
    for name, part in (("a", MEMBERS[:52]), ("b", MEMBERS[52:])):
        memory.pipe(f"/bucket/{name}.tar", write_tar(tmp_path / f"{name}.tar", part).read_bytes())
    blocks = groups_of(MEMBERS[:52], 5) + groups_of(MEMBERS[52:], 5)
    assert len(blocks) == 19
    places = ["memory://bucket/a.tar", "memory://bucket/b.tar"]
    for seed in (0, 1):
        windows = slowly_in_blocks(blocks, seed)
        assert len(windows) == 3
        assert order_of(places, seed=seed) == ([image_id for window in windows for image_id in window], BLOCKS)
    assert order_of(places, seed=0) != order_of(places, seed=1)
    # On this machine's own disk there is nothing to read together.
    assert order_of([tmp_path / "a.tar", tmp_path / "b.tar"]) == (slowly(NAMES, 0), SHUFFLED)


def test_the_order_depends_neither_on_the_place_nor_on_the_order_of_the_arguments(
    parquets, tmp_path, memory, monkeypatch
):
    monkeypatch.setattr("embedshift.sources.tar.MEMBERS", 5)
    tars = [write_tar(tmp_path / "a.tar", MEMBERS[:52]), write_tar(tmp_path / "b.tar", MEMBERS[52:])]
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    for path in (*parquets, *tars):
        (elsewhere / path.name).write_bytes(path.read_bytes())
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
        memory.pipe(f"/other/bucket/{path.name}", path.read_bytes())
    for names, roots in (
        ([path.name for path in parquets], [tmp_path, elsewhere, "memory://bucket", f"file://{tmp_path}"]),
        ([path.name for path in tars], [tmp_path, elsewhere, f"file://{tmp_path}"]),
        ([path.name for path in tars], ["memory://bucket", "memory://other/bucket"]),
    ):
        expected = order_of([f"{roots[0]}/{name}" for name in names], seed=5)
        for root in roots:
            assert order_of([f"{root}/{name}" for name in names], seed=5) == expected
            assert order_of([f"{root}/{name}" for name in reversed(names)], seed=5) == expected


def test_the_limit_takes_the_first_sorted_ids_whatever_the_seed(parquets, tmp_path):
    for places in (parquets, [write_tar(tmp_path / "a.tar", MEMBERS)], [folder(tmp_path / "photos")]):
        source = open_source([str(place) for place in places])
        for seed, limit in ((0, 1), (1, 20), (99, 90), (0, 500)):
            chosen = select(source.samples, limit=limit, sample=500, seed=seed)
            assert [each.image_id for each in chosen] == sorted(NAMES)[:limit]


def test_two_images_with_one_id_are_refused_and_both_are_named(tmp_path):
    one = write_parquet(tmp_path / "one.parquet", [("a", b"1"), ("b", b"2"), ("c", b"3")])
    two = write_parquet(tmp_path / "two.parquet", [("d", b"4"), ("b", b"5")])
    with pytest.raises(EmbedshiftError) as caught:
        order_of([two, one], limit=1)
    assert str(caught.value) == f"two images have the id 'b': {one}#1 and {two}#1; rename one"
    assert caught.value.exit_code == 2
    with pytest.raises(EmbedshiftError) as caught:
        order_of([write_parquet(tmp_path / "three.parquet", [("x", b"1"), ("x", b"2")])])
    assert str(caught.value).startswith(f"two images have the id 'x': {tmp_path}/three.parquet#0 and ")
    # In one tar, where the later member would replace the earlier one on a disk.
    tar = write_tar(tmp_path / "a.tar", [("a.png", b"1"), ("./a.png", b"2")])
    with pytest.raises(EmbedshiftError, match=r"have the id 'a\.png': .*a\.tar: a\.png and .*a\.tar: a\.png"):
        order_of([tar])


def test_names_that_are_no_text_have_their_place():
    samples = [ImageRef(name, name) for name in ("caf\udce9.png", "é.png", "\udcff.png", "b", "a|b", "")]
    ordered, _ = shuffle(samples, open_source([]), seed=1)
    assert [each.image_id for each in ordered] == slowly([each.image_id for each in samples], 1)


@pytest.mark.parametrize("size", [1, 16, 25, 90, 200])
def test_shards_are_slices_of_the_order_across_archives(parquets, size):
    source = open_source([str(place) for place in parquets])
    ordered, _ = shuffle(select(source.samples, limit=None, sample=None, seed=0), source, seed=0)
    shards = split(ordered, size)
    expected, left = [], list(ordered)
    while left:
        expected.append(tuple(left[:size]))
        left = left[size:]
    assert [shard.samples for shard in shards] == expected
    assert [shard.index for shard in shards] == list(range(len(expected)))
    if size >= 16:
        assert any(len({sample.archive for sample in shard.samples}) == 2 for shard in shards)


def test_a_shard_is_a_fair_sample_of_the_classes():
    """Folders of classes, the usual layout: sorted, the first shard would be of one class."""
    samples = [ImageRef(f"class-{number // 300}/{number:04}.jpg", str(number)) for number in range(1200)]
    ordered, _ = shuffle(samples, open_source([]), seed=0)
    for shard in split(ordered, 64)[:-1]:
        counts = [sum(sample.image_id.startswith(f"class-{k}/") for sample in shard.samples) for k in range(4)]
        # 16 of each are expected; of 18 shards and 4 classes none is further away than 4 standard deviations.
        assert all(abs(count - 16) <= 4 * np.sqrt(64 * 0.25 * 0.75) for count in counts)
