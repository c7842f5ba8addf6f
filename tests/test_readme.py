import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXTS = [
    path
    for pattern in ("*.md", "llms.txt", "docs/*.md", "docs/guide/**/*.md", "benchmarks/*.md", "tutorials/*.ipynb")
    for path in ROOT.glob(pattern)
]

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the tests are not in a clone")


def test_python_of_the_readme_runs_as_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names = {}
    exec(code, names)
    assert (tmp_path / "jamie_model" / "model.pt").is_file()
    assert names["mdata"]["rna"].obsm["jamie_ephys"].shape == (225, 40)
    assert "foscttm" in capsys.readouterr().out


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_resolve(path):
    folder = ROOT / "docs" / "tutorials" if path.suffix == ".ipynb" else path.parent
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if "://" not in link and not Path(os.path.normpath(folder / link)).exists()] == []
