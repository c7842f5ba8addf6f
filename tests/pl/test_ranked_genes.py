import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

import couplevi as cvi
from couplevi.pl._figure import BLUE, ORANGE


class Ranked:
    """Ranks what it is given."""

    control_ = "control"

    def __init__(self, z, q, names=None):
        names = [f"g{i}" for i in range(len(z))] if names is None else names
        direction = np.where(np.less(z, 0), "down", "up")
        self.frame = pd.DataFrame({"gene": names, "z": z, "q_value": q, "direction": direction})

    def rank_genes(self, state, *, source=None, direction="both"):
        return self.frame if direction == "both" else self.frame[self.frame["direction"] == direction]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_bars_are_those_of_the_model_best_on_top(screened):
    model, _ = screened
    ax = cvi.pl.ranked_genes(model, "gene0", n_genes=12, show=False)
    frame = model.rank_genes("gene0").head(12)
    assert [t.get_text() for t in ax.get_yticklabels()] == frame["gene"].tolist()
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], frame["z"])
    np.testing.assert_allclose([bar.get_y() + bar.get_height() / 2 for bar in ax.patches], range(12))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_title() == "gene0 against control"


def test_colours_tell_the_direction_and_what_is_clear():
    ax = cvi.pl.ranked_genes(Ranked([-5, 4, -1, 0.5], [0.0, 0.049, 0.05, 0.9]), "p", show=False)
    colors = [(BLUE, 1), (ORANGE, 1), (BLUE, 0.35), (ORANGE, 0.35)]
    assert [bar.get_facecolor() for bar in ax.patches] == [to_rgba(c, a) for c, a in colors]
    assert legend(ax) == ["lower", "higher", "pale: q ≥ 0.05"]
    assert legend(cvi.pl.ranked_genes(Ranked([-5], [0.0]), "p", show=False)) == ["lower"]


@pytest.mark.parametrize(
    ("state", "bold"), [("A", ["A"]), ("B", ["B"]), ("A+B", ["A", "B", "A+B"]), ("control2", []), ("other", [])]
)
def test_what_was_perturbed_is_bold(state, bold):
    ax = cvi.pl.ranked_genes(Ranked([3, 2, 1, 1], [0] * 4, ["A", "AB", "B", "A+B"]), state, show=False)
    assert [t.get_text() for t in ax.get_yticklabels() if t.get_fontweight() == "bold"] == bold


def test_another_source_and_direction(screened):
    model, _ = screened
    ax = cvi.pl.ranked_genes(model, "gene0", source="gene1", direction="up", n_genes=5, show=False)
    frame = model.rank_genes("gene0", source="gene1", direction="up").head(5)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], frame["z"])
    assert ax.get_title() == "gene0 against gene1"
    assert legend(ax)[0] == "higher"


def test_more_genes_than_there_are():
    assert len(cvi.pl.ranked_genes(Ranked([3, 2], [0, 0]), "p", show=False).patches) == 2


@pytest.mark.parametrize("n", [1, 60])
def test_texts_do_not_overlap(n, overlapping):
    names = [f"ENSG00000{i} a long name of a feature" for i in range(n)]
    state = "a long name of a perturbation+another long name of a perturbation"
    ax = cvi.pl.ranked_genes(Ranked([2.0] * n, [0.5] * n, names), state, source=state[::-1], n_genes=n, show=False)
    texts = [*ax.get_yticklabels(), ax.title, ax.xaxis.label, *ax.get_legend().get_texts()]
    assert not overlapping(*texts)
    figure = ax.figure.bbox
    boxes = [text.get_window_extent() for text in texts]
    assert all(figure.x0 <= box.x0 and box.x1 <= figure.x1 for box in boxes)


@pytest.mark.parametrize(
    ("state", "options", "message"),
    [
        ("no", {}, "`state` to be one of"),
        ("control", {}, "to differ from `source`"),
        ("gene0", {"n_genes": 0}, "`n_genes`"),
        ("gene0", {"direction": "left"}, "`direction` to be one of"),
    ],
)
def test_bad_input(screened, state, options, message):
    with pytest.raises(ValueError, match=message):
        cvi.pl.ranked_genes(screened[0], state, **options)


def test_nothing_in_this_direction():
    with pytest.raises(ValueError, match="features that shift down, found none"):
        cvi.pl.ranked_genes(Ranked([1], [0]), "p", direction="down")
