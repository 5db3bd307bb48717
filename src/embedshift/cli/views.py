"""The output of `embedshift views`: what was written, and how to measure it."""

import json
import logging
from pathlib import Path

from embedshift.cli.terminal import writing_progress
from embedshift.cli.words import say
from embedshift.config.views import ViewsConfig
from embedshift.engines.written_views import write_configured
from embedshift.sources.views_file import FILE

log = logging.getLogger("embedshift")


def write_and_print(config: ViewsConfig, out: Path, *, quiet: bool, as_json: bool) -> None:
    with writing_progress(quiet, "writing", out) as (on_start, step):
        views = write_configured(config, out, progress=step, on_start=on_start)
    counts = {"written": len(views.images), "failed": len(views.failures)}
    if as_json:
        names = list(views.augmentations)
        say(json.dumps({"views": str(out / FILE), "augmentations": names, "draws": views.draws, "counts": counts}))
    else:
        files = len(views.folders)
        say(f"{counts['written']} of {sum(counts.values())} images written, each with {files} views: {out / FILE}")
        say(f"To measure them: embedshift run --pairs {out / FILE} --out STUDY --model MODEL")
    if views.failures:
        first = views.failures[0]
        log.warning(
            "the views of %d of %d images could not be written (first: %s, stage %s: %s); %s lists all of them",
            counts["failed"], sum(counts.values()), first.image_id, first.stage, first.reason, out / FILE,
        )  # fmt: skip
