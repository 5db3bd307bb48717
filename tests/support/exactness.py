"""Holds a finished study to slow, independent computations: the largest difference per column.

Views come from `make_views`, which has its own tests. All else is computed anew: preprocessing by hand, transformers'
eager attention in the checkpoint's full class, metrics by the plain loops of `reference.py`.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, CLIPModel, CLIPVisionModelWithProjection, ViTModel

import embedshift
from support import inputs, reference

PIXEL_METRICS = ("patch_similarity", "edge_preservation", "detail_preservation")
TOLERANCES = {
    "view_seed": 0.0,
    "embedding": 1e-4,
    "attention": 1e-5,
    "cosine_similarity": 1e-5,
    "l2_distance": 1e-5,
    "attention_similarity": 1e-5,
    **dict.fromkeys(PIXEL_METRICS, 1e-6),
    "pairwise": 1e-5,
}


@dataclass(frozen=True)
class Eager:
    """A checkpoint, read the slow way: pixels `[B, 3, S, S]` → embedding `[B, D]` and attention `[B, g, g]`.

    Args:
        model: With eager attention.
        embed: Forward pass → embedding.
        mean: Of the checkpoint's preprocessing.
        std: Likewise.
        prefix: Class and register tokens before the patches.
    """

    model: Any
    embed: Callable[[Any, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    prefix: int = 1

    def __call__(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = (views.astype(np.float64) / 255 - self.mean) / self.std
        pixels = torch.from_numpy(values.transpose(0, 3, 1, 2).astype(np.float32))
        with torch.no_grad():
            embedding, attention = self.embed(self.model.eval(), pixels)
        row = attention[:, :, 0, self.prefix :].mean(dim=1)
        side = round(row.shape[1] ** 0.5)
        return embedding.numpy(), row.reshape(-1, side, side).numpy()


def _clip(model: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output = model.vision_model(pixels, output_attentions=True, interpolate_pos_encoding=True)
    return model.visual_projection(output.pooler_output), output.attentions[-1]


def _clip_vision(model: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output = model(pixels, output_attentions=True, interpolate_pos_encoding=True)
    return output.image_embeds, output.attentions[-1]


def _class_token(model: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flag = {"interpolate_pos_encoding": True} if isinstance(model, ViTModel) else {}
    output = model(pixels, output_attentions=True, **flag)
    return output.last_hidden_state[:, 0], output.attentions[-1]


LOADERS: dict[str, tuple[Any, Callable[[Any, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]]] = {
    "clip": (CLIPModel, _clip),
    "clip_vision_model": (CLIPVisionModelWithProjection, _clip_vision),
}


def eager(folder: Path, model_type: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Eager:
    """A checkpoint's folder in transformers' own class with eager attention."""
    loader, embed = LOADERS.get(model_type, (AutoModel, _class_token))
    model = loader.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return Eager(model, embed, mean, std, prefix=1 + getattr(model.config, "num_register_tokens", 0))


def differences(
    study: embedshift.Study, photos: Path, encoder: Eager, *, loops_every: int = 1, views_every: int = 1
) -> dict[str, float]:
    """Column → largest difference between a study of photos in one folder and the slow computation of it.

    Structure is asserted: a row per image, view and draw, images in the order that the seed draws; metrics null on the
    original, pairwise only there.

    Args:
        study: Finished, with the paper's augmentations.
        photos: The folder that it measured.
        encoder: Of the same checkpoint.
        loops_every: Loops over pixels, which are slow, only for every so many images; all else is for all.
        views_every: Of these images, for every so many of their changed views.
    """
    info = study.info()
    config, names = info["config"], info["augmentations"]
    rows = study.rows().collect()
    ids = [p.relative_to(photos).as_posix() for p in photos.rglob("*") if p.is_file()]
    ids.sort(key=lambda image: _place(config["seed"], image))
    keys = [("original", 0)] + [(name, draw) for draw in range(config["draws"]) for name in names]
    expected_keys = [(image, view, draw) for image in ids for view, draw in keys]
    assert rows.select("image_id", "view", "draw").rows() == expected_keys
    worst: dict[str, float] = dict.fromkeys(TOLERANCES, 0.0)
    jobs: list[tuple[Any, ...]] = []
    for index, image in enumerate(ids):
        part = rows.slice(index * len(keys), len(keys))
        views = _views(photos / image, image, keys, config, info["encoder"]["size"])
        stored = {name: part[name].to_numpy() for name in ("embedding", "attention")}
        embedding, attention = encoder(views)
        _widen(worst, "embedding", stored["embedding"], embedding)
        _widen(worst, "attention", stored["attention"], attention.reshape(len(keys), -1))
        _widen(worst, "view_seed", part["view_seed"].to_numpy(), [_seed(config["seed"], image, *key) for key in keys])
        _check_embeddings(worst, part, stored["embedding"].tolist(), len(names))
        maps = stored["attention"].reshape(attention.shape).astype(np.float64)
        if index % loops_every == 0:
            some = slice(1, None, views_every)
            jobs += [(name, part[name].to_numpy()[some], views[:1], views[some]) for name in PIXEL_METRICS]
            stored_likeness = part["attention_similarity"].to_numpy()[some]
            jobs.append(("attention_similarity", stored_likeness, maps[:1], maps[some], views.shape[1]))
    # Plain loops over pixels take a while: in as many processes as there are cores.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("fork")) as pool:
        slow = [pool.submit(reference.expected, name, *arrays) for name, _, *arrays in jobs]
        for (name, stored, *_), future in zip(jobs, slow, strict=True):
            _widen(worst, name, stored, future.result())
    return worst


def over_tolerance(found: Mapping[str, float]) -> dict[str, float]:
    """What of `differences` is more than allowed; NaN is."""
    return {name: value for name, value in found.items() if not value <= TOLERANCES[name]}


def _views(file: Path, image: str, keys: list[tuple[str, int]], config: Mapping[str, Any], size: int) -> np.ndarray:
    picture = np.asarray(Image.open(file).convert("RGB"))
    drawn = [
        embedshift.make_views(picture, image_id=image, seed=config["seed"], size=size, draw=draw)
        for draw in range(config["draws"])
    ]
    return np.stack([drawn[draw][view] for view, draw in keys])


def _seed(seed: int, image: str, view: str, draw: int) -> int:
    if view == "original":
        return 0
    digest = hashlib.blake2b(f"{seed}|{image}|{view}|{draw}".encode(), digest_size=4).hexdigest()
    return int(digest, 16)


def _place(seed: int, image: str) -> bytes:
    return hashlib.blake2b(f"{seed}|order|{image}".encode(), digest_size=8).digest()


def _check_embeddings(worst: dict[str, float], part: Any, vectors: list[list[float]], count: int) -> None:
    """Cosine, L2 and pairwise from the stored vectors, and that nothing stands where nothing belongs."""
    metrics = [name for name in TOLERANCES if name in inputs.INPUTS and name in part.columns]
    assert all(part[name][0] is None for name in metrics)
    assert part["pairwise"].is_null().to_list() == [False] + [True] * (len(part) - 1)
    pairs = []
    for start in range(1, len(vectors), count):
        pairs += reference.pairwise_cosine_distances(vectors[start : start + count])
    _widen(worst, "pairwise", part["pairwise"][0].to_numpy(), pairs)
    for name in ("cosine_similarity", "l2_distance"):
        slow = [getattr(reference, name)(vectors[0], vector) for vector in vectors[1:]]
        _widen(worst, name, part[name].to_numpy()[1:], slow)


def _widen(worst: dict[str, float], name: str, stored: Any, slow: Any) -> None:
    a, b = np.asarray(stored, np.float64), np.asarray(slow, np.float64)
    assert a.shape == b.shape, f"{name}: {a.shape} stored, {b.shape} expected"
    worst[name] = float(np.maximum(worst[name], np.abs(a - b).max()))
