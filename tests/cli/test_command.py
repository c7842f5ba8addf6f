import argparse

import pytest

from couplevi.cli._command import Pair, Parser, listed, names


def test_pairs_and_names():
    assert Pair("=")("rna=a=b") == ("rna", "a=b")
    assert Pair("=", "adata")("log1p") == ("adata", "log1p")
    assert names(" rna, ,ephys") == ["rna", "ephys"]
    for text in ("rna", "=log1p", "rna="):
        with pytest.raises(argparse.ArgumentTypeError, match="two names joined by '=', found"):
            Pair("=")(text)


def test_a_parser_knows_options_without_help_config_and_what_switches_off():
    parser = Parser()
    parser.add_argument("input")
    parser.add_argument("--config")
    parser.add_argument("--no-model")
    parser.add_argument("--umap", "--map", action=argparse.BooleanOptionalAction)
    assert list(parser.options()) == ["no-model", "umap", "map"]


def test_names_of_a_file_or_between_commas(tmp_path):
    (tmp_path / "names.txt").write_text("T cell, CD4\n\n B cell \n")
    assert listed(str(tmp_path / "names.txt"), "--labels") == ["T cell, CD4", "B cell"]
    assert listed("a, b", "--labels") == ["a", "b"]
    with pytest.raises(ValueError, match="Expected one or more names in `--cells`, found none in ','"):
        listed(",", "--cells")
