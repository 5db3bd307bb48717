"""Hostile and damaged pictures: what becomes of each, and what decoding 100 megapixels needs.

python benchmarks/hostile.py            counts of outcomes, and a line for each file that is read wrongly
python benchmarks/hostile.py memory     peaks of a loader against its bound (Linux)
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from embedshift.errors import cause
from embedshift.sources import open_source
from embedshift.sources.images import decode

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from support import corpus, memory  # noqa: E402


def kinds() -> Counter[str]:
    """What becomes of the files of the corpus."""
    found, made = Counter[str](), corpus.kinds()
    with tempfile.TemporaryDirectory() as folder:
        corpus.write(Path(folder), made)
        source = open_source([folder])
        samples = {sample.image_id.encode("utf-8", "surrogateescape"): sample for sample in source.samples}
        for kind in made:
            try:
                pixels = decode(source.read(samples[kind.file_name]))
                shown = "measured" if kind.pixels is not None and corpus.is_near(pixels, kind) else "WRONG: measured"
            except Exception as error:
                words = cause(error)
                shown = "refused" if kind.words and re.search(kind.words, words) else f"WRONG: {words}"
            found[shown if shown in ("measured", "refused") else f"{shown} ({kind.name})"] += 1
    return found


def damaged(each: int) -> Counter[str]:
    """What becomes of drawn damage."""
    found = Counter[str]()
    for name, data in corpus.bases().items():
        whole = decode(data)
        found.update(corpus.outcome(how, name, cut, whole, decode) for how, cut in corpus.drawn(data, 0, each))
    return found


def peaks(side: int) -> None:
    """Prints the peak of each kind of picture."""
    done = subprocess.run(
        [sys.executable, "-m", "support.memory", str(side)],
        cwd=TESTS, env=os.environ | memory.GIVES_BACK, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        name, peak = line.rsplit(" ", 1)
        verdict = "OVER THE BOUND" if float(peak) > memory.bound(name, side) else ""
        print(f"{name:26} {float(peak) / 1e6:7.0f} MB  {verdict}")
    print(f"{side} x {side} pixels, besides the file")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["corpus", "memory"], default="corpus")
    parser.add_argument("--side", type=int, default=10_000)
    given = parser.parse_args()
    if given.what == "memory":
        peaks(given.side)
    else:
        for title, counts in (("kinds of files", kinds()), ("files with drawn damage", damaged(8))):
            print(f"{counts.total()} {title}: " + ", ".join(f"{number} {how}" for how, number in counts.items()))
