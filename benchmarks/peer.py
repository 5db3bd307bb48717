"""One peer at work, in its own environment: started by peers.py, asked on stdin, it answers in lines of JSON.

usage: python benchmarks/peer.py PEER CHECKPOINT PHOTO_DIR THREADS

A pass over the photos, from the files to embeddings, as the peer's own documentation does it. What is asked is a batch
size, or null for the library's own default.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

# Batch size → embeddings `[N, D]` of all photos, in order; and the library's default.
Work = tuple[Callable[[int], Any], int]
OPEN_CLIP = "ViT-B-32-quickgelu"


def transformers_loop(clip: str, files: Sequence[Path], threads: int) -> Work:
    import transformers

    library: Any = transformers
    model = library.CLIPVisionModelWithProjection.from_pretrained(clip)
    processor = library.AutoImageProcessor.from_pretrained(clip)

    def embed(batch: int) -> Any:
        made = []
        for start in range(0, len(files), batch):
            photos = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
            made.append(model(**processor(images=photos, return_tensors="pt")).image_embeds)
        return torch.cat(made)

    return embed, 32  # there is no default


def sentence_transformers(clip: str, files: Sequence[Path], threads: int) -> Work:
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(clip, device="cpu")
    return lambda batch: model.encode([Image.open(file) for file in files], batch_size=batch), 32


def open_clip(clip: str, files: Sequence[Path], threads: int) -> Work:
    import open_clip as library

    model, _, transform = library.create_model_and_transforms(OPEN_CLIP)
    model.eval()

    def read(part: Sequence[Path]) -> Any:
        return torch.stack([transform(Image.open(file)) for file in part])

    def embed(batch: int) -> Any:
        photos: Any = list(files)
        loader = torch.utils.data.DataLoader(photos, batch_size=batch, num_workers=threads, collate_fn=read)
        return torch.cat([model.encode_image(pixels) for pixels in loader])

    return embed, 64  # of its training script: it has no loop of its own for inference


class NoLog:
    """In place of clip-retrieval's logger, a process that it starts once for a million images."""

    def __call__(self, *stats: object) -> None:
        """Writes nothing."""

    start = end = __call__


def clip_retrieval(clip: str, files: Sequence[Path], threads: int) -> Work:
    import open_clip as library
    from all_clip import load_clip
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import FilesReader
    from clip_retrieval.clip_inference.runner import Runner
    from clip_retrieval.clip_inference.writer import NumpyWriter

    # Its `hf_clip:` takes the features for a tensor, which they are no more in transformers 5.
    weights = Path(clip).with_name("open_clip.pt")
    torch.save(library.create_model(OPEN_CLIP).state_dict(), weights)
    named = f"open_clip:{OPEN_CLIP}/{weights}"
    _, transform, tokenizer = load_clip(clip_model=named, use_jit=False)
    mapper = ClipMapper(True, False, False, False, named, False, "")
    images = {"enable_text": False, "enable_image": True, "enable_metadata": False}

    def embed(batch: int) -> Any:
        loaders = 4 if batch == 256 else threads  # its own defaults
        with tempfile.TemporaryDirectory() as out:
            Runner(
                lambda part: FilesReader(part, transform, tokenizer, str(files[0].parent), batch, loaders, **images),
                lambda: mapper,
                lambda number: NumpyWriter(number, out, output_partition_count=1, **images),
                lambda number: NoLog(),
                1,
            )(0)
            return np.load(Path(out) / "img_emb" / "img_emb_0.npy")

    return embed, 256


def embedshift(clip: str, files: Sequence[Path], threads: int) -> Work:
    """The embeddings of the originals alone, by the loaders of a study."""
    from embedshift.config import make_config
    from embedshift.encoders import load_encoder
    from embedshift.encoders.device import keep_memory
    from embedshift.engines.loaders import Images, draw_all
    from embedshift.pipeline.prepare import prepared
    from embedshift.sources.images import decode

    keep_memory()
    encoder = load_encoder(clip, device="cpu")
    # As its checkpoint's processor does it, which is what the peers do.
    config = make_config({"images": [str(files[0].parent)], "resize": "crop"})
    with prepared(config, None, encoder=encoder) as study:
        samples = sorted(study.samples, key=lambda sample: sample.image_id)

    def original(sample: Any, source: Any, plan: Any, *, on_step: Any = None) -> Any:
        return plan.to_input(decode(source.read(sample)), plan)

    def embed(batch: int) -> Any:
        made, waiting = [], []
        for number, view in enumerate(draw_all(Images(samples, study.plan.source, study.plan, original), threads), 1):
            waiting.append(view)
            if len(waiting) == batch or number == len(samples):
                made.append(encoder(np.stack(waiting)).embedding)
                waiting.clear()
        return np.concatenate(made)

    return embed, study.plan.batch_size


PEERS: dict[str, Callable[[str, Sequence[Path], int], Work]] = {
    "transformers": transformers_loop,
    "sentence-transformers": sentence_transformers,
    "open_clip": open_clip,
    "clip-retrieval": clip_retrieval,
    "embedshift": embedshift,
}


def main() -> None:
    name, clip, photos, threads = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    torch.set_num_threads(int(threads))
    with torch.inference_mode():
        embed, default = PEERS[name](clip, sorted(Path(photos).iterdir()), int(threads))
        for line in sys.stdin:
            batch, start = json.loads(line) or default, time.perf_counter()
            shape = embed(batch).shape
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "batch": batch, "shape": list(shape)}), file=replies)


if __name__ == "__main__":
    main()
