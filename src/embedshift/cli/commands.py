"""The commands for finished studies, those that write views as files, the page in the browser, and lists."""

import importlib.util
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import embedshift
from embedshift.cli.app import AsJson, GroupOption, Images, Quiet, app, log_lines, with_flags
from embedshift.cli.options import RARE, ColumnNames, given, names, output, rare, taken_columns, with_options
from embedshift.cli.outputs import open_in_browser, printable, say, say_all, write_text
from embedshift.cli.studies import measure, measure_originals
from embedshift.config import BUNDLED, AttackConfig, Json, VectorsConfig, ViewsConfig, make_attack_config, validated
from embedshift.errors import MissingExtra, UsageError
from embedshift.registry import one_of, questions

if TYPE_CHECKING:
    from embedshift.study import Study

# The question's tables that `--json` contains.
SEARCH_TABLES = ("search", "thresholds", "matches", "gallery_sizes", "duplicates")
# In the wheel, or else in a clone of the repository.
FOLDERS = (Path(embedshift.__file__).parent / "docs", Path(embedshift.__file__).parents[2] / "docs")
# The exit code where a rule is broken or worse, or a batch is beyond the tolerance or too small.
BROKEN = 3
LISTED = "encoders|augmentations|metrics|figures|questions"
OnnxOption = Annotated[Path | None, typer.Option(help="Write the map as an ONNX graph, too.")]
WhitenOption = Annotated[
    Path | None,
    typer.Option(help="Map embeddings by this file of `whiten`; in a comparison, of the studies after the first."),
]
ShiftMargin = Annotated[
    float | None, typer.Option(help="Equivalent if views move at most so many times as far or as near, such as 1.05.")
]
RecallMargin = Annotated[
    float | None, typer.Option(help="Equivalent if at most so much of recall@1 is lost, such as 0.01.")
]


@app.command("list")
def list_names(kind: Annotated[str, typer.Argument(metavar=LISTED, help="What to list.")]) -> None:
    """List the available encoders, augmentations, metrics, figures or questions."""
    if kind not in LISTS:
        raise UsageError(f"cannot list {kind!r}: choose one of {', '.join(LISTS)}")
    entries = list(LISTS[kind]())
    width = max(len(name) for name, _ in entries)
    say_all(with_flags(f"{name:{width}}  {text}") for name, text in entries)


def _encoders() -> Iterator[tuple[str, str]]:
    from embedshift.encoders import ENCODER_FAMILIES, ENCODERS, OTHERS, TITLES

    for name in ENCODERS:
        title = TITLES.get(name)
        yield name, f"bundled (extra 'offline'): {title}" if title else "from another package"
    for family in ENCODER_FAMILIES:
        yield family.example, family.summary
    yield from OTHERS.items()


def _augmentations() -> Iterator[tuple[str, str]]:
    from embedshift.augmentations import SUITES, VIEWS, Choice
    from embedshift.augmentations.family import FAMILIES

    for name in SUITES:
        suite = () if name in VIEWS else SUITES[name](Choice())
        words = VIEWS.get(name) or {view.name: view.description for view in suite if not view.level}
        families = (FAMILIES[family] for family in dict.fromkeys(view.level.family for view in suite if view.level))
        yield name, f"{len(words) or len(suite)} views"
        yield from ((f"  {family.name}", family.description(*family.levels)) for family in families)
        yield from ((f"  {view}", description) for view, description in words.items())


def _metrics() -> Iterator[tuple[str, str]]:
    from embedshift.registry import METRICS

    for name in METRICS:
        metric = METRICS[name]
        better = "closer" if metric.low < metric.no_change < metric.high else "lower"
        better = "higher" if metric.higher_is_better else better
        off = f" Off by default (`{metric.asked_by}`)." if metric.optional else ""
        yield name, f"[{metric.needs}] {metric.summary} No change = {metric.no_change:g}; {better} = less change.{off}"


def _figures() -> Iterator[tuple[str, str]]:
    declared = {name: entry for question in questions() for name, entry in question.figures.items()}
    for name, (number, title) in sorted(declared.items(), key=lambda pair: pair[1]):
        yield name, f"[{number.lstrip('0')}] {title}"


LISTS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "encoders": _encoders,
    "augmentations": _augmentations,
    "metrics": _metrics,
    "figures": _figures,
    "questions": lambda: ((question.name, question.sentence) for question in questions()),
}


@app.command("app")
def browse(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Finished studies, side by side. Default: none.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"An encoder, or several; with DIR, where its encoder lies. Default: {BUNDLED}."),
    ] = None,
    whiten: Annotated[
        list[Path] | None, typer.Option(help="A file of `whiten`: embeddings are compared through this map, too.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")] = "auto",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of this machine. Default: the first free one from 7860.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Try one image of your own in the browser, and look at the images of a study. Ctrl-C ends it."""
    from embedshift.sources.demo import copy_photos

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("the page", "app")
    log_lines(quiet)
    from embedshift.app.measured import load_encoders
    from embedshift.app.page import make_page
    from embedshift.app.server import serving
    from embedshift.statistics.whitening import load_whitening

    readers = [embedshift.load(folder).reader() for folder in folders or ()]
    maps = {path: load_whitening(path) for path in whiten or ()}
    with tempfile.TemporaryDirectory() as scratch:
        photos = [] if readers else sorted(copy_photos(Path(scratch)).iterdir())
        encoders = load_encoders(readers, models or [], device, maps, photos)
    with serving(lambda: make_page(encoders, *readers[:1]), port) as (address, thread):
        say(address)
        if not no_browser:
            open_in_browser(address)
        while thread.is_alive():
            thread.join(0.5)


@app.command()
@with_options(AttackConfig, skip=("images",))
def attack(
    images: Images,
    out: Annotated[Path, output("Folder for the attacked images.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Search for the worst change of each image within a budget; write pairs for `run --pairs`."""
    from embedshift.cli.results import attack_and_print

    config = make_attack_config({"images": images, **given(settings)})
    log_lines(quiet)
    attack_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command()
@with_options(ViewsConfig, skip=("images",))
def views(
    images: Images,
    out: Annotated[Path, output("Folder for the files.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With restyle: measure one step, print time and memory; write nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Write the changed images as files, for `run --pairs DIR/views.json` and for other programs."""
    from embedshift.cli.results import estimate_and_print, write_and_print

    config = validated(ViewsConfig, {"images": images, **given(settings)})
    log_lines(quiet)
    if dry_run:
        return estimate_and_print(config, out, as_json=as_json)
    return write_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command()
@with_options(VectorsConfig, ColumnNames)
def vectors(
    places: Annotated[
        list[str],
        typer.Argument(metavar="TABLE.parquet | ORIGINALS.npy NAME=VARIANTS.npy...", help="Vectors that exist."),
    ],
    out: Annotated[Path, output("Folder for the study.")],
    no_report: Annotated[bool, typer.Option("--no-report", help="Write shards and tables, no report.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Make a study of vectors that exist: a table with image_id, view and vector, or arrays. It needs no encoder."""
    from embedshift.augmentations import ORIGINAL
    from embedshift.pipeline.vectors import vector_study
    from embedshift.sources import named_variants

    log_lines(quiet)
    named, columns = [(ORIGINAL, places[0]), *named_variants(places[1:]).items()], taken_columns(settings)
    study = vector_study(named, given(settings), out, groups=settings["groups"], columns=columns)
    measure(study, out, quiet=quiet, as_json=as_json, report=not no_report)


@app.command()
def compare(
    studies: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Finished studies; the first is the reference.")
    ],
    out: Annotated[Path | None, output("Folder for tables and figures. Default: none.")] = None,
    whiten: WhitenOption = None,
    shift_margin: ShiftMargin = None,
    recall_margin: RecallMargin = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare studies of the same images and views: encoders, precisions or checkpoints, paired by image."""
    from embedshift.cli.finished import compared_tolerances, comparison_tables, no_difference, ratio_tables
    from embedshift.cli.terminal import print_table
    from embedshift.study.whitening import whitened

    log_lines(quiet)
    given = studies if whiten is None else whitened(studies, whiten)
    margins = {"shift_margin": shift_margin, "recall_margin": recall_margin}
    comparison = embedshift.compare(given, out=out, groups=groups, **margins)
    if as_json:
        say(json.dumps(comparison.to_dicts()))
        return
    say_all(comparison.verdict.splitlines())
    tables = comparison_tables(comparison)
    tolerances = [] if comparison.tolerances.is_empty() else [compared_tolerances(comparison)]
    for table in (*ratio_tables(comparison), *tolerances, *tables):
        print_table(table)
    if not tables:
        say(no_difference(comparison))
    if whiten is not None:
        say("With and without the map, relative shifts are of two spaces: compare what a search finds.")
    elif comparison.is_upgrade:
        say(f"May new queries search the old index? embedshift upgrade {studies[0]} {studies[1]}")
    if out is not None:
        say(f"Written: {out}")


@app.command()
def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    gallery: Annotated[
        str, typer.Option(help="More images to search: another study, or a Parquet or npy file of embeddings.")
    ] = "",
    queries: Annotated[str, rare("Number of images whose views are queries, or all.")] = "2000",
    false_match_rate: Annotated[
        str, rare("False-match rates of the thresholds, with commas. Default: 0.01,0.001, if there are enough images.")
    ] = "",
    whiten: WhitenOption = None,
    threshold: Annotated[float | None, rare("List pairs from this cosine on as likely duplicates.")] = None,
    expected_false: Annotated[
        float | None, rare("List likely duplicates until so many of them are expected to be false. Default: 1.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Vectors of an image: one, tiles, tiles-mean, mirror-mean or mirror-query.")
    ] = "one",
    beside: Annotated[
        str, typer.Option(help="Compare every augmentation with this one, image by image: how many more are found.")
    ] = "",
    memory: Annotated[float | None, rare("Gigabytes for FAISS' index of a large gallery. Default: 4.")] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Test whether image search still finds the original of a changed image, and list likely duplicates."""
    from embedshift.cli.finished import beside_table
    from embedshift.cli.results import lines, no_threshold, recall_table, threshold_table
    from embedshift.cli.terminal import print_table
    from embedshift.statistics.duplicates import EXPECTED_FALSE
    from embedshift.study.whitening import WhitenedStudy

    log_lines(quiet)
    study = embedshift.load(folder) if whiten is None else WhitenedStudy(folder, whiten)
    study.regroup(groups)
    table = study.table(
        "search" if study.augmentations else "duplicates",
        queries=queries,
        false_match_rate=names(false_match_rate),
        gallery=gallery,
        threshold=threshold,
        expected_false=EXPECTED_FALSE if threshold is None and expected_false is None else expected_false,
        layout=layout,
        memory=memory,
    )
    pairs = beside_table(study, beside) if beside else None
    if as_json:
        tables = {name: study.table(name).to_dicts() for name in SEARCH_TABLES if name in study.table_names}
        head = {"study": str(folder)} if layout == "one" else {"study": str(folder), "layout": layout}
        return say(json.dumps(head | tables))
    if study.augmentations:
        print_table(recall_table(study, table), ("knn_overlap@10", "recall@5", "recall@10"))
    if pairs is not None:
        print_table(pairs)
    if len(study.table("thresholds")):
        print_table(threshold_table(study))
    else:
        say(no_threshold(study))
    return say_all(map(with_flags, lines(study)))


def _regrouped(folder: Path, groups: str | None, least: int) -> "Study":
    """Returns a finished study with other groups, where given, and refuses fewer images, or groups."""
    study = embedshift.load(folder)
    study.regroup(groups)
    study.reader().refuse_fewer(least)
    return study


@app.command()
def power(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study: the pilot.")],
    ratio: Annotated[float | None, typer.Option(help="How many times as far views move. Default: 1.1.")] = None,
    recall_loss: Annotated[float | None, typer.Option(help="How much of recall@1 is lost. Default: 0.01.")] = None,
    power: Annotated[float | None, typer.Option(help="With what probability it is found. Default: 0.8.")] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Plan from a pilot how many images a comparison needs: of augmentations, encoders, margins and tolerances."""
    from embedshift.cli.finished import power_table
    from embedshift.cli.terminal import print_table
    from embedshift.statistics.intervals import LEAST_IMAGES

    log_lines(quiet)
    study = _regrouped(folder, groups, LEAST_IMAGES)
    table = study.table("power", measured=True, ratio=ratio, recall_loss=recall_loss, power=power)
    if as_json:
        return say(json.dumps({"study": str(folder), "power": table.to_dicts()}))
    if table.is_empty():
        return say("Nothing can be planned from no comparison.")
    print_table(power_table(study, table))
    return say("Every row: `--json`. What each number means: `embedshift docs power`.")


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    features: Annotated[
        str | None, typer.Option(help="augmentations, groups (of dimensions), or map. Default: augmentations.")
    ] = None,
    between: Annotated[
        list[str] | None, typer.Option(metavar="A,B", help="Also A − B of two augmentations; repeat it.")
    ] = None,
    properties: Annotated[
        Path | None, typer.Option(help="More properties: a CSV or Parquet file with image_id.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="Words, one a line, or CSV or Parquet with image_id and word.")
    ] = None,
    namer: Annotated[str | None, typer.Option(help="Encoder with a text tower that finds the words' images.")] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say what directions stand for: properties, words and images, each beside random directions.

    Without options it repeats the last ones.
    """
    from embedshift.cli.finished import print_explained
    from embedshift.statistics.meaning import LEAST

    log_lines(quiet)
    study = _regrouped(folder, groups, LEAST)
    given: Any = None if words is None else str(words)
    if namer is not None:
        given = embedshift.name_images(study, namer, given)
    files = {"properties": None if properties is None else str(properties), "words": given}
    table = study.table("meaning", measured=True, features=features, between=between or None, **files)
    print_explained(study, table, as_json)


@app.command()
def codes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    codes: Annotated[
        str | None, typer.Option(help="Codes with commas between them. Default: those without FAISS.")
    ] = None,
    gallery: Annotated[Path | None, typer.Option(help="More vectors to search among: a study or a file.")] = None,
    recall_margin: Annotated[
        float | None, typer.Option(help="Recommend a code only if it loses less of recall@1. Default: 0.01.")
    ] = None,
    out: Annotated[Path | None, output("Write ranges and mean, which a store needs, to this JSON file.")] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say what a store may keep of the vectors - int8, signs, fewer numbers - if queries are changed images."""
    from embedshift.cli.finished import print_codes
    from embedshift.statistics.coded_search import LEAST

    log_lines(quiet)
    study = _regrouped(folder, groups, LEAST)
    place = None if gallery is None else str(gallery)
    table = study.table("codes", measured=True, codes=codes, gallery=place, recall_margin=recall_margin)
    print_codes(study, table, out, recall_margin, as_json)


@app.command()
@with_options(ColumnNames)
def drift(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="A finished study: the reference.")],
    batches: Annotated[
        list[Path], typer.Argument(metavar="BATCH...", help="Parquet or npy files of vectors, or finished studies.")
    ],
    images: Annotated[
        bool, typer.Option("--images", help="They are folders of images, which the study's encoder measures.")
    ] = False,
    every: Annotated[
        str | None, typer.Option(help="Cut by the column time: day, week; or after N vectors. Default: day.")
    ] = None,
    out: Annotated[Path | None, output("Folder for the page, tables and the figure.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Exit with code 3 if a batch moved further than this relative shift, or is too small to say."
        ),
    ] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Say what happened to batches of other images, from their vectors: which change, to which fraction of them."""
    from embedshift.cli.finished import print_drift
    from embedshift.study.drift import check_tolerance

    log_lines(quiet)
    if tolerance is not None:  # before images are measured
        check_tolerance(tolerance)
    study = embedshift.load(folder).with_groups(groups)
    with tempfile.TemporaryDirectory() as place:
        given = [measure_originals(study.info(), each, Path(place)) for each in batches] if images else batches
        found = study.drift(*given, every=every, columns=taken_columns(settings))
    written = [] if out is None else found.save(out)[-1:]
    beyond = () if tolerance is None else found.beyond(tolerance)
    print_drift(found, beyond, [str(file) for file in written], as_json)
    if beyond or (tolerance is not None and found.not_judged):
        raise typer.Exit(BROKEN)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    rules: Annotated[Path, typer.Option(help="YAML file with the rules.")] = Path("rules.yaml"),
    against: Annotated[Path | None, typer.Option(help="Reference study of the same images and views.")] = None,
    shift_margin: ShiftMargin = None,
    recall_margin: RecallMargin = None,
    groups: GroupOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 also if a rule is undecided.")] = False,
    allow_worse: Annotated[
        bool, typer.Option("--allow-worse", help="Let a rule pass that is worse, not broken.")
    ] = False,
    as_json: AsJson = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a pull request summary to this file.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Propose rules from this study; check nothing.")] = False,
) -> None:
    """Check a study against rules; exit with code 3 if one is broken or worse. A gate for continuous integration."""
    from embedshift.cli.finished import print_checked, say_rules
    from embedshift.store.naming import tails
    from embedshift.study.gate import propose
    from embedshift.study.gate.result import to_junit, to_markdown
    from embedshift.study.head import head

    log_lines()
    has_margin = shift_margin is not None or recall_margin is not None
    if init:
        if any((against, strict, allow_worse, as_json, junit, markdown, has_margin)):
            raise UsageError("--init writes rules and checks nothing: use it alone or with --rules only")
        return say_rules(propose(folder, rules, groups))
    if not rules.exists() and not (has_margin and rules == Path("rules.yaml")):
        raise UsageError(f"{rules}: no such file; `embedshift check {folder} --init` writes rules to start with")
    margins = {"shift_margin": shift_margin, "recall_margin": recall_margin}
    given: Path | list[Any] = rules if rules.exists() else []
    checked = embedshift.check(folder, given, against, groups=groups, allow_worse=allow_worse, **margins)
    print_checked(checked, strict=strict, as_json=as_json)
    if junit is not None:
        write_text(junit, to_junit(checked, strict=strict))
    if markdown is not None:
        paths = [path.resolve() for path in (against, folder) if path is not None]
        studies = {name: embedshift.load(path) for name, path in zip(tails(paths), paths, strict=True)}
        write_text(markdown, to_markdown(checked, strict=strict, head=head(studies)))
    if not checked.passes(strict=strict):
        raise typer.Exit(BROKEN)
    return None


@app.command()
def whiten(
    studies: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Finished studies of one encoder that store embeddings.")
    ],
    out: Annotated[Path, output("File for the map: MAP.npz.")],
    onnx: OnnxOption = None,
    choice: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Write this map: centred, originals or shifts. Default: the recommended one, if there is one.",
            rich_help_panel=RARE,
        ),
    ] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fit a linear map that makes embeddings less sensitive to changes; show what a search finds with it."""
    from embedshift.cli.finished import whiten_and_print

    log_lines(quiet)
    whiten_and_print(studies, out, onnx, choice, groups, as_json)


@app.command()
@with_options(ColumnNames)
def upgrade(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A finished study of the old encoder, or a Parquet file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same of the new one: the same images and changes.")],
    out: Annotated[Path | None, output("File for the map: MAP.npz.")] = None,
    onnx: OnnxOption = None,
    page: Annotated[Path | None, output("Folder for the page, tables and the learning curve.")] = None,
    threshold: Annotated[float | None, typer.Option(help="The cosine from which on the old index matches.")] = None,
    false_match_rate: Annotated[
        float | None, typer.Option(help="Or the part of pairs of other images that may match. Default: 0.001.")
    ] = None,
    recall_margin: Annotated[
        float | None, typer.Option(help="How much of recall@1 may be lost under any change. Default: 0.01.")
    ] = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Say whether queries of a new encoder may search the index of an old one: as they are, through a map, or not."""
    from embedshift.cli.finished import print_upgrade

    log_lines(quiet)
    cut: Json = {"threshold": threshold, "false_match_rate": false_match_rate, "recall_margin": recall_margin}
    found = embedshift.upgrade(old, new, out=out, onnx=onnx, groups=groups, columns=taken_columns(settings), **cut)
    written = [*([] if page is None else found.save(page)[-1:]), *(file for file in (out, onnx) if file is not None)]
    print_upgrade(found, [str(file) for file in written], as_json)


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    out: Annotated[Path | None, typer.Option(help="A file to write. Default: print it.")] = None,
) -> None:
    """Write a Markdown section for a model card: what was measured, the table of relative shifts, limits, citation."""
    log_lines()
    text = embedshift.load(folder).card()
    if out is None:
        return print(printable(text, keep="\n"), end="")
    write_text(out, text)
    return say(f"Written: {out}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Verify the checksums of all files of a study; exit with code 1 if one is damaged, or the study is unfinished."""
    from embedshift.cli.finished import print_verified

    log_lines(quiet)
    print_verified(folder, as_json)


@app.command()
def docs(
    page: Annotated[str, typer.Argument(metavar="[PAGE]", help="Name of a page. Default: list all pages.")] = "",
    is_opened: Annotated[bool, typer.Option("--open", help="Open its file in another program.")] = False,
) -> None:
    """Print a page of the documentation, or list the pages."""
    folder = FOLDERS[not FOLDERS[0].is_dir()]
    files = {file.stem: file for file in sorted([*folder.glob("*.md"), folder / "reference" / "tables.md"])}
    name = page.removesuffix(".md").rpartition("/")[2]
    if page:
        one_of("page", name, list(files))
        typer.echo(re.sub(r"^<!-- .*? -->\n", "", files[name].read_text("utf-8"), flags=re.MULTILINE), nl=False)
    else:
        for title, file in files.items():
            typer.echo(f"{title:16}{file.read_text('utf-8').partition(chr(10))[0].lstrip('# ')}")
    typer.echo(f"\nFile: {files.get(name, folder)}", err=True)
    if is_opened:
        typer.launch(str(files.get(name, folder)))
