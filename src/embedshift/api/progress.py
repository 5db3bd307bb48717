"""The bar of a run in Python: it is shown to somebody who waits in a terminal or a notebook."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from embedshift.engines import Progress, Start
from embedshift.errors import UsageError


@contextlib.contextmanager
def shown_progress(progress: Progress | bool | None) -> Iterator[tuple[Callable[[Start], None], Progress | None]]:
    """Gives the functions for the start of a run and for every step; None = a bar where somebody waits."""
    if progress is None:
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        progress = sys.stderr.isatty() or hasattr(shell, "kernel")
    if not isinstance(progress, bool) and not callable(progress):
        raise UsageError(f"progress: give True, False or a function of the number of images, not {progress!r:.60}")
    if progress is not True:
        yield lambda _: None, progress or None
        return
    from tqdm import tqdm

    with tqdm(desc="measuring", unit=" images", file=sys.stderr) as bar:

        def on_start(start: Start) -> None:
            bar.total, bar.n, bar.initial = start.images, start.done, start.done

        yield on_start, bar.update
