"""The settings of `embedshift vectors`."""

from dataclasses import dataclass

from embedshift.config import VECTORS, AtLeast1, Store, setting_of_study
from embedshift.registry import setting


@dataclass(frozen=True, kw_only=True)
class VectorsConfig:
    """All settings of a study of vectors, under the names of `embedshift.from_vectors` and the command line."""

    ids: str | None = setting(None, "File of the ids of the images, one per line, for the rows of npy files.")
    views: str | None = setting(None, "views.json of `embedshift views`: checks ids, adds families and levels.")
    images: str | None = setting(None, "Where the images are, to show them: as for `run`.")
    model: str = setting(VECTORS, "Name of the encoder: studies with one name count as studies of one encoder.")
    store: Store = setting_of_study("store")
    groups: str | None = setting_of_study("groups")
    seed: int = setting_of_study("seed", "Seed of the order of the images and of all draws.")
    shard_size: AtLeast1 = setting_of_study("shard_size")
