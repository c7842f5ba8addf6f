from pathlib import Path

import pytest

from couplevi._paths import user_path


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_in_front_is_the_folder_of_the_user(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path(kind("~/models/a")) == tmp_path / "models" / "a"
    assert user_path(kind("models/~a")) == Path("models/~a")
    assert user_path(kind(tmp_path / "b")) == tmp_path / "b"
