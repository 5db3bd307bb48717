"""Where images come from. A source lists its samples, reads the bytes of one, and splits into shards."""

from embedshift.sources.base import Sample, Shard, Source, split
from embedshift.sources.folder import FolderSource

__all__ = ["FolderSource", "Sample", "Shard", "Source", "split"]
