"""Arguments of a training are checked before anything is done, in one voice for all models."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from scvi.model._utils import parse_device_args
from scvi.train import Trainer

from couplevi._paths import user_path
from couplevi._quiet import quiet
from couplevi._validate import SMALLEST, check_count, check_number, check_option, expected

PRECISIONS: Mapping[Any, str] = MappingProxyType(
    {
        **dict.fromkeys(("32-true", 32, "32"), "32-true"),
        **dict.fromkeys(("16-mixed", 16, "16"), "16-mixed"),
        **dict.fromkeys(("bf16-mixed", "bf16"), "bf16-mixed"),
    }
)
"""Names of a precision, and the one that Lightning prefers; weights are in single precision in all of them."""


def check_arguments(
    model: Any,
    given: Mapping[str, object],
    *,
    splitter: Mapping[str, Any] | None,
    splitter_takes: Collection[str],
    plan: Mapping[str, Any] | None,
    plan_takes: Collection[str],
    trainer: Mapping[str, Any],
) -> None:
    """Raise unless the arguments of a training are of the kind and in the range that its documentation says.

    Parameters
    ----------
    model
        Model that is trained.
    given
        Arguments of the method itself, by name.
    splitter, splitter_takes
        Its `datasplitter_kwargs`, and the names that these may have.
    plan, plan_takes
        Its `plan_kwargs`, and the names that these may have.
    trainer
        Further arguments, of the trainer.

    Raises
    ------
    ValueError
        If a value is out of range, or this machine lacks the hardware.
    TypeError
        If a value is of another kind, or an argument is unknown.
    FileNotFoundError
        If the folder of the checkpoint does not exist.
    """
    mappings = (("datasplitter_kwargs", splitter, splitter_takes), ("plan_kwargs", plan, plan_takes))
    for name, kwargs, takes in mappings:
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise TypeError(expected(f"`{name}` to map names to values", repr(kwargs)))
        for key in kwargs or {}:
            if key not in takes:
                remedy = f"Pass `{key}` to `train` itself." if key in given else ""
                raise TypeError(expected(f"`{name}` of {sorted(takes)}", repr(key), remedy))
    known = {*_arguments(Trainer), "checkpoint"}
    settings = {field.name for field in fields(model.settings_class)}
    for key in trainer.keys() - known:
        remedies = [f"Build the model with it: `{type(model).__name__}(..., {key}=...)`."] if key in settings else []
        remedies += [f"Pass `{name}={{{key!r}: ...}}`." for name, _, takes in mappings if key in takes]
        if not remedies:
            close = difflib.get_close_matches(key, {*known, *given, *settings}, n=1)
            remedies = [f"Did you mean `{close[0]}`?"] if close else []
        raise TypeError(expected("arguments of `train`, or of Lightning's trainer", f"`{key}`", " Or: ".join(remedies)))
    for values in (given, splitter or {}, plan or {}, trainer):
        for key, value in values.items():
            if key in CHECKS and not (value is None and key in OPTIONAL):
                CHECKS[key](value, key)
    _check_hardware(given["accelerator"], given["devices"], trainer.get("strategy"))


def _arguments(cls: type) -> set[str]:
    """Names of the arguments of a class that hands the others on to its base."""
    named: set[str] = set()
    for base in cls.__mro__:
        parameters = inspect.signature(base).parameters
        named |= {name for name, p in parameters.items() if p.kind != p.VAR_KEYWORD}
        if all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
            break
    return named


def checkpoint_path(checkpoint: Any, name: str = "checkpoint") -> Path:
    """Path of the state of training; raise unless a file can be written there."""
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(expected(f"`{name}` to be a path", repr(checkpoint)))
    path = user_path(checkpoint)
    if not path.parent.is_dir():
        raise FileNotFoundError(expected(f"a folder {str(path.parent)!r} to write to", "none", "Create it first."))
    if path.is_dir():
        raise ValueError(expected(f"`{name}` to be a file", f"a folder {str(path)!r}"))
    return path


def _check_share(value: object, name: str) -> None:
    check_number(value, name, maximum=1)
    if value == 0:
        raise ValueError(expected(f"`{name}` to be above 0 and at most 1", repr(value)))


def _check_flag(value: object, name: str) -> None:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(expected(f"`{name}` to be True or False", repr(value)))


def _check_callbacks(value: object, name: str) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(callback, Callback) for callback in value):
        raise TypeError(expected(f"`{name}` to be a list of Lightning's callbacks", repr(value)))


def _check_logger(value: object, name: str) -> None:
    loggers = value if isinstance(value, Iterable) else [value]
    if not isinstance(value, bool) and not all(isinstance(logger, Logger) for logger in loggers):
        remedy = "`model.history` has all that is logged in any case."
        raise TypeError(expected(f"`{name}` to be one of Lightning's loggers, several, or False", repr(value), remedy))


def _check_precision(value: object, name: str) -> None:
    if value not in list(PRECISIONS):
        remedy = "Weights stay in single precision, in which they are saved and applied."
        raise ValueError(expected(f'`{name}` to be "32-true", "16-mixed" or "bf16-mixed"', repr(value), remedy))


def _check_hardware(accelerator: object, devices: object, strategy: object) -> None:
    if not isinstance(accelerator, str | Accelerator):
        raise TypeError(expected("`accelerator` to be a name, such as 'auto', 'cpu' or 'gpu'", repr(accelerator)))
    if isinstance(devices, bool) or not isinstance(devices, int | np.integer | str | list):
        raise TypeError(expected("`devices` to be a number, a list of numbers or 'auto'", repr(devices)))
    given = int(devices) if isinstance(devices, np.integer) else devices
    try:
        with quiet():
            _, chosen, _ = parse_device_args(accelerator=accelerator, devices=given, return_device="torch")
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, AttributeError) as error:
        found = f"`accelerator={accelerator!r}` and `devices={devices!r}`: {' '.join(str(error).split()).rstrip('.!')}"
        raise ValueError(expected("hardware of this machine", found, "Leave both out to use what there is.")) from error
    if strategy is None and (len(chosen) if isinstance(chosen, list) else chosen) not in (1, "auto"):
        remedy = 'Each would train on all cells. Pass `strategy="ddp"` too, or `devices=1`.'
        raise ValueError(expected("a `strategy` for several devices", "none", remedy))


CHECKS: Mapping[str, Callable[[object, str], Any]] = MappingProxyType(
    {
        "max_epochs": check_count,
        "max_epochs_prune": check_count,
        "batch_size": check_count,
        "train_size": _check_share,
        "validation_size": partial(check_number, maximum=1),
        "shuffle_set_split": _check_flag,
        "prune": _check_flag,
        "early_stopping": _check_flag,
        "checkpoint": checkpoint_path,
        # of the splitter
        "n_partners": partial(check_count, minimum=0),
        "mixup_alpha": check_number,
        # of the plan
        "lr": check_number,
        "weight_decay": check_number,
        "lr_schedule": lambda value, name: check_option(value, ("constant", "one_cycle"), name),
        "kl_warmup": partial(check_number, maximum=1),
        "kl_schedule": lambda value, name: check_option(value, ("linear", "sigmoid"), name),
        "temperature": partial(check_number, minimum=SMALLEST),
        "guess_start": partial(check_number, maximum=1),
        "adapt_statistics": _check_flag,
        # of the trainer
        "enable_progress_bar": _check_flag,
        "early_stopping_patience": check_count,
        "early_stopping_warmup_epochs": partial(check_count, minimum=0),
        "callbacks": _check_callbacks,
        "logger": _check_logger,
        "precision": _check_precision,
    }
)
"""Check of a value by the name of its argument, wherever it is given."""

OPTIONAL = {
    *("max_epochs", "max_epochs_prune", "batch_size", "validation_size", "early_stopping", "checkpoint"),
    *("callbacks", "logger", "precision"),
}
"""Arguments for which None stands for the default."""
