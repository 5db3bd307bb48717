"""Writes the corpus into a folder."""

import sys
from pathlib import Path

from support.hostile import kinds, write

made = kinds()
write(Path(sys.argv[1]), made)
sys.stdout.write(f"{len(made)} kinds in {sys.argv[1]}\n")
