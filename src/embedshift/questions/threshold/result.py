"""What a threshold says in sentences, its table of text, and the file that applies it elsewhere."""

import io
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embedshift.config.safe_files import write_file
from embedshift.questions.threshold.calibration import calibrated
from embedshift.questions.threshold.numbers import needed_for_flags, score_name
from embedshift.questions.threshold.settings import WRONG_QUERIES, asked_of
from embedshift.questions.threshold.tables import ALL, WORST, flags_limit
from embedshift.report.numbers import MISSING, count, ends, fixed, in_percent
from embedshift.statistics.strengths import outward
from embedshift.store.reader import Reader
from embedshift.study.result import Grid

HEADINGS = ("change", "threshold", "found", "95 % interval")
# 1 query in so many has a match, where `wrong_flags` says what is found.
IN = (2, 10, 100)
IN_WORDS = {ALL: "any, drawn at random", WORST: "worst: holds for each change"}

# These lines apply a file to `queries` and `stored`, vectors of the encoder; a test runs them.
LOAD = (
    "import numpy as np",
    "data = np.load({file!r})",
    "unit = lambda vectors: vectors / np.linalg.norm(vectors, axis=1, keepdims=True)",
)
MAPPED = "import embedshift; index = embedshift.SearchIndex.load({index!r}).mapped"
UNIT, UNIT_MAPPED = "unit(queries), unit(stored)", "index(queries), index(stored)"
LEVEL = 'level = lambda unit: np.sort(unit @ data["background"].T)[:, -10:].mean(axis=1) / 2'
OF_QUERIES = ('is_match = scores > data["threshold"] + 1e-6  # [queries, stored]; a millionth is a tie',)
OF_FLAGS = (
    "best = scores.max(axis=1, keepdims=True) - 1e-6  # a millionth is a tie",
    'p = (1 + (data["best"] >= best).sum(axis=1)) / (len(data["best"]) + 1)',
    'passing = np.sort(p) <= data["asked"] * np.arange(1, len(p) + 1) / len(p) + 1e-12',
    "flagged = p <= np.sort(p)[passing].max(initial=0)  # each with the image scores.argmax(axis=1)",
)


def lines_of(table: pl.DataFrame, file: str, index: str = "") -> str:
    """Returns the lines of Python that apply a file of `write`.

    Args:
        table: The table `threshold`.
        file: The path of the file.
        index: The file of the index whose map the vectors go through; "" = none.
    """
    row = table.row(0, named=True)
    is_normalised = row["score"] != "cosine"
    scores = "scores = asked @ kept.T" + (" - level(asked)[:, None] - level(kept)" if is_normalised else "")
    lines = [
        *(LOAD if not index else (*LOAD[:2], MAPPED)),
        f"asked, kept = {UNIT_MAPPED if index else UNIT}",
        *((LEVEL,) if is_normalised else ()),
        scores,
        *(OF_QUERIES if row["rule"] == WRONG_QUERIES else OF_FLAGS),
    ]
    return "\n".join(line.format(file=file, index=index) if "!r}" in line else line for line in lines)


def write(reader: Reader, table: pl.DataFrame, path: Path) -> None:
    """Writes all best scores without a match, ascending, the threshold, and the score, as an npz file.

    Raises:
        UsageError: It cannot be written.
    """
    found, asked, encoder = calibrated(reader), asked_of(reader), reader.info.encoder
    score, limits = found.scores[found.chosen], table.select("augmentation", "threshold")
    arrays: dict[str, Any] = {} if score.background is None else {"background": score.background}
    content = {
        "best": found.mixed(found.chosen),
        "threshold": limits["threshold"].fill_null(np.nan)[0],
        "changes": limits["augmentation"].to_numpy().astype(str),
        "thresholds": limits["threshold"].fill_null(np.nan).to_numpy(),
        "rule": asked.rule,
        "asked": asked.wrong,
        "confidence": asked.confidence or np.nan,
        "score": score_name(score),
        "gallery": found.gallery,
        "index": "" if reader.index is None else reader.index.name,
        "encoder": encoder.weights_hash,
        "embedding": encoder.embedding or "",
        "embedshift": version("embedshift"),
    }
    np.savez(file := io.BytesIO(), **arrays, **content)
    write_file(path, file.getvalue())


def sentences(table: pl.DataFrame, curve: pl.DataFrame) -> Iterator[str]:
    """Yields what the threshold is and finds, and what it was calibrated with."""
    whole = table.row(0, named=True)
    at = curve.filter("chosen").head(1)
    if whole["rule"] == WRONG_QUERIES:
        yield from _of_queries(table, whole)
    else:
        yield from _of_flags(curve.filter(score=whole["score"]), whole)
    size = int(curve["gallery"][0])
    yield (
        f"Calibrated with {whole['queries']:,} queries against a gallery of {count(size, 'image')}. "
        "A larger gallery needs a higher threshold: give yours as `gallery`."
    )
    if copies := int(curve["near_copies"][0]):
        yield f"{count(copies, 'image')} of the gallery are near-copies of calibration images: matches, left out."
    if len(at) and (elsewhere := float(at["elsewhere"][0])):
        yield f"Of queries with a match, {in_percent(elsewhere)[0]} match a nearer image than theirs; they count extra."
    others = curve.filter(pl.col("score") != whole["score"])
    if len(at) and len(others := others.filter(pl.col("wrong") <= float(at["wrong"][0]) + 1e-9)):
        found, other = float(at["found"][0]), float(others["found"][-1])
        regret = fixed(100 * max(0.0, other - found), 1)
        name = "cosines" if others["score"][-1] == "cosine" else "normalised scores"
        words = f"Score: {whole['score']}. At the same rate {name} find {in_percent(other)[0]}"
        yield f"{words}: a regret of {regret} points."


def _of_queries(table: pl.DataFrame, whole: dict[str, Any]) -> Iterator[str]:
    sure = whole["confidence"]
    how = "on average over calibrations" if sure is None else f"with a confidence of {100 * sure:g} %"
    yield (
        f"A match has a {_score(whole)} above {_above(whole['threshold'])}: at most {100 * whole['asked']:g} % of new "
        f"queries without a match get one, {how}. Found: {_found(whole)} of views."
    )
    worst = table.filter(augmentation=WORST).row(0, named=True)
    yield f"Above {_above(worst['threshold'])} it holds under each change, whatever their mix. Found: {_found(worst)}."


def _of_flags(curve: pl.DataFrame, whole: dict[str, Any]) -> Iterator[str]:
    wrong, words = whole["asked"], list[str]()
    yield (
        f"At most {100 * wrong:g} % of flagged queries have no match, on average, whatever part of a batch has one. "
        "No single threshold does this: `out` keeps all scores and prints how to apply them."
    )
    for number in IN:
        limit, least = flags_limit(curve, wrong, 1 / number), needed_for_flags(wrong, 1 / number)
        part = curve.filter(pl.col("threshold") == limit)["found"].head(1).to_list()
        lacks = f" (needs {least:,} calibration queries)" if whole["queries"] < least else ""
        words.append(f"1 in {number} has a match: {in_percent(part[0] if part else 0.0)[0]}{lacks}")
    yield f"Found in a large batch where {'; '.join(words)}."


def _score(row: dict[str, Any]) -> str:
    return "cosine" if row["score"] == "cosine" else "normalised score"


def _above(limit: float) -> str:
    """Formats a threshold, rounded up, so that no more lies above it."""
    return fixed(outward(limit, limit, 4)[1], 4)


def _found(row: dict[str, Any]) -> str:
    return in_percent(row["found"])[0]


def grid(table: pl.DataFrame) -> Grid:
    """Returns the table of the command line and of the report."""
    row = table.row(0, named=True)
    title = f"{row['rule'].replace('_', ' ')} {row['asked']:g}, {_score(row)}"
    rows = [
        (
            IN_WORDS.get(each["augmentation"], each["augmentation"]),
            MISSING if each["threshold"] is None else _above(each["threshold"]),
            fixed(each["found"], 3),
            ends(each["found_low"], each["found_high"], 3),
        )
        for each in table.iter_rows(named=True)
    ]
    return Grid(HEADINGS, ("name", "number"), rows, title)
