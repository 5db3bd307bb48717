"""The output of `run` and `search`: means, tolerances, what a search finds; and of `views` and `attack`."""

import dataclasses
import json
import logging
import operator
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import polars as pl
from rich.table import Table

from embedshift.cli.outputs import say
from embedshift.cli.terminal import interval, name_columns, number, number_columns, print_table, progress, text_table
from embedshift.config import AttackConfig, Json, ViewsConfig
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.report.changes import changes_of, finding, layout_words
from embedshift.report.next_steps import DUPLICATES, NOTHING, next_steps
from embedshift.report.numbers import count
from embedshift.sources.views_file import ORIGINALS, Attack, Manifest
from embedshift.statistics.duplicates import images_in, rule_in_words
from embedshift.statistics.strengths import (
    LEAST_SAFE,
    MISSED,
    MISSED_CRITERION,
    RELATIVE_SHIFT,
    by_family,
    in_words,
    interval_in_words,
    with_interval_in_words,
)
from embedshift.statistics.summary import COSINE, PAPER_METRICS
from embedshift.store.table import tables_of
from embedshift.store.target_width import why_ended
from embedshift.study import Study
from embedshift.study.whitening import WhitenedStudy

log = logging.getLogger("embedshift")
PERFORMANCE, MISSED_ENDS = "mean\nperformance", "interval of\nmissed"
# Families whose safe strength is printed.
STOPS = 6
# Pairs of likely duplicates that are printed.
PRINTED = 10


def title(study: Study) -> str:
    """Returns the finding, as the report has it."""
    reader = study.reader()
    return finding(reader, changes_of(reader))


def summary_table(study: Study) -> Table:
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = f"{encoder.name} ({encoder.precision}), {count(measured, 'image')}; what a search misses, and means"
    metrics, clusters = [m for m in PAPER_METRICS if m in reader.metrics], reader.table("clusters")
    changes = changes_of(reader, in_families=False)
    has_search = any(change.n for change in changes)
    missed = [*number_columns("missed", MISSED_ENDS, no_wrap=True)] if has_search else []
    shift, ends = number_columns("relative shift"), number_columns("95 % interval", no_wrap=True)
    means = number_columns(*map(_heading, metrics), PERFORMANCE, *(() if clusters is None else ("cluster",)))
    table = text_table(title, *name_columns("augmentation"), *missed, *shift, *ends, *means)
    rows = {(row["augmentation"], row["metric"]): row for row in study.summary().iter_rows(named=True)}
    cluster = {} if clusters is None else dict(clusters.select("augmentation", "cluster").iter_rows())
    ranked = {row["augmentation"]: row["mean_performance"] for row in study.ranking().iter_rows(named=True)}
    for change in changes:
        name = change.name
        cells = [change.counted or "-", interval(*change.missed_ends)]
        cells = [*(cells if has_search else []), number(change.shift), interval(*change.shift_ends)]
        cells += [number(rows[name, metric]["mean"]) for metric in metrics] + [number(ranked[name])]
        if clusters is not None:
            cells += ["-" if cluster[name] is None else str(cluster[name])]
        table.add_row(name, *cells)
    baselines = [number(rows[changes[0].name, metric]["baseline"]) for metric in metrics]
    table.add_section()
    mean = number(study.ranking()["baseline"][0])
    table.add_row("other images", *([""] * len(missed)), "1", "", *baselines, mean)
    return table


def tolerance_table(study: Study) -> Table:
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = (
        f"{encoder.name} ({encoder.precision}), {count(measured, 'image')}; tolerance: the strength at which the mean "
        f"relative shift reaches {RELATIVE_SHIFT:g}"
    )
    tolerance = study.table("tolerance")
    tolerances, missed = by_family(tolerance), by_family(tolerance, MISSED_CRITERION)
    names = ["family", "tolerance", "95 % interval", *([f"search misses {100 * MISSED:g} %"] if missed else [])]
    levels = map(_level, range(1, 1 + max(len(family.views) for family in reader.families)))
    table = text_table(title, *name_columns(*names), *number_columns(*levels, no_wrap=True))
    relative_shifts = (
        study.table("strength").filter(metric=COSINE).partition_by("family", as_dict=True, maintain_order=True)
    )
    in_order = {change.name: place for place, change in enumerate(changes_of(reader))}
    for family in sorted(reader.families, key=lambda family: in_order[family.name]):
        row, missed_row = tolerances.get(family.name), missed.get(family.name)
        words = "-" if row is None else in_words(row["value"], family.unit)
        ends = "" if row is None else interval_in_words(row["low"], row["high"], family.unit)
        missed_cell = [with_interval_in_words(missed_row) if missed_row else "-"] if missed else []
        cells = map(number, relative_shifts[family.name,]["relative_shift"])
        table.add_row(family.name, words, ends or "-", *missed_cell, *cells)
    corruption = reader.table("corruption")
    mean = None if corruption is None else corruption.filter(corruption="mean").to_dicts()
    if mean:
        ends = interval(mean[0]["relative_shift_low"], mean[0]["relative_shift_high"])
        table.caption = f"mean corruption shift {number(mean[0]['relative_shift'])}, 95 % interval {ends}"
    return table


def result_tables(study: Study) -> Iterator[tuple[Table, list[str]]]:
    reader = study.reader()
    if not reader.augmentations:
        return
    if "tolerance" in reader.table_names:
        levels = range(1, 1 + max(len(family.views) for family in reader.families))
        yield tolerance_table(study), [_level(level) for level in (*levels[1::2], *levels[::2])]
        if not reader.compares_all:
            return
    metrics = PAPER_METRICS[:2:-1], ("l2_distance", "attention_similarity", COSINE)
    pixels, encoder = ([_heading(name) for name in names if name in METRICS] for names in metrics)
    yield summary_table(study), [*pixels, "cluster", PERFORMANCE, *encoder, MISSED_ENDS]


def _heading(metric: str) -> str:
    return METRICS[metric].label.split()[0]


def _level(level: int) -> str:
    return f"shift at\nlevel {level}"


def legend(study: Study) -> Iterator[str]:
    if not study.augmentations:
        yield from duplicate_lines(study)
        yield from step_lines(study, lists_duplicates=True)
        yield f"All numbers: {study.folder / 'tables'}"
        return
    yield "relative shift: 0 = unchanged, 1 = as far as another image."
    if ended := why_ended(study.reader().info):
        yield ended
    yield from stop_lines(study)
    yield from step_lines(study)
    yield "How to read this: `embedshift docs index`."
    yield f"Metrics: `embedshift list metrics`. All numbers: {study.folder / 'tables'}"


def stop_lines(study: Study) -> Iterator[str]:
    reader = study.reader()
    missed = by_family(reader.table("tolerance"), MISSED_CRITERION)
    ends = {f: missed[f.name]["low" if f.rises else "high"] for f in reader.families if f.name in missed}
    safe = [f"{family.name} {in_words(end, family.unit)}" for family, end in ends.items() if end is not None]
    few, groups = f"a search misses at most {100 * MISSED:g} %", reader.info.group_count
    if safe and groups < LEAST_SAFE:
        yield f"Where may I stop? {groups} are too few to show that {few}."
    elif safe:
        more = f" and {len(safe) - STOPS} more" if len(safe) > STOPS else ""
        yield f"Where may I stop? With 95 % confidence {few} up to {', '.join(safe[:STOPS])}{more}."


def study_json(study: Study) -> Json:
    info = study.info()
    large = {table.name for table in tables_of(study.reader().questions) if table.per_image}
    tables = {name: study.table(name).to_dicts() for name in study.table_names if name not in large}
    head = {"study": str(study.folder), "config_hash": info["config_hash"], "encoder": info["encoder"]}
    return head | {"counts": info["counts"], "until": info["until"]} | tables


def recall_table(study: Study, recall: pl.DataFrame) -> Table:
    reader, sizes = study.reader(), study.table("gallery_sizes")
    among = max(sizes.filter(kind="measured")["images"].to_list(), default=reader.info.counts.measured)
    views = max(recall["n"].to_list(), default=0)
    groups = f" ({reader.info.groups.chosen} groups, {reader.info.groups.count:,})" if reader.info.groups else ""
    among_words = (
        f"search{layout_words(reader)} among {among:,} originals with {views:,} views of each augmentation{groups}"
    )
    metrics = recall["metric"].unique(maintain_order=True).to_list()
    names = name_columns("augmentation", f"{metrics[0]}, 95 % interval")
    table = text_table(f"{reader.info.encoder.name}: {among_words}", *names, *number_columns(*metrics[1:]))
    rows = {(row["augmentation"], row["metric"]): row for row in recall.iter_rows(named=True)}
    least_first = recall.filter(metric=metrics[0]).sort("value", maintain_order=True, nulls_last=True)["augmentation"]
    for name in least_first:
        first, *others = (rows[name, metric] for metric in metrics)
        ends = interval(first["ci_low"], first["ci_high"])
        table.add_row(name, f"{number(first['value'])}  {ends}", *(number(row["value"]) for row in others))
    table.add_section()
    ranks = [int(name.removeprefix("recall@")) if name.startswith("recall@") else None for name in metrics]
    table.add_row("by chance", *("" if k is None else number(min(1.0, k / among)) for k in ranks))
    return table


def threshold_table(study: Study) -> Table:
    title = "Duplicates: cosine thresholds by false-match rate, and the fraction of views matched with their original"
    rates = number_columns("false-match\nrate", no_wrap=True)
    table = text_table(title, *rates, *name_columns("threshold, 95 % interval"))
    table.add_column("views matched:\nlowest")
    table.add_column("highest")
    matches = study.table("matches").drop_nulls("value") if study.augmentations else None
    for row in study.table("thresholds").iter_rows(named=True):
        ends = interval(row["ci_low"], row["ci_high"], 4)
        words = ["-", "-"]
        if matches is not None:
            matched = matches.filter(false_match_rate=row["false_match_rate"]).sort("value", maintain_order=True)
            words = [_ends(matched, end) for end in (0, -1)] if len(matched) else words
        table.add_row(f"{row['false_match_rate']:g}", f"{number(row['threshold'], 4)}  {ends}", *words)
    return table


def _ends(matched: pl.DataFrame, end: int) -> str:
    value, names = matched["value"][end], matched.filter(pl.col("value") == matched["value"][end])["augmentation"]
    return f"{value:.3f} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def no_threshold(study: Study) -> str:
    images = study.info()["counts"]["measured"]
    words = f"No thresholds for duplicates: {count(images, 'image')} cannot give enough pairs for the default rates."
    return f"{words} A larger rate needs fewer, for example `--false-match-rate 0.05`."


def lines(study: Study) -> Iterator[str]:
    yield from duplicate_lines(study)
    sizes = study.table("gallery_sizes") if study.augmentations else pl.DataFrame()
    predicted = sizes.filter(kind="predicted").drop_nulls("recall") if len(sizes) else sizes
    if len(predicted):
        largest = predicted.filter(pl.col("images") == pl.col("images").max()).sort("recall", maintain_order=True)
        yield f"Predicted recall@1 among {largest['images'][0]:,} images:"
        for row in largest.iter_rows(named=True):
            ends = "" if row["ci_low"] is None else f" ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
            yield f"  {row['recall']:.3f}{ends}  {row['augmentation']}"
    if isinstance(study, WhitenedStudy):
        yield "With the map; nothing was written. On images that it was fitted to, it may look better than on others."
        yield "Cosines and thresholds are of mapped embeddings: not comparable with those without the map."
        return
    yield from step_lines(study, lists_duplicates=True)
    yield f"Tables: {study.folder / 'tables'}. `embedshift report {study.folder}` adds them to the report."


def step_lines(study: Study, *, lists_duplicates: bool = False) -> Iterator[str]:
    """Yields what the questions say of misses, and what to do now; not to list duplicates where they are listed."""
    reader = study.reader()
    functions = [line for question in reader.questions for line in getattr(question.part("tables"), "LINES", ())]
    yield from (f"{words}." for function in functions if (words := function(reader)))
    steps = [step for step in next_steps(reader, whole=True) if not lists_duplicates or step.action != DUPLICATES]
    yield "What now:" if steps else f"What now? {NOTHING}"
    for place, step in enumerate(steps, start=1):
        yield f"  {place}. {step.why}: {step.command(str(study.folder))}".removesuffix(": ")


def duplicate_lines(study: Study) -> Iterator[str]:
    reader = study.reader()
    compared = reader.info.counts.measured if reader.groups is None else pl.Series(reader.groups).n_unique()
    pairs, settings = study.table("duplicates"), reader.kept_settings("duplicates")
    rule = rule_in_words(settings, compared)
    if pairs.is_empty():
        yield f"No duplicates found: no two images have {rule}."
        return
    images, groups = images_in(pairs), pairs["group"].n_unique()
    words = f"{count(len(pairs), 'pair')} in {count(groups, 'group')} of {images:,} images"
    yield f"{words}, with {rule}:" if "threshold" in settings else f"Likely duplicates: {words}, with {rule}:"
    for row in pairs.head(PRINTED).iter_rows(named=True):
        whitened = "" if row["whitened"] is None else f"whitened {row['whitened']:.4f}  "
        yield f"  group {row['group']}  {whitened}cosine {row['cosine']:.4f}  {row['image_id']}  {row['other']}"
    if len(pairs) > PRINTED:
        yield f"  and {len(pairs) - PRINTED:,} more in {study.folder / 'tables' / 'duplicates.csv'}"


def write_and_print(config: ViewsConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    from embedshift.engines.write_views import run_views

    with progress(quiet, "writing") as (on_start, step):
        views = run_views(config, out, progress=step, on_start=on_start)
    counts, file = {"written": len(views.images), "failed": len(views.failures)}, out / views.FILE
    if as_json:
        names = list(views.augmentations)
        say(json.dumps({"views": str(file), "augmentations": names, "draws": views.draws, "counts": counts}))
    else:
        files = len(views.folders)
        say(f"{counts['written']} of {count(sum(counts.values()), 'image')} written, each with {files} views: {file}")
        say(f"To measure them: embedshift run --pairs {file} --out STUDY --model MODEL")
    _warn_of_failures("the views of %d of %d images could not be written", views, file)
    for first in [*views.doubtful][:1]:
        log.warning(
            "mild views of %s are nearer to another image (first: %s, %s); `doubtful` in %s lists them",
            count(len(views.doubtful), "image"), first, views.doubtful[first][0], file,
        )  # fmt: skip


def estimate_and_print(config: ViewsConfig, out: Path, *, as_json: bool) -> None:
    if config.restyle is None:
        raise UsageError("`dry_run` needs `restyle`: other views take seconds")
    from embedshift.cli.estimate import duration
    from embedshift.engines.restyle import estimate

    found = estimate(config, out)
    if as_json:
        return say(json.dumps(dataclasses.asdict(found)))
    say(f"images: {found.images:,}, views: {found.views} per image")
    say(f"time: about {duration(found.seconds)} ({found.round_trip:.2f} s a round trip, {found.step:.2f} s a step)")
    return say(f"memory: {found.memory / 2**30:.1f} GiB")


def attack_and_print(config: AttackConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    from embedshift.engines.attack import run_attack  # with torch

    with progress(quiet, "attacking") as (on_start, step):
        attack = run_attack(config, out, progress=step, on_start=on_start)
    order = operator.attrgetter("norm", "eps", "kind", "through")
    names = sorted(attack.variants, key=lambda name: order(attack.variants[name]))
    rows = [_variant_row(attack, name) for name in names]
    counts, file = {"attacked": len(attack.images), "failed": len(attack.failures)}, out / attack.FILE
    if as_json:
        say(json.dumps({"attack": str(out), "encoder": attack.encoder, "counts": counts, "variants": rows}))
    else:
        print_table(_attack_table(attack, rows, target=config.target is not None))
        say(f"{counts['attacked']} of {count(sum(counts.values()), 'image')} attacked. Written: {file}")
        say("To measure the attacked images with this or another encoder:")
        folders = " ".join(str(out / name) for name in (ORIGINALS, *names))
        say(f"  embedshift run --pairs {folders} --out STUDY --model MODEL")
    _warn_of_failures("%d of %d images could not be attacked", attack, file)


def _warn_of_failures(words: str, manifest: Manifest, file: Path) -> None:
    for first in manifest.failures[:1]:
        failed = len(manifest.failures)
        log.warning(
            f"{words} (first: %s, stage %s: %s); %s lists all of them",
            failed, len(manifest.images) + failed, first.image_id, first.stage, first.reason, file,
        )  # fmt: skip


def _variant_row(attack: Attack, name: str) -> Json:
    cosines = [image.cosine[name] for image in attack.images.values() if name in image.cosine]
    mean = fmean(cosines) if cosines else None
    return {"variant": name, "n": len(cosines), "mean": mean, "least": min(cosines, default=None)}


def _attack_table(attack: Attack, rows: list[Json], *, target: bool) -> Table:
    title = f"cosine between the embeddings of an attacked image and of {'the target' if target else 'its original'}"
    table = text_table(title, *name_columns("folder"), *number_columns("images", "mean", "lowest"))
    for row in rows:
        through = attack.variants[row["variant"]].through
        name = f"{row['variant']} (after {through})" if through else row["variant"]
        table.add_row(name, f"{row['n']:,}", number(row["mean"]), number(row["least"]))
    return table
