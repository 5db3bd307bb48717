"""One shard: read → views → encode → measure → records."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from embedshift import records
from embedshift.batches import Batch, encode
from embedshift.draw import Clock, DrawnImage
from embedshift.encoders.base import Encoder
from embedshift.metrics.layers import CkaSums
from embedshift.plan import Plan
from embedshift.shards import Failure, ShardRecord, storable, with_cka
from embedshift.sources import Shard
from embedshift.texts import caption_vectors


def measure_shard(
    shard: Shard, drawn: Iterable[DrawnImage | Failure], encoder: Encoder, plan: Plan
) -> tuple[pa.Table, ShardRecord]:
    """The rows of one shard, and its record; batches never cross a shard."""
    failures: list[Failure] = []
    batch = Batch(plan.batch_size)
    tables: list[pa.Table] = []
    columns, sums = records.columns(encoder, plan), CkaSums(plan.draws)
    clock, worker_seconds = Clock(), Clock()
    captions = caption_vectors(shard.samples, encoder) if plan.text and plan.text.captions else {}

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
            values = records.measure(image, output, plan, captions.get(image.sample.image_id))
            # A map for figures to show; more would be most of what is stored.
            maps = plan.store == "all" or not tables
            rows = records.rows(image, output, values, plan, maps=maps)
            tables.append(rows.select(columns.names).cast(columns))
            if plan.layers and output.layers is not None:
                sums.add(output.layers)
        else:
            words = "the encoder's embedding holds values that are not finite"
            failures.append(Failure(storable(image.sample.image_id), "encode", words))
        clock.lap("measure")
    table = (
        pa.concat_tables([part.select(columns.names).cast(columns) for part in tables])
        if tables
        else columns.empty_table()
    )
    sums.close()
    clock.lap("measure")
    table = with_cka(table, sums.images, sums.sums)
    seconds = worker_seconds.seconds | clock.seconds
    return table, ShardRecord(shard.index, plan.config_hash, len(tables), tuple(failures), batch.size, seconds)
