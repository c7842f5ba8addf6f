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
    # what is modelled
    "coupled_values": """\
modalities
    Names of two or more modalities. With links, rows of their matrix are the first and columns the second.
layers
    Layer of each modality to model; ``X`` where it is not named.
use_rep
    Representation in ``.obsm`` of each modality to model in place of a layer.""",
    "correspondence_key": """\
correspondence_key
    Links in ``mdata.obsp``, as written by :func:`couplevi.pp.link`; only what is in the matrix is linked. None links
    every cell measured in two modalities to itself. For more than two modalities, a mapping from (rows, columns) to
    key; what it leaves out is linked by name.""",
    "match_key": """\
match_key
    Inferred links in ``mdata.obsp``, as written by :func:`couplevi.tl.match`, used by the alignment term; given like
    `correspondence_key`. None switches the term off.""",
    "covariates": """\
categorical_covariate_keys, continuous_covariate_keys
    Further columns that networks read, so that latents need not hold them: such as the sex of a donor, and the share of
    mitochondrial counts.""",
    "labelled_values": """\
modalities
    Names of one or more modalities.
layers
    Layer of each modality to model; ``X`` where it is not named. Whole numbers of at least 0 are taken for counts, and
    normalised to 10,000 per cell and logarithmised; other values are modelled as they are.
use_rep
    Representation in ``.obsm`` of each modality to model in place of a layer, as it is.
labels_key
    Column of ``mdata.obs`` with the type of each cell, where it is known (missing, ``"unknown"``, ``"nan"`` or ``"Mis"``
    where it is not).
batch_key
    Column with the batch of each cell: a donor, a plate, a run.
cell_cycle_keys
    Columns with the scores of the S phase, and of the G2 and M phases, such as :func:`couplevi.pp.score_cell_cycle`
    writes; missing where they are not known. None has no such block.
categorical_covariate_keys, continuous_covariate_keys
    Further columns that the decoder reads.""",
    "mixture_columns": """\
labels_key
    Column of ``obs`` with the types of some cells: each is a category of that name, which stays. Cells without one may
    be of these or of further categories. None has no labels.
batch_key
    Column of ``obs`` with the batch of each cell: what batches add to the features of cells of one type is left out of
    account. None is no batches.""",
    "perturbed_cells": """\
state_key
    Column of ``adata.obs`` with the state of each cell, such as the gene that was perturbed; ``"A+B"`` is a state of its
    own. Cells without one (missing, ``"unknown"``) are placed, not learned from. Which guide a cell has is not decided
    here.
control
    State that the others are compared with.
layer
    Layer of logarithmic values; None takes ``X``.
group_key
    Column with the cell type of each cell: states are then compared within types.
batch_key
    Column with the batch of each cell. The difference between the mean of the control in a batch and that of all its
    cells is taken from all cells of the batch.""",
    "text_key": """\
text_key
    Column with a text for each cell, in place of labels and their descriptions; cells with the same text are of one
    type.""",
    "described_values": """\
layer
    Layer of values; None takes ``X``. Whole numbers of at least 0 are taken for counts, and normalised to 10,000 per cell
    and logarithmised; other values are taken as they are.
use_rep
    Representation in ``adata.obsm`` in place of a layer, such as the latents of another model.""",
    "encoders": """\
descriptions
    Text of each label, or several texts whose vectors are averaged, as :func:`couplevi.pp.describe_labels` makes from an
    ontology; a label without one is its own text. Texts of labels that no cell has are kept for naming cells by them.
text_encoder
    ``"tfidf"``: words and pieces of words, no more; the folder of a sentence-transformers model, or the name of one
    that was downloaded before (needs ``couplevi[text]``); or a function from a list of texts to an array with a row for
    each. It is not saved with the model.
cell_encoder
    Function from an AnnData to vectors, shape ``(n, size)``, or tokens, ``(n, n_tokens, size)`` with NaN where a cell has
    fewer, such as those of a foundation model, which are read in place of the registered values; not saved either. None
    reads the registered values.""",
    "setup_kwargs": """\
**kwargs
    Used by scvi-tools when a set-up is repeated for other data.""",
    # settings
    "jamie_preset": """\
preset
    ``"default"``: one setting for 100 to 100,000 cells. ``"integration"``: without dropout, for reproducing the given
    pairs closely. ``"paper"``: the published model and its schedule, which takes hours. Or
    :class:`~couplevi.model.Settings` of your own.""",
    "jae_preset": """\
preset
    ``"default"``; ``"paper"``: the published blocks, objective and schedule; or :class:`~couplevi.model.JAESettings` of
    your own.""",
    "otgm_preset": """\
preset
    ``"default"``; ``"paper"``: shifts within the principal components, and one step of expectation maximisation, as
    published; or :class:`~couplevi.model.OTGMSettings` of your own.""",
    "optimiser": """\
lr, weight_decay, lr_schedule
    Of the optimiser, AdamW: learning rate; decoupled decay of weight matrices; ``"constant"``, or ``"one_cycle"``, which
    rises to `lr` over the first 30 % of all steps and then falls to zero.""",
    "patience": """\
patience
    Epochs without a better validation loss, or training loss where nothing is validated on, at which training stops and
    returns to the best weights. None is 45 of the former, and trains to the end where there is none.""",
    # training
    "seed": """\
seed
    Reproduces the result on the same machine with the same number of threads, and leaves torch's random state as it
    was. None uses that state, which ``scvi.settings.seed`` sets. A process has one such state: of trainings in several
    threads at once none is reproduced, so give each a process of its own.""",
    "hardware": """\
accelerator, devices
    Kind of hardware, such as ``"cpu"`` or ``"gpu"``, and how many of it, or a list of which; ``"auto"`` takes what there
    is. As of :class:`lightning.pytorch.Trainer`.""",
    "device": """\
accelerator, device
    Where to put the model: kind of hardware, such as ``"cpu"`` or ``"gpu"``, and the index of the GPU; ``"auto"`` takes
    what there is.""",
    "checkpoint": """\
checkpoint
    File that the state of training is written to every 30 seconds. If it is there, as after an interruption, training
    resumes from it: the same data, settings and arguments give the result of a training that was not interrupted. It is
    removed when training is complete.""",
    "step_kwargs": """\
datasplitter_kwargs, plan_kwargs
    Further arguments, by name, of what draws minibatches, :class:`~couplevi.dataloaders.CoupledDataSplitter`, and of
    what takes steps, :class:`~couplevi.train.CoupledTrainingPlan`: such as ``{"n_partners": 2}`` and ``{"lr": 1e-4}``.""",
    "trainer_kwargs": """\
**trainer_kwargs
    Further arguments of :class:`scvi.train.Trainer`, such as `enable_progress_bar`, whether progress is shown.""",
    # what trained models are asked
    "imputation": """\
source, target
    Modality that was measured, and the one to predict.
adata
    New data: a MuData with the source, or an AnnData of the source alone. None takes the model's data.
return_sd
    Add predictive standard deviations: what the latents leave unexplained, measured per feature on pairs that were held
    back in the first half of training, plus the spread of the posterior, propagated by sampling. Approximate, for cells
    never seen; ``X +- 1.645 sd`` holds about 90 % of the measured values.
transform_batch
    Batch, or batches to average over, in which the target is predicted as if measured. None takes all in which it was
    measured in training. Of a model without `batch_key` only None.
library_size
    Sum that imputed counts of each cell are scaled to, for a target with the likelihood ``"nb"``, ``"zinb"`` or
    ``"poisson"``: 1e4 gives counts per 10,000. None takes what is expected from the source.""",
    "arms": """\
adata
    New data: as at set-up, or for a model of several modalities an AnnData of one `modality`. None takes the data of the
    model.
modality
    Modality whose arms are asked; None asks all.
arm
    The one arm of each modality that is asked, counted from 0; None asks all.""",
    "state": """\
category
    Name of a category, as :meth:`CplMixVAE.predict <couplevi.model.CplMixVAE.predict>` gives it.
dimension
    Dimension of the state, counted from 0.
modality
    Modality to decode; needed for a model of several.
arm
    Arm, counted from 0.""",
    "n_steps": """\
n_steps
    Number of steps, at least 2, from the 5 % to the 95 % quantile of the states of the cells of the category.""",
    "placed": """\
adata
    New data: a MuData with one or more of the modalities, or an AnnData of the `modality` alone. None takes the data of
    the model.
modality
    Modality that cells are placed by, as if they had no other; None takes all that are there.""",
    "named": """\
adata
    New data; None takes those of the model.
labels
    Types to choose from.
descriptions
    Texts of some of them; for others the model's, or the label itself. A text other than that of training makes a type
    one that was not seen.""",
    "cells_read": """\
batch_size
    Cells read at a time; None is 4,096. The result does not depend on it, nor on the other cells.""",
    "registry": """\
registry
    Registry of the data, for a model without data; :meth:`load` uses it.""",
    "chunk": """\
batch_size
    Profiles read at a time; None is 4,096. The result does not depend on it.""",
    "modelled": """\
adata
    New data, AnnData or MuData as at set-up; None takes the model's data.""",
    # correspondence
    "inferred": """\
n_entries
    Largest number of matches that a profile keeps besides known links: the fewest that hold 99 % of its row.
effective_matches
    Sharpen until what was inferred has that many effective matches per profile on average, see
    :func:`~couplevi.correspondence.sharpen`; None leaves F as it was found.""",
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
