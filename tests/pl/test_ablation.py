import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def frame_of(n_groups, n_targets=4):
    rng = np.random.default_rng(0)
    rows = [(f"g{g}", f"t{t}", 0.9, 0.9 - 0.1 * g - 0.01 * t) for g in range(n_groups) for t in range(n_targets)]
    frame = pd.DataFrame(rows, columns=["group", "target", "intact", "ablated"])
    return frame.assign(change=frame["ablated"] - frame["intact"]).iloc[rng.permutation(len(frame))]


def test_few_groups_show_each_target():
    frame = frame_of(3).sort_values("group")
    ax = cvi.pl.ablation(frame, show=False)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["intact", "g0", "g1", "g2"]
    lines = {tuple(np.round(line.get_ydata(), 3)) for line in ax.lines if len(line.get_ydata()) == 4}
    assert lines == {tuple(np.round([0.9, *(0.9 - 0.1 * g - 0.01 * t for g in range(3))], 3)) for t in range(4)}
    assert ax.get_title() == "4 targets"


def test_many_groups_show_the_largest_losses():
    ax = cvi.pl.ablation(frame_of(12), n_groups=3, show=False)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["g9", "g10", "g11"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.915, 1.015, 1.115])


@pytest.mark.parametrize(("n_groups", "n_boxes"), [(8, 9), (9, 0)])
def test_up_to_eight_groups_are_boxes(n_groups, n_boxes):
    ax = cvi.pl.ablation(frame_of(n_groups), show=False)
    assert len(ax.get_xticklabels()) == n_boxes or not n_boxes
    assert len(ax.patches) == (0 if n_boxes else 9)


def test_a_single_target_is_named():
    assert cvi.pl.ablation(frame_of(9, n_targets=1), show=False).get_title() == "t0"


def test_long_names_and_small_losses_do_not_overlap(overlapping):
    frame = frame_of(8)
    ax = cvi.pl.ablation(frame.assign(group="chr1:1000000-2000000 " + frame["group"]), show=False)
    assert not overlapping(*ax.get_xticklabels())
    frame = frame_of(9)
    ax = cvi.pl.ablation(frame.assign(change=frame["change"] / 700), show=False)
    assert not overlapping(*ax.get_xticklabels())


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (pd.DataFrame({"group": [1]}), {}, KeyError, "Pass what `cvi.tl.ablate` returned"),
        (frame_of(2), {"n_groups": 0}, ValueError, "`n_groups`"),
        (frame_of(2).assign(intact=np.nan), {}, ValueError, "a target with a score, found none"),
    ],
)
def test_bad_input(frame, options, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.ablation(frame, **options)
