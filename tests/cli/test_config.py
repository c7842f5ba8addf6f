import json

import mudata as md
import pytest

from couplevi.cli._command import MUDATA, Parser, add_command, add_impute, add_modalities, add_normalize, add_training
from couplevi.cli._config import with_config

OPTIONS = """\
modalities: [rna, ephys]
layer: {rna: log1p}
impute:
  rna: [ephys, atac]
normalize: [ephys=raw, atac]
max_epochs: 7
sd: true
seed:
"""


@pytest.fixture
def commands():
    parser = Parser()
    commands = parser.add_subparsers()
    run = add_command(commands, "run", "", print, (MUDATA,))
    add_modalities(run, "")
    add_normalize(run)
    add_impute(run)
    add_training(run)
    return parser, commands.choices


def parsed(commands, *argv):
    parser, choices = commands
    return parser.parse_args(with_config(argv, choices))


def test_values_of_all_kinds(commands, tmp_path):
    (tmp_path / "c.yaml").write_text(OPTIONS)
    found = parsed(commands, "run", "in.h5mu", "--config", str(tmp_path / "c.yaml"))
    assert found.modalities == ["rna", "ephys"]
    assert found.layer == [("rna", "log1p")]
    assert found.impute == [("rna", "ephys"), ("rna", "atac")]
    assert found.normalize == ["ephys=raw", "atac"]
    assert (found.max_epochs, found.return_sd, found.seed) == (7, True, 0)


def test_the_command_line_wins(commands, tmp_path):
    (tmp_path / "c.yaml").write_text(OPTIONS)
    given = ("--config", str(tmp_path / "c.yaml"), "--max-epochs", "2", "--no-sd", "--layer", "rna=raw")
    found = parsed(commands, "run", "in.h5mu", *given, "--layer", "ephys=z", "--modalities", "ephys,rna")
    assert found.modalities == ["ephys", "rna"]
    assert dict(found.layer) == {"rna": "raw", "ephys": "z"}
    assert (found.max_epochs, found.return_sd) == (2, False)


def test_a_list_of_pairs_and_what_starts_with_a_dash(commands, tmp_path):
    (tmp_path / "c.yaml").write_text('layer: [rna=log1p, ephys=z]\nmodalities: "-a,b"\nreturn-sd: false\n')
    found = parsed(commands, "run", "in.h5mu", "--config", str(tmp_path / "c.yaml"))
    assert found.layer == [("rna", "log1p"), ("ephys", "z")]
    assert (found.modalities, found.return_sd) == (["-a", "b"], False)


def test_without_a_file_nothing_changes(commands):
    given = ["run", "in.h5mu", "--config"]
    assert with_config(given, commands[1]) == given  # the parser of the subcommand says what is missing
    assert with_config(["nope", "--config", "c.yaml"], commands[1]) == ["nope", "--config", "c.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modality: [rna]", "options of `couplevi run` in 'c.yaml', found `modality`. Did you mean `modalities`?"),
        ("max_epoch: 3", "found `max-epoch`. Did you mean `max-epochs`?"),
        ("zzz: 3", "found `zzz`. It has ['batch-key', "),
        ("input: in.h5mu", "found `input`"),
        ("config: c.yaml", "found `config`"),
        ("no-umap: true", "found `no-umap`. Did you mean `umap`?"),
        ("umap: 1", "true or false for `umap` in 'c.yaml', found 1"),
        ("batch_key: no", "a text or number for `batch-key` in 'c.yaml', found False. Put names such as yes"),
        ("modalities: {rna: 1}", "a text or number for `modalities`"),
        ("layer: {rna: {a: b}}", "a text or number for `layer`"),
        ("- rna", "to map options to values, found a list"),
        ("", "to map options to values, found nothing"),
        ("a: [", "to be YAML, found a file that is not"),
    ],
)
def test_files_that_are_refused(refuses, h5mu, tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    refuses("run", "in.h5mu", "--out", "o.h5mu", "--config", "c.yaml", message=message)


def test_a_file_that_is_not_there(refuses, h5mu):
    refuses("run", "in.h5mu", "--out", "o.h5mu", "--config", "c.yaml", message="options in YAML at 'c.yaml'")


def test_a_value_that_is_no_number_is_a_usage_error(run, h5mu, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("modalities: rna,ephys\nmax_epochs: many\n")
    with pytest.raises(SystemExit) as stop:
        run("run", h5mu, "--config", tmp_path / "c.yaml", "--out", tmp_path / "o.h5mu")
    assert stop.value.code == 2
    assert "couplevi run: argument --max-epochs: invalid int value: 'many'" in capsys.readouterr().err


def test_a_run_from_a_file(run, h5mu, tmp_path):
    out, summary = tmp_path / "o.h5mu", tmp_path / "s.json"
    (tmp_path / "c.yaml").write_text(
        f"modalities: [rna, ephys]\nlayer: {{rna: log1p}}\nn-latent: 5\nmax_epochs: 1\nout: {out}\nsummary: {summary}\n"
    )
    assert run("run", h5mu, "--config", tmp_path / "c.yaml", "--n-latent", 3) == 0
    assert md.read_h5mu(out)["rna"].obsm["X_jamie"].shape == (45, 3)
    options = json.loads(summary.read_text())["options"]
    assert (options["n_latent"], options["max_epochs"], options["layer"]) == (3, 1, [["rna", "log1p"]])
