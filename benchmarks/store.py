"""Bytes per image of both stores, from real runs on photos, and whether both give the same tables.

usage: python benchmarks/store.py PHOTOS [--photos 128]

CLIP ViT-B/32 with random weights: 512 numbers and a 7 x 7 map a view. What is stored does not depend on the number of
layers, so one is enough.
"""

import logging
import tempfile
from pathlib import Path

import polars as pl
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import embedshift
from bench import arguments, files_in, print_machine
from embedshift.config import Store
from embedshift.encoders.base import Preprocess
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from embedshift.encoders.huggingface import READERS
from embedshift.encoders.module import ModuleEncoder
from embedshift.pipeline import records
from embedshift.questions.embedding import measure
from embedshift.study import Study

STORES: tuple[Store, ...] = ("all", "metrics")


def main() -> None:
    options = arguments(__doc__, "folder", photos=128)
    logging.disable(logging.WARNING)
    # What a shard of a million images keeps of its originals: one vector, and one sum.
    vars(measure).update(KEPT=1, CHUNKS=1)
    vars(records).update(LEAST_PAIRS=1)
    photos = [str(file) for file in files_in(options.folder, options.photos)]
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(num_hidden_layers=1))
    model.eval()  # type: ignore[no-untyped-call]
    encoder = ModuleEncoder(model, READERS["image_embeds"], Preprocess(224, CLIP_MEAN, CLIP_STD), "clip")
    with tempfile.TemporaryDirectory() as folder:
        studies = {name: embedshift.run(photos, out=Path(folder) / name, model=encoder, store=name) for name in STORES}
        print_machine()
        print(f"{studies['all'].info()['counts']['measured']} photos x 10 views, 512 numbers and 7 x 7 maps")
        for name, study in studies.items():
            shards = sum(part.stat().st_size for part in (study.folder / "shards").iterdir())
            each = shards / study.info()["counts"]["measured"]
            print(f"--store {name}: {each:,.0f} bytes an image, {each / 1e3:,.2f} GB a million images")
        names = studies["all"].table_names
        both = [name for name in names if name in studies["metrics"].table_names]
        same = [name for name in both if table_of(studies["all"], name).equals(table_of(studies["metrics"], name))]
        print(f"equal tables: {', '.join(same)} ({len(same)} of {len(names)})")


def table_of(study: Study, name: str) -> pl.DataFrame:
    """A table without the metric that `--store metrics` adds."""
    table = study.table(name)
    return table.filter(pl.col("metric") != "attention_entropy_rise") if "metric" in table.columns else table


if __name__ == "__main__":
    main()
