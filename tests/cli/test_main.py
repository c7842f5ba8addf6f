import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("perturb", "x"),
        ("annotate", "x", "--out", "y"),
        ("annotate", "x", "--out", "y", "--labels-key", "a", "--text-key", "b"),
        ("embed", "x", "--out", "y"),
        ("nope",),
        (),
        ("run", "x", "--modalities", "a,b", "--out", "y", "--layer", "a"),
    ],
)
def test_usage_errors_have_exit_code_2(run, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("embed", "--help"),
        ("perturb", "--help"),
        ("annotate", "--help"),
        ("--version",),
    ],
)
def test_help_needs_no_heavy_import(run, arguments):

    code = "import sys; from couplevi.cli import main\ntry: main(sys.argv[1:])\nfinally: print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "couplevi" in result.stdout
    if "--help" in arguments:
        assert "example:" in result.stdout
    for heavy in ("torch", "scvi", "mudata", "pandas", "numpy"):
        assert f"'{heavy}'" not in result.stdout


def test_usage_errors_are_one_line(run, capsys):
    with pytest.raises(SystemExit):
        run("run", "x.h5mu", "--modalitie", "a,b", "--out", "y.h5mu")  # no abbreviations: options are added
    assert capsys.readouterr().err == (
        "couplevi run: the following arguments are required: --modalities; see `couplevi run --help`\n"
    )


def test_every_subcommand_is_in_the_example_and_in_the_list():
    result = subprocess.run(
        [sys.executable, "-m", "couplevi.cli", "--help"], capture_output=True, text=True, check=True
    )
    listed = result.stdout.split("{")[1].split("}")[0].split(",")
    assert listed == ["match", "run", "evaluate", "map", "explain", "embed", "cplmixvae", "perturb", "annotate"]
    assert all(f"couplevi {name} " in result.stdout.split("example:")[1] for name in listed)


def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(run, h5mu, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("ours")

    monkeypatch.setattr("couplevi.tl.match", fail)
    with pytest.raises(AssertionError, match="ours"):
        run("match", h5mu, "--modalities", "rna,ephys", "--out", tmp_path / "o.h5mu")
