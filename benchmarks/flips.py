"""Flips single bits in all files of a study, and says which are called intact or change a number that is shown.

python benchmarks/flips.py [--count 2000] [--seed 0]
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.flips import flips, wrong
from support.synthetic import make_study


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        study = make_study(Path(scratch) / "study", 40, ["noise", "blur", "flip"], shard_size=8, layers=3)
        study.report()
        truth = {name: study.table(name) for name in study.table_names}
        places = flips(study.folder, given.count, given.seed)
        problems = list(wrong(study, places, truth))
    kinds = Counter(path.parent.name if path.parent != study.folder else path.name for path, *_ in places)
    print(", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items())))
    print("\n".join(problems))
    print(f"{len(places)} flips, {len(problems)} wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
