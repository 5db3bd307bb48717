"""How far an encoder's answers on the test images of a study move: by rounding, and by changes that must be seen.

    python benchmarks/answers.py

Prints relative L2 distances for the bundled encoder: across instruction sets, threads and batches, and after changes.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, cast

import numpy as np

import embedshift
from embedshift.config import Precision
from embedshift.encoders.images import patterns
from embedshift.pipeline.identity import encoder_answer, instability
from embedshift.store.info import ROUNDING, Answer, as_answer, distance

MODEL = "dinov2-small-offline"
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
SSE = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
WAYS = {"AVX2": AVX2, "SSE 4.1": SSE, "one thread": {"OMP_NUM_THREADS": "1"}}


def elsewhere(precision: str, environment: dict[str, str]) -> Answer:
    """Returns the answers of a process of its own."""
    command = [sys.executable, __file__, precision]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def in_batch(encoder: Any, size: int) -> Answer:
    """Returns the answers in a batch that is filled up with other images."""
    images = np.concatenate([patterns(3, encoder.size), patterns(size, encoder.size)[3:]])
    return as_answer(encoder(images).embedding[:3])


def changed(encoder: Any, change: str) -> Answer:
    """Returns the answers after a change of the encoder, which is taken back."""
    module, offset = encoder.module, encoder._offset
    layers = [part for part in module.modules() if type(part).__name__ == "LayerNorm"]
    if change == "eps 1e-5":
        before = [layer.eps for layer in layers]
        for layer in layers:
            layer.eps = 1e-5
        answer = encoder_answer(encoder)
        for layer, eps in zip(layers, before, strict=True):
            layer.eps = eps
        return answer
    if change == "mean + 1/255":
        encoder._offset = offset - encoder._scale
        answer = encoder_answer(encoder)
        encoder._offset = offset
        return answer
    if change == "BGR":
        return as_answer(encoder(patterns(3, encoder.size)[..., ::-1].copy()).embedding)
    import torch

    hooks = [
        part.register_forward_hook(lambda _part, inputs, _output: inputs[0] * torch.sigmoid(1.702 * inputs[0]))
        for part in module.modules()
        if "GELU" in type(part).__name__
    ]
    answer = encoder_answer(encoder)
    for hook in hooks:
        hook.remove()
    return answer


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(encoder_answer(embedshift.load_encoder(MODEL, precision=cast(Precision, sys.argv[1])))))
        return
    print("| precision | what | distance | limit |\n|---|---|---|---|")
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        encoder: Any = embedshift.load_encoder(MODEL, precision=precision)
        own = encoder_answer(encoder)
        rows = {way: elsewhere(precision, environment) for way, environment in WAYS.items()}
        rows |= {f"batch of {size}": in_batch(encoder, size) for size in (4, 7, 40)}
        rows |= {change: changed(encoder, change) for change in ("eps 1e-5", "mean + 1/255", "quick GELU", "BGR")}
        rows["the whole package again"] = elsewhere(precision, {})
        for what, answer in rows.items():
            print(f"| {precision} | {what} | {distance(own[:3], answer[:3]):.1e} | {ROUNDING[precision]:g} |")
        started = time.process_time()
        instability(encoder, encoder_answer(encoder))
        asked = time.process_time() - started
        views, started = patterns(11, encoder.size), time.process_time()
        encoder(views)
        print(f"| {precision} | CPU seconds of asking, of a run of 100 images and ten views | "
              f"{asked / (100 * (time.process_time() - started)):.2%} | 2 % |")  # fmt: skip


if __name__ == "__main__":
    main()
