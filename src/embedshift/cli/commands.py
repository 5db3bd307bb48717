"""All commands except `run`, `report`, `demo` and `list`: attack, and those for finished studies."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import embedshift
from embedshift.cli.app import AsJson, GroupOption, Images, Quiet, app, log_lines, measure
from embedshift.cli.options import RARE, given, names, output, rare, with_flags, with_options
from embedshift.cli.words import printable, say
from embedshift.config.commands import AttackConfig, VectorsConfig, ViewsConfig
from embedshift.errors import UsageError

# The question's tables that `--json` contains.
SEARCH_TABLES = ("search", "thresholds", "matches", "gallery_sizes", "duplicates")
WhitenOption = Annotated[
    Path | None,
    typer.Option(help="Map embeddings by this file of `whiten`; in a comparison, of the studies after the first."),
]


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
    from embedshift.cli.views_file import attack_and_print
    from embedshift.config.commands import make_attack_config

    config = make_attack_config({"images": images, **given(settings)})
    log_lines(quiet)
    attack_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command()
@with_options(ViewsConfig, skip=("images",))
def views(
    images: Images,
    out: Annotated[Path, output("Folder for the files.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Write the changed images as files, for `run --pairs DIR/views.json` and for other programs."""
    from embedshift.cli.views_file import write_and_print
    from embedshift.config import validated
    from embedshift.config.commands import ViewsConfig

    config = validated(ViewsConfig, {"images": images, **given(settings)})
    log_lines(quiet)
    write_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command()
@with_options(VectorsConfig)
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
    named = [(ORIGINAL, places[0]), *named_variants(places[1:]).items()]
    study = vector_study(named, given(settings), out, groups=settings["groups"])
    measure(study, out, quiet=quiet, as_json=as_json, report=not no_report)


@app.command()
def compare(
    studies: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Finished studies; the first is the reference.")
    ],
    out: Annotated[Path | None, output("Folder for tables and figures. Default: none.")] = None,
    whiten: WhitenOption = None,
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare studies of the same images and views: encoders, precisions or checkpoints, paired by image."""
    from embedshift.cli.comparison import compared_tolerances, comparison_tables, no_difference, ratio_tables
    from embedshift.cli.terminal import fits, print_table
    from embedshift.study.whitening import whitened

    log_lines(quiet)
    given = studies if whiten is None else whitened(studies, whiten)
    comparison = embedshift.compare(given, out=out, groups=groups)
    if as_json:
        say(json.dumps(comparison.to_dicts()))
        return
    for sentence in comparison.verdict.splitlines():
        say(sentence)
    tables = comparison_tables(comparison, fits)
    tolerances = [] if comparison.tolerances.is_empty() else [compared_tolerances(comparison)]
    for table in (*ratio_tables(comparison, fits), *tolerances, *tables):
        print_table(table)
    if not tables:
        say(no_difference(comparison))
    if whiten is not None:
        say("With and without the map, relative shifts are of two spaces: compare what a search finds.")
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
    groups: GroupOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Test whether image search still finds the original of a changed image, and list likely duplicates."""
    from embedshift.cli.search import lines, no_threshold, recall_table, threshold_table
    from embedshift.cli.terminal import print_table
    from embedshift.statistics.duplicates import EXPECTED_FALSE
    from embedshift.study import load
    from embedshift.study.whitening import WhitenedStudy

    log_lines(quiet)
    study = load(folder) if whiten is None else WhitenedStudy(folder, whiten)
    study.regroup(groups)
    table = study.table(
        "search" if study.augmentations else "duplicates",
        queries=queries,
        false_match_rate=names(false_match_rate),
        gallery=gallery,
        threshold=threshold,
        expected_false=EXPECTED_FALSE if threshold is None and expected_false is None else expected_false,
    )
    if as_json:
        tables = {name: study.table(name).to_dicts() for name in SEARCH_TABLES if name in study.table_names}
        say(json.dumps({"study": str(folder)} | tables))
        return
    if study.augmentations:
        print_table(recall_table(study, table), ("knn_overlap@10", "recall@5", "recall@10"))
    if len(study.table("thresholds")):
        print_table(threshold_table(study))
    else:
        say(no_threshold(study))
    for line in lines(study):
        say(with_flags(line, app))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    rules: Annotated[Path, typer.Option(help="YAML file with the rules.")] = Path("rules.yaml"),
    against: Annotated[Path | None, typer.Option(help="Reference study of the same images and views.")] = None,
    groups: GroupOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 also if a rule is undecided.")] = False,
    as_json: AsJson = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a pull request summary to this file.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Propose rules from this study; check nothing.")] = False,
) -> None:
    """Check a study against rules; exit with code 3 if one is broken. A gate for continuous integration."""
    from embedshift.cli.check import gate, say_rules
    from embedshift.study.gate import propose

    log_lines()
    if not init:
        return gate(folder, rules, against, groups, strict, as_json, junit, markdown)
    if against or strict or as_json or junit or markdown:
        raise UsageError("--init writes rules and checks nothing: use it alone or with --rules only")
    return say_rules(propose(folder, rules, groups))


@app.command()
def whiten(
    studies: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Finished studies of one encoder that store embeddings.")
    ],
    out: Annotated[Path, output("File for the map: MAP.npz.")],
    onnx: Annotated[Path | None, typer.Option(help="Write the map as an ONNX graph, too.")] = None,
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
    from embedshift.cli.whiten import whiten_and_print

    log_lines(quiet)
    whiten_and_print(studies, out, onnx, choice, groups, as_json)


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    out: Annotated[Path | None, typer.Option(help="A file to write. Default: print it.")] = None,
) -> None:
    """Write a Markdown section for a model card: what was measured, the table of relative shifts, limits, citation."""
    from embedshift.cli.written import write_text
    from embedshift.study import load

    log_lines()
    text = load(folder).card()
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
    from embedshift.cli.verify import print_verified

    log_lines(quiet)
    print_verified(folder, as_json)
