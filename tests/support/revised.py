"""Made studies with other embeddings, or without any."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.store.files import file_checksum
from embedshift.store.info import identity_hash, read_content, write_content
from embedshift.store.shards import SUMS_KEY, ShardRecord, read_record, shard_name, shard_path, write_shard
from embedshift.study import Study

Vectors = NDArray[np.float32]


def read_shard(path: Path) -> tuple[pa.Table, ShardRecord]:
    """A shard's rows with its sums, and its record, as `write_shard` takes them."""
    sums = pq.read_metadata(path).metadata.get(SUMS_KEY)
    return pq.read_table(path).replace_schema_metadata({SUMS_KEY: sums} if sums else None), read_record(path)[0]


def revise_shard(folder: Path, index: int, change: Callable[[pa.Table], pa.Table], **said: object) -> None:
    """Writes a shard again with other rows (the sums are in their metadata), as if measured; `said` is its record's."""
    table, record = read_shard(shard_path(folder, index))
    write_shard(folder, change(table), dataclasses.replace(record, **said))  # type: ignore[arg-type]
    record_shards(folder)


def file_checksums(shards: Iterable[Path]) -> dict[str, str]:
    """What study.json says of the files of shards."""
    return {shard_name(path): file_checksum(path) for path in shards}


def record_shards(folder: Path) -> None:
    """Lets study.json record the shards as they are, and no table of those that were there before."""
    content, shards = read_content(folder), file_checksums((folder / "shards").glob("part-*"))
    others = {name: checksum for name, checksum in content["files"].items() if not name.startswith("tables/")}
    write_content(folder, content | {"files": others | shards})


def revise_embeddings(study: Study, change: Callable[[Vectors], Vectors], shard: int = 0) -> None:
    """Writes a shard again with other embeddings `[rows, D]`; all else, what it says of itself too, is as before."""

    def changed(table: pa.Table) -> pa.Table:
        place, field = table.schema.get_field_index("embedding"), table.schema.field("embedding")
        vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(change(vectors).ravel()), vectors.shape[1])
        return table.set_column(place, field, column)

    revise_shard(study.folder, shard, changed)


def say_identity(folder: Path, content: dict[str, Any]) -> None:
    """Writes a study.json with another identity, and lets the shards say that they are of it."""
    content["config_hash"] = identity_hash(content["identity"])
    write_content(folder, content)
    for index in range(len(list((folder / "shards").iterdir()))):
        revise_shard(folder, index, lambda rows: rows, config_hash=content["config_hash"])


def say_counts(folder: Path, images: int, rows: int) -> None:
    """Lets study.json say that so many images were listed and measured."""
    content = read_content(folder)
    content["counts"] |= {"images": images, "measured": images, "rows": rows}
    write_content(folder, content)


def say_metrics(study: Study) -> None:
    """Lets study.json say `store` metrics."""
    content = study.info()
    write_content(study.folder, content | {"config": content["config"] | {"store": "metrics"}})


def without_vectors(study: Study) -> Study:
    """The study as one with `store` metrics says of itself, with the tables that it then has."""
    say_metrics(study)
    for table in (study.folder / "tables").glob("*"):
        table.unlink()
    study.write_tables()
    return study
