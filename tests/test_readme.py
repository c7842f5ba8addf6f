import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="the tests are not in a clone")
def test_python_of_the_readme_runs_as_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names = {}
    exec(code, names)
    assert (tmp_path / "jamie_model" / "model.pt").is_file()
    assert names["mdata"]["rna"].obsm["jamie_ephys"].shape == (225, 40)
    assert "foscttm" in capsys.readouterr().out
