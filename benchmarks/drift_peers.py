"""Peers on the batches of drift.py: how often each rings without a change, and what it says.

usage: python benchmarks/drift_peers.py STUDY [--resamples 20] [--envs build/peers]

Every peer (`drift_peer.py`) runs with the Python of an environment that pip makes for it once, under --envs. Reference
and batches are halves of the study's images: the others as they are, animals and things alone, and all changed.
"""

import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from bench import arguments, installed, print_head, print_machine, print_row
from drift import judged, opened, splits
from embedshift.arrays import Floats

REQUIREMENTS = {"alibi-detect": ("alibi-detect>=0.12", "torch>=2.6"), "evidently": ("evidently>=0.7", "pandas<3")}
CHANGES = ("watermark", "screenshot", "mirror")


def main() -> None:
    options = arguments(__doc__, "study", resamples=20, envs="build/peers")
    loaded = opened(Path(options.study))
    changes, vectors, _, animals = loaded
    rings, says = Counter[tuple[str, str]](), dict[tuple[str, str], str]()
    for reference, batch in splits(loaded, 2, options.resamples):
        others = np.setdiff1d(np.arange(len(vectors)), batch)
        batches = {
            "untouched": vectors[batch, 0],
            "animals only": vectors[batch[animals[batch]], 0],
            "things only": vectors[batch[~animals[batch]], 0],
        } | {f"{name} in all": vectors[batch, 1 + changes.index(name)] for name in CHANGES}
        for name in REQUIREMENTS:
            for kind, (is_drift, words) in asked(name, Path(options.envs), vectors[others, 0], batches).items():
                rings[name, kind] += is_drift
                says[name, kind] = words
        for kind, rows in batches.items():
            found = judged(rows, reference)
            words = "; ".join(" or ".join(changes[each] for each in own) for own in found.sets)
            rings["embedshift", kind] += bool(found.sets)
            says["embedshift", kind] = f"{words or 'not decidable'}; remains: {found.remains}"
    print_head("batch", "peer", f"rings, of {options.resamples}", "the last one says")
    for kind in batches:
        for name in (*REQUIREMENTS, "embedshift"):
            print_row(kind, name, rings[name, kind], says[name, kind])
    print_machine()


def asked(name: str, envs: Path, reference: Floats, batches: dict[str, Floats]) -> dict[str, tuple[bool, str]]:
    python = installed(envs.resolve() / name, REQUIREMENTS[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npz"
        np.savez(path, **{"reference": reference} | batches)  # type: ignore[arg-type]
        words = [python, Path(__file__).with_name("drift_peer.py"), name, path]
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended: {done.stderr[-500:]}")
    found: dict[str, tuple[bool, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
