"""The output of `run`: means, tolerances, what a search finds; and of `views` and `attack`."""

import dataclasses
import logging
import operator
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from embedshift.cli.app import with_flags
from embedshift.cli.emit import emit
from embedshift.cli.terminal import progress
from embedshift.config import AttackConfig, Json, ViewsConfig
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import METRICS
from embedshift.registry.extras import need_encode
from embedshift.report.changes import changes_of, finding
from embedshift.report.numbers import MISSING, count, ends, fixed
from embedshift.sources.views_file import ORIGINALS, Attack, Manifest
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
from embedshift.store.listing import Verification, verify
from embedshift.store.table import tables_of
from embedshift.store.target_width import why_ended
from embedshift.study import Study
from embedshift.study.lines import duplicate_lines, step_lines
from embedshift.study.result import Grid, Kind, Output

log = logging.getLogger("embedshift")
# Whole files that are listed one by one; the others are counted.
LISTED = 20
PERFORMANCE, MISSED_ENDS = "mean performance", "interval of missed"
# Families whose safe strength is printed.
STOPS = 6


def title(study: Study) -> str:
    """Returns the finding, as the report has it."""
    reader = study.reader()
    return finding(reader, changes_of(reader))


def summary_grid(study: Study) -> Grid:
    """Returns a row for each augmentation, the one that a search misses most first: what is missed, and means."""
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = f"{encoder.name} ({encoder.precision}), {count(measured, 'image')}; what a search misses, and means"
    metrics, clusters = [m for m in PAPER_METRICS if m in reader.metrics], reader.table("clusters")
    changes = changes_of(reader, in_families=False)
    missed = ["missed", MISSED_ENDS] if any(change.n for change in changes) else []
    means = [*map(_heading, metrics), PERFORMANCE, *([] if clusters is None else ["cluster"])]
    rows = study.summary().rows_by_key(["augmentation", "metric"], named=True, unique=True)
    cluster = {} if clusters is None else dict(clusters.select("augmentation", "cluster").iter_rows())
    ranked = dict(study.ranking().select("augmentation", "mean_performance").iter_rows())
    cells = []
    for change in changes:
        name = change.name
        line = [name, *([change.counted or MISSING, ends(*change.missed_ends, 3)] if missed else [])]
        line += [fixed(change.shift, 3), ends(*change.shift_ends, 3)]
        line += [fixed(rows[name, metric]["mean"], 3) for metric in metrics] + [fixed(ranked[name], 3)]
        if clusters is not None:
            line.append(MISSING if cluster[name] is None else str(cluster[name]))
        cells.append(line)
    baselines = [fixed(rows[changes[0].name, metric]["baseline"], 3) for metric in metrics]
    mean = fixed(study.ranking()["baseline"][0], 3)
    cells += [[], ["other images", *([""] * len(missed)), "1", "", *baselines, mean]]
    of_pixels, of_encoder = PAPER_METRICS[:2:-1], ("l2_distance", "attention_similarity", COSINE)
    pixels, encoders = ([_heading(name) for name in names if name in METRICS] for names in (of_pixels, of_encoder))
    spare = (*pixels, "cluster", PERFORMANCE, *encoders, MISSED_ENDS)
    headings = ["augmentation", *missed, "relative shift", "95 % interval", *means]
    return Grid(headings, ("name", "number"), cells, title, spare=spare)


def tolerance_grid(study: Study) -> Grid:
    """Returns a row for each family: its tolerance, and the relative shift at each level."""
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = (
        f"{encoder.name} ({encoder.precision}), {count(measured, 'image')}; tolerance: the strength at which the mean "
        f"relative shift reaches {RELATIVE_SHIFT:g}"
    )
    tolerance = study.table("tolerance")
    tolerances, missed = by_family(tolerance), by_family(tolerance, MISSED_CRITERION)
    names = ["family", "tolerance", "95 % interval", *([f"search misses {100 * MISSED:g} %"] if missed else [])]
    levels = [f"shift at level {level}" for level in range(1, 1 + max(len(family.views) for family in reader.families))]
    shifts = study.table("strength").filter(metric=COSINE).partition_by("family", as_dict=True, maintain_order=True)
    in_order, cells = {change.name: place for place, change in enumerate(changes_of(reader))}, []
    for family in sorted(reader.families, key=lambda family: in_order[family.name]):
        row, missed_row = tolerances.get(family.name), missed.get(family.name)
        words = MISSING if row is None else in_words(row["value"], family.unit)
        interval = "" if row is None else interval_in_words(row["low"], row["high"], family.unit)
        missed_cell = [with_interval_in_words(missed_row) if missed_row else MISSING] if missed else []
        shift = [fixed(each, 3) for each in shifts[family.name,]["relative_shift"]]
        cells.append([family.name, words, interval or MISSING, *missed_cell, *shift])
    corruption = reader.table("corruption")
    mean = [] if corruption is None else corruption.filter(corruption="mean").to_dicts()
    caption = ""
    if mean:
        interval = ends(mean[0]["relative_shift_low"], mean[0]["relative_shift_high"], 3)
        caption = f"mean corruption shift {fixed(mean[0]['relative_shift'], 3)}, 95 % interval {interval}"
    kinds: list[Kind] = [*(["name"] * len(names)), "number"]  # type: ignore[list-item]
    return Grid([*names, *levels], kinds, cells, title, caption, spare=(*levels[1::2], *levels[::2]))


def result_grids(study: Study) -> Iterator[Grid]:
    """Yields the tables that `run` prints: tolerances where a study has families, and means."""
    reader = study.reader()
    if not reader.augmentations:
        return
    if "tolerance" in reader.table_names:
        yield tolerance_grid(study)
        if not reader.compares_all:
            return
    yield summary_grid(study)


def _heading(metric: str) -> str:
    return METRICS[metric].label.split()[0]


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


def write_and_print(config: ViewsConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    from embedshift.engines.write_views import run_views

    with progress(quiet, "writing") as (on_start, step):
        views = run_views(config, out, progress=step, on_start=on_start)
    counts, file = {"written": len(views.images), "failed": len(views.failures)}, out / views.FILE
    names, files = list(views.augmentations), len(views.folders)
    content = {"views": str(file), "augmentations": names, "draws": views.draws, "counts": counts}
    lines = (
        f"{counts['written']} of {count(sum(counts.values()), 'image')} written, each with {files} views: {file}",
        f"To measure them: embedshift run --pairs {file} --out STUDY --model MODEL",
    )
    emit(Output(content, lines), with_flags, as_json=as_json)
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
    lines = (
        f"images: {found.images:,}, views: {found.views} per image",
        f"time: about {duration(found.seconds)} ({found.round_trip:.2f} s a round trip, {found.step:.2f} s a step)",
        f"memory: {found.memory / 2**30:.1f} GiB",
    )
    emit(Output(dataclasses.asdict(found), lines), with_flags, as_json=as_json)


def attack_and_print(config: AttackConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    need_encode("attacking an encoder")
    from embedshift.engines.attack import run_attack  # with torch

    with progress(quiet, "attacking") as (on_start, step):
        attack = run_attack(config, out, progress=step, on_start=on_start)
    order = operator.attrgetter("norm", "eps", "kind", "through")
    names = sorted(attack.variants, key=lambda name: order(attack.variants[name]))
    rows = [_variant_row(attack, name) for name in names]
    counts, file = {"attacked": len(attack.images), "failed": len(attack.failures)}, out / attack.FILE
    content = {"attack": str(out), "encoder": attack.encoder, "counts": counts, "variants": rows}
    folders = " ".join(str(out / name) for name in (ORIGINALS, *names))
    lines = (
        f"{counts['attacked']} of {count(sum(counts.values()), 'image')} attacked. Written: {file}",
        "To measure the attacked images with this or another encoder:",
        f"  embedshift run --pairs {folders} --out STUDY --model MODEL",
    )
    emit(
        Output(content, [_attack_grid(attack, rows, target=config.target is not None), *lines]),
        with_flags,
        as_json=as_json,
    )
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


def _attack_grid(attack: Attack, rows: list[Json], *, target: bool) -> Grid:
    title = f"cosine between the embeddings of an attacked image and of {'the target' if target else 'its original'}"
    cells = []
    for row in rows:
        through = attack.variants[row["variant"]].through
        name = f"{row['variant']} (after {through})" if through else row["variant"]
        cells.append([name, f"{row['n']:,}", fixed(row["mean"], 3), fixed(row["least"], 3)])
    return Grid(("folder", "images", "mean", "lowest"), ("name", "number"), cells, title)


def verified(folder: Path) -> Output:
    """Reads every file of a study; the exit code is that of an error where one is damaged, or the study unfinished."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    found = verify(folder)
    exit_code = EmbedshiftError.exit_code if found.damaged or not found.complete else 0
    return Output(found.to_dict(), [_files_grid(found), _intact(found)], exit_code)


def _intact(found: Verification) -> str:
    if found.damaged:
        return f"{len(found.damaged):,} of {len(found.findings):,} files are damaged."
    if not found.complete:
        words = "the study is not finished: run the same command again"
        return f"The {len(found.findings):,} files that are there are intact, but {words}."
    return f"All {len(found.findings):,} files are intact. Checksum of the shards: {found.checksum}"


def _files_grid(found: Verification) -> Grid:
    intact = [file for file in found.findings if not file.problem]
    rows = [
        [file.name, f"damaged: {with_flags(file.problem)}" if file.problem else "intact", file.checksum[:12]]
        for file in [*found.damaged, *intact[:LISTED]]
    ]
    if len(intact) > LISTED:
        rows.append([f"… and {len(intact) - LISTED:,} more", "intact", ""])
    return Grid(("file", "state", "checksum"), ("text", "outcome", "text"), rows)
