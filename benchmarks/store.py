"""Bytes per image of both stores, from real runs on photos, and whether both give the same tables.

usage: python benchmarks/store.py PHOTO_DIR [--photos 128] [--layers 1]

CLIP ViT-B/32 with random weights: 512 numbers and a 7 x 7 map a view. What is stored does not depend on the number of
layers, so one is enough; --layers 12 is the full-size encoder.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import torch
from transformers import CLIPConfig, CLIPModel

import embedshift
from embedshift.config import Store
from embedshift.encoders.base import Preprocess
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from embedshift.encoders.huggingface import READERS
from embedshift.encoders.module import ModuleEncoder
from embedshift.pipeline import records as baseline
from embedshift.questions.embedding import measure
from embedshift.sources import FolderSource
from embedshift.study import Study
from machine import describe_machine

STORES: tuple[Store, ...] = ("all", "metrics")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=128)
    parser.add_argument("--layers", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    # What a shard of a million images keeps of its originals: one vector, and one sum.
    vars(measure).update(KEPT=1, CHUNKS=1)
    vars(baseline).update(LEAST_PAIRS=1)
    photos = [sample.location for sample in FolderSource([str(options.folder)]).samples[: options.photos]]
    torch.manual_seed(0)
    config = CLIPConfig(vision_config={"num_hidden_layers": options.layers})
    model = CLIPModel._from_config(config).eval()  # type: ignore[no-untyped-call]
    encoder = ModuleEncoder(
        model, READERS["image_features"], Preprocess(224, CLIP_MEAN, CLIP_STD), "clip", tower=model.vision_model
    )
    with tempfile.TemporaryDirectory() as folder:
        studies = {name: embedshift.run(photos, out=Path(folder) / name, model=encoder, store=name) for name in STORES}
        print(describe_machine())
        print(f"{studies['all'].info()['counts']['measured']} photos x 10 views, 512 numbers and 7 x 7 maps")
        for name, study in studies.items():
            show(name, study)
        names = studies["all"].table_names
        same = [name for name in names if table_of(studies["all"], name).equals(table_of(studies["metrics"], name))]
        print(f"equal tables: {', '.join(same)} ({len(same)} of {len(names)})")


def show(name: str, study: Study) -> None:
    """Bytes of the shards, as they lie on the disk, and of the groups of columns."""
    images = study.info()["counts"]["measured"]
    parts = sorted((study.folder / "shards").iterdir())
    each = sum(part.stat().st_size for part in parts) / images
    print(f"--store {name}: {each:,.0f} bytes an image, {each / 1e3:,.2f} GB a million images")
    groups: dict[str, int] = {}
    for part in parts:
        columns = pq.read_metadata(part).row_group(0).to_dict()["columns"]
        for column in columns:
            path = column["path_in_schema"].split(".")[0]
            group = "metrics" if path in study.metrics else path
            groups[group] = groups.get(group, 0) + column["total_compressed_size"]
    print("  " + ", ".join(f"{group} {size / images:,.0f}" for group, size in groups.items()))


def table_of(study: Study, name: str) -> pl.DataFrame:
    """A table without the metric that `--store metrics` adds."""
    table = study.table(name)
    return table.filter(pl.col("metric") != "attention_entropy_rise") if "metric" in table.columns else table


if __name__ == "__main__":
    main()
