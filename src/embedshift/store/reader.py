"""`Reader`: a study on disk, for all steps after the shards. It imports no torch."""

import dataclasses
import functools
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import METRICS, REPLACED, Question, questions
from embedshift.sources import Roots, moved, own_places
from embedshift.statistics import vectors
from embedshift.statistics.clusters import compares_all
from embedshift.statistics.index import SearchIndex
from embedshift.statistics.layout import ImageRows, Layout, blocks, layout, scan
from embedshift.statistics.strengths import MeasuredFamily, families_of
from embedshift.store.forked import refuse_fork
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.groups import NONE, Groups, stored_groups
from embedshift.store.info import FILE, StudyInfo, is_same_encoder
from embedshift.store.listing import Listing, measured_checksum
from embedshift.store.naming import ImageNaming
from embedshift.store.shards import ShardFile, ShardRecord, failures_table
from embedshift.store.table import alteration, is_figure_or_report, read_table, table_path, tables_of

log = logging.getLogger(__name__)

C = TypeVar("C")

DISTANCES = {"cosine_similarity": vectors.cosine, "l2_distance": vectors.distance}


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows whose embeddings, and distances between views and originals, are those after the map of an index."""

    raw: pl.LazyFrame
    index: SearchIndex

    @functools.cached_property
    def distances(self) -> dict[str, Values]:
        order, parts = layout(self.raw), list[dict[str, Values]]()
        original = order.views.index(ORIGINAL)
        for block in blocks(self.raw.select("embedding"), len(order.views)):
            mapped = self.index.mapped(block["embedding"].to_numpy())
            mapped = mapped.reshape(-1, len(order.views), self.index.dim_kept)
            part = {name: distance(mapped, mapped[:, [original]]) for name, distance in DISTANCES.items()}
            for values in part.values():
                values[:, original] = np.nan
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts]).ravel() for name in DISTANCES}

    def rows(self) -> pl.LazyFrame:
        kind = pl.Array(pl.Float32, self.index.dim_kept)

        def mapped(column: pl.Series) -> pl.Series:
            return pl.Series(column.name, self.index.mapped(column.to_numpy()), dtype=kind)

        def measured(name: str, places: pl.Series) -> pl.Series:
            return pl.Series(name, self.distances[name][places.to_numpy()]).fill_nan(None)

        columns = [pl.col("embedding").map_batches(mapped, return_dtype=kind, is_elementwise=True)]
        columns += [
            pl.col("place")
            .map_batches(functools.partial(measured, name), return_dtype=pl.Float64, is_elementwise=True)
            .alias(name)
            for name in DISTANCES
        ]
        return self.raw.with_row_index("place").with_columns(columns).drop("place")


def mapped_sums(
    name: str, sums: Mapping[str, Values], originals: pl.LazyFrame, index: SearchIndex
) -> dict[str, Values]:
    """Returns a shard's sums, with those for baselines of distances after the map."""
    if name == "vectors":
        return {"vectors": index.mapped(sums["vectors"]).astype(np.float64)}
    if name == "normalised" and len(sums["images"]):
        mapped = index.mapped(originals.select("embedding").collect()["embedding"].to_numpy()).astype(np.float64)
        starts = np.cumsum(sums["images"]).astype(np.intp) - sums["images"].astype(np.intp)
        return {**sums, "normalised": np.add.reduceat(mapped, starts, axis=0)}
    return dict(sums)


@dataclass(frozen=True, eq=False)
class Reader:
    """The results of a run, read from its folder: rows, sums and tables, with the choices of a reader."""

    folder: Path
    choices: Sequence[Any] = ()
    made: Mapping[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    pictures: bool = True
    images_root: Path | None = None
    # Its map is applied to embeddings.
    index: SearchIndex | None = None
    # Replaces the groups in the folder; `NONE` = images are independent.
    grouped: Groups | None = None
    # Listing of another reader of the folder, so that no shard is opened twice; None = a new one.
    listing: Listing = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        refuse_fork()
        if not self.listing:
            object.__setattr__(self, "listing", Listing(self.folder))

    def now(self) -> "Reader":
        """Returns a reader of the folder now, possibly written by another process; itself if nothing changed."""
        listing = self.listing.now()
        return self if listing is self.listing else dataclasses.replace(self, listing=listing)

    def exists(self) -> bool:
        return (self.folder / FILE).is_file()

    def is_complete(self) -> bool:
        if not self.exists() or not self.info.complete:
            return False
        return all(table_path(self.folder, name).is_file() for name in self.table_names)

    def is_reported(self) -> bool:
        files = {name for name in self.info.files if is_figure_or_report(name) and (self.folder / name).exists()}
        return "report.html" in files and not any(self.altered(name) for name in files)

    @functools.cached_property
    def info(self) -> StudyInfo:
        info = self.listing.info
        if self.grouped is None:
            return info
        return info.model_copy(update={"groups": None if self.grouped.chosen == NONE else self.grouped.record})

    @functools.cached_property
    def naming(self) -> ImageNaming:
        return ImageNaming(self.info.source, self.pictures)

    @functools.cached_property
    def source(self) -> Mapping[str, Any]:
        return self.info.source if self.images_root is None else moved(self.info.source, self.images_root)

    @functools.cached_property
    def roots(self) -> Roots:
        return Roots.allowed(*([] if self.images_root is None else [self.images_root]))

    @functools.cached_property
    def unseen(self) -> str:
        """Why its images may not be read, in one line; "" = they may."""
        if self.source["kind"] == "vectors" and "root" not in self.source:
            return "made without images: the vectors do not say where these are"
        try:
            for location in own_places(self.source):
                self.roots.check(location)
        except EmbedshiftError:
            return "made without images: this user has not run embedshift on the image folders named in this study"
        return ""

    def unfinished(self) -> UsageError:
        return UsageError(f"{self.folder}: not finished; let its run end, or run the same command again first")

    def refuse_unfinished(self) -> None:
        if not self.info.complete:
            raise self.unfinished()

    def refuse_without_changes(self) -> None:
        if not self.augmentations:
            raise UsageError(f"{self.folder}: has no changes to name; run it with `augmentations` everyday")

    def refuse_another_encoder(self, other: "Reader", instead: str) -> None:
        """Refuses a study of another encoder; `instead` says what to give."""
        if not is_same_encoder(self.info, other.info):
            raise UsageError(f"{other.folder}: of another encoder, {other.info.encoder.name}; {instead}")

    def refuse_without_vectors(self) -> None:
        if not self.info.has_vectors:
            raise UsageError(f"{self.folder}: stores no embeddings; run it with `store` all")

    def refuse_foreign(self, index: SearchIndex, path: str | Path) -> None:
        """Refuses an index that was fitted to the embeddings of another encoder; `path` names its file."""
        own = self.info.encoder
        if (own.dim, own.weights_hash, own.embedding or "") != (index.dim, index.encoder, index.embedding):
            raise UsageError(f"{path}: fitted to embeddings of another encoder than {self.folder} has")

    def refuse_fewer(self, least: int) -> None:
        if (images := self.info.group_count) < least:
            unit = "groups of images" if self.info.groups else "images"
            raise UsageError(f"{self.folder}: has {images} of the {least} {unit} that this needs; measure more")

    @property
    def shows_images(self) -> bool:
        """Whether figures and reports show images: allowed, and in a known place."""
        return self.pictures and not self.unseen

    @property
    def augmentations(self) -> list[str]:
        return list(self.info.augmentations)

    @functools.cached_property
    def families(self) -> tuple[MeasuredFamily, ...]:
        return families_of(self.info.identity["augmentations"])

    @functools.cached_property
    def family_of(self) -> dict[str, str]:
        """Augmentation → its family, or itself."""
        families = {view: family.name for family in self.families for view in family.views}
        return {name: families.get(name, name) for name in self.augmentations}

    @property
    def metrics(self) -> list[str]:
        names = [name for name in self.info.metrics if name in METRICS]
        # Text is compared with embeddings before the map.
        return names if self.index is None else [name for name in names if METRICS[name].needs != "text"]

    @property
    def dim(self) -> int:
        """Number of dimensions of its embeddings."""
        return self.info.encoder.dim if self.index is None else self.index.dim_kept

    @property
    def weights(self) -> str:
        return self.info.encoder.weights_hash + ("" if self.index is None else ", mapped")

    @functools.cached_property
    def questions(self) -> list[Question]:
        """The study's questions, in order; ones that are not installed are logged and omitted."""
        installed = {question.name: question for question in questions()}
        for name in self.info.questions:
            if name not in installed and name not in REPLACED:
                log.warning("the question %r is not installed here: its tables, figures and metrics are left out", name)
        return [installed[name] for name in self.info.questions if name in installed]

    def identity_of(self, question: str) -> Mapping[str, Any]:
        return self.info.questions.get(question, {})

    def choice(self, kind: type[C]) -> C:
        return next((choice for choice in self.choices if isinstance(choice, kind)), None) or kind()

    @property
    def compares_all(self) -> bool:
        """Whether tables, trees and figures of all pairs of augmentations are made; if not, it logs this once."""
        return compares_all(self.augmentations)

    @functools.cached_property
    def table_names(self) -> tuple[str, ...]:
        core = ("summary", "ranking", "differences") if self.compares_all else ("summary", "ranking")
        return (*core, *(table.name for table in tables_of(self.questions) if table.is_available(self)))

    def altered(self, file: str) -> str:
        """Returns why a table, figure or report does not belong to this study's shards; "" = it does."""
        # Tables of a finished study cover all its shards; those of an unfinished one may cover fewer.
        if file.startswith("tables/") and not self.info.complete and self.info.rows != self.measured_checksum():
            return "made from other shards"
        return alteration(self.folder, file, self.info)

    def kept_settings(self, name: str) -> Mapping[str, str]:
        if self.index is not None or name not in self.info.tables or self.altered(f"tables/{name}.parquet"):
            return {}
        return self.info.tables[name].settings

    def table(self, name: str) -> pl.DataFrame | None:
        """Returns a table by its name, None if missing; UsageError if its file is altered."""
        if name in self.made:
            return self.made[name]
        path = table_path(self.folder, name)
        if name not in self.table_names or not path.is_file():
            return None
        if problem := self.altered(f"tables/{name}.parquet"):
            raise UsageError(f"{path}: {problem}; make the report again")
        return read_table(self.folder, name, self.info, self.image_ids)

    def need(self, name: str) -> pl.DataFrame:
        table = self.table(name)
        if table is None:
            makes = "`embedshift report` makes those that it has" if self.info.complete else "run it again to its end"
            raise UsageError(f"{self.folder}: the study has no table {name!r}; {makes}")
        return table

    def altered_tables(self) -> list[str]:
        files = {f"tables/{name}.parquet" for name in self.table_names}
        files |= {f"tables/{name}.csv" for name in self.table_names} & {*self.info.files}
        return sorted(name for name in files if not (self.folder / name).is_file() or self.altered(name))

    def rows(self) -> pl.LazyFrame:
        """All rows as a lazy frame: one row per image, view and draw, in the order of the shards."""
        if self._mapped_rows is not None:
            return self._mapped_rows.rows()
        return scan([part.path for part in self._measured])

    @functools.cached_property
    def _mapped_rows(self) -> MappedRows | None:
        if self.index is None:
            return None
        return MappedRows(scan([part.path for part in self._measured]), self.index)

    @functools.cached_property
    def image_rows(self) -> ImageRows:
        images = sum(part.record.images for part in self._measured)
        per_image = 1 + len(self.augmentations) * self.info.draws
        views = self.rows().select("view").head(per_image).collect()["view"]
        return ImageRows(self.rows(), Layout(images, tuple(views)), self.groups)

    @functools.cached_property
    def groups(self) -> GroupNumbers | None:
        """The group number of each image, in the order of the rows; None if images are independent."""
        if self.info.groups is None:
            return None
        kept = self.info.files.get(GROUPS, "")
        groups = stored_groups(self.folder, kept) if self.grouped is None else self.grouped.numbers
        if len(groups) != sum(record.images for record in self.records):
            raise UsageError(f"{self.folder}: its groups are of other images; choose `groups` again")
        return groups

    def groups_of(self, image_ids: Sequence[str]) -> GroupNumbers | None:
        """Returns the group numbers of some images; None if images are independent."""
        if self.groups is None:
            return None
        positions = {image_id: position for position, image_id in enumerate(self.ordered_ids())}
        return self.groups[[positions[image_id] for image_id in image_ids]]

    def first_groups(self, count: int) -> GroupNumbers | None:
        return None if self.groups is None else self.groups[:count]

    def ordered_ids(self) -> list[str]:
        return self.rows().filter(pl.col("view") == ORIGINAL).select("image_id").collect()["image_id"].to_list()

    @property
    def parts(self) -> list[ShardFile]:
        return self.listing.parts

    @property
    def _measured(self) -> list[ShardFile]:
        if not self.parts:
            raise UsageError(f"{self.folder}: no image is measured yet; run the study first")
        return self.parts

    def measured_checksum(self) -> str:
        """Checksum over all rows and sums; two runs of one study have the same."""
        return measured_checksum(self.parts)

    @functools.cached_property
    def records(self) -> list[ShardRecord]:
        return [part.record for part in self.parts]

    def shard_sums(self, name: str) -> Iterator[dict[str, Values]]:
        return (sums for _, sums in self.placed_sums(name))

    def placed_sums(self, name: str) -> Iterator[tuple[int, dict[str, Values]]]:
        start = 0
        for part in self.parts:
            if sums := part.read_sums(name):
                if self.index is not None:
                    originals = scan([part.path]).filter(pl.col("view") == ORIGINAL)
                    sums = mapped_sums(name, sums, originals, self.index)
                yield start, sums
            start += part.record.images

    def sums(self, name: str) -> dict[str, Values]:
        """Returns the sums of all shards together; empty if there are none."""
        total: dict[str, Values] = {}
        for part in self.shard_sums(name):
            total |= {key: array + total[key] if key in total else array for key, array in part.items()}
        return total

    def image_ids(self, *, with_attention: bool = False) -> set[str]:
        if not self.parts:
            return set()
        rows = self.rows().filter(pl.col("attention").is_not_null()) if with_attention else self.rows()
        return set(rows.select(pl.col("image_id").unique()).collect()["image_id"])

    def sample_ids(self, count: int, *, with_attention: bool = False) -> list[str]:
        with_maps = self.image_ids(with_attention=True) if with_attention and not self.info.has_vectors else set()
        return draw_ids(with_maps or self.image_ids(), count, self.info.seed)

    def failures(self) -> pl.DataFrame:
        return pl.DataFrame(failures_table(self.records))


def draw_ids(image_ids: Iterable[str], count: int, seed: int) -> list[str]:
    ids = sorted(image_ids)
    return sorted(random.Random(seed).sample(ids, min(count, len(ids))))
