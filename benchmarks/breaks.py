"""Promises, broken one at a time in a copy of the code: which test of `make test` notices.

usage: python benchmarks/breaks.py [--only 1 2 ...]

Each break replaces one expression. The first ten are the central promises, with the tests of whole folders; the others
are twenty rows drawn from docs/verified.md (seed 47; a row of what is not promised gives way to its opposite), with the
files that the rows name. Tests run until the first fails. Ends with exit code 1 if a break is not noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT, arguments, print_machine, replace_once

ROOT_FILES = ("pyproject.toml", "README.md", "Makefile", "mkdocs.yml")
CARRIED = (".ci", "src", "tests", "docs", "benchmarks", "examples", *ROOT_FILES)


@dataclass(frozen=True)
class Break:
    promise: str
    file: str
    code: str
    broken: str
    tests: tuple[str, ...]


BREAKS = (
    Break(
        "metrics are exact: cosine off by 1e-6", "questions/embedding/measure.py",
        "return vectors.cosine(u, v)", "return vectors.cosine(u, v) - 1e-6", ("tests/questions",),
    ),
    Break(
        "intervals cover: a tenth too narrow", "statistics/intervals.py",
        "value - deviation * error", "value - 0.9 * deviation * error", ("tests/statistics",),
    ),
    Break(
        "each image counts once: the first shard is read twice", "store/reader.py",
        "return self.listing.parts", "return [*(both := self.listing.parts), both[0]]",
        ("tests/store",),
    ),
    Break(
        "failed images are listed: the first one is not", "store/shards.py",
        "for record in records for f in record.failures]", "for record in records for f in record.failures][1:]",
        ("tests/pipeline", "tests/sources", "tests/cli"),
    ),
    Break(
        "exit codes: `verify` ends with 0 where a file is damaged", "cli/results.py",
        "exit_code = EmbedshiftError.exit_code if found", "exit_code = 0 if found", ("tests/cli", "tests/store"),
    ),
    Break(
        "a view depends on its seed: every view has seed 0", "augmentations/views.py",
        "changed = canvas.changed(suite[name], number)", "changed = canvas.changed(suite[name], 0)",
        ("tests/augmentations",),
    ),
    Break(
        "a report loads nothing from the network: a style sheet", "report/template/page.html.j2",
        "<title>", '<link rel="stylesheet" href="http://127.0.0.2/a.css"><title>', ("tests/report",),
    ),
    Break(
        "a study of an older schema is refused: it is read", "store/info.py",
        "if version != SCHEMA_VERSION:", "if version is None:", ("tests/store", "tests/security"),
    ),
    Break(
        "tables do not depend on workers: loaders have another seed", "pipeline/draw.py",
        "seed=seed, draws=draws",
        "seed=seed + (__import__('multiprocessing').parent_process() is not None), draws=draws",
        ("tests/pipeline", "tests/engines", "tests/store"),
    ),
    Break(
        "names are text in a report: nothing is escaped", "report/page.py",
        "autoescape=True", "autoescape=False", ("tests/report",),
    ),
)  # fmt: skip

DRAWN = (
    Break("attention and pixel metrics come from the same pixels", "pipeline/draw.py",
        "measure.of_pixels(views)", "measure.of_pixels(views // 2)", ("tests/pipeline/test_exactness.py",)),
    Break("a view depends on its draw", "augmentations/views.py",
        "{augmentation}|{draw}", "{augmentation}|0", ("tests/augmentations/test_augmentations.py",)),
    Break("a killed run gives the same rows", "runner.py",
        "shard in study.shards if shard.index not in done]", "shard in study.shards if shard.index > len(done)]",
        ("tests/store/test_resume.py",)),
    Break("an index is judged on images that it was not fitted to", "questions/index/experiment.py",
        "training_of(vectors, ~fold, others)", "training_of(vectors, fold | ~fold, others)",
        ("tests/questions/test_index_experiment.py",)),
    Break("where nothing differs, nothing is significant", "statistics/intervals.py",
        "t[:, is_bounded].max(axis=1)", "t[:, is_bounded].mean(axis=1)", ("tests/statistics/test_intervals.py",)),
    Break("a service of three steps is named", "stacks/search.py",
        "DECISIVE_JPEG = 4.0", "DECISIVE_JPEG = 1e9", ("tests/parity/test_causes.py",)),
    Break("a server that never answers ends the run", "sources/web.py",
        "raise _no_answer()\n    return future.result()", "pass\n    return future.result(0)",
        ("tests/sources/test_addresses.py",)),
    Break("decoding takes bounded memory", "sources/images.py",
        "if image.width * image.height <= STRIP:", "if image.width:", ("tests/sources/test_hostile.py",)),
    Break("two files never share an id", "sources/base.py",
        "first.setdefault(storable(image.image_id), image)", "first.setdefault(image.image_id, image)",
        ("tests/sources/test_no_files.py",)),
    Break("an image whose loader ended is tried alone", "engines/loaders.py",
        "as error:\n        if _is_daemon():", "as error:\n        if error:", ("tests/engines/test_loaders.py",)),
    Break("SIGTERM ends with 143", "cli/app.py",
        "128 + received[0]", "1", ("tests/cli/test_signals.py",)),
    Break("more than half failed: exit code 1", "cli/studies.py",
        "if failed > most_failed(limit, tried):", "if failed > tried:", ("tests/cli/test_max_failed.py",)),
    Break("a wrapped module keeps its training mode", "encoders/module.py",
        "part.training = True", "part.training = False", ("tests/encoders/test_wrap.py",)),
    Break("an encoder that answers otherwise is refused", "pipeline/identity.py",
        "encoder_answer(encoder))) > limit:", "encoder_answer(encoder))) > 1e9:", ("tests/pipeline/test_answers.py",)),
    Break("NaN is a failure of its image", "pipeline/batches.py",
        "if not np.isfinite(array).all():", "if np.isnan(array).all():",
        ("tests/pipeline/test_misbehaving_encoders.py",)),
    Break("an augmentation that writes into its input changes no other view", "augmentations/augmentation.py",
        "self.transform(image.copy(), np", "self.transform(image, np",
        ("tests/pipeline/test_misbehaving_encoders.py",)),
    Break("an altered shard is refused", "store/listing.py",
        "if recorded not in (None, checksum)", "if recorded not in (None, checksum, recorded)",
        ("tests/store/test_checksum.py",)),
    Break("verify compares every file", "store/listing.py",
        "problem = alteration(folder, name, info)", 'problem = ""', ("tests/store/test_verify.py",)),
    Break("a report requests nothing from the network: an image", "report/template/page.html.j2",
        "<title>", '<link rel="icon" href="http://127.0.0.2/a.png"><title>', ("tests/report/test_browser.py",)),
    Break("an image that ends early is a failure: zeros behind a JPEG", "sources/images.py",
        'data = data.rstrip(b"\\0")', "pass", ("tests/sources/test_half_pictures.py",)),
)  # fmt: skip


def main() -> None:
    breaks = (*BREAKS, *DRAWN)
    numbers = arguments(__doc__, only=tuple(range(1, len(breaks) + 1))).only
    print_machine()
    unnoticed = 0
    for number in numbers:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            test = first_failure(breaks[number - 1], Path(folder))
        unnoticed += not test
        seconds = time.monotonic() - began
        print(f"{number:2}. {breaks[number - 1].promise}: {test or 'NOT NOTICED'} ({seconds:.0f} s)", flush=True)
    sys.exit(unnoticed > 0)


def first_failure(change: Break, folder: Path) -> str:
    """The first test that fails with the change; "" if none does."""
    for name in CARRIED:
        if (source := ROOT / name).is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    replace_once(folder, change.file, change.code, change.broken)
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not matrix", "-p", "no:cacheprovider", "-rfE", "--tb=no"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *change.tests], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    return next((line.split(" - ")[0].split(" ", 1)[1] for line in lines if line.startswith(("FAILED", "ERROR"))), "")


if __name__ == "__main__":
    main()
