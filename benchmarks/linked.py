"""Studies of millions of images that take megabytes: the shards are links to a few that are there.

What is simulated: a study with `store` metrics, so rows of ten views without embeddings, with the sums of a shard of as
many images in its footer. A few shards are made; every shard of the study is a hard link to one of them in turn. Each
link is opened, hashed and read as a file of its own, from memory where the few fit into it. Ids repeat, which no table
of such a study looks at.
"""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from embedshift.store import listing
from embedshift.store.shards import ShardRecord, read_record, shard_path, write_shard

DISTINCT = 4


def link_study(folder: Path, images: int, dim: int, size: int) -> int:
    """A study of so many images, to the next whole shard.

    Returns:
        The number of images.
    """
    from support.revised import read_shard, record_shards, say_counts, say_metrics
    from support.synthetic import make_study

    shards = -(-images // size)
    few, images = min(shards, DISTINCT), shards * size
    study = make_study(folder, few * size, dim=dim, grid=(7, 7), shard_size=size, with_tables=False, of=images)
    say_metrics(study)
    for index in range(few):
        table, record = read_shard(shard_path(folder, index))
        maps = table.schema.get_field_index("attention")
        bare = table.set_column(maps, table.schema.field(maps), pa.nulls(len(table), table.schema.field(maps).type))
        write_shard(folder, bare.drop_columns(["embedding"]), record)
    for index in range(few, shards):
        os.link(shard_path(folder, index % few), shard_path(folder, index))
    record_shards(folder)
    say_counts(folder, images, table.num_rows // size * images)
    return images


def take_links_for_shards() -> None:
    """Lets this process read such a study: a link may hold another shard than its name says."""

    def read(path: Path) -> tuple[ShardRecord, int]:
        record, rows = read_record(path)
        return replace(record, index=int(path.stem.removeprefix("part-"))), rows

    listing.__dict__["read_record"] = read
