import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.spatial.distance import jensenshannon

import couplevi as cvi

SHOWN = {"source": "rna", "target": "ephys", "labels": "cell_type"}


def test_it_is_one_minus_the_distance(imputed, both):
    axes = cvi.pl.distribution_similarity(imputed, **SHOWN, keys=["jamie", "knn"], min_cells=5, show=False)
    assert [ax.get_title().split(",")[0] for ax in axes] == ["jamie", "knn"]
    ephys = imputed["ephys"][both]
    is_a = (imputed.obs.loc[both, "cell_type"] == "A").to_numpy()
    x, y = ephys.X[is_a], ephys.layers["knn_from_rna"][is_a]
    expected = []
    for j in range(8):
        edges = np.linspace(min(x[:, j].min(), y[:, j].min()), max(x[:, j].max(), y[:, j].max()), 21)
        expected.append(1 - jensenshannon(np.histogram(x[:, j], edges)[0], np.histogram(y[:, j], edges)[0], base=2))
    line = next(line for line in axes[1].lines if line.get_label().startswith("A"))
    np.testing.assert_allclose(line.get_xdata(), np.sort(expected), atol=0.02)
    assert line.get_ydata()[0] == 1
    assert line.get_label() == f"A ({np.mean(expected):.2f})"


def test_rare_types_are_left_out(imputed, both):
    with pytest.raises(ValueError, match="a type of at least 1000 cells"):
        cvi.pl.distribution_similarity(imputed, **SHOWN, min_cells=1000)
    counts = imputed.obs.loc[both, "cell_type"].value_counts()
    for min_cells in (counts.max(), counts.min()):
        ax = cvi.pl.distribution_similarity(imputed, **SHOWN, min_cells=int(min_cells), show=False)
        shown = {line.get_label().split()[0] for line in ax.lines}
        assert shown == set(counts.index[counts >= min_cells])


def test_types_have_the_order_and_the_colours_of_the_column(imputed):
    mdata = imputed.copy()
    mdata.obs["cell_type"] = mdata.obs["cell_type"].cat.set_categories(["C", "A", "B"])
    mdata.uns["cell_type_colors"] = ["#000000", "#ff0000", "#00ff00"]
    ax = cvi.pl.distribution_similarity(mdata, **SHOWN, min_cells=1, show=False)
    shown = {line.get_label().split()[0]: to_hex(line.get_color()) for line in ax.lines}
    assert list(shown.items()) == [("C", "#000000"), ("A", "#ff0000"), ("B", "#00ff00")]


def test_cells_of_the_types_that_are_shown_are_counted(imputed, both):
    mdata = imputed.copy()
    mdata["ephys"].obs["jamie_from_rna_fitted"] = mdata["ephys"].obs_names.isin(both[:3])
    counts = mdata.obs.loc[both[3:], "cell_type"].value_counts()
    ax = cvi.pl.distribution_similarity(mdata, **SHOWN, min_cells=int(counts.max()), show=False)
    n = counts[counts == counts.max()].sum()
    assert ax.get_title().endswith(f"\n{n} cells, held out")


def test_no_imputation_is_refused(imputed):
    with pytest.raises(ValueError, match="at least one imputation in `keys`"):
        cvi.pl.distribution_similarity(imputed, **SHOWN, keys=[])
