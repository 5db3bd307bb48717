"""Twenty changes of answers, each made in a copy of the code: the net must name every one."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import replace_once


@dataclass(frozen=True)
class Change:
    """One expression of a file of `src/embedshift` replaced; `commands` of the table, some of which must differ."""

    what: str
    file: str
    code: str
    changed: str
    commands: tuple[str, ...]


CHANGES = (
    Change(
        "a wrong sign",
        "statistics/judged.py",
        "return self.gained - self.lost",
        "return self.lost - self.gained",
        ("index vectors int8 binary centred+binary --json",),
    ),
    Change(
        "a column renamed",
        "questions/drift/result.py",
        '"named": bool, "remains": str}',
        '"named": bool, "rest": str}',
        ("python: drifted vectors batch.parquet unchanged.npy",),
    ),
    Change(
        "a message altered", "store/info.py", "no study here (no file", "here is no study (no file", ("search nowhere",)
    ),
    Change("an exit code", "errors.py", "exit_code = 2", "exit_code = 1", ("search vectors --queries none",)),
    Change(
        "an interval at another level",
        "statistics/intervals.py",
        "CONFIDENCE = 0.95",
        "CONFIDENCE = 0.9",
        ("python: study everyday",),
    ),
    Change(
        "a mean over other rows",
        "study/paired/means.py",
        "overall = over_augmentations(sample, np.isin(paired.augmentations, unsaturated(paired)))\n    ends",
        "overall = over_augmentations(sample, np.arange(len(paired.augmentations)) > 0)\n    ends",
        ("compare everyday other --json --groups folder",),
    ),
    Change(
        "a quantile by other values", "statistics/summary.py", '"q95": 0.95', '"q95": 0.94', ("python: study vectors",)
    ),
    Change(
        "a standard deviation of the population",
        "statistics/summary.py",
        "used.std(ddof=1)",
        "used.std(ddof=0)",
        ("python: study vectors",),
    ),
    Change(
        "rows in another order",
        "questions/search/tables.py",
        "descending=[True, False, False])",
        "descending=[False, False, False])",
        ("search alone --groups near --json",),
    ),
    Change(
        "a default",
        "statistics/duplicates.py",
        "EXPECTED_FALSE = 1.0",
        "EXPECTED_FALSE = 2.0",
        ("search alone --groups near --json",),
    ),
    Change(
        "a key of JSON left out",
        "questions/upgrade/result.py",
        ', "calibration": numbers}',
        "}",
        ("upgrade vectors newer --json --recall-margin 0.05",),
    ),
    Change(
        "a name of JUnit",
        "questions/check/result.py",
        'f"embedshift.{result.table}"',
        "result.table",
        ("check vectors --rules proposed.yaml --against turned --junit out.xml --markdown out.md",),
    ),
    Change(
        "a line of the model card", "study/template/card.md.j2", "- **Encoder:**", "- **Model:**", ("card everyday",)
    ),
    Change(
        "a parameter of a public function renamed",
        "questions/compare/result.py",
        "recall_margin: float | None = None",
        "recall_loss: float | None = None",
        ("python: names",),
    ),
    Change("a public name gone", "__init__.py", '    "Tiles",\n', "", ("python: names",)),
    Change(
        "a help text",
        "questions/index/command.py",
        '"Write its map and size as an ONNX graph, too."',
        '"Write ONNX, too."',
        ("index --help",),
    ),
    Change(
        "a section of the report without its title",
        "questions/search/section.py",
        'Section("search", "Search", {"search": None})',
        'Section("search", "Searches", {"search": None})',
        ("report numbers --figures radar --format svg",),
    ),
    Change(
        "maps of earlier files read otherwise",
        "statistics/linear_map.py",
        'mean, matrix, dim = file["mean"], file["matrix"], int(file["dim"])',
        'mean, matrix, dim = file["mean"], file["matrix"].T, int(file["dim"])',
        ("python: mapped map.npz",),
    ),
    Change(
        "a rule read the other way",
        "questions/check/rules.py",
        'return -self.bound if self.operator == "may_fall" else self.bound',
        "return self.bound",
        ("check vectors --rules rules.yaml --against newer",),
    ),
    Change(
        "a hash of the identity",
        "store/info.py",
        "json.dumps(identity, sort_keys=True)",
        "json.dumps(identity)",
        ("vectors vectors.parquet --out new --json --no-report",),
    ),
)


@contextlib.contextmanager
def changed(code: Path, change: Change) -> Iterator[Path]:
    """A copy of the code with the change; ends the program where its text does not stand exactly once."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "code"
        for name in ("src", "tests"):
            shutil.copytree(code / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        replace_once(copy, change.file, change.code, change.changed)
        yield copy
