"""Views drawn in processes of their own, whose libraries are limited to other threads and instruction sets.

usage: python -m support.kernels ORIGINALS.npy ELASTIC OTHERS THREADS OUT.npz
"""

import functools
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from embedshift.augmentations import load_suite
from embedshift.augmentations.corruptions import Frost, corruption
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.variant import purifier
from embedshift.sources import images

Array = Any
Draw = Callable[[Array, int], Array]
ROOT = Path(__file__).parents[2]
# Drawn most often: their smooth noise is a long sum.
ELASTIC = ("places of elastic", "elastic", "elastic@5", "elastic_transform@5")
IS_X86 = platform.machine() in ("x86_64", "AMD64")


def _numpy_features() -> str:
    numpy_core: Any = importlib.import_module("numpy._core._multiarray_umath")
    return " ".join(name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[name])


OPENBLAS = {"OPENBLAS_CORETYPE": "Haswell" if IS_X86 else "ARMV8"}
LEAST_OPENBLAS = {"OPENBLAS_CORETYPE": "Prescott" if IS_X86 else "ARMV8"}
LEAST_NUMPY = {"NPY_DISABLE_CPU_FEATURES": _numpy_features()}
LEAST_OPENCV = {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,AVX,SSE4.2,SSE4.1,SSSE3", "OPENCV_IPP": "disabled"}
LEAST_TORCH = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
# Name → the environment that limits the instructions of a process.
LIMITS: Mapping[str, Mapping[str, str]] = {
    "OpenBLAS for Haswell": OPENBLAS,
    "OpenBLAS at its least": LEAST_OPENBLAS,
    "NumPy at its least": LEAST_NUMPY,
    "OpenCV at its least": LEAST_OPENCV,
    "all at their least": LEAST_OPENBLAS | LEAST_NUMPY | LEAST_OPENCV | LEAST_TORCH,
}


def ways(textures: Array) -> dict[str, Draw]:
    """Name → drawing by a seed: every family of every suite at its strongest, purifiers, resizing, elastic's places."""
    families = [FAMILIES[name] for name in FAMILIES]
    families.append(corruption("frost", Frost(textures)))
    augmentations = [*load_suite("paper"), *load_suite("style"), *(each.augmentations()[-1] for each in families)]
    elastic: Any = load_suite("paper")["elastic"].transform
    drawn: dict[str, Draw] = {augmentation.name: augmentation.draw for augmentation in augmentations}
    drawn["places of elastic"] = lambda image, seed: elastic.change.source(
        len(image), elastic.parameter, np.random.default_rng(seed)
    )
    for name in ("jpeg:50", "median:3", "blur:1", "resize:0.75", "bits:4"):
        drawn[f"purified by {name}"] = functools.partial(_purified, name)
    drawn["resized, squash"] = lambda image, seed: images.ToInput(len(image) // 2)(image)
    drawn["resized, crop"] = lambda image, seed: images.ToInput(len(image) // 2, "crop")(image)
    return drawn


def _purified(name: str, image: Array, seed: int) -> Array:
    return purifier(name)(image)


def draw(originals: Array, elastic: int, others: int, threads: int) -> dict[str, Array]:
    """Name → views `[N, S, S, 3]`, `elastic` of each in ELASTIC and `others` of each other way, with these threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        with threadpool_limits(threads, "blas"):
            return {
                name: np.stack([way(originals[seed % len(originals)], seed) for seed in range(count)])
                for name, way in ways(originals[:2]).items()
                if (count := elastic if name in ELASTIC else others)
            }
    finally:
        cv2.setNumThreads(before)


def environment(limits: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process under these limits that finds the tests' and the package's modules."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return free | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])} | dict(limits)


def draw_limited(
    originals: Path, elastic: int, others: int, threads: int, limits: Mapping[str, str], out: Path
) -> dict[str, Array]:
    """As `draw`, in a process under these limits; `originals` is a file `[N, S, S, 3]`, `out` a file to write."""
    counts = map(str, (elastic, others, threads))
    command = [sys.executable, "-m", "support.kernels", str(originals), *counts, str(out)]
    done = subprocess.run(command, env=environment(limits), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        return {name: file[name] for name in file.files}


if __name__ == "__main__":
    originals, *counts, out = sys.argv[1:]
    elastic, others, threads = map(int, counts)
    np.savez(out, **draw(np.load(originals), elastic, others, threads))
