"""Peers side by side: images per second of embeddings alone.

usage: python benchmarks/peers.py PHOTOS [--images 200] [--repeats 3] [--batch 40] [--threads N] [--envs build/peers]
                                         [--only PEER ...]

Every peer (`peer.py`) runs in a process of its own, with the Python of an environment that pip makes for it once, under
--envs; embedshift runs in this one's. All get the same photos, a full-size CLIP ViT-B/32 with random weights (speed
does not depend on them), float32, and the same number of threads. After a pass to warm up they take turns (A-B-A-B),
each at its library's own batch size and at a common one; the loading of libraries and weights is left out.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from bench import arguments, installed, print_head, print_machine, print_row, repeated, spread
from support.tokenizers_made import save_tokenizer

# What is installed for each; nothing = embedshift, in the environment that runs this.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "transformers": ("transformers>=5,<6", "torch>=2.6", "torchvision>=0.21", "pillow>=11"),
    "sentence-transformers": ("sentence-transformers[image]>=5.4", "torch>=2.6", "torchvision>=0.21"),
    "open_clip": ("open-clip-torch>=3",),
    # clip-anytorch, which it needs, imports pkg_resources and does not ask for it.
    "clip-retrieval": ("clip-retrieval>=2.45", "setuptools<81"),
    "embedshift": (),
}


def main() -> None:
    options = arguments(
        __doc__, "photos", images=200, repeats=3, batch=40, threads=os.cpu_count() or 1, envs="build/peers",
        only=tuple(REQUIREMENTS),
    )  # fmt: skip
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        save_checkpoint(scratch / "clip")
        repeated(options.photos, options.images, scratch / "photos")
        peers = {name: begin(name, scratch, options, stack) for name in options.only}
        for number in range(options.repeats + 1):
            for batch in (None, options.batch):
                for name, peer in peers.items():
                    told = ask(peer, batch, scratch / f"{name}.log")
                    assert told["shape"] == [options.images, 512], told
                    if number:  # the first warms up
                        found.setdefault((name, told["batch"]), []).append(options.images / told["seconds"])
    print_machine()
    print(f"{options.images} photos, CLIP ViT-B/32 with random weights, float32, {options.threads} threads each\n")
    print_head("peer", "batch", "images/s")
    for (name, size), rates in found.items():
        print_row(name, size, spread(rates, 1))


def save_checkpoint(folder: Path) -> None:
    """Random weights; with a tokenizer beside them, without which sentence-transformers loads nothing."""
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    processor: Any = CLIPImageProcessor()
    processor.save_pretrained(folder)
    save_tokenizer(folder)


def begin(name: str, scratch: Path, options: Any, stack: ExitStack) -> "subprocess.Popen[str]":
    """A peer's process, which is killed in the end."""
    python, log = python_of(name, Path(options.envs)), stack.enter_context((scratch / f"{name}.log").open("w"))
    settled = {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = [python, Path(__file__).with_name("peer.py"), name, scratch / "clip", scratch / "photos", options.threads]
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | settled,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def python_of(name: str, folder: Path) -> Path:
    """The Python of a peer's environment, made where it is missing."""
    wanted = REQUIREMENTS[name]
    return installed(folder.resolve() / name, wanted) if wanted else Path(sys.executable)


def ask(peer: "subprocess.Popen[str]", batch: int | None, log: Path) -> dict[str, Any]:
    """One pass, by the library's default batch or another."""
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write(json.dumps(batch) + "\n")
    peer.stdin.flush()
    line = peer.stdout.readline()
    if not line:
        raise SystemExit(f"a peer ended: {log.read_text()[-500:]}")
    told: dict[str, Any] = json.loads(line)
    return told


if __name__ == "__main__":
    main()
