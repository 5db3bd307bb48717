"""Made studies with other embeddings, or without any."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.store.shards import METADATA_KEY, SUMS_KEY
from embedshift.study import Study

Vectors = NDArray[np.float32]


def revise_embeddings(study: Study, change: Callable[[Vectors], Vectors], shard: int = 0) -> None:
    """Writes a shard again with changed embeddings; all else, what it says of itself too, is as before.

    Args:
        study: A made study.
        change: Embeddings of all rows `[rows, D]` → others.
        shard: Which.
    """
    path = sorted((study.folder / "shards").glob("part-*.parquet"))[shard]
    metadata = {key: pq.read_metadata(path).metadata[key] for key in (METADATA_KEY, SUMS_KEY)}
    table = pq.read_table(path)
    place, field = table.schema.get_field_index("embedding"), table.schema.field("embedding")
    vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(change(vectors).ravel()), vectors.shape[1])
    table = table.set_column(place, field, column).replace_schema_metadata({METADATA_KEY: metadata[METADATA_KEY]})
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({SUMS_KEY: metadata[SUMS_KEY]})


def say_metrics(study: Study) -> None:
    """Lets study.json say `store` metrics."""
    file = study.folder / "study.json"
    file.write_text(file.read_text().replace('"store": "all"', '"store": "metrics"'))


def without_vectors(study: Study) -> Study:
    """The study as one with `store` metrics says of itself, with the tables that it then has."""
    say_metrics(study)
    for table in (study.folder / "tables").glob("*"):
        table.unlink()
    study.write_tables()
    return study
