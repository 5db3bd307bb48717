"""Counts exact copies among a study's images: each counts as a separate image, which makes intervals too narrow."""

import polars as pl

from embedshift.store.reader import Reader


def copies(reader: Reader) -> int:
    """Returns how many measured images repeat another image's pixels: images minus different pixels."""
    # Eight bytes stand for a hash of 32 characters; among a million images two relative shift them with a chance of 3e-8.
    pixels = reader.rows().filter(pl.col("pixels").is_not_null()).select(pl.col("pixels").hash(seed=0).alias("pixels"))
    counted = pixels.select(images=pl.len(), different=pl.col("pixels").n_unique()).collect(engine="streaming")
    return int(counted["images"][0]) - int(counted["different"][0])


def copies_line(count: int) -> str:
    """Describes what copies mean for the numbers."""
    images = "1 image repeats" if count == 1 else f"{count:,} images repeat"
    return f"{images} the pixels of another; intervals treat all of them as independent images and are too narrow"
