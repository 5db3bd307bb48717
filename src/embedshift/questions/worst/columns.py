"""The augmentations that stand beside an attack, and the column of an original's cosines to its views by them."""

SUITE, NATURAL = "paper", "natural"
