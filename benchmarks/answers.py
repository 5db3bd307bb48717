"""How far an encoder's answers on the test images of a study move: by rounding, and by changes that must be seen.

usage: python benchmarks/answers.py [--precisions float32 bfloat16]

Prints relative L2 distances for the bundled encoder: across instruction sets, threads and batches, and after changes.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import embedshift
from bench import BUNDLED, arguments, in_a_process, print_head, print_row, timed
from embedshift.encoders.images import patterns
from embedshift.pipeline.identity import encoder_answer, instability
from embedshift.store.info import ROUNDING, Answer, as_answer, distance

WAYS: dict[str, dict[str, str]] = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "SSE 4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "the whole package again": {},
}


def in_batch(encoder: Any, size: int) -> Answer:
    """The answers in a batch that is filled up with other images."""
    images = np.concatenate([patterns(3, encoder.size), patterns(size, encoder.size)[3:]])
    return as_answer(encoder(images).embedding[:3])


def by_epsilon(encoder: Any) -> Answer:
    layers = [part for part in encoder.module.modules() if type(part).__name__ == "LayerNorm"]
    before = [layer.eps for layer in layers]
    for layer in layers:
        layer.eps = 1e-5
    answer = encoder_answer(encoder)
    for layer, eps in zip(layers, before, strict=True):
        layer.eps = eps
    return answer


def by_mean(encoder: Any) -> Answer:
    offset = encoder._offset
    encoder._offset = offset - encoder._scale
    answer = encoder_answer(encoder)
    encoder._offset = offset
    return answer


def by_gelu(encoder: Any) -> Answer:
    parts = [part for part in encoder.module.modules() if "GELU" in type(part).__name__]
    hooks = [
        part.register_forward_hook(lambda _part, inputs, _output: inputs[0] * torch.sigmoid(1.702 * inputs[0]))
        for part in parts
    ]
    answer = encoder_answer(encoder)
    for hook in hooks:
        hook.remove()
    return answer


CHANGES: dict[str, Callable[[Any], Answer]] = {
    **{f"batch of {size}": partial(in_batch, size=size) for size in (4, 7, 40)},
    "eps 1e-5": by_epsilon,
    "mean + 1/255": by_mean,
    "quick GELU": by_gelu,
    "BGR": lambda encoder: as_answer(encoder(patterns(3, encoder.size)[..., ::-1].copy()).embedding),
}


def main() -> None:
    options = arguments(__doc__, precisions=("float32", "bfloat16"), child="")
    if options.child:
        json.dump(encoder_answer(embedshift.load_encoder(BUNDLED, precision=options.child)), sys.stdout)
        return
    print_head("precision", "what", "distance", "limit")
    for precision in options.precisions:
        encoder: Any = embedshift.load_encoder(BUNDLED, precision=precision)
        own = encoder_answer(encoder)
        rows = {way: tuple(in_a_process(__file__, "--child", precision, **given)) for way, given in WAYS.items()}
        rows |= {name: change(encoder) for name, change in CHANGES.items()}
        for what, answer in rows.items():
            print_row(precision, what, f"{distance(own[:3], answer[:3]):.1e}", f"{ROUNDING[precision]:g}")
        asked = timed(lambda: instability(encoder, encoder_answer(encoder)))  # noqa: B023
        whole = 100 * timed(lambda: encoder(patterns(11, encoder.size)))  # noqa: B023
        print_row(precision, "time of asking, of a run of 100 images and ten views", f"{asked / whole:.2%}", "2 %")


if __name__ == "__main__":
    main()
