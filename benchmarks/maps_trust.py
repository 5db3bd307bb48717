"""Which map tells best what an embedding comes from: deletion and insertion on photos, and what maps cost.

usage: OMP_NUM_THREADS=1 python benchmarks/maps_trust.py PHOTOS [--model dinov2-small-offline] [--images 24]

PHOTOS is a folder of images, of which every n-th is taken. Deletion: the mean cosine with the original while patches
are blurred, the most relevant first; lower is better. Insertion: while they are shown on the blurred image; higher is
better. "won" counts the images on which the map is better than a random order of patches. Seconds are CPU seconds.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from embedshift.encoders import load_encoder
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.relevance import RELEVANCE, TOKENS, Explainer
from embedshift.questions.maps.measure import areas, blurred, partial_images, random_order, ranks
from embedshift.sources import images
from embedshift.statistics.vectors import cosine, normalised
from machine import describe_machine

NAMES = ("attention", RELEVANCE, TOKENS, "random")
# As many as an image of a study has with the augmentations of the paper.
VIEWS = 10


def main() -> None:
    """Prints a line per map, and the cost of an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="dinov2-small-offline")
    parser.add_argument("--images", type=int, default=24)
    given = parser.parse_args()
    print(describe_machine())
    files = sorted(path for path in given.photos.iterdir() if path.is_file())
    files = files[:: max(1, len(files) // given.images)][: given.images]
    encoder = load_encoder(given.model)
    assert isinstance(encoder, ModuleEncoder)
    explain = Explainer(encoder, (RELEVANCE, TOKENS))
    scores, mapping, scoring = np.empty((len(files), len(NAMES), 2)), 0.0, 0.0
    for number, file in enumerate(files):
        original = images.ToInput(encoder.size, "squash")(images.decode(file.read_bytes()))
        output = encoder(original[None])
        target = normalised(output.embedding[0])
        assert output.attention is not None
        started = time.process_time()
        maps = explain(np.repeat(original[None], VIEWS, axis=0), target)
        mapping += time.process_time() - started
        maps["attention"] = output.attention
        drawn = random_order(0, file.name, output.attention[0].size)
        maps["random"] = -drawn.reshape(output.attention.shape).astype(np.float32)
        ends = cosine(encoder(np.stack([original, blurred(original)])).embedding, target)
        started = time.process_time()
        for place, name in enumerate(NAMES):
            left = partial_images(original, ranks(maps[name][0], drawn))
            found = areas(cosine(encoder(left).embedding, target), *ends)
            scores[number, place] = [*found.values()]
        scoring += time.process_time() - started
    won = ((scores - scores[:, -1:]) * [-1, 1] > 0).sum(axis=0)
    for name, mean, wins in zip(NAMES, scores.mean(axis=0), won, strict=True):
        print(
            f"{name}: deletion {mean[0]:.3f} (won {wins[0]}), insertion {mean[1]:.3f} (won {wins[1]}) of {len(files)}"
        )
    print(
        f"maps: {mapping / len(files):.1f} s per image of {VIEWS} views; scores: {scoring / len(files):.1f} s per image"
    )


if __name__ == "__main__":
    main()
