"""The augmentations that serve as a scale for an attack, and the column of cosines to the original under them."""

SUITE, NATURAL = "paper", "natural"
