"""What is written about the package agrees with it."""

import importlib.util
import inspect
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from test_architecture import ALLOWED

import couplevi as cvi
from couplevi._constants import Key
from couplevi.model.jamie import settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MODELS = sorted((ROOT / "docs" / "guide" / "models").glob("*.md"))
TEXTS = [
    path
    for pattern in ("*.md", "llms.txt", "docs/*.md", "docs/guide/**/*.md", "benchmarks/*.md", "tutorials/*.ipynb")
    for path in ROOT.glob(pattern)
]

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the tests are not in a clone")


@pytest.fixture(scope="module")
def tables():
    """The script that writes tables of the guide."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slots(mdata):
    """Every slot, spelled as in the guide, with m for the name of the modality."""
    shared = ("obs", "obsm", "obsp", "varm", "uns")
    held = [("mdata", place, getattr(mdata, place)) for place in shared]
    held += [("mdata[m]", p, getattr(adata, p)) for adata in mdata.mod.values() for p in (*shared, "layers")]
    named = [(f"{holder}.{place}", key) for holder, place, values in held for key in values if key is not None]
    return {f'{place}["{key}"]' for place, key in named if "_scvi" not in key}


def test_python_of_the_readme_runs_as_pasted(tmp_path, monkeypatch, capsys, tables):
    monkeypatch.chdir(tmp_path)
    few = {**settings.PRESETS, "default": replace(settings.DEFAULT, n_steps=60)}  # a reader takes 1,600
    monkeypatch.setattr(settings, "PRESETS", few)
    blocks = re.findall(r"```(?:python|text)\n(.*?)```", README.read_text(), flags=re.DOTALL)
    code, shown, others, yours = blocks
    names = {}
    exec(code, names)
    assert (tmp_path / "jamie_model" / "model.pt").is_file()
    assert names["mdata"]["rna"].obsm["jamie_ephys"].shape == (225, 40)
    printed = [line.split()[:-2] for line in capsys.readouterr().out.splitlines()]  # without the scores themselves
    assert printed == [line.split()[:-2] for line in shown.splitlines()]
    assert ["foscttm", "smaller", "rna-ephys", "held_out", "150"] in printed
    written = slots(names["mdata"]) - slots(cvi.data.branching_manifold(n_obs=300, paired=0.5, seed=0))
    known = [re.escape(re.sub(r"\[[st]\]", "[m]", slot.name)) for slot in tables.slots()]
    known = [re.sub(r"\\{\w+\\}", ".+", pattern) for pattern in known]
    assert len(written) > 5
    assert {slot for slot in written if not any(re.fullmatch(pattern, slot) for pattern in known)} == set()
    exec(yours, names)
    inside = names["low"] < names["mdata"]["rna"].obsm["jamie_ephys"]
    assert inside.shape == (225, len(names["names"]))
    assert inside.all()
    short = {"train_kwargs": {"max_epochs": 2, "prune": False, "enable_progress_bar": False}}
    monkeypatch.setattr(cvi.tl, "cplmixvae", partial(cvi.tl.cplmixvae, **short))
    exec(others, names)
    for data, column in (("rna", "cplmixvae_category"), ("cells", "jae_label"), ("rna", "celltext_label")):
        assert column in names[data].obs
    assert names["otgm"].rank_genes("gene0")["gene"].iloc[0] == "gene0"
    assert "otgm_state" in names["screen"].obs


def one_line(path):
    return " ".join(path.read_text().split())


@pytest.mark.parametrize("page", MODELS, ids=lambda page: page.stem)
def test_what_a_model_is_for_is_said_in_the_same_words_everywhere(page):
    title, mission, _ = page.read_text().split("\n\n", 2)
    mission = " ".join(mission.split())
    assert title.removeprefix("# ") in cvi.model.__all__
    assert mission.endswith(".")
    for place in ("README.md", "docs/index.md", "llms.txt"):
        assert f"`cvi.tl.{page.stem}`. {mission}" in one_line(ROOT / place)


def test_tools_to_choose_from_are_the_same_in_the_readme_and_on_the_landing_page():
    tables = [
        [
            re.sub(r"\[(\w+)\]\(.*?\)|{doc}`(\w+) <.*?>`", r"\1\2", row)
            for row in re.findall(r"^\|.*\|.*\|.*\|$", text, re.M)
        ]
        for text in (README.read_text(), (ROOT / "docs" / "index.md").read_text())
    ]
    readme, landing = (
        rows[rows.index("| your cells, and what you want | use | what it gives |") :][:14] for rows in tables
    )
    assert readme == landing
    named = {row.split("|")[2].strip() for row in readme}
    assert named > {
        "MIDAS",
        "GLUE",
        "moscot",
        *(page.read_text().splitlines()[0].removeprefix("# ") for page in MODELS),
    }


def test_slots_of_the_readme_are_in_the_guide(tables):
    named = set(re.findall(r"^\| (.*) \|.*\|$", README.read_text(), re.MULTILINE))
    spelled = {slot for cell in named for slot in re.findall(r"`(m?data[\w\[\]]*\.\w+\[\"[^`]+)`", cell)}
    assert len(spelled) > 8
    renamed = {slot.replace("source", "s").replace("target", "t") for slot in spelled}
    assert renamed <= {slot.name for slot in tables.slots()}


def test_every_slot_of_the_source_is_in_the_guide(tables):
    names = [slot.name for slot in tables.slots()]
    assert len(names) == len(set(names))
    for place, group in inspect.getmembers(Key, inspect.isclass):
        for name, value in vars(group).items():
            if isinstance(value, staticmethod):
                assert "|" in value.__doc__, f"{place}.{name}"
            elif isinstance(value, str) and not name.startswith("_"):
                assert any(f'["{value}"]' in slot for slot in names), f"{place}.{name}"


@pytest.mark.parametrize("page", ["data_layout.md", "metrics.md"])
def test_tables_of_the_guide_are_what_the_source_says(page, tables):
    assert (ROOT / "docs" / "guide" / page).read_text() == tables.with_table(page), "run `python docs/tables.py`"
    assert page in tables.TABLES


def test_rooms_of_the_documentation_are_those_that_are_enforced():
    text = (ROOT / "docs" / "contributing.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", text.split("## Add a model")[0], re.MULTILINE)
    assert {room: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in rows} == {
        r: ALLOWED[r] for r in ALLOWED if r
    }


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_resolve(path):
    folder = ROOT / "docs" / "tutorials" if path.suffix == ".ipynb" else path.parent
    text = re.sub(r"```\w+\n.*?```", "", path.read_text(), flags=re.DOTALL)  # code has brackets of its own
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text) + re.findall(r"<img src=\"(.+?)\"", text)
    assert [link for link in links if "://" not in link and not Path(os.path.normpath(folder / link)).exists()] == []
