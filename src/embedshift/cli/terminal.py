"""What the command line looks like: the summary's table, the progress bar, log lines."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from embedshift.cli.signals import wake_blocked_calls
from embedshift.cli.words import printable
from embedshift.registry import METRICS
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.summary import COSINE, PAPER_METRICS
from embedshift.statistics.tolerance import MISSED, MISSED_CRITERION, SHARE, by_family
from embedshift.statistics.units import in_words, interval_in_words
from embedshift.steps import Start
from embedshift.study import Study
from embedshift.study.comparison import Comparison

log = logging.getLogger("embedshift")
out_console, err_console = Console(), Console(stderr=True)


def summary_table(study: Study) -> Table:
    """The tables' gist for a terminal: shares of the way to an unrelated image and means, the furthest moved first."""
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = f"{encoder.name} ({encoder.precision}), {measured} images; means, the furthest moved first"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    metrics = [m for m in PAPER_METRICS if m in reader.metrics]
    clusters = reader.table("clusters")
    table.add_column("augmentation", no_wrap=True)
    table.add_column("share of\nthe way", justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for heading in (
        *(METRICS[name].label.split()[0] for name in metrics),
        "mean\nperformance",
        *(() if clusters is None else ("cluster",)),
    ):
        table.add_column(heading, justify="right")
    rows = {(row["augmentation"], row["metric"]): row for row in study.summary().iter_rows(named=True)}
    cluster = {} if clusters is None else dict(clusters.select("augmentation", "cluster").iter_rows())
    ranked = study.ranking().to_dicts()
    ranked.sort(key=lambda row: _undefined_last(rows[row["augmentation"], COSINE]["mean"]))
    for row in ranked:
        name = row["augmentation"]
        cosine = rows[name, COSINE]
        cells = [_number(cosine["share"]), _interval(cosine["share_low"], cosine["share_high"])]
        cells += [_number(rows[name, metric]["mean"]) for metric in metrics]
        cells += [_number(row["mean_performance"])]
        if clusters is not None:
            cells += ["-" if cluster[name] is None else str(cluster[name])]
        table.add_row(name, *cells)
    floors = [_number(rows[ranked[0]["augmentation"], metric]["floor"]) for metric in metrics]
    table.add_section()
    table.add_row("unrelated images", "1", "", *floors, _number(ranked[0]["floor"]))
    return table


def tolerance_table(study: Study) -> Table:
    """Per family of rising strength its tolerance, with its interval, and the mean share at every level."""
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = (
        f"{encoder.name} ({encoder.precision}), {measured} images; tolerance: the strength at which the mean share of "
    )
    title += f"the way to an unrelated image reaches {SHARE:g}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("family", no_wrap=True)
    table.add_column("tolerance", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    found, missed = by_family(study.tolerance()), by_family(study.tolerance(), MISSED_CRITERION)
    if missed:
        table.add_column(f"search misses {100 * MISSED:g} %", no_wrap=True)
    levels = max(len(family.views) for family in reader.families)
    for level in range(1, levels + 1):
        table.add_column(f"share at\nlevel {level}", justify="right", no_wrap=True)
    shares = study.strength().filter(metric=COSINE).partition_by("family", as_dict=True, maintain_order=True)
    for family in reader.families:
        row, of_search = found.get(family.name), missed.get(family.name)
        words = "-" if row is None else in_words(row["value"], family.unit)
        interval = "" if row is None else interval_in_words(row["low"], row["high"], family.unit)
        lost = ["-" if of_search is None else in_words(of_search["value"], family.unit)] if missed else []
        cells = map(_number, shares[family.name,]["share"])
        table.add_row(family.name, words, interval or "-", *lost, *cells)
    corruption = reader.table("corruption")
    mean = None if corruption is None else corruption.filter(corruption="mean").to_dicts()
    if mean:
        ends = _interval(mean[0]["share_low"], mean[0]["share_high"])
        table.caption = f"mean corruption share {_number(mean[0]['share'])}, 95 % interval {ends}"
    return table


def result_tables(study: Study) -> Iterator[Table]:
    """What a run prints: the summary; of families their tolerances first, and these alone where views are many."""
    reader = study.reader()
    if "tolerance" in reader.table_names:
        yield tolerance_table(study)
        if not reader.has_pairs:
            return
    yield summary_table(study)


def _undefined_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def comparison_table(found: Comparison) -> Table:
    """Means of all studies side by side, and each study's difference from the first with its interval.

    Metrics that are equal in all studies, as those of equal pixels are, are left out.
    """
    names = found.studies["study"].to_list()
    title = (
        f"{found.studies['compared'][0]} images measured by every study; means, differences with 95 % intervals; "
        "* = settled, for all augmentations of a metric at once"
    )
    if len(found.shown) < found.side_by_side["augmentation"].n_unique():
        title += f"; {ONE_LEVEL} (by the first study)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    table.add_column("augmentation", no_wrap=True)
    table.add_column(names[0], justify="right", overflow="fold")
    for name in names[1:]:
        table.add_column(name, justify="right", overflow="fold")
        table.add_column("difference", justify="right", no_wrap=True)
    told = {(r["metric"], r["augmentation"], r["study"]): r for r in found.comparison.iter_rows(named=True)}
    of_those_shown = found.side_by_side.filter(pl.col("augmentation").is_in(found.shown))
    for (metric,), rows in of_those_shown.group_by("metric", maintain_order=True):
        if all(rows[name].equals(rows[names[0]], null_equal=True) for name in names):
            continue
        for index, row in enumerate(rows.iter_rows(named=True)):
            cells = [_number(row[names[0]])]
            for name in names[1:]:
                cells += [_number(row[name]), _with_interval(told[metric, row["augmentation"], name])]
            table.add_row("" if index else str(metric), row["augmentation"], *cells)
        table.add_section()
    return table


def compared_tolerances(found: Comparison) -> Table:
    """The tolerance of every study, family by family."""
    title = f"{found.studies['compared'][0]} images measured by every study; tolerances with 95 % intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("family", no_wrap=True)
    table.add_column("criterion", no_wrap=True)
    names = found.studies["study"].to_list()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in found.tolerances.iter_rows(named=True):
        cells = []
        for name in names:
            interval = interval_in_words(row[f"{name} low"], row[f"{name} high"], row["unit"])
            cells.append(in_words(row[name], row["unit"]) + (f" ({interval})" if interval else ""))
        table.add_row(row["family"], row["criterion"], *cells)
    return table


def _with_interval(row: Mapping[str, float | None]) -> str:
    if row["difference"] is None:
        return "-"
    if row["ci_low"] is None or row["ci_high"] is None:
        return f"{row['difference']:+#.2g}"
    interval = f"({row['ci_low']:+#.2g} to {row['ci_high']:+#.2g})"
    return f"{row['difference']:+#.2g} {interval}{' *' if row['settled'] else ''}"


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Each study's largest difference of a summary value, and how alike it orders the augmentations."""
    for study in found.studies.iter_rows(named=True):
        rows = found.largest.filter(study=study["study"])
        if rows.is_empty():
            continue
        yield f"{study['study']} against {rows['reference'][0]}:"
        for row in rows.filter(pl.col("difference") != 0).iter_rows(named=True):
            yield (
                f"  largest difference in {row['metric']}: {row['difference']:+#.2g} ({row['column']} under "
                f"{row['augmentation']}: {row['value']:.4g} against {row['reference_value']:.4g})"
            )
        orders = _number(study["rank_correlation"]), _number(study["rank_correlation_cosine"])
        yield "  order of augmentations, Spearman: {} by mean performance, {} by cosine similarity".format(*orders)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@contextlib.contextmanager
def progress(quiet: bool, doing: str = "measuring") -> Iterator[tuple[Callable[[Start], None], Callable[[int], None]]]:
    """A bar with images per second and the time left; on anything but a terminal, a log line now and then."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=err_console, disable=quiet or not err_console.is_terminal)
    task = bar.add_task("", total=None, rate="")
    state = {"begun": 0.0, "said": 0.0, "done": 0, "total": 0, "new": 0}

    def on_start(start: Start) -> None:
        state.update(begun=time.monotonic(), said=time.monotonic(), done=start.done, total=start.images)
        bar.update(task, total=start.images, completed=start.done)
        if start.complete:
            log.warning("%s: this study is finished already; nothing to do", start.out)
        elif start.done:
            log.info("going on where it stopped: %d of %d images are done", start.done, start.images)
        if start.skipped:
            log.info("passed over: %s", dict(start.skipped))

    def step(count: int) -> None:
        state["new"] += count
        now = time.monotonic()
        rate = state["new"] / max(now - state["begun"], 1e-9)
        bar.update(task, advance=count, rate=f"{rate:.1f} images/s")
        if bar.disable and now - state["said"] > 10:
            state["said"] = now
            through = state["done"] + state["new"]
            left = (state["total"] - through) / rate
            log.info("%d of %d images, %.1f images/s, %.0f s left", through, state["total"], rate, left)

    with bar:
        yield on_start, step


class _Lines(logging.Handler):
    """Log records as whole lines on stderr, above the progress bar where there is one."""

    def __init__(self, words: Callable[[str], str]) -> None:
        super().__init__()
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        line = self._words(record.getMessage())
        if record.name == "py.warnings":  # file, line, kind, words and code: the words
            line = line.partition("Warning: ")[2].partition("\n")[0] or line
        line = line if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {line}"
        err_console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool, words: Callable[[str], str]) -> None:
    """Log lines on stderr: of our own steps, and what libraries warn of; with `quiet` only our own warnings.

    Args:
        quiet: Whether nothing but warnings and errors of our own is said.
        words: Puts flags in the place of settings.
    """
    wake_blocked_calls()
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, handlers=[_Lines(words)], force=True)
    logging.captureWarnings(True)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    if quiet and sys.stderr is sys.__stderr__:
        _keep_stderr_for_lines()


def _keep_stderr_for_lines() -> None:
    """What C libraries write to the file descriptor itself, as libtiff does, goes nowhere; what Python says stays."""
    ours = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = ours


class _OfNames(Console):
    """One whose texts are names and numbers: no markup, and nothing that steers the terminal."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **settings | {"markup": False, "emoji": False})


def print_wide(table: Table) -> None:
    """A table on stdout, on lines of 140 characters at least."""
    _OfNames(width=max(out_console.width, 140)).print(table)
