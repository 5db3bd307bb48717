"""The Python interface: what `import embedshift` offers, with the names of the command line."""

from embedshift.api.attacks import attack
from embedshift.api.encoders import wrap
from embedshift.api.images import run
from embedshift.api.vectors import from_vectors
from embedshift.augmentations.views import make_views
from embedshift.encoders import load_encoder
from embedshift.encoders.images import image_encoder
from embedshift.engines.written_views import write_views
from embedshift.stacks import parity
from embedshift.statistics.whitening import Whitening
from embedshift.study import Study, load
from embedshift.study.comparison import compare
from embedshift.study.gate import check
from embedshift.study.whitening import whiten

__all__ = [
    "Study", "Whitening", "attack", "check", "compare", "from_vectors", "image_encoder", "load", "load_encoder",
    "make_views", "parity", "run", "whiten", "wrap", "write_views",
]  # fmt: skip
