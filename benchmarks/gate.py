"""A gate in a throw-away CI script: it stops a worse checkpoint and passes one with other weights and equal results.

usage: python benchmarks/gate.py PHOTO_DIR [--photos 200]

The reference is the bundled encoder. "worse" has noise on the weights of its last block, three times as large as they
vary there; "other" has noise on all weights, a ten-thousandth of their spread. The script runs a study of a checkpoint,
then `embedshift check --strict` against the reference: under no augmentation may the relative shift rise by more than 0.02, nor
recall@1 fall by more than 0.03. Ends with exit code 1 where the script does not stop the first and pass the second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import embedshift
from embedshift.config import BUNDLED
from embedshift.encoders.bundled import cached_folder, load_bundled
from embedshift.sources import FolderSource
from machine import describe_machine

WEIGHTS = "model.safetensors"
# Checkpoint → which weights have noise, in standard deviations of each tensor, and the exit code that the gate should
# have.
CHECKPOINTS = {"worse": ("encoder.layer.11.", 3.0, 3), "other": ("", 1e-4, 0)}
RULES = """\
rules:
  - name: no augmentation moves the embedding farther
    table: summary
    metric: cosine_similarity
    column: relative_shift
    unit: fraction
    may_rise: 0.02
  - name: no augmentation hides more images
    table: search
    metric: recall@1
    may_fall: 0.03
"""
SCRIPT = """\
set -e
embedshift() { "$PYTHON" -c "from embedshift.cli import main; main()" "$@"; }
embedshift run photos.txt --model "$1" --out "$1-study" --no-report --quiet > "$1.log"
embedshift check "$1-study" --rules rules.yaml --against reference --strict --junit "$1.xml" --markdown "$1.md"
echo "$1: shipped"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    options = parser.parse_args()
    photos = [sample.location for sample in FolderSource([str(options.folder.resolve())]).samples[: options.photos]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos.txt").write_text("\n".join(photos))
        embedshift.run(folder / "photos.txt", out=folder / "reference", model=BUNDLED)
        (folder / "rules.yaml").write_text(RULES)
        (folder / "ci.sh").write_text(SCRIPT)
        codes = {name: checked(folder, name) for name in CHECKPOINTS}
        reports = {name: (folder / f"{name}.xml").read_text() for name in CHECKPOINTS}
    print(f"{describe_machine()}\n{BUNDLED}, {len(photos)} photos")
    for name, (part, noise, wanted) in CHECKPOINTS.items():
        weights = f"weights of {part or 'all blocks'}".rstrip(".")
        broken = reports[name].count('type="broken"')
        words = f"{broken} results broken, exit code {codes[name]}, should be {wanted}"
        print(f"{name} (noise of {noise:g} on {weights}): {words}")
    as_wanted = all(codes[name] == wanted for name, (*_, wanted) in CHECKPOINTS.items())
    sys.exit(0 if as_wanted and 'type="broken"' in reports["worse"] else 1)


def checked(folder: Path, name: str) -> int:
    """The exit code of the CI script for a checkpoint."""
    part, noise, _ = CHECKPOINTS[name]
    with_noise(folder / name, part, noise)
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "160"}
    print(f"$ bash ci.sh {name}", flush=True)
    return subprocess.run(["bash", "ci.sh", name], cwd=folder, env=environment, check=False).returncode


def with_noise(folder: Path, part: str, noise: float) -> None:
    """A checkpoint of the bundled encoder with noise on the weights of one of its parts."""
    load_bundled()
    shutil.copytree(cached_folder(), folder)
    weights, drawn = load_file(folder / WEIGHTS), torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        if name.startswith(part) and tensor.numel() > 1:
            tensor += noise * tensor.std() * torch.randn(tensor.shape, generator=drawn)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
