import json
import re
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_committed_tutorials_were_executed_from_start_to_end(path):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    outputs = [output for c in cells for output in c["outputs"]]
    assert not {"error", "stream"} & {output["output_type"] for output in outputs}  # streams are warnings and logs
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_committed_tutorials_name_no_folder_of_a_machine(path):
    """Files of the user are in the folder of the environment variable, which the text names."""
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(c["source"]) for c in cells]
    texts += ["".join(o.get("data", {}).get("text/plain", "")) for c in cells for o in c.get("outputs", [])]
    assert not re.search(r"/(home|root|tmp|work|Users)/", "\n".join(texts))
