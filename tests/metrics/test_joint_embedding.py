from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scipy.stats import chisquare, entropy
from sklearn.linear_model import LinearRegression
from sklearn.metrics import normalized_mutual_info_score, silhouette_samples

from couplevi.metrics import _joint_embedding as module
from couplevi.metrics import joint_embedding

SCORES = ["nmi", "label_asw", "batch_asw", "graph_connectivity", "cell_cycle", "trajectory", "ilisi", "kbet"]
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "metrics.md"
OF_LABELS = ["nmi", "label_asw", "batch_asw", "graph_connectivity", "kbet"]


def values(*args, **kwargs):
    return joint_embedding(*args, **kwargs).set_index("score").value


def counts(*args, **kwargs):
    return joint_embedding(*args, **kwargs).set_index("score").n


def planted(n=240, distance=20.0, shift=0.0, seed=0):
    """Three labels and two batches that know nothing of each other: latents, labels, batches."""
    rng = np.random.default_rng(seed)
    y, b = rng.integers(3, size=n), rng.integers(2, size=n)
    z = rng.normal(size=(n, 4)) + distance * np.eye(4)[y]
    z[:, 3] += shift * b
    return z, np.array(["B", "NK", "T"])[y], np.array(["one", "two"])[b]


def curve(n=200, seed=0):
    """A bent line with a little noise, and the position on it."""
    rng = np.random.default_rng(seed)
    t = rng.permutation(np.linspace(0, 1, n))
    z = np.column_stack([np.cos(2 * t), np.sin(2 * t), rng.normal(size=n) / 100])
    return z, t


def test_a_frame_with_a_row_for_each_score():
    z, y, b = planted(60)
    frame = joint_embedding(z, y, b, z[:, :2], z[:, 3])
    assert list(frame) == ["score", "value", "n"]
    assert frame.score.tolist() == [*SCORES, "mean4", "mean"]
    assert frame.value.notna().drop(SCORES.index("kbet")).all()
    assert frame.value.dropna().between(0, 1).all()
    assert (frame.n == 0).tolist() == frame.value.isna().tolist()


def test_clusters_in_which_batches_are_mixed_are_nearly_perfect():
    z, y, b = planted()
    found = values(z, y, b, z[:, :2], None)
    assert found["nmi"] == pytest.approx(1)
    assert found["graph_connectivity"] == 1
    assert found["cell_cycle"] == pytest.approx(1)
    assert (found[["label_asw", "batch_asw", "ilisi", "kbet"]] > 0.85).all()
    assert np.isnan(found["trajectory"])
    assert found["mean4"] == pytest.approx(found[SCORES[:4]].mean())
    assert found["mean"] == pytest.approx(found[SCORES].mean())


def test_batches_that_lie_apart_are_seen_by_the_scores_of_batches():
    z, y, b = planted()
    apart, _, _ = planted(shift=30)
    mixed, found = values(z, y, b), values(apart, y, b)
    assert (found[["ilisi", "kbet"]] < 0.01).all()
    assert found["batch_asw"] < 0.15
    assert found["nmi"] < mixed["nmi"]
    assert found["label_asw"] < mixed["label_asw"]
    # in two parts of each label, the larger one counts
    shares = [max((b[y == label] == "one").mean(), (b[y == label] == "two").mean()) for label in np.unique(y)]
    assert found["graph_connectivity"] == pytest.approx(np.mean(shares))


def test_labels_that_were_shuffled_are_at_chance():
    z, y, b = planted()
    shuffled = np.random.default_rng(1).permutation(y)
    found = values(z, shuffled, b)
    assert found["nmi"] < 0.05
    assert found["label_asw"] == pytest.approx(0.5, abs=0.03)
    assert found["graph_connectivity"] < 0.6
    assert found["ilisi"] == values(z, y, b)["ilisi"]


def test_order_of_cells_names_and_place_do_not_matter():
    z, y, b = planted(distance=3)
    phases, time = z[:, :2] + np.random.default_rng(1).normal(size=(len(z), 2)), z[:, 0]
    order = np.random.default_rng(0).permutation(len(z))
    found = values(z, y, b, phases, time)
    other = values(z[order], y[order], b[order], phases[order], time[order])
    np.testing.assert_allclose(found.drop(["nmi", "mean4", "mean"]), other.drop(["nmi", "mean4", "mean"]), atol=1e-6)
    assert other["nmi"] == pytest.approx(found["nmi"], abs=0.05)  # Leiden goes through the cells one by one
    renamed = values(z[:, ::-1] + 7, pd.Series(y).map({"T": 1, "B": 2, "NK": 3}), pd.Categorical(b), phases, time)
    np.testing.assert_allclose(found, renamed, atol=1e-6)
    pd.testing.assert_series_equal(found, values(z, y, b, phases, time))  # deterministic


@pytest.mark.parametrize("missing", [None, np.nan, "unknown", ""])
def test_cells_without_a_label_are_as_if_they_were_not_there(missing):
    z, y, b = planted(distance=3)
    known = np.arange(len(z)) % 5 > 0
    labels = np.where(known, y.astype(object), missing)
    frame = joint_embedding(z, labels, b).set_index("score")
    alone = joint_embedding(z[known], y[known], b[known]).set_index("score")
    pd.testing.assert_frame_equal(frame.loc[OF_LABELS], alone.loc[OF_LABELS])
    assert frame.n["nmi"] == frame.n["label_asw"] == known.sum()
    assert frame.n["ilisi"] == frame.n["mean"] == len(z)


def test_cells_without_a_batch_count_for_labels_alone():
    z, y, b = planted(distance=3)
    known = np.arange(len(z)) % 5 > 0
    batch = np.where(known, b.astype(object), None)
    frame = joint_embedding(z, y, batch, z[:, :2]).set_index("score")
    alone = joint_embedding(z[known], y[known], b[known], z[known, :2]).set_index("score")
    of_batches = ["batch_asw", "ilisi", "kbet", "cell_cycle"]
    pd.testing.assert_frame_equal(frame.loc[of_batches], alone.loc[of_batches])
    assert frame.n[of_batches].tolist() == [known.sum()] * 4
    assert frame.n["nmi"] == len(z)


def test_without_batches_or_with_one_their_scores_are_missing():
    z, y, _ = planted(60)
    for batch in (None, np.full(60, "one"), np.full(60, None)):
        found = values(z, y, batch)
        assert found[["batch_asw", "ilisi", "kbet", "mean4"]].isna().all()
        assert found["mean"] == pytest.approx(found[["nmi", "label_asw", "graph_connectivity"]].mean())


def test_a_label_in_one_batch_is_left_out_of_scores_within_labels():
    z, y, b = planted(shift=2)
    b[y == "T"] = "one"
    frame = joint_embedding(z, y, b).set_index("score")
    rest = joint_embedding(z[y != "T"], y[y != "T"], b[y != "T"]).set_index("score")
    pd.testing.assert_frame_equal(frame.loc[["batch_asw", "kbet"]], rest.loc[["batch_asw", "kbet"]])
    assert frame.n["batch_asw"] == (y != "T").sum()
    assert frame.n["ilisi"] == len(z)
    assert frame.value["ilisi"] < rest.value["ilisi"]  # its neighbourhoods have one batch
    b[:] = np.where(y == "T", "one", "two")
    assert values(z, y, b)[["batch_asw", "kbet"]].isna().all()


def test_one_label_says_nothing_of_labels():
    z, _, b = planted(distance=0)
    found = values(z, np.full(len(z), "T"), b)
    assert found[["nmi", "label_asw", "mean4"]].isna().all()
    assert found["graph_connectivity"] == 1
    assert (found[["batch_asw", "ilisi", "kbet"]] > 0.8).all()
    assert np.isnan(values(z, np.arange(len(z)), b)["label_asw"])  # one label per cell
    assert values(z, np.full(len(z), None), b)[[*OF_LABELS, "mean4"]].isna().all()


@pytest.mark.parametrize("n", [1, 2, 9])
def test_fewer_than_ten_cells_have_no_score(n):
    z, y, b = planted(n)
    frame = joint_embedding(z, y, b, z[:, :2], z[:, 0])
    assert frame.value.isna().all()
    assert (frame.n == 0).all()


@pytest.mark.parametrize("n", [10, 11, 15, 16])
def test_few_cells_have_scores(n):
    z, _, _ = planted(n)
    label, batch = np.arange(n) % 2, np.arange(n) // 2 % 2
    found = values(z, label, batch, z[:, :2], z[:, 0])
    assert found[["nmi", "label_asw", "graph_connectivity", "trajectory", "ilisi"]].between(0, 1).all()
    assert found[["batch_asw", "kbet"]].isna().all()  # labels of fewer than 10 and 30 cells
    assert np.isnan(values(z, label, None, z[:, :2])["cell_cycle"]) == (n < 4 + 10)


def test_cells_at_one_place():
    """The state of a model that collapsed; scanpy warns of distances of 0."""
    n = 80
    found = values(np.zeros((n, 2)), np.arange(n) % 2, np.arange(n) // 2 % 2, np.random.rand(n, 2), np.arange(n))
    assert found["label_asw"] == 0.5
    assert found["cell_cycle"] == 0
    assert np.isnan(found["trajectory"])
    z, t = curve(40)
    repeated = values(np.repeat(z, 4, axis=0), np.arange(160) % 2, np.arange(160) // 2 % 2, None, np.repeat(t, 4))
    assert repeated.dropna().between(0, 1).all()


def test_batch_asw_by_hand():
    """Labels with fewer than 10 cells, or as many batches as cells, are left out; each other label counts the same."""
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "few", "each"], [40, 20, 9, 12])
    b = rng.integers(2, size=len(y))
    b[y == "each"] = np.arange(12)
    z = rng.normal(size=(len(y), 3)) + 0.5 * b[:, None]
    frame = joint_embedding(z, y, b).set_index("score")
    expected = [1 - np.abs(silhouette_samples(z[y == label], b[y == label])).mean() for label in ("a", "b")]
    assert frame.value["batch_asw"] == pytest.approx(np.mean(expected))
    assert frame.n["batch_asw"] == 60
    assert frame.value["label_asw"] == pytest.approx((silhouette_samples(z, y).mean() + 1) / 2)


def test_kbet_is_its_definition_by_loops():
    z, y, b = planted(distance=1, shift=2)
    b[:20] = "three"
    rates = []
    for label in np.unique(y):
        x, c = z[y == label], b[y == label]
        names, size = np.unique(c, return_counts=True)
        k = min(70, max(10, int(np.floor(size.mean() / 4))))
        near = np.argsort(cdist(x, x), axis=1)[:, :k]
        observed = [[(c[row] == name).sum() for name in names] for row in near]
        rates.append(np.mean([chisquare(row, size / size.sum() * k).pvalue >= 0.05 for row in observed]))
    frame = joint_embedding(z, y, b).set_index("score")
    assert 0.1 < frame.value["kbet"] < 0.9
    assert frame.value["kbet"] == pytest.approx(np.mean(rates))
    assert frame.n["kbet"] == len(z)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_weights_of_neighbours_have_the_perplexity(scale):
    distance = np.sort(np.random.default_rng(0).random((30, 89)) + 3, axis=1) * scale
    weights = module._weights(distance, 30)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(-(weights * np.log(weights)).sum(axis=1)), 30, rtol=1e-4)
    ratio = np.log(weights[:, :1] / weights) / (distance - distance[:, :1] + 1e-300)  # exponential in the distance
    np.testing.assert_allclose(ratio[:, 1:], ratio[:, -1:] * np.ones(88), rtol=1e-6)


@pytest.mark.parametrize("n", [50, 200])
def test_ilisi_is_its_definition_by_loops(n):
    """Of 90 neighbours, or all, with the cell itself among them but without weight."""
    rng = np.random.default_rng(0)
    z, b = rng.normal(size=(n, 3)), rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    k, index = min(90, n), []
    for distance in cdist(z, z):
        near = np.argsort(distance)[1:k]
        weights = lambda beta, d=distance[near]: softmax(-beta * d)
        beta = brentq(lambda beta, w=weights: entropy(w(beta)) - np.log(k // 3), 1e-9, 1e3)
        index.append(1 / np.sum(np.bincount(b[near], weights(beta)) ** 2))
    assert values(z, np.full(n, "T"), b)["ilisi"] == pytest.approx((np.median(index) - 1) / 2, abs=1e-4)


def test_cell_cycle_is_the_adjusted_share_of_a_linear_regression_in_each_batch():
    z, y, b = planted()
    rng = np.random.default_rng(1)
    phases = z[:, :2] * [1, 3] + 4 * rng.normal(size=(len(z), 2)) + 50 * (b == "two")[:, None]
    shares = []
    for batch in np.unique(b):
        x, target, n = z[b == batch], phases[b == batch], (b == batch).sum()
        for j in range(2):
            share = LinearRegression().fit(x, target[:, j]).score(x, target[:, j])
            shares.append(1 - (1 - share) * (n - 1) / (n - 5))
    found = values(z, y, b, pd.DataFrame(phases, columns=["S_score", "G2M_score"]))
    assert 0.3 < found["cell_cycle"] == pytest.approx(np.mean(shares))
    assert values(z, y, None, phases)["cell_cycle"] < found["cell_cycle"]  # batches differ, the embedding does not


def test_noise_in_many_coordinates_explains_no_cell_cycle():
    rng = np.random.default_rng(0)
    z, phases = rng.normal(size=(100, 50)), rng.normal(size=(100, 2))
    assert values(z, np.arange(100) % 2, None, phases)["cell_cycle"] < 0.2  # 0.5 if it were not adjusted
    doubled = np.hstack([z, z])  # as many directions as before
    frame = joint_embedding(np.hstack([z[:, :20]] * 2), np.arange(100) % 2, None, z[:, :2] + phases)
    once = joint_embedding(z[:, :20], np.arange(100) % 2, None, z[:, :2] + phases)
    assert frame.value[4] == pytest.approx(once.value[4])
    assert np.isnan(values(doubled, np.arange(100) % 2, None, phases)["cell_cycle"])  # fewer cells than coordinates


def test_cell_cycle_leaves_out_what_is_missing_or_constant():
    z, y, b = planted()
    phases = np.column_stack([z[:, 0] + np.random.default_rng(0).normal(size=len(z)), np.ones(len(z))])
    single = values(z, y, b, phases)["cell_cycle"]
    assert single > 0.5
    phases[:30, 1] = np.nan
    frame = joint_embedding(z, y, b, phases).set_index("score")
    assert frame.n["cell_cycle"] == len(z) - 30
    assert frame.value["cell_cycle"] == values(z[30:], y[30:], b[30:], phases[30:])["cell_cycle"]
    assert np.isnan(values(z, y, b, np.ones((len(z), 2)))["cell_cycle"])
    phases[b == "two"] = np.nan
    assert counts(z, y, b, phases)["cell_cycle"] == (~np.isnan(phases).any(axis=1)).sum()


def test_trajectory_is_found_again_along_a_curve():
    z, t = curve()
    y = np.where(t > 0.5, "late", "early")
    assert values(z, y, pseudotime=t)["trajectory"] > 0.99
    assert values(z, y, pseudotime=1 - t)["trajectory"] > 0.99  # from the other end
    assert values(z, y, pseudotime=np.exp(5 * t))["trajectory"] == values(z, y, pseudotime=t)["trajectory"]
    noise = np.random.default_rng(3).permutation(t)
    assert values(z, y, pseudotime=noise)["trajectory"] == pytest.approx(0.5, abs=0.2)
    # from the middle both ends are as late
    assert values(z, y, pseudotime=np.where(np.abs(t - 0.5) < 0.01, -1, t))["trajectory"] < 0.7


def test_nothing_global_changes():
    z, t = curve(40)
    printed, state = np.get_printoptions(), np.random.get_state()[1].copy()
    values(z, t > 0.5, pseudotime=t)
    assert np.get_printoptions() == printed
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_trajectory_is_over_the_cells_that_have_pseudotime():
    z, t = curve()
    y = np.where(t > 0.5, "late", "early")
    some = np.where(np.arange(200) % 4 > 0, t, np.nan)
    known = ~np.isnan(some)
    frame = joint_embedding(z, y, pseudotime=pd.Series(some)).set_index("score")
    assert frame.n["trajectory"] == 150
    assert frame.value["trajectory"] == values(z[known], y[known], pseudotime=t[known])["trajectory"]
    assert np.isnan(values(z, y, pseudotime=np.ones(200))["trajectory"])


def test_cells_that_are_not_connected_with_the_root_have_diffusion_pseudotime_0():
    """The late half is torn off: its cells rank before the early ones, which lowers the score below that of chance."""
    z, t = curve()
    y = np.where(t > 0.5, "late", "early")
    z[t > 0.5] += 1000
    again = module._diffusion_pseudotime(z, int(t.argmin()))
    assert (again[t > 0.5] == 0).all()
    assert (again[t < 0.5] > 0).sum() == 99
    assert values(z, y, pseudotime=t)["trajectory"] < 0.4


def test_the_root_is_in_the_middle_of_the_cells_with_the_smallest_pseudotime():
    x = np.array([[0.0], [4.0], [1.0], [9.0]])
    assert module._first(x, np.array([0.0, 0.0, 0.0, 1.0])) == 2
    assert module._first(x, np.array([2.0, 2.0, 2.0, 1.0])) == 3


def unequal():
    """Four labels and three batches of unequal size that overlap."""
    rng = np.random.default_rng(0)
    y, b = rng.choice(4, size=400, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(3, size=400, p=[0.5, 0.3, 0.2])
    z = rng.normal(size=(400, 4))
    z += 2.5 * rng.normal(size=(4, 4))[y]
    z[:, 3] += 0.6 * b
    return z, y, b


def test_scores_are_those_of_scib_metrics():
    """Of scib-metrics 0.5.10 with exact neighbours, 15 for the clustering (at 10 resolutions from 0.2 to 2) and 90 for
    iLISI; kBET is its `kbet` on the neighbours within each label. Its `kbet_per_label`, by diffusion distance, is 0.904,
    and its `graph_connectivity`, along directed edges, 0.998.
    """
    found = values(*unequal())
    for name, value in {"label_asw": 0.743863, "batch_asw": 0.904129, "ilisi": 0.727540, "kbet": 0.896938}.items():
        assert found[name] == pytest.approx(value, abs=2e-6)
    assert found["nmi"] == pytest.approx(0.953108, abs=0.01)
    assert found["graph_connectivity"] == pytest.approx(0.998252, abs=0.005)


def test_nmi_is_the_best_of_the_clusterings():
    z, y, _ = unequal()
    clusterings = list(module._clusterings(module._graph(z)))
    scores = [normalized_mutual_info_score(y, clusters) for clusters in clusterings]
    assert len(scores) == 8
    assert clusterings[-1].nunique() > clusterings[0].nunique()
    assert values(z, y)["nmi"] == max(scores) > min(scores)


@pytest.mark.filterwarnings("ignore:var_names are not unique")
@pytest.mark.filterwarnings("ignore:Cannot join columns with the same name")
def test_scores_of_real_cells(data_folder):
    """Proteins of two donors, log1p and centred per cell. The first four by the project's acceptance script, the others by
    scib-metrics 0.5.10 as above.
    """
    mdata = md.read_h5mu(data_folder / "bmmc_cite_2donor.h5mu")
    assert not mdata.obs["lineage"].isin(["other"]).any()
    z = np.log1p(mdata["protein"].X.toarray() if hasattr(mdata["protein"].X, "toarray") else mdata["protein"].X)
    z = z - z.mean(axis=1, keepdims=True)
    frame = joint_embedding(z, mdata.obs["lineage"], mdata.obs["batch"]).set_index("score")
    exact = {"label_asw": 0.643679, "batch_asw": 0.904970, "ilisi": 0.423604, "kbet": 0.620038}
    for name, value in exact.items():
        assert frame.value[name] == pytest.approx(value, abs=1e-4)
    of_graph = {"nmi": 0.843908, "graph_connectivity": 0.965530, "mean4": 0.839522}
    for name, value in of_graph.items():
        assert frame.value[name] == pytest.approx(value, abs=0.01)
    assert frame.n[["nmi", "batch_asw", "ilisi"]].tolist() == [600, 588, 600]  # 12 cells of rare lineages


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_latents_that_are_not_finite_are_refused(bad):
    z, y, b = planted(60)
    z[:7, 2] = bad
    with pytest.raises(ValueError, match="finite values in `z`, found 7 of 60 rows with NaN or inf.* Leave these"):
        joint_embedding(z, y, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.zeros(60)}, r"`z` of shape \(n_cells, n_latent\) with at least one cell, found shape \(60,\)"),
        ({"z": np.zeros((0, 2))}, "at least one cell"),
        ({"labels": ["T"] * 59}, "one value of `labels` per row, found 59 for 60 rows"),
        ({"labels": np.zeros((60, 2))}, "one label per cell"),
        ({"batch": ["one"] * 61}, "one value of `batch` per row, found 61 for 60 rows"),
        ({"cell_cycle": np.zeros(60)}, r"`cell_cycle` with 60 rows and 2 columns, found shape \(60, 1\)"),
        ({"cell_cycle": np.zeros((2, 60))}, r"`cell_cycle` with 60 rows and 2 columns, found shape \(2, 60\)"),
        ({"cell_cycle": np.full((60, 2), np.inf)}, "finite values or NaN in `cell_cycle`, found 120 infinite"),
        ({"pseudotime": np.zeros(59)}, r"`pseudotime` with 60 rows and 1 columns, found shape \(59, 1\)"),
        ({"pseudotime": np.full(60, -np.inf)}, "finite values or NaN in `pseudotime`, found 60 infinite"),
    ],
)
def test_joint_embedding_refuses(change, message):
    z, y, b = planted(60)
    with pytest.raises(ValueError, match=message):
        joint_embedding(**{"z": z, "labels": y, "batch": b, **change})


@pytest.mark.skipif(not GUIDE.is_file(), reason="the tests are not in a clone")
def test_the_guide_has_a_line_for_each_score():
    table = GUIDE.read_text().split("## Joint embeddings")[1]
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == [*SCORES, "mean4", "mean"]


def test_neighbours_of_many_cells_are_exact():
    x = np.random.default_rng(0).normal(size=(8300, 3))  # above 8,192 scanpy leaves the choice to umap
    distances = module._graph(x).obsp["distances"]
    for cell in (0, 4000, 8299):
        nearest = np.argsort(cdist(x[[cell]], x)[0])[1:15]
        assert set(distances[cell].indices) == set(nearest)
