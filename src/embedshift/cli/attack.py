"""The output of `embedshift attack`: how close the variants of each folder are to their originals."""

import json
import logging
from pathlib import Path
from statistics import fmean

from rich.table import Table

from embedshift.cli.terminal import name_columns, number, number_columns, print_table, text_table, writing_progress
from embedshift.cli.words import say
from embedshift.config import Json
from embedshift.config.attack import AttackConfig
from embedshift.pipeline.attack.run import run_attack
from embedshift.sources.attacked import FILE, ORIGINALS, Attack, AttackedVariant

log = logging.getLogger("embedshift")


def attack_and_print(config: AttackConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    with writing_progress(quiet, "attacking", out) as (on_start, step):
        attack = run_attack(config, out, progress=step, on_start=on_start)
    names = sorted(attack.variants, key=lambda name: _variant_order(attack.variants[name]))
    rows = [_row(attack, name) for name in names]
    counts = {"attacked": len(attack.images), "failed": len(attack.failures)}
    if as_json:
        say(json.dumps({"attack": str(out), "encoder": attack.encoder, "counts": counts, "variants": rows}))
    else:
        print_table(_table(attack, rows, target=config.target is not None))
        say(f"{counts['attacked']} of {sum(counts.values())} images attacked. Written: {out / FILE}")
        say("To measure the attacked images with this or another encoder:")
        folders = " ".join(str(out / name) for name in (ORIGINALS, *names))
        say(f"  embedshift run --pairs {folders} --out STUDY --model MODEL")
    if attack.failures:
        first = attack.failures[0]
        log.warning(
            "%d of %d images could not be attacked (first: %s, stage %s: %s); %s lists all of them",
            counts["failed"], sum(counts.values()), first.image_id, first.stage, first.reason, out / FILE,
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
