"""Each source file has a test file of its name, in a folder of the same name."""

from pathlib import Path

import pytest

import couplevi

ROOT, TESTS = Path(couplevi.__file__).parent, Path(__file__).parent
WITHOUT = {
    "_arrays.py": "two helpers, tested where they are used and in their doctest",
    "_constants.py": "names alone, compared with the data layout in test_readme",
    "_mudata.py": "one option of mudata, in the tests of either version",
    "_protocols.py": "types alone",
    "_types.py": "types alone",
    "cli/__main__.py": "three lines, run in tests/cli/test_main",
}
"""Files without a test file, and why."""


def mirror(path):
    """Where the tests of a source file are."""
    place = path.relative_to(ROOT)
    return TESTS / place.parent / f"test_{place.stem.removeprefix('_')}.py"


SOURCES = [path for path in sorted(ROOT.rglob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_file_has_its_test_file(path):
    assert mirror(path).is_file() != (str(path.relative_to(ROOT)) in WITHOUT)
