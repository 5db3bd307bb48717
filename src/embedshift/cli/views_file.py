"""The output of `embedshift views` and `embedshift attack`: what was written, and how to measure it."""

import json
import logging
from pathlib import Path
from statistics import fmean

from rich.table import Table

from embedshift.cli.outputs import say
from embedshift.cli.terminal import name_columns, number, number_columns, print_table, progress, text_table
from embedshift.config import AttackConfig, Json, ViewsConfig
from embedshift.sources.views_file import ORIGINALS, Attack, AttackedVariant, Manifest

log = logging.getLogger("embedshift")


def write_and_print(config: ViewsConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    from embedshift.engines.views_file import run_views

    with progress(quiet, "writing") as (on_start, step):
        views = run_views(config, out, progress=step, on_start=on_start)
    counts, file = {"written": len(views.images), "failed": len(views.failures)}, out / views.FILE
    if as_json:
        names = list(views.augmentations)
        say(json.dumps({"views": str(file), "augmentations": names, "draws": views.draws, "counts": counts}))
    else:
        files = len(views.folders)
        say(f"{counts['written']} of {sum(counts.values())} images written, each with {files} views: {file}")
        say(f"To measure them: embedshift run --pairs {file} --out STUDY --model MODEL")
    _warn_of_failures("the views of %d of %d images could not be written", views, file)


def attack_and_print(config: AttackConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    from embedshift.engines.attack import run_attack  # with torch

    with progress(quiet, "attacking") as (on_start, step):
        attack = run_attack(config, out, progress=step, on_start=on_start)
    names = sorted(attack.variants, key=lambda name: _variant_order(attack.variants[name]))
    rows = [_row(attack, name) for name in names]
    counts, file = {"attacked": len(attack.images), "failed": len(attack.failures)}, out / attack.FILE
    if as_json:
        say(json.dumps({"attack": str(out), "encoder": attack.encoder, "counts": counts, "variants": rows}))
    else:
        print_table(_table(attack, rows, target=config.target is not None))
        say(f"{counts['attacked']} of {sum(counts.values())} images attacked. Written: {file}")
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


def _variant_order(variant: AttackedVariant) -> tuple[str, float, str, str]:
    return variant.norm, variant.eps, variant.kind, variant.through


def _row(attack: Attack, name: str) -> Json:
    cosines = [image.cosine[name] for image in attack.images.values() if name in image.cosine]
    mean = fmean(cosines) if cosines else None
    return {"variant": name, "n": len(cosines), "mean": mean, "least": min(cosines, default=None)}


def _table(attack: Attack, rows: list[Json], *, target: bool) -> Table:
    title = f"cosine between the embeddings of an attacked image and of {'the target' if target else 'its original'}"
    table = text_table(title, *name_columns("folder"), *number_columns("images", "mean", "lowest"))
    for row in rows:
        through = attack.variants[row["variant"]].through
        name = f"{row['variant']} (after {through})" if through else row["variant"]
        table.add_row(name, f"{row['n']:,}", number(row["mean"]), number(row["least"]))
    return table
