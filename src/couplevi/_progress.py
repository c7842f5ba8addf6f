"""How far a long computation is: a bar for those who watch it, some lines for those who read a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

N_LINES = 10
"""Lines of a whole computation in a log."""


class Progress:
    """Progress of a computation on stderr: a bar in a notebook or a terminal, else about ten plain lines.

    Parameters
    ----------
    total
        Number of steps.
    what
        What is counted, such as ``"epoch"``.
    done
        Number of steps done before.
    """

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self.total, self.what, self.done = total, what, done
        self._begin = time.monotonic()
        self._said = done
        self._bar: Any = None
        if _is_watched():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, initial=done, desc=what, dynamic_ncols=True)

    def reach(self, done: int, notes: Mapping[str, float] | None = None) -> None:
        """So many steps are done; `notes` are numbers to show beside."""
        if self._bar is not None:
            if notes:
                self._bar.set_postfix(notes, refresh=False)
            self._bar.update(done - self.done)
        elif done * N_LINES // self.total > self._said * N_LINES // self.total:
            self._say(done, notes)
        self.done = done

    def close(self, notes: Mapping[str, float] | None = None) -> None:
        """No more steps follow; if they are fewer than was said, a line says so."""
        if self._bar is not None:
            self._bar.close()
        elif self._said < self.done:
            self._say(self.done, notes)

    def _say(self, done: int, notes: Mapping[str, float] | None) -> None:
        self._said = done
        values = "".join(f", {name} {value:.4g}" for name, value in (notes or {}).items())
        seconds = time.monotonic() - self._begin
        sys.stderr.write(f"couplevi: {self.what} {done} of {self.total}{values}, {seconds:.0f} s\n")
        sys.stderr.flush()


def progress(steps: Collection[T], what: str, *, shown: bool = True) -> Iterator[T]:
    """Go through steps, and show on stderr how far that is, if it is to be shown.

    Parameters
    ----------
    steps
        What is gone through.
    what
        What is counted, such as ``"cell"``.
    shown
        Whether anything is shown.

    Examples
    --------
    >>> from couplevi._progress import progress
    >>> sum(progress([1, 2, 3], "number", shown=False))
    6
    """
    if not shown:
        yield from steps
        return
    display = Progress(len(steps), what)
    try:
        for number, step in enumerate(steps, start=1):
            yield step
            display.reach(number)
    finally:
        display.close()


def _is_watched() -> bool:
    """Whether a bar can move where stderr goes: in a notebook or a terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or (shell is not None and "IPKernelApp" in shell.config)
