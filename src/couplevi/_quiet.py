"""What other packages say about themselves is kept from those who call ours."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

LOGGERS = ("lightning", "scvi")
"""Packages whose notices, such as "GPU available", tell nothing about the data or the result."""

WARNINGS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"The '\w+' does not have many workers",
    r"The `srun` command is available",
    r"[GT]PU available but not used",
    r"`accelerator` has been automatically set to `cpu` although 'mps' exists",
    r"You defined a `validation_step` but have no `val_dataloader`",
    r"Your `val_dataloader`'s sampler has shuffling enabled",
)
"""Warnings of Lightning and scvi-tools about their own code, or about what was chosen on purpose."""

_lock = threading.Lock()
_callers: Counter[int] = Counter()
_entered = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, notices of the packages below and some of their warnings are not shown.

    Levels, handlers and filters of the user are as before afterwards, also when blocks of several threads overlap.
    Whoever sets a logger to ``logging.DEBUG`` sees all of it.

    Examples
    --------
    >>> import logging
    >>> from couplevi._quiet import quiet
    >>> with quiet():
    ...     logging.getLogger("lightning.pytorch").info("GPU available: False")
    """
    thread = threading.get_ident()
    with _lock:
        if not _callers:
            _entered.enter_context(_without_warnings())
            _entered.enter_context(_without_notices())
        _callers[thread] += 1
    try:
        yield
    finally:
        with _lock:
            _callers[thread] -= 1
            if not _callers[thread]:
                del _callers[thread]
            if not _callers:
                _entered.close()


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings("ignore", message)
        yield


@contextmanager
def _without_notices() -> Iterator[None]:
    # a filter sees the records of its own logger alone, not those of the loggers below it
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LOGGERS]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(_is_shown)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_shown)


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a record is more than a notice, was asked for, or is from a thread that does something else."""
    asked_for = logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
    return record.levelno > logging.INFO or asked_for or record.thread not in _callers
