"""Which map tells best what an embedding comes from: deletion and insertion on photos, and what maps cost.

usage: OMP_NUM_THREADS=1 python benchmarks/maps_trust.py PHOTOS [--model dinov2-small-offline] [--images 24]

Of PHOTOS every n-th is taken. Deletion: the mean cosine with the original while patches are blurred, the most relevant
first; lower is better. Insertion: while they are shown on the blurred image; higher is better. "better" counts the
images on which the map beats a random order of patches.
"""

import time

import numpy as np

from bench import BUNDLED, arguments, print_head, print_machine, print_row, read_square, spread_over
from embedshift.encoders import load_encoder
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.relevance import RELEVANCE, TOKENS, Explainer
from embedshift.questions.maps.measure import areas, blurred, partial_images, random_order, ranks
from embedshift.statistics.vectors import cosine, normalised

NAMES = (RELEVANCE, TOKENS, "attention", "random")
# As many as an image of a study has with the augmentations of the paper.
VIEWS = 10


def main() -> None:
    given = arguments(__doc__, "photos", model=BUNDLED, images=24)
    print_machine()
    files, encoder = spread_over(given.photos, given.images), load_encoder(given.model)
    assert isinstance(encoder, ModuleEncoder)
    explain, mapping = Explainer(encoder, (RELEVANCE, TOKENS)), 0.0
    scores = np.empty((len(files), len(NAMES), 2))
    for number, file in enumerate(files):
        original = read_square(file, encoder.size)
        output = encoder(original[None])
        target = normalised(output.embedding[0])
        assert output.attention is not None
        started = time.process_time()
        maps = explain(np.repeat(original[None], VIEWS, axis=0), target)
        mapping += time.process_time() - started
        drawn = random_order(0, file.name, output.attention[0].size)
        maps |= {"attention": output.attention, "random": -drawn.reshape(output.attention.shape).astype(np.float32)}
        ends = cosine(encoder(np.stack([original, blurred(original)])).embedding, target)
        for place, name in enumerate(NAMES):
            left = partial_images(original, ranks(maps[name][0], drawn))
            scores[number, place] = [*areas(cosine(encoder(left).embedding, target), *ends).values()]
    better = ((scores - scores[:, -1:]) * [-1, 1] > 0).sum(axis=0)
    print_head(f"{len(files)} photos", "deletion", "better", "insertion", "better")
    for name, mean, wins in zip(NAMES, scores.mean(axis=0), better, strict=True):
        print_row(name, f"{mean[0]:.3f}", wins[0], f"{mean[1]:.3f}", wins[1])
    print(f"\nmaps: {mapping / len(files):.1f} CPU s per image of {VIEWS} views")


if __name__ == "__main__":
    main()
