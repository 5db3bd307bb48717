"""One shard: read → views → encode → measure → records."""

import time
from collections.abc import Iterable, Iterator

import pyarrow as pa

from embedshift.pipeline import records
from embedshift.pipeline.batches import Batch, encode
from embedshift.pipeline.draw import Clock, DrawnImage
from embedshift.pipeline.encoded import unusable
from embedshift.pipeline.floor import UnrelatedImages
from embedshift.pipeline.measure import Sums
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.sources import Shard
from embedshift.sources.base import storable
from embedshift.store.shards import Failure, ShardRecord, with_sums


def measure_shard(
    shard: Shard, drawn: Iterable[DrawnImage | Failure], ready: ReadyEncoder, plan: Plan
) -> tuple[pa.Table, ShardRecord]:
    """The rows of one shard, and its record; batches never cross a shard."""
    failures: list[Failure] = []
    tables: list[pa.Table] = []
    batch, columns = Batch(plan.batch_size), records.columns(ready.encoder, plan)
    measures = ready.begin(plan.measures, shard.samples)
    sums: dict[str, Sums] = {"floor": UnrelatedImages(measures, plan, len(shard.samples))}
    sums |= {name: each for measure in measures for name, each in measure.sums(plan).items()}
    clock, loading = Clock(), Clock()

    def good() -> Iterator[DrawnImage]:
        for image in drawn:
            clock.lap("wait")
            if isinstance(image, Failure):
                failures.append(image)
                continue
            for stage, seconds in image.seconds.items():
                loading.seconds[stage] = loading.seconds.get(stage, 0.0) + seconds
            yield image
            clock.lap("encode")

    for encoded in encode(good(), ready.encoder, batch):
        clock.lap("encode")
        if isinstance(encoded, Failure):
            failures.append(encoded)
            continue
        image, output = encoded
        problem = unusable(output)
        if problem is None:
            output = output.without(image.missing)
            values = records.measure(image, output, measures, plan) | ready.of_image(measures, image, output)
            # A map for figures to show; more would be most of what is stored.
            maps = plan.config.store == "all" or not tables
            rows = records.rows(image, output, values, plan, maps=maps)
            tables.append(rows.select(columns.names).cast(columns))
            for each in sums.values():
                each.add(image, output)
        else:
            failures.append(Failure(storable(image.sample.image_id), "encode", problem))
        clock.lap("measure")
    table = pa.concat_tables(tables) if tables else columns.empty_table()
    table = with_sums(table, {name: each.close() for name, each in sums.items()})
    clock.lap("measure")
    seconds = loading.seconds | clock.seconds
    record = ShardRecord(
        shard.index, plan.config_hash, len(tables), tuple(failures), batch.size, seconds, written=time.time()
    )
    return table, record
