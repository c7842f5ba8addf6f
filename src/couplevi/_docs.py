"""Text that repeats in docstrings, each written once, and the decorator that fills it in."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Final, TypeVar

from couplevi._validate import expected, listing

T = TypeVar("T")

PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s")

TEXTS: Final[dict[str, str]] = {
    # figures
    "ax": """\
ax
    Axes to draw on; None makes a figure.""",
    "panels": """\
ax
    Axes to draw on, one per panel; None makes a figure.""",
    "show": """\
show
    Whether to show the figure; None shows it unless it is saved or returned.
save
    Path to write the figure to; True takes the place that scanpy would, such as ``figures/latent.pdf``; None or False
    write nothing.
return_fig
    Whether to return the figure in place of its axes.""",
    "drawn": """\
The figure with `return_fig`, None if it was shown, else its axes, in a list if there are several.""",
    "size": """\
size
    Area of a point in square points; None chooses by the number of cells.""",
    # imputed values that a figure reads
    "imputed": """\
mdata
    MuData with imputed values beside measured ones, as written by :func:`couplevi.tl.impute`.""",
    "imputed_from_to": """\
source, target
    Modality that was imputed from, and the one imputed.""",
    "imputed_cells": """\
cells
    Cells to show. None takes those whose pairs the model was not trained on, or all that were measured and imputed if
    fewer than 3 are held out; the title says which.""",
    "imputed_layer": """\
layer
    Layer of the target that was registered; None is ``X``.""",
    "imputed_key": """\
key
    The `key_added` of the imputation.""",
    "cell_types": """\
labels
    Column of ``mdata.obs`` with cell types; cells without one are left out.""",
    # categories of a mixture that a figure reads
    "mixture": """\
data
    AnnData or MuData with ``uns[key]``, as written by :func:`couplevi.tl.cplmixvae`.
key
    The `key_added` of the model.""",
    # methods of models
    "setup_kwargs": """\
batch_key
    Column of ``obs`` with the batch of each cell: what batches add to the features of cells of one type is left out of
    account. None is no batches.
**kwargs
    Used by scvi-tools when a set-up is repeated for other data.""",
    "hardware": """\
accelerator, devices
    Hardware, see :class:`lightning.pytorch.Trainer`.""",
    "trainer_kwargs": """\
**trainer_kwargs
    Further arguments of :class:`scvi.train.Trainer`.""",
    "registry": """\
registry
    Registry of the data, for a model without data; :meth:`load` uses it.""",
    "chunk": """\
batch_size
    Profiles read at a time; None is 4,096. The result does not depend on it.""",
    "modelled": """\
adata
    MuData with the modalities of the model; None takes the model's data.""",
    # references
    "jamie_paper": """\
Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
Nature Machine Intelligence 2023""",
}
"""Text of each placeholder; what follows a line break is indented like the line that holds the placeholder."""


def fill_docs(item: T) -> T:
    """Fill the placeholders ``%(name)s`` in the docstring of a function, method or class with `TEXTS`.

    The item itself is returned, so that its signature and types stay. On methods it goes below ``@classmethod`` and
    ``@property``; of a class it fills the docstring of the class, not those of its methods.

    Parameters
    ----------
    item
        Function or class with a docstring; without one (``python -OO`` removes them) nothing is done.

    Returns
    -------
    The same item, its docstring dedented and filled.

    Raises
    ------
    KeyError
        If a placeholder has no text.

    Examples
    --------
    >>> from couplevi._docs import fill_docs
    >>> def figure(ax=None, return_fig=False):
    ...     "Draw; the result: %(drawn)s"
    >>> fill_docs(figure).__doc__
    'Draw; the result: The figure with `return_fig`, None if it was shown, else its axes, in a list if there are several.'
    """
    if item.__doc__ is not None:
        lines = inspect.cleandoc(item.__doc__).split("\n")
        if unknown := {name for line in lines for name in PLACEHOLDER.findall(line)} - TEXTS.keys():
            raise KeyError(
                expected(
                    f"placeholders of {item!r} to be among {list(TEXTS)}",
                    listing(sorted(unknown)),
                    "Write the text once in `couplevi/_docs.py`.",
                )
            )
        item.__doc__ = "\n".join(map(_filled, lines))
    return item


def _filled(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return PLACEHOLDER.sub(lambda found: textwrap.indent(TEXTS[found[1]], indent).removeprefix(indent), line)
