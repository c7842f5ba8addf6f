import io
import re
import sys
from types import SimpleNamespace

import pytest

from couplevi._progress import N_LINES, Progress, progress


class Terminal(io.StringIO):
    """A stream in which a bar can move."""

    def isatty(self):
        return True


@pytest.mark.parametrize("total", [1, 3, 7, 10, 11, 99, 800, 12345])
def test_a_log_has_some_lines_whatever_the_number_of_steps(capsys, total):
    assert list(progress(range(total), "step")) == list(range(total))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == min(total, N_LINES)
    assert all(re.fullmatch(r"couplevi: step \d+ of \d+, \d+ s", line) for line in lines)
    done = [int(line.split()[2]) for line in lines]
    assert done[-1] == total
    assert done == sorted(set(done))
    assert max(b - a for a, b in zip([0, *done], done, strict=False)) <= -(-total // N_LINES)
    assert out == ""


def test_lines_have_the_numbers_of_their_step(capsys):
    display = Progress(2, "epoch")
    for done in (1, 2):
        display.reach(done, {"loss": 10.0 / done, "other": 1e-9})
    display.close()
    assert re.sub(r"\d+ s", "_ s", capsys.readouterr().err) == (
        "couplevi: epoch 1 of 2, loss 10, other 1e-09, _ s\ncouplevi: epoch 2 of 2, loss 5, other 1e-09, _ s\n"
    )


def test_what_ends_early_says_where_and_says_it_once(capsys):
    display = Progress(100, "epoch")
    for done in range(1, 26):
        display.reach(done)
    display.close({"loss": 3.0})
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split()[2]) for line in lines] == [10, 20, 25]
    assert "loss 3" in lines[-1]


def test_what_is_resumed_does_not_repeat_its_beginning(capsys):
    display = Progress(100, "epoch", done=55)
    for done in range(56, 101):
        display.reach(done)
    display.close()
    assert [int(line.split()[2]) for line in capsys.readouterr().err.splitlines()] == [60, 70, 80, 90, 100]


def test_nothing_is_shown_unless_asked_for_or_if_there_are_no_steps(capsys):
    assert list(progress([1, 2], "step", shown=False)) == [1, 2]
    assert list(progress([], "step")) == []
    assert capsys.readouterr() == ("", "")


def test_a_loop_that_fails_says_how_far_it_came(capsys):
    steps = progress(range(100), "step")
    for _ in range(6):
        next(steps)
    steps.close()
    assert capsys.readouterr().err.startswith("couplevi: step 5 of 100,")


def test_a_terminal_gets_a_bar_that_overwrites_itself(monkeypatch, capsys):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    display = Progress(4, "epoch")
    for done in range(1, 5):
        display.reach(done, {"loss": 2.5})
    display.close()
    assert stream.getvalue().count("\n") == 1
    assert "\r" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "loss=2.5" in stream.getvalue()
    assert "couplevi:" not in stream.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("config", "watched"), [({"IPKernelApp": {}}, True), ({}, False)])
def test_a_notebook_is_watched_and_a_script_run_by_ipython_is_not(monkeypatch, config, watched):
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    bars = []
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=lambda **options: bars.append(options)))
    Progress(4, "epoch")
    assert [bar["total"] for bar in bars] == ([4] if watched else [])
