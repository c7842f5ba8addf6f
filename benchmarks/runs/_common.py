"""What the runs share: their command line, threads and logs, processes of their own, tables."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows the docstring of a run as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def settle(n_threads: int | None = None) -> None:
    """Quiet logs, MuData as from version 0.4 on, and threads of torch (None: as many as it takes).

    For the process that computes, when it starts to: nothing of this happens on import.
    """
    import mudata as md  # not needed by runs that measure their memory
    import torch

    if n_threads is not None:
        torch.set_num_threads(n_threads)
    if hasattr(md, "set_options"):  # mudata before 0.4
        md.set_options(pull_on_update=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def peak() -> int:
    """Largest memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_copy(compute: Callable[[], dict]) -> dict:
    """Result of a function run in a copy of this process, so that its peak memory is its own."""
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    process = fork.Process(target=lambda: results.put(compute()))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    return results.get()


def in_new_process(measure: Callable[..., dict], *arguments: object) -> dict:
    """Result of a function run in a process that shares nothing with this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def markdown(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Lines of a table, one at a time; the first column holds names."""
    columns = list(columns)
    yield from ("| " + " | ".join(columns) + " |", "|" + "---|" * len(columns))
    for row in rows:
        yield "| " + " | ".join(str(value) for value in row) + " |"
