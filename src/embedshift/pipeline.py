"""One shard: read → views → encode → measure → records."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from embedshift import records
from embedshift.batches import Batch, encode
from embedshift.draw import Clock, DrawnImage
from embedshift.encoders.base import Encoder
from embedshift.plan import Plan
from embedshift.shards import Failure, ShardRecord, storable


def measure_shard(
    index: int, drawn: Iterable[DrawnImage | Failure], encoder: Encoder, plan: Plan
) -> tuple[pa.Table, ShardRecord]:
    """The rows of one shard, and its record; batches never cross a shard."""
    failures: list[Failure] = []
    batch = Batch(plan.batch_size)
    tables: list[pa.Table] = []
    columns = records.columns(encoder, plan)
    clock, worker_seconds = Clock(), Clock()

    def good() -> Iterator[DrawnImage]:
        for image in drawn:
            clock.lap("wait")
            if isinstance(image, Failure):
                failures.append(image)
                continue
            for stage, seconds in image.seconds.items():
                worker_seconds.seconds[stage] = worker_seconds.seconds.get(stage, 0.0) + seconds
            yield image
            clock.lap("encode")

    for image, output in encode(good(), encoder, batch):
        clock.lap("encode")
        if np.isfinite(output.embedding).all():
            rows = records.rows(image, output, records.measure(image, output, plan), plan)
            tables.append(rows.select(columns.names).cast(columns))
        else:
            words = "the encoder's embedding holds values that are not finite"
            failures.append(Failure(storable(image.sample.image_id), "encode", words))
        clock.lap("measure")
    table = (
        pa.concat_tables([part.select(columns.names).cast(columns) for part in tables])
        if tables
        else columns.empty_table()
    )
    seconds = worker_seconds.seconds | clock.seconds
    return table, ShardRecord(index, plan.config_hash, len(tables), tuple(failures), batch.size, seconds)
