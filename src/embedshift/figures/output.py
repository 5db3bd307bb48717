"""A study → its figures: as objects, and as files."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from embedshift.clusters import DEFAULT_TREE, Tree
from embedshift.errors import EmbedshiftError
from embedshift.figures import style
from embedshift.figures.base import FIGURES, FigureInput, PaperFigure
from embedshift.figures.pictures import ROWS
from embedshift.gallery import GalleryImage, load_images, sample_ids
from embedshift.results import Study
from embedshift.shards import write_whole

log = logging.getLogger(__name__)

FORMATS = ("png", "svg", "pdf")
DPI = 200
Images = int | Sequence[str] | None


def figure_input(study: Study, tree: Tree = DEFAULT_TREE, gallery: Sequence[GalleryImage] = ()) -> FigureInput:
    """What figures are drawn from.

    Args:
        study: A finished study.
        tree: How augmentations are clustered.
        gallery: Images for the figures that show pictures.
    """
    info = study.info()
    return FigureInput(
        summary=study.summary(),
        ranking=study.ranking(),
        pairwise=study.pairwise(include_original=tree.include_original),
        clusters=study.clusters(tree),
        distances=study.distances(tree),
        tree=tree,
        rows=study.rows(),
        augmentations=study.augmentations,
        encoder=f"{info['encoder']['name']} ({info['encoder']['precision']})",
        images=info["counts"]["measured"],
        seed=info["config"]["seed"],
        gallery=tuple(gallery),
        draws=info["config"]["draws"],
        layers=study.layers() if study.has_layers else None,
        words=study.words() if study.phrases else None,
        word_test=study.word_test() if study.phrases else None,
    )


def draw(study: Study, name: str, *, tree: Tree = DEFAULT_TREE, images: Images = None) -> Figure:
    """One figure of a study.

    Args:
        study: A finished study.
        name: One of `FIGURES`.
        tree: How augmentations are clustered.
        images: For figures that show pictures: ids, or how many to draw by the study's seed; at most 8.

    Raises:
        EmbedshiftError: for an unknown name, an image that is not in the study, or pictures whose sources are gone.
    """
    paper = FIGURES[name]
    return paper.draw(figure_input(study, tree, _pictures(study, paper, images)))


def save_figures(
    study: Study,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    *,
    tree: Tree = DEFAULT_TREE,
    images: Images = None,
    pictures: bool = True,
) -> list[Path]:
    """Saves figures in the study's folder `figures/`, as fig04d_dendrogram.png and so on.

    Figures that show pictures take 8 images a page: fig01_attention.png, fig01_attention_p2.png. A figure that cannot
    be drawn (its source images are gone, the encoder gives no attention) is left out, and the log says why.

    Args:
        study: A finished study.
        names: Some of `FIGURES`; None = all.
        formats: "png" (200 dpi), "svg", "pdf".
        tree: How augmentations are clustered.
        images: For figures that show pictures: ids, or how many to draw by the study's seed.
        pictures: Whether figures that show pictures are saved at all.

    Returns:
        The files written.
    """
    check_formats(formats)
    data = figure_input(study, tree)
    return [
        save(figure, study.folder / "figures" / f"{stem}.{ending}")
        for _, stem, figure in iter_figures(study, data, names, images=images, pictures=pictures)
        for ending in formats
    ]


def check_formats(formats: Sequence[str]) -> None:
    """Raises EmbedshiftError (exit code 2) for a format that figures cannot be saved in."""
    for unknown in [name for name in formats if name not in FORMATS]:
        raise EmbedshiftError(f"unknown figure format {unknown!r}; known: {', '.join(FORMATS)}", exit_code=2)


def iter_figures(
    study: Study,
    data: FigureInput,
    names: Sequence[str] | None = None,
    *,
    images: Images = None,
    pictures: bool = True,
) -> Iterator[tuple[PaperFigure, str, Figure]]:
    """Figures in the order of the paper, page by page, each with its file's name without the ending.

    Args:
        study: For the pictures.
        data: As `figure_input`.
        names: Some of `FIGURES`; None = all.
        images: For figures that show pictures: ids, or how many to draw by the study's seed.
        pictures: Whether figures that show pictures are drawn; if not, those of an earlier call are removed.

    Raises:
        EmbedshiftError: for an unknown name or image; what cannot be drawn is left out with a line in the log.
    """
    wanted = [FIGURES[name] for name in (FIGURES if names is None else names)]
    for paper in sorted(wanted, key=lambda each: each.number):
        if names is None and not paper.is_possible(data):
            continue
        if paper.shows_pictures and not pictures:
            for old in (study.folder / "figures").glob(f"{paper.stem}*"):
                old.unlink()
            continue
        try:
            for page, figure in enumerate(_pages(study, paper, data, images), start=1):
                yield paper, paper.stem if page == 1 else f"{paper.stem}_p{page}", figure
        except EmbedshiftError as error:
            if error.exit_code == 2:  # asked for something that does not exist
                raise
            log.warning("figure '%s' is left out: %s", paper.name, error)


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure by the ending of `path`; the same figure gives the same bytes."""
    path.parent.mkdir(exist_ok=True)
    ending = path.suffix.removeprefix(".")
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
    with style.context():
        write_whole(path, lambda hidden: figure.savefig(hidden, format=ending, dpi=DPI, metadata=dated))
    return path


def _pages(study: Study, paper: PaperFigure, data: FigureInput, images: Images) -> Iterator[Figure]:
    if not paper.shows_pictures:
        yield paper.draw(data)
        return
    gallery = _pictures(study, paper, images)
    for old in (study.folder / "figures").glob(f"{paper.stem}_p*"):
        old.unlink()
    for start in range(0, max(1, len(gallery)), ROWS):
        yield paper.draw(dataclasses.replace(data, gallery=gallery[start : start + ROWS]))


def _pictures(study: Study, paper: PaperFigure, images: Images) -> tuple[GalleryImage, ...]:
    if not paper.shows_pictures:
        return ()
    chosen = paper.pictures if images is None else images
    if isinstance(chosen, int):
        chosen = sample_ids(study, chosen, with_attention=paper.of_attention)
    found, missing = load_images(study, chosen)
    if paper.of_attention and not study.has_vectors and study.info()["encoder"]["grid"]:
        missing |= {i.image_id: "its attention is not stored (--store metrics)" for i in found if not i.attention}
        found = [image for image in found if image.attention]
    for image, why in missing.items():
        log.warning("figure '%s' does without %s: %s", paper.name, image, why)
    return tuple(found)
