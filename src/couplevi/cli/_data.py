"""Parts of the data that a subcommand is about, and values made of raw counts."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from couplevi._constants import SINGLE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from couplevi.model._base import Model


def modality_of(data: AnnData | MuData, modality: str | None, column: str | None = None) -> AnnData:
    """The cells that are named or explained; a column of a MuData's cells may be in its own `obs`."""
    import anndata

    if isinstance(data, anndata.AnnData):
        if modality is not None:
            raise ValueError(f"Expected no `--modality` with an AnnData, found {modality!r}. Leave it out.")
        return data
    if modality not in data.mod:
        raise ValueError(f"Expected `--modality` to be one of {list(data.mod)}, found {modality!r}.")
    adata = data.mod[modality]
    if column is not None and column not in adata.obs and column in data.obs:
        adata.obs[column] = data.obs[column].reindex(adata.obs_names)
    return adata


def layers_of(profiles: Mapping[str, AnnData], arguments: argparse.Namespace) -> dict[str, str]:
    """Layer of each modality that has one, those of ``--normalize`` included, which are made here."""
    layers, made = dict(arguments.layer), normalized(profiles, arguments.normalize)
    for option, places in (("--layer", layers), ("--use-rep", dict(arguments.use_rep))):
        check_names(places, profiles, option)
        for name in made:
            if name in places:
                remedy = f"Write `--normalize {name}={places[name]}`." if option == "--layer" else "Leave one out."
                raise ValueError(f"Expected {name!r} in `--normalize` or `{option}`, found it in both. {remedy}")
    return layers | made


def normalized(profiles: Mapping[str, AnnData], given: Sequence[str]) -> dict[str, str]:
    """Write the logarithm of 1 plus counts per 10,000 as a layer, and say which.

    Parameters
    ----------
    profiles
        Cells of each modality.
    given
        Modalities, each by itself, if ``X`` has its counts, or as ``"rna=counts"``, if a layer has.

    Raises
    ------
    ValueError, KeyError
        If values are no counts, the layer that would be written is there, or there are no such counts.
    """
    places = {name: place or "X" for name, _, place in (text.partition("=") for text in given)}
    check_names(places, profiles, "--normalize")
    return {name: _normalize(profiles[name], name, place) for name, place in places.items()}


def _normalize(adata: AnnData, name: str, place: str) -> str:
    import anndata
    import scanpy as sc

    from couplevi._constants import Key
    from couplevi._validate import are_counts, expected, named, stored_values

    layer, whose = Key.layers.LOG1P, "" if name == SINGLE else f" of {name!r}"
    counts = adata.X if place == "X" else adata.layers.get(place)
    if counts is None:
        there = [*(["X"] if adata.X is not None else []), *named(adata.layers)]
        raise KeyError(
            expected(f"counts in {place}{whose} with `--normalize`", f"values in {there}", "Name one of them.")
        )
    if layer in adata.layers:
        remedy = "Leave `--normalize` out and read that layer with `--layer`, or remove it from the file."
        raise ValueError(expected(f"no layer {layer!r}{whose} with `--normalize`", "one", remedy))
    if not are_counts(values := stored_values(counts)):
        found = f"values from {values.min():g} to {values.max():g}" if values.size else "none"
        remedy = "Name the layer of raw counts, or leave `--normalize` out."
        raise ValueError(expected(f"counts in {place}{whose}, whole numbers of at least 0", found, remedy))
    scaled = anndata.AnnData(counts.astype("float32"))
    sc.pp.normalize_total(scaled, target_sum=1e4)
    sc.pp.log1p(scaled)
    adata.layers[layer] = scaled.X
    return layer


def check_names(given: Iterable[str], profiles: Iterable[str], option: str) -> None:
    """Raise unless all names that an option gives are modalities; of an AnnData there are none to name."""
    for name in given:
        if list(profiles) == [SINGLE] and name != SINGLE:
            raise ValueError(
                f"Expected no modality in `{option}` with an AnnData, found {name!r}. Give the layer alone."
            )
        if name not in profiles:
            raise ValueError(f"Expected modalities in `{option}` among {list(profiles)}, found {name!r}.")


def saved_class(folder: Path) -> type[Model]:
    """Class of the model in a folder."""
    from couplevi import model

    found: type[Model] = getattr(model, model.JAMIE.load_registry(folder)["model_name"])
    return found


def label_table(obs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Label of each cell, its probability, and further columns under the last word of their names."""
    table = obs[list(columns)].rename_axis("cell")
    return table.set_axis(["label", "confidence", *(name.rpartition("_")[2] for name in columns[2:])], axis=1)
