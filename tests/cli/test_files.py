import argparse

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

from couplevi.cli._command import ANNDATA, MUDATA
from couplevi.cli._files import check_paths, read, replace, write, write_table

GIVEN = ("--modalities", "rna,ephys", "--max-epochs", 1)


def test_the_suffix_says_the_format(mdata, tmp_path):
    for name in ("a.zarr", "a.h5mu", "b.zarr"):
        write(mdata, tmp_path / name)
        found = read(tmp_path / name, (MUDATA,))
        np.testing.assert_array_equal(found["ephys"].X, mdata["ephys"].X)
    assert (tmp_path / "a.zarr").is_dir()
    assert list(md.read_zarr(tmp_path / "a.zarr").mod) == ["rna", "ephys"]
    assert md.read_h5mu(tmp_path / "a.h5mu").shape == mdata.shape
    for name in ("c.zarr", "c.h5ad"):
        write(mdata["rna"], tmp_path / name)
        assert isinstance(read(tmp_path / name, (ANNDATA, MUDATA)), ad.AnnData)
    assert ad.read_zarr(tmp_path / "c.zarr").shape == ad.read_h5ad(tmp_path / "c.h5ad").shape == mdata["rna"].shape


def test_from_zarr_to_zarr(run, mdata, tmp_path):
    mdata.write_zarr(tmp_path / "in.zarr")
    (tmp_path / "out.zarr").mkdir()  # an empty folder is in nobody's way
    for _ in range(2):  # the second time replaces what the first wrote
        assert run("run", tmp_path / "in.zarr", *GIVEN, "--out", tmp_path / "out.zarr") == 0
    assert "X_jamie" in md.read_zarr(tmp_path / "out.zarr").obsm
    assert {path.name for path in tmp_path.iterdir()} == {"in.zarr", "out.zarr"}


def test_the_input_is_replaced_only_if_asked(run, refuses, h5mu, mdata, tmp_path):
    given = ("run", "in.h5mu", *GIVEN, "--out", "./in.h5mu")
    refuses(*given, message="`--out` to be no input, found 'in.h5mu', which is read. Choose another name, or add")
    assert "X_jamie" not in md.read_h5mu(h5mu).obsm
    assert run(*given, "--overwrite") == 0
    assert "X_jamie" in md.read_h5mu(h5mu).obsm
    refuses(*given, "--overwrite", "--summary", "in.h5mu", message="two files for `--out` and `--summary`")


def test_other_inputs_are_never_replaced(refuses, h5mu, tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 1\n")
    (tmp_path / "names.txt").write_text("cell1\n")
    given = ("run", "in.h5mu", *GIVEN, "--out", "o.h5mu", "--config", "c.yaml", "--overwrite")
    refuses(*given, "--summary", "c.yaml", message="`--summary` to be no input, found 'c.yaml', which is read. Choose")
    refuses(*given, "--summary", "in.h5mu", message="`--summary` to be no input, found 'in.h5mu'")
    refuses(*given, "--checkpoint", "in.h5mu", message="`--checkpoint` to be no input, found 'in.h5mu'")
    given = ("explain", "in.h5mu", "--model", "m", "--source", "rna", "--target", "ephys", "--cells", "names.txt")
    refuses(*given, "--csv", "names.txt", "--out", "o.h5mu", message="`--csv` to be no input, found 'names.txt'")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("in.h5mu", "--out", "o.h5ad"), "'o.h5ad' to be a MuData (.h5mu or .zarr), found the suffix '.h5ad'"),
        (("in.h5mu", "--out", "o"), "'o' to be a MuData (.h5mu or .zarr), found no suffix"),
        (("in.h5ad", "--out", "o.h5mu"), "'in.h5ad' to be a MuData (.h5mu or .zarr), found the suffix '.h5ad'"),
        (("no.h5mu", "--out", "o.h5mu"), "a MuData at 'no.h5mu', found no such file"),
        (("no.zarr", "--out", "o.h5mu"), "a MuData at 'no.zarr', found no such file"),
        (("bad.h5mu", "--out", "o.h5mu"), "'bad.h5mu' to be a MuData (.h5mu), found a file that is not: "),
        (("bad.zarr", "--out", "o.h5mu"), "'bad.zarr' to be a zarr store, found a file. Rename it"),
        (("folder.zarr", "--out", "o.h5mu"), "'folder.zarr' to be a MuData (.zarr), found a file that is not: "),
        (("single.zarr", "--out", "o.h5mu"), "a MuData in 'single.zarr', found an AnnData"),
        (("in.h5mu", "--out", "no/o.h5mu"), "a folder 'no' to write to, found none. Create it first."),
        (("in.h5mu", "--out", "folder.zarr"), "a zarr store to write to, found a folder"),
        (("in.h5mu", "--out", "o.h5mu", "--summary", "folder.zarr"), "a file to write to, found a folder"),
    ],
)
def test_files_that_are_refused(refuses, h5mu, mdata, tmp_path, given, message):
    for name in ("bad.h5mu", "bad.zarr"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "mine").write_text("x")
    if given[0] == "single.zarr":
        write(mdata["rna"], tmp_path / "single.zarr")
    refuses("run", *given, *GIVEN, message=message)


def test_what_is_written_has_to_suit_what_was_read(refuses, typed_h5ad, cells, tmp_path):
    given = ("--labels-key", "type", "--out", "o.h5mu")
    refuses("annotate", "in.h5ad", *given, message="'o.h5mu' to be an AnnData (.h5ad or .zarr), found the suffix")


def test_nothing_is_left_of_what_could_not_be_written(tmp_path):
    (tmp_path / "a.csv").write_text("older")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(tmp_path / "a.csv", fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_table_has_its_index_if_that_has_a_name(tmp_path):
    frame = pd.DataFrame({"x": [1]}, index=["a"])
    write_table(frame, tmp_path / "a.csv")
    write_table(frame.rename_axis("cell"), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == "x\n1\n"
    assert (tmp_path / "b.csv").read_text() == "cell,x\na,1\n"


def test_paths_are_checked_before_anything_is_read(tmp_path):
    paths = {name: tmp_path / name for name in ("in.h5mu", "out.h5mu")}
    arguments = argparse.Namespace(kinds=(MUDATA,), input=paths["in.h5mu"], out=paths["out.h5mu"], summary=None)
    check_paths(arguments)  # there is no input yet
    arguments.model = tmp_path / "a" / "b" / "model"  # made with its parents
    check_paths(arguments)
    arguments.summary = paths["out.h5mu"]
    with pytest.raises(ValueError, match="two files for `--out` and `--summary`"):
        check_paths(arguments)
