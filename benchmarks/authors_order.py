"""A timed model of the order of work in the paper's scripts: seconds per image. Our own code; nothing is copied.

Embeddings are made one augmentation at a time over all images, through the image processor and eager attention. Then,
for a quarter of the images, attention maps are made at batch 1, the original's again for every augmentation, and the
pixel metrics in NumPy, per view. Decoding and augmenting are done once, which is kinder than the scripts, which draw up
to three times.

usage: python benchmarks/authors_order.py PHOTO...        prints seconds per image and step as JSON
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from embedshift.augmentations import transforms
from embedshift.augmentations.paper import PAPER

SIZE, GRID = 224, 7


class AuthorsOrder:
    """The scripts' sequence around one CLIP model with eager attention."""

    def __init__(self, model: CLIPModel) -> None:
        self.model, self.processor = model, CLIPImageProcessor()
        self.transforms = [transforms.make(kind, **settings) for kind, settings in PAPER.values()]

    def seconds_per_image(self, photos: Sequence[Path]) -> dict[str, float]:
        """Runs the sequence over the photos; seconds per image and step."""
        start = time.perf_counter()
        views = [self._views(photo) for photo in photos]
        drawn = time.perf_counter()
        for index in range(len(views[0])):
            self._embed([of_image[index] for of_image in views])
        embedded = time.perf_counter()
        attention = pixels = 0.0
        few = views[: max(2, len(views) // 4)]
        for of_image in few:
            for view in of_image[1:]:
                begun = time.perf_counter()
                self._attention(of_image[0])
                self._attention(view)
                attended = time.perf_counter()
                _pixel_metrics(of_image[0], view)
                attention += attended - begun
                pixels += time.perf_counter() - attended
        return {
            "draw": (drawn - start) / len(views),
            "embed": (embedded - drawn) / len(views),
            "attention": attention / len(few),
            "pixels": pixels / len(few),
        }

    def _views(self, photo: Path) -> list[np.ndarray]:
        original = cv2.resize(np.array(Image.open(photo).convert("RGB")), (SIZE, SIZE))
        return [original, *(transform(image=original)["image"] for transform in self.transforms)]

    def _prepare(self, views: Sequence[np.ndarray]) -> torch.Tensor:
        made = self.processor(images=[Image.fromarray(view) for view in views], return_tensors="pt")
        pixels: torch.Tensor = made["pixel_values"]
        return pixels

    def _embed(self, views: Sequence[np.ndarray]) -> None:
        with torch.no_grad():
            self.model.get_image_features(pixel_values=self._prepare(views))

    def _attention(self, view: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output = self.model.vision_model(pixel_values=self._prepare([view]), output_attentions=True)
        row = output.attentions[-1].mean(dim=1)[0, 0, 1:].numpy().reshape(GRID, GRID)
        large: np.ndarray = cv2.resize(row, (SIZE, SIZE))
        scaled: np.ndarray = (large - large.min()) / (large.max() - large.min())
        return scaled


def _pixel_metrics(original: np.ndarray, view: np.ndarray) -> tuple[float, float, float]:
    """Likeness of patches, of edges, and of detail."""
    squares = (np.mean((before.astype(float) - after) ** 2) for before, after in _cut(original, view, 4))
    patches, edges = [1 / (1 + square / 255**2) for square in squares], []
    for image in (original, view):
        along_y, along_x = np.gradient(_grey(image))
        strength = np.abs(along_x) + np.abs(along_y)
        edges.append(strength / strength.max())
    spreads = ((before.std(), after.std()) for before, after in _cut(_grey(original), _grey(view), 8))
    detail = [np.exp(-abs(np.log(max(after, 1e-12) / before))) for before, after in spreads if before > 1e-3]
    return float(np.mean(patches)), 1 - float(np.mean(np.abs(edges[0] - edges[1]))), float(np.mean(detail))


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.dot(image, [0.299, 0.587, 0.114]))


def _cut(one: np.ndarray, other: np.ndarray, parts: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = SIZE // parts
    for top, left in itertools.product(range(0, SIZE, step), repeat=2):
        yield tuple(image[top : top + step, left : left + step] for image in (one, other))  # type: ignore[misc]


if __name__ == "__main__":
    eager = CLIPModel._from_config(CLIPConfig(), attn_implementation="eager").eval()  # type: ignore[no-untyped-call]
    print(json.dumps(AuthorsOrder(eager).seconds_per_image([Path(name) for name in sys.argv[1:]])))
