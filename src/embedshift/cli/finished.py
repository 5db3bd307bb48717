"""The output of the commands on finished studies, such as `compare`, `check`, `explain`, `codes` and `verify`."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import typer
from rich.table import Table
from rich.text import Text

import embedshift
from embedshift.cli.app import with_flags
from embedshift.cli.outputs import say, say_all
from embedshift.cli.terminal import fits, folded_columns, name_columns, number, number_columns, print_table, text_table
from embedshift.config import Json
from embedshift.config.safe_files import write_file
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import one_of
from embedshift.report.coded import HEADINGS as CODES
from embedshift.report.coded import cells as code_cells
from embedshift.report.coded import margin_of, recommended, summary, verdicts
from embedshift.report.explained import HEADINGS as EXPLAINED
from embedshift.report.explained import cells as explained
from embedshift.report.explained import findings, why_nothing
from embedshift.report.numbers import count
from embedshift.statistics.codes import ranges_to_json
from embedshift.statistics.power import PLANNED, planned
from embedshift.statistics.strengths import ONE_LEVEL, with_interval_in_words
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import sentences
from embedshift.store.embeddings import images_tried
from embedshift.store.gallery import originals
from embedshift.store.listing import Verification, verify
from embedshift.store.plans import ALL
from embedshift.study import Study, load
from embedshift.study.comparison import HEADINGS, Comparison, ratio_cells, with_star
from embedshift.study.drift import HEADINGS as DRIFT
from embedshift.study.drift import Drift, batch_cells
from embedshift.study.gate import Checked
from embedshift.study.gate import result as output
from embedshift.study.gate.result import HEADINGS as RULE_HEADINGS
from embedshift.study.gate.result import cells as rule_cells
from embedshift.study.gate.result import headline
from embedshift.study.upgrade import HEADINGS as UPGRADE
from embedshift.study.upgrade import Upgrade, deployment_cells
from embedshift.study.whitening import check_studies, recommendation, whitening_tables

log = logging.getLogger("embedshift")
_STYLES = {"broken": "bold red", "worse": "red", "undecided": "yellow", "kept": ""}
# What follows a file that is loaded.
LINES = (
    'x = vectors / np.linalg.norm(np.float64(vectors), axis=1, keepdims=True) - file["mean"]',
    'x = x @ file["matrix"]; x /= np.linalg.norm(x, axis=1, keepdims=True)',
)
# Whole files that are listed one by one; the others are counted.
LISTED = 20


def ratio_tables(comparison: Comparison) -> list[Table]:
    shown, tables = pl.col("augmentation").is_in([ALL, *comparison.shown]), []
    for (study,), rows in comparison.comparison.filter(shown).group_by("study", maintain_order=True):
        title = (
            f"{study} against {rows['reference'][0]}: relative shifts, and how many times as far; * = significant, "
            "corrected for all augmentations"
        )
        cells = list(ratio_cells(rows))
        whole = _ratio_table(title, cells, range(len(HEADINGS)))
        narrow = [_ratio_table(title, cells, range(4)), _ratio_table("Of a search:", cells, (0, 4, 5))]
        tables += [] if not cells else [whole] if fits(whole) else narrow
    return tables


def _ratio_table(title: str, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> Table:
    first, *others = (HEADINGS[column].replace(", ", ",\n") for column in columns)
    cells = ([row[column] for column in columns] for row in rows)
    return text_table(title, *name_columns(first), *number_columns(*others, no_wrap=True), rows=cells)


def comparison_tables(comparison: Comparison) -> list[Table]:
    shown = comparison.side_by_side.filter(pl.col("augmentation").is_in(comparison.shown))
    first, *others = comparison.studies["study"].to_list()
    parts = [
        (str(metric), rows)
        for (metric,), rows in shown.group_by("metric", maintain_order=True)
        if not all(rows[name].equals(rows[first], null_equal=True) for name in others)
    ]
    if not parts:
        return []
    table = _means_table(comparison, parts, first, others)
    return [table] if fits(table) else [_means_table(comparison, parts, first, [name]) for name in others]


def _means_table(
    comparison: Comparison, parts: Sequence[tuple[str, pl.DataFrame]], first: str, others: Sequence[str]
) -> Table:
    title = (
        f"{count(comparison.studies['compared'][0], 'image')} measured by every study; "
        "means, and differences with 95 % intervals; * = significant, corrected for all augmentations of a metric"
    )
    if len(comparison.shown) < comparison.side_by_side["augmentation"].n_unique():
        title += f"; {ONE_LEVEL} (in the first study)"
    if len(others) == 1:
        title = f"mean: {others[0]}\nreference: {first}\n{title}"
    headings = [name.replace(" ", "\n") for name in (first, *others)] if len(others) > 1 else ["reference", "mean"]
    table = text_table(title, *name_columns("metric\n  augmentation"), *number_columns(headings[0]))
    for name in headings[1:]:
        table.add_column(name, justify="right")
        table.add_column("difference", justify="right", no_wrap=True)
    differences = {
        (row["metric"], row["augmentation"], row["study"]): row for row in comparison.comparison.iter_rows(named=True)
    }
    for metric, rows in parts:
        table.add_row(metric)
        for row in rows.iter_rows(named=True):
            cells = [number(row[first])]
            for name in others:
                difference = differences[metric, row["augmentation"], name]
                cells += [number(row[name]), with_star(difference, "difference", "ci", "+#.2g")]
            table.add_row(f"  {row['augmentation']}", *cells)
        table.add_section()
    return table


def no_difference(comparison: Comparison) -> str:
    images, augmentations = comparison.studies["compared"][0], comparison.side_by_side["augmentation"].n_unique()
    where = "" if len(comparison.shown) == augmentations else f" ({ONE_LEVEL}, in the first study)"
    return f"No difference: every metric has the same means in all studies, over {count(images, 'image')}{where}."


def compared_tolerances(comparison: Comparison) -> Table:
    title = (
        f"{count(comparison.studies['compared'][0], 'image')} measured by every study; tolerances with 95 % intervals"
    )
    names = comparison.studies["study"].to_list()
    table = text_table(title, *name_columns("family", "criterion"), *folded_columns(*names))
    for row in comparison.tolerances.iter_rows(named=True):
        cells = []
        for name in names:
            ends = {"value": row[name], "low": row[f"{name} low"], "high": row[f"{name} high"], "unit": row["unit"]}
            cells.append(with_interval_in_words(ends))
        table.add_row(row["family"], row["criterion"], *cells)
    return table


def print_checked(checked: Checked, *, strict: bool, as_json: bool) -> None:
    warnings = output.warnings(checked)
    # Someone who reads both streams in one terminal reads a warning once.
    for line in warnings if as_json or not (sys.stdout.isatty() and sys.stderr.isatty()) else ():
        log.warning("%s", line)
    if as_json:
        say(json.dumps(output.to_json(checked, strict=strict)))
        return
    wide = _rules_table(checked)
    print_table(wide if fits(wide) else _narrow_table(checked))
    say_all(f"warning: {with_flags(line)}" for line in warnings)
    say(with_flags(headline(checked, strict=strict)))


def say_rules(file: Path) -> None:
    say(f"Written: {file}")
    say("About as many images as stand behind a rule decide it:")
    say_all(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("  - "))


def _narrow_table(checked: Checked) -> Table:
    table = text_table("", *folded_columns("outcome", "rule\nrow", "value, 95 % interval\nrequired"))
    for result in checked.results:
        outcome, rule, row, value, interval, required, *_ = rule_cells(result)
        table.add_row(Text(outcome, _STYLES[outcome]), f"{rule}\n{row}", f"{value}  {interval}\n{required}")
    return table


def _rules_table(checked: Checked) -> Table:
    table = text_table("", *folded_columns(*RULE_HEADINGS))
    for column in table.columns:
        column.justify = "right" if column.header in ("value", "images", "images needed") else "left"
    for result in checked.results:
        outcome, *others = rule_cells(result)
        table.add_row(Text(outcome, _STYLES[outcome]), *others)
    return table


def whiten_and_print(
    folders: Sequence[Path], out: Path, onnx: Path | None, choice: str | None, groups: str | None, as_json: bool
) -> None:
    studies = [load(folder) for folder in folders]
    check_studies(studies)
    for study in studies:
        study.regroup(groups)
    measured = [study for study in studies if study.augmentations]
    tables = whitening_tables(measured)
    best = recommendation(tables)
    name = choice or best
    if name is not None:
        embedshift.whiten(studies, out=out, map=name, onnx=onnx)
    if as_json:
        by_study = {str(study.folder): table.to_dicts() for study, table in zip(measured, tables, strict=True)}
        file = None if name is None else str(out)
        say(json.dumps({"map": file, "written": name, "recommended": best, "whitening": by_study}))
        return
    for study, table in zip(measured, tables, strict=True):
        print_table(whitening_table(study, table), ())
        info = study.reader().info
        groups = info.groups.chosen if info.groups else None
        say_all(sentences(table, info.counts.measured, images_tried(study.reader()), info.encoder.dim, groups))
    tried = {each for table in tables for each in table["map"]}
    if not tables:
        say("No map was tried: these studies have no views of augmentations.")
    elif name is not None and tried and name not in tried:
        say(f"The map {name!r} was not tried: that takes a second family of augmentations.")
    if name is None:
        say("Nothing was written; `--map NAME` writes a map all the same.")
        return
    say(f"Written: {out}, the map {name!r}" + (f"; {onnx}" if onnx else "") + ". Apply it in three lines:")
    say(f"  file = np.load({str(out)!r})")
    say_all(f"  {line}" for line in LINES)


def whitening_table(study: Study, table: pl.DataFrame) -> Table:
    info = study.reader().info
    groups = f"{info.groups.chosen} groups, {info.groups.count:,}" if info.groups else "no groups"
    title = (
        f"{info.encoder.name}: search among other images, for other changes, than the map was fitted to "
        f"(fitted_: among the same images); {groups}; * = the 95 % interval of the difference excludes 0"
    )
    numbers = number_columns("among", "as it is", *table["map"].unique(maintain_order=True), no_wrap=True)
    printed = text_table(title, *name_columns("mean over augmentations"), *numbers)
    means = table.filter(augmentation="all")
    for metric in means["metric"].unique(maintain_order=True):
        printed.add_row(metric, *_cells(means.filter(metric=metric)))
    return printed


def _cells(rows: pl.DataFrame) -> list[str]:
    differs = rows.select(((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).fill_null(False)).to_series()
    cells = [f"{number(after)}{'*' if star else ' '}" for after, star in zip(rows["after"], differs, strict=True)]
    return [f"{rows['gallery'][0]:,}", f"{number(rows['before'][0])} ", *cells]


def beside_table(study: Study, name: str) -> Table:
    """The paired differences of every augmentation from one, in percentage points."""
    one_of("augmentation", name, study.augmentations)
    pairs = study.differences().filter(pl.col("metric").is_in(["recall@1", "matched@0.001"]))
    metrics = pairs["metric"].unique(maintain_order=True).to_list()
    title = (
        f"percentage points more found than under {name} (negative: fewer), paired by image; * = significant, "
        "corrected for all pairs"
    )
    table = text_table(title, *name_columns("augmentation"), *number_columns(*metrics, no_wrap=True))
    for other in (each for each in study.augmentations if each != name):
        is_pair = pl.col("augmentation").is_in([name, other]) & pl.col("other").is_in([name, other])
        rows = pairs.filter(is_pair).rows_by_key("metric", named=True, unique=True)
        table.add_row(other, *(_points(rows[metric], is_turned=rows[metric]["other"] != name) for metric in metrics))
    return table


def _points(row: Json, *, is_turned: bool) -> str:
    value, low, high = (None if row[name] is None else 100 * row[name] for name in ("difference", "low", "high"))
    if value is None or low is None or high is None:
        return "-"
    value, low, high = (-value, -high, -low) if is_turned else (value, low, high)
    return f"{value:+.1f} ({low:.1f} to {high:.1f}) {'*' if row['significant'] else ' '}"


def power_table(study: Study, table: pl.DataFrame) -> Table:
    info = study.reader().info
    unit = "groups" if info.groups else "images"
    title = f"{unit} that find it in {100 * table['power'][0]:g} % of studies; pilot: {info.group_count:,} {unit}"
    numbers = number_columns(*PLANNED[2:], no_wrap=True)
    return text_table(title, *name_columns(*PLANNED[:2]), *numbers, rows=planned(table))


def print_explained(study: Study, table: pl.DataFrame, as_json: bool) -> None:
    found, record = findings(table), study.reader().info.tables.get("meaning")
    settings = {} if record is None else record.settings
    why = "" if found else why_nothing(study.reader(), settings.get("features", ""))
    if as_json:
        sentences = {each.direction: each.sentence for each in found}
        content = {"study": str(study.folder), "meaning": table.to_dicts(), "sentences": sentences, "why": why}
        return say(json.dumps(content))
    if why:
        return say(why)
    first, *others = EXPLAINED
    columns = *folded_columns(first), *number_columns(others[0]), *folded_columns(*others[1:])
    printed = text_table("", *columns, rows=(explained(finding) for finding in found if finding.is_found))
    if printed.row_count:
        print_table(printed)
    if nothing := [finding.direction for finding in found if not finding.is_found]:
        say(f"No property and no word goes with: {', '.join(nothing)}.")
    files = {name: settings.get(f"{name}_file") for name in ("properties", "words")}
    given = "".join(f", {name} of {file}" for name, file in files.items() if file)
    features = settings.get("features", "augmentations")
    say(f"Explained: {features}{given}. A star: further than images along random directions.")
    return say("Every row: `--json`. What each number means: `embedshift docs meaning`.")


def print_codes(study: Study, table: pl.DataFrame, out: Path | None, given: float | None, as_json: bool) -> None:
    reader = study.reader()
    found, margin = verdicts(table), given or margin_of(reader.kept_settings("codes"))
    best, lines = recommended(found), [*summary(found, reader, margin)]
    if out is not None:
        vectors = normalised_float32(originals(reader).gallery.vectors)
        content = ranges_to_json(vectors, best.code if best else "float32")
        write_file(out, json.dumps(content).encode())
    if as_json:
        name = None if best is None else best.code
        return say(
            json.dumps({"study": str(study.folder), "recommended": name, "sentences": lines, "codes": table.to_dicts()})
        )
    title = f"recall@1 among {found[0].gallery:,} over all changes; points lost (in brackets: at worst, 95 %)"
    columns = *name_columns(CODES[0]), *number_columns(*CODES[1:])
    columns[5].justify = "left"
    print_table(text_table(title, *columns, rows=map(code_cells, found)))
    say_all(lines)
    return say("Every row: `--json`. What each number means: `embedshift docs codes`.")


def print_upgrade(found: Upgrade, written: Sequence[str], as_json: bool) -> None:
    if as_json:
        return say(json.dumps(found.to_dicts() | {"written": list(written)}))
    title = (
        f"held out, {found.verdict.judged}; recall@1 over all changes with 95 % intervals; its difference under the "
        "worst change, in points; false matches at the old threshold → at the carried one"
    )
    first, *others = UPGRADE
    columns = *name_columns(first), *number_columns(*others, no_wrap=True)
    printed = text_table(title, *columns, rows=deployment_cells(found))
    print_table(printed, ("neighbours kept", "matched@0.001", "false matches"))
    say_all(found.lines)
    for name, (mean, sd) in found.calibration.items():
        say(f"Cosines of different images, {name}: mean {mean:.4f}, standard deviation {sd:.4f}.")
    if written:
        say(f"Written: {', '.join(written)}")
    return say("Every row: `--json`. What to do then: `embedshift docs upgrade`.")


def print_drift(found: Drift, beyond: Sequence[str], written: Sequence[str], as_json: bool) -> None:
    if as_json:
        return say(json.dumps(found.to_dicts() | {"beyond": list(beyond), "written": list(written)}))
    title = "relative shift of the mean, fractions of images; 95 % intervals"
    printed = text_table(title, *folded_columns(*DRIFT), rows=batch_cells(found))
    if printed.row_count:
        print_table(printed)
    say_all(repr(found).splitlines())
    if beyond:
        say(f"Beyond the tolerance: {', '.join(beyond)}")
    if written:
        say(f"Written: {', '.join(written)}")
    return say("Every row: `--json`. From the alarm to the cause: `embedshift docs drift`.")


def print_verified(folder: Path, as_json: bool) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    verification = verify(folder)
    if as_json:
        say(json.dumps(verification.to_dict()))
    else:
        print_table(_files_table(verification))
        say(_intact(verification))
    if verification.damaged or not verification.complete:
        raise typer.Exit(EmbedshiftError.exit_code)


def _intact(verification: Verification) -> str:
    if verification.damaged:
        return f"{len(verification.damaged):,} of {len(verification.findings):,} files are damaged."
    if not verification.complete:
        words = "the study is not finished: run the same command again"
        return f"The {len(verification.findings):,} files that are there are intact, but {words}."
    return f"All {len(verification.findings):,} files are intact. Checksum of the shards: {verification.checksum}"


def _files_table(verification: Verification) -> Table:
    table = text_table("", *folded_columns("file", "state", "checksum"))
    intact = [finding for finding in verification.findings if not finding.problem]
    for finding in [*verification.damaged, *intact[:LISTED]]:
        damage = finding.problem and Text(f"damaged: {with_flags(finding.problem)}", "bold red")
        table.add_row(Text(finding.name), damage or Text("intact"), Text(finding.checksum[:12]))
    if len(intact) > LISTED:
        table.add_row(f"… and {len(intact) - LISTED:,} more", "intact", "")
    return table
