"""One peer at work, in its own environment: started by peers.py, asked on stdin, it answers in lines of JSON.

usage: python benchmarks/peer.py PEER CHECKPOINTS PHOTO_DIR THREADS EMBEDDINGS

Of each peer: a pass over the photos, from the files to embeddings, as its own documentation does it, and the forward
pass alone. What is asked is `{"batch": 40}`, or null for the library's own default; 0 ends the process.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIZE = 224
SHOWN = ("torch", "torchvision", "transformers", "sentence-transformers", "open-clip-torch", "clip-retrieval")
# open_clip has no loop of its own for inference; this is its training script's default.
OPEN_CLIP_BATCH = 64
# `transformers` without its pipeline has no default.
LOOP_BATCH = 32


@dataclass(frozen=True)
class Given:
    """What a peer is given.

    Args:
        clip: The checkpoint of transformers.
        open_clip: The same weights for open_clip.
        photos: The folder of the photos.
        threads: Of the encoder, and the number of loader processes.
    """

    clip: str
    open_clip: str
    photos: Path
    threads: int

    @property
    def files(self) -> list[Path]:
        """The photos, in order."""
        return sorted(self.photos.iterdir())


@dataclass(frozen=True)
class Work:
    """What a peer does.

    Args:
        embed: Batch, None = the library's default → embeddings `[N, D]` of all photos, in order.
        forward: Pixels float32 `[B, 3, S, S]` → one forward pass.
        batch: The library's default.
    """

    embed: Callable[[int | None], Any]
    forward: Callable[[torch.Tensor], object]
    batch: int


def transformers_pipeline(given: Given) -> Work:
    import transformers

    library: Any = transformers
    model = library.CLIPVisionModelWithProjection.from_pretrained(given.clip)
    processor = library.AutoImageProcessor.from_pretrained(given.clip)
    features = library.pipeline("image-feature-extraction", model=model, image_processor=processor, device="cpu")

    def embed(batch: int | None) -> Any:
        asked = {} if batch is None else {"batch_size": batch}
        return torch.cat(features([str(file) for file in given.files], return_tensors=True, **asked))

    return Work(embed, lambda pixels: model(pixel_values=pixels), 1)


def transformers_loop(given: Given) -> Work:
    import transformers
    from PIL import Image

    library: Any = transformers
    model = library.CLIPVisionModelWithProjection.from_pretrained(given.clip)
    processor = library.AutoImageProcessor.from_pretrained(given.clip)

    def embed(batch: int | None) -> Any:
        made = []
        for files in _batches(given.files, batch or LOOP_BATCH):
            inputs = processor(images=[Image.open(file).convert("RGB") for file in files], return_tensors="pt")
            made.append(model(**inputs).image_embeds)
        return torch.cat(made)

    return Work(embed, lambda pixels: model(pixel_values=pixels), LOOP_BATCH)


def sentence_transformers(given: Given) -> Work:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(given.clip, device="cpu")

    def embed(batch: int | None) -> Any:
        asked = {} if batch is None else {"batch_size": batch}
        return model.encode([Image.open(file) for file in given.files], **asked)

    clip: Any = model[0]
    return Work(embed, lambda pixels: clip.auto_model.get_image_features(pixel_values=pixels), 32)


class Photos(torch.utils.data.Dataset[Any]):
    """Photos through a transform."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Any], torch.Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> torch.Tensor:
        from PIL import Image

        return self.transform(Image.open(self.files[place]))


def open_clip(given: Given) -> Work:
    import open_clip as library
    from torch.utils.data import DataLoader

    model, _, transform = library.create_model_and_transforms("ViT-B-32-quickgelu", pretrained=given.open_clip)
    model.eval()

    def embed(batch: int | None) -> Any:
        photos = Photos(given.files, transform)
        loader = DataLoader(photos, batch_size=batch or OPEN_CLIP_BATCH, num_workers=given.threads)
        return torch.cat([model.encode_image(pixels) for pixels in loader])

    return Work(embed, model.encode_image, OPEN_CLIP_BATCH)


class NoLog:
    """In place of clip-retrieval's logger, a process that it starts once for a million images."""

    def __call__(self, *stats: object) -> None:
        """Writes nothing."""

    start = end = __call__


def clip_retrieval(given: Given) -> Work:
    from all_clip import load_clip
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import FilesReader
    from clip_retrieval.clip_inference.runner import Runner
    from clip_retrieval.clip_inference.writer import NumpyWriter

    # Its `hf_clip:` takes the features for a tensor, which they are no more in transformers 5.
    named = f"open_clip:ViT-B-32-quickgelu/{given.open_clip}"
    model, transform, tokenizer = load_clip(clip_model=named, use_jit=False)
    mapper = ClipMapper(True, False, False, False, named, False, "")

    def embed(batch: int | None) -> Any:
        size, loaders = (256, 4) if batch is None else (batch, given.threads)  # its own defaults
        images = {"enable_text": False, "enable_image": True, "enable_metadata": False}
        with tempfile.TemporaryDirectory() as out:
            run = Runner(
                lambda part: FilesReader(part, transform, tokenizer, str(given.photos), size, loaders, **images),
                lambda: mapper,
                lambda number: NumpyWriter(number, out, output_partition_count=1, **images),
                lambda number: NoLog(),
                1,
            )
            run(0)
            return np.load(Path(out) / "img_emb" / "img_emb_0.npy")

    return Work(embed, model.encode_image, 256)


def embedshift_study(given: Given) -> Work:
    import polars as pl

    from embedshift.config import make_config
    from embedshift.encoders import load_encoder
    from embedshift.pipeline.prepare import encoder_spec
    from embedshift.runner import run_study
    from embedshift.study.study import load

    encoder = load_encoder(given.clip, device="cpu")
    metrics = os.environ.get("PEER_METRICS", "").split()

    def embed(batch: int | None) -> Any:
        with tempfile.TemporaryDirectory() as out:
            # As its checkpoint's processor does it, which is what the peers do.
            settings = {"images": [str(given.photos)], "resize": "crop", "batch_size": batch, "metrics": metrics}
            run_study(make_config(settings), Path(out) / "study", encoder=encoder)
            rows = load(Path(out) / "study").rows().filter(pl.col("view") == "original").sort("image_id")
            return rows.select("embedding").collect()["embedding"].to_numpy()

    return Work(
        embed, lambda pixels: encoder(_as_bytes(pixels)), encoder_spec(make_config({}), encoder, ()).batch_for(encoder)
    )


def embedshift_original(given: Given) -> Work:
    from embedshift.config import make_config
    from embedshift.encoders import load_encoder
    from embedshift.encoders.device import keep_memory
    from embedshift.engines.loaders import Images, draw_all
    from embedshift.pipeline.prepare import prepared
    from embedshift.sources.images import decode

    keep_memory()
    encoder = load_encoder(given.clip, device="cpu")
    config = make_config({"images": [str(given.photos)], "resize": "crop"})
    with prepared(config, None, encoder=encoder) as study:
        samples = sorted(study.samples, key=lambda sample: sample.image_id)

    def original(sample: Any, source: Any, plan: Any, *, on_step: Any = None) -> Any:
        return plan.to_input(decode(source.read(sample)), plan)

    def embed(batch: int | None) -> Any:
        views = draw_all(Images(samples, study.plan.source, study.plan, original), given.threads)
        made, waiting = [], []
        for view in views:
            waiting.append(view)
            if len(waiting) == (batch or study.plan.batch_size):
                made.append(encoder(np.stack(waiting)).embedding)
                waiting.clear()
        if waiting:
            made.append(encoder(np.stack(waiting)).embedding)
        return np.concatenate(made)

    return Work(embed, lambda pixels: encoder(_as_bytes(pixels)), study.plan.batch_size)


PEERS: dict[str, Callable[[Given], Work]] = {
    "transformers-pipeline": transformers_pipeline,
    "transformers-loop": transformers_loop,
    "sentence-transformers": sentence_transformers,
    "open_clip": open_clip,
    "clip-retrieval": clip_retrieval,
    "embedshift-original": embedshift_original,
    "embedshift-study": embedshift_study,
}


def _as_bytes(pixels: torch.Tensor) -> Any:
    return np.zeros((len(pixels), SIZE, SIZE, 3), np.uint8)


def _batches(files: Sequence[Path], batch: int) -> list[Sequence[Path]]:
    return [files[start : start + batch] for start in range(0, len(files), batch)]


def _cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def answer(work: Work, batch: int | None) -> dict[str, Any]:
    """One pass, and a few forward passes alone; the embeddings under "embeddings"."""
    cpu, start = _cpu(), time.perf_counter()
    made = work.embed(batch)
    seconds, cpu = time.perf_counter() - start, _cpu() - cpu
    size = batch or work.batch
    pixels = torch.zeros(size, 3, SIZE, SIZE)
    passes = max(1, 40 // size)
    begun = time.perf_counter()
    for _ in range(passes):
        work.forward(pixels)
    forward = (time.perf_counter() - begun) / (passes * size)
    return {"seconds": seconds, "cpu": cpu, "forward": forward, "batch": size, "embeddings": np.asarray(made)}


def main() -> None:
    name, checkpoints, photos, threads, saved = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    torch.set_num_threads(int(threads))
    given = Given(f"{checkpoints}/clip", f"{checkpoints}/open_clip.safetensors", Path(photos), int(threads))
    start = time.perf_counter()
    with torch.inference_mode():
        work = PEERS[name](given)
        loaded = time.perf_counter() - start
        versions = {each.name.lower().replace("_", "-"): each.version for each in distributions()}
        shown = {each: versions[each] for each in SHOWN if each in versions}
        print(json.dumps({"loaded": loaded, "versions": shown}), file=replies)
        for line in sys.stdin:
            told = answer(work, json.loads(line)["batch"])
            np.save(saved, told.pop("embeddings").astype(np.float32))
            print(json.dumps(told), file=replies)


if __name__ == "__main__":
    main()
