"""Peers side by side: images per second of embeddings alone, against embedshift's with attention and all metrics.

usage: python benchmarks/peers.py PHOTO_DIR [--photos 200] [--repeats 3] [--batch 40] [--threads N] [--envs build/peers]

Every peer runs in a process of its own, with the Python of an environment that pip makes for it once, under --envs;
embedshift runs in this one's. All get the same photos, the same full-size CLIP ViT-B/32 with random weights (speed
does not depend on them), float32, and the same number of threads. After a pass to warm up they take turns (A-B-A-B),
each at its library's own batch size and at a common one; the loading of libraries and weights is left out. The
embeddings of all are held to those of transformers: the comparison is of the same work.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fullsize import repeat_photos, save_whole_clip
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

VIEWS = 10
# What is installed for each; nothing = embedshift, in the environment that runs this.
TRANSFORMERS = ("transformers>=5,<6", "torch>=2.6", "torchvision>=0.21", "pillow>=11")
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "transformers-pipeline": TRANSFORMERS,
    "transformers-loop": TRANSFORMERS,
    "sentence-transformers": ("sentence-transformers[image]>=5.4", "torch>=2.6", "torchvision>=0.21"),
    "open_clip": ("open-clip-torch>=3",),
    # clip-anytorch, which it needs, imports pkg_resources and does not ask for it.
    "clip-retrieval": ("clip-retrieval>=2.45", "setuptools<81"),
    "embedshift-original": (),
    "embedshift-study": (),
}
REFERENCE = "transformers-loop"


class PeerEndedError(Exception):
    """A peer that cannot be installed, or that ended before it answered."""


@dataclass
class Peer:
    """A peer's process and what it answered.

    Args:
        name: As in `REQUIREMENTS`.
        process: It waits for a batch size.
        log: What it prints.
        embeddings: Where it saves those of its last pass.
        hello: Its versions and its seconds to load.
        default: Its own batch size.
        passes: Batch that was asked for → the answers of all rounds.
    """

    name: str
    process: "subprocess.Popen[str]"
    log: Path
    embeddings: Path
    hello: dict[str, Any] = field(default_factory=dict)
    default: int = 0
    passes: dict[int | None, list[dict[str, Any]]] = field(default_factory=dict)

    def ask(self, batch: int | None) -> dict[str, Any]:
        """One pass."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """What it says next; raises PeerEndedError."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerEndedError(_last_line(self.log))
        told: dict[str, Any] = json.loads(line)
        return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=40, help="the common batch size")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--envs", type=Path, default=Path("build/peers"), help="where the peers' environments lie")
    parser.add_argument("--only", nargs="+", choices=REQUIREMENTS, default=list(REQUIREMENTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        make_checkpoints(scratch)
        repeat_photos(options.folder, options.photos, scratch / "photos")
        peers, failed = [], {}
        for name in options.only:
            try:
                peers.append(begin(name, scratch, options, stack))
            except PeerEndedError as error:
                failed[name] = str(error)
        apart = agreement(peers)
        for number in range(options.repeats):
            for batch in (None, options.batch):
                for peer in peers:
                    # A default that is the common batch is measured once.
                    if batch != peer.default:
                        peer.passes.setdefault(batch, []).append(peer.ask(batch))
            print(f"round {number + 1} of {options.repeats} is done", file=sys.stderr, flush=True)
    print(describe_machine())
    print(f"{options.photos} photos, CLIP ViT-B/32 with random weights, float32, {options.threads} threads each")
    show(peers, options, apart)
    for name, why in failed.items():
        print(f"\n{name} could not be run: {why}")


def make_checkpoints(folder: Path) -> None:
    """The same weights in both formats; a tokenizer beside them, without which sentence-transformers loads nothing."""
    from support.tokenizers_made import save_tokenizer

    save_whole_clip(folder / "clip", folder / "open_clip.safetensors")
    save_tokenizer(folder / "clip")


def begin(name: str, scratch: Path, options: argparse.Namespace, stack: ExitStack) -> Peer:
    """A peer that is loaded and has done its pass to warm up."""
    python, log, embeddings = environment(name, options.envs), scratch / f"{name}.log", scratch / f"{name}.npy"
    settled = {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [str(python), str(Path(__file__).with_name("peer.py")), name, str(scratch), str(scratch / "photos"),
         str(options.threads), str(embeddings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stack.enter_context(log.open("w")), text=True,
        env=os.environ | settled,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    peer = Peer(name, process, log, embeddings)
    peer.hello = peer.answer()
    warm = peer.ask(None)
    peer.default = warm["batch"]
    print(f"{name}: loaded in {peer.hello['loaded']:.1f} s, first pass {warm['seconds']:.1f} s", file=sys.stderr)
    return peer


def environment(name: str, folder: Path) -> Path:
    """The Python of a peer's environment, made where it is missing; raises PeerEndedError where pip cannot."""
    wanted = REQUIREMENTS[name]
    if not wanted:
        return Path(sys.executable)
    home = folder.resolve() / next(each for each in REQUIREMENTS if REQUIREMENTS[each] == wanted)
    python, stamp = home / "bin" / "python", home / "installed.txt"
    if not (stamp.exists() and stamp.read_text().split() == list(wanted)):
        print(f"{name}: pip installs {', '.join(wanted)}", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PeerEndedError(f"pip: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text("\n".join(wanted))
    return python


def agreement(peers: Sequence[Peer]) -> dict[str, tuple[float, float]]:
    """By peer, the lowest cosine of an image's embedding with the reference's: as it is, and with the mean taken off.

    Random weights give every photo nearly the same embedding; without their mean, those of two photos differ.
    """
    made = {peer.name: np.load(peer.embeddings).astype(np.float64) for peer in peers}
    if REFERENCE not in made:
        return {}
    return {
        name: (_cosines(each, made[REFERENCE]).min(), _cosines(_centred(each), _centred(made[REFERENCE])).min())
        for name, each in made.items()
    }


def _centred(embeddings: np.ndarray) -> np.ndarray:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    centred: np.ndarray = unit - unit.mean(axis=0)
    return centred


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: np.ndarray = (first * second).sum(axis=1) / lengths
    return cosines


def show(peers: Sequence[Peer], options: argparse.Namespace, apart: dict[str, tuple[float, float]]) -> None:
    """The table, as docs/performance.md has it."""
    print(
        "\n| | batch | images/s | views/s | forward pass alone, views/s | its fraction of the time | CPU s per image |"
    )
    print("|---|---|---|---|---|---|---|")
    for peer in peers:
        views = VIEWS if peer.name == "embedshift-study" else 1
        for passes in peer.passes.values():
            rates = [options.photos / each["seconds"] for each in passes]
            forward = [1 / each["forward"] for each in passes]
            fractions = [views * rate / alone for rate, alone in zip(rates, forward, strict=True)]
            cells = [
                peer.name, str(passes[0]["batch"]), _range(rates), _range([views * rate for rate in rates]),
                _range(forward), _range(fractions, 2), _range([each["cpu"] / options.photos for each in passes], 3),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |")
    print("\n| | seconds to load | cosine with transformers, lowest | the same without the mean | versions |")
    print("|---|---|---|---|---|")
    for peer in peers:
        versions = ", ".join(f"{name} {version}" for name, version in peer.hello["versions"].items())
        near = " | ".join(f"{cosine:.6f}" for cosine in apart.get(peer.name, (float("nan"),) * 2))
        print(f"| {peer.name} | {peer.hello['loaded']:.1f} | {near} | {versions} |")


def _range(values: Sequence[float], digits: int = 1) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if low == high else f"{middle} ({low} to {high})"


def _last_line(log: Path) -> str:
    lines = log.read_text().strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


if __name__ == "__main__":
    main()
