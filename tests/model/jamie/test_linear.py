import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch
from small import make_jamie
from torch.distributions import Normal

from couplevi.model.jamie.linear import CAUTION, fit_linear_paths, links_inside, weigh_linear_paths
from couplevi.model.jamie.training import training_data

ROUTE = ("rna", "ephys")


@pytest.fixture
def untrained(paired):
    """Module that is prepared, and its data."""
    model = make_jamie(paired)
    registered = model._registered()
    dataset, _ = training_data(model.module, registered, model.n_components_, model.settings_)
    model.module.eval()
    return model.module, dataset


def test_links_are_those_with_both_ends_in_the_units(untrained):
    _, dataset = untrained
    units = np.array([3, 1, 8])
    for pair in (ROUTE, ROUTE[::-1]):
        ends = links_inside(dataset, pair, units)
        column = {m: dataset.units[units, i] for i, m in enumerate(dataset.modalities)}
        found = set(zip(ends.places["rna"], ends.places["ephys"], strict=True))
        assert found == set(zip(column["rna"], column["ephys"], strict=True))
        np.testing.assert_array_equal(ends.confidence, 1)


def test_links_count_by_their_confidence(untrained):
    _, dataset = untrained
    [(a, b)] = dataset.links
    table = dataset.links[a, b].matrix
    table.data[:] = np.linspace(0.1, 1, table.nnz)
    ends = links_inside(dataset, (b, a), np.arange(len(dataset)))
    expected = table[ends.places[a], ends.places[b]]
    np.testing.assert_allclose(ends.confidence, expected, rtol=1e-6)


def test_a_path_predicts_what_is_linear(untrained):
    module, dataset = untrained
    units = np.arange(len(dataset))
    ends = links_inside(dataset, ROUTE, units)
    x = np.asarray(dataset.rows["rna"][ends.places["rna"]])
    y = x @ np.random.default_rng(0).normal(size=(x.shape[1], 8)).astype(np.float32)
    dataset.rows["ephys"] = y[np.argsort(ends.places["ephys"])]
    fit_linear_paths(module, dataset, units)
    found = module.linear_path(*ROUTE)(torch.from_numpy(x), *[torch.zeros(len(x), 0)] * 2).numpy()
    assert (found - y).std() < 0.05 * y.std()


@pytest.mark.parametrize(("best", "found"), [(0.0, 0.0), (0.6, 0.6), (-1.0, 0.0), (2.0, 1.0)])
def test_the_share_is_a_third_of_that_with_the_smallest_error(untrained, monkeypatch, best, found):
    module, dataset = untrained
    units = np.arange(len(dataset))
    fit_linear_paths(module, dataset, units)
    ends = links_inside(dataset, ROUTE, units)
    read, measured = (torch.from_numpy(np.asarray(dataset.rows[m][ends.places[m]])) for m in ROUTE)
    path = module.linear_path(*ROUTE)(read, *[torch.zeros(len(read), 0)] * 2)
    decoded = Normal((measured - best * path) / (1 - best), 1.0)  # which that share of the path turns into the measured
    other = Normal(torch.zeros(len(read), read.shape[1]), 1.0)
    monkeypatch.setattr(type(module), "decode", lambda self, target, *_: decoded if target == "ephys" else other)
    weigh_linear_paths(module, dataset, units)
    assert float(module.linear_path(*ROUTE).share) == pytest.approx(CAUTION * found, abs=1e-5)


def test_few_links_choose_no_share(untrained):
    module, dataset = untrained
    fit_linear_paths(module, dataset, np.arange(len(dataset)))
    weigh_linear_paths(module, dataset, np.arange(19))
    assert all(float(module.linear_path(*pair).share) == 0 for pair in module.pairs)


def test_without_links_there_is_no_path(untrained):
    module, dataset = untrained
    fit_linear_paths(module, dataset, np.arange(1))
    assert all(float(module.linear_path(*pair).weight.abs().sum()) == 0 for pair in module.pairs)


def test_units_that_are_linear_are_imputed_by_the_path():
    """Of modalities that hang together linearly the path has a share, and imputing is better with it."""
    rng = np.random.default_rng(0)
    state = rng.normal(size=(150, 20))
    values = {"rna": state @ rng.normal(size=(20, 30)), "ephys": state @ rng.normal(size=(20, 8))}
    frames = {
        m: pd.DataFrame(x.astype(np.float32)).rename(index="cell{}".format, columns=(m + "{}").format)
        for m, x in values.items()
    }
    mdata = md.MuData({m: ad.AnnData(frame) for m, frame in frames.items()})
    train = mdata[:120].copy()
    model = make_jamie(train)
    model.train(max_epochs=200, enable_progress_bar=False)
    share = model.module.linear_path(*ROUTE).share
    assert share > 0.1
    errors = []
    for kept in (float(share), 0.0):
        share.fill_(kept)
        imputed = model.impute(adata=mdata, source="rna", target="ephys").X[120:]
        errors.append(np.square(imputed - values["ephys"][120:]).mean())
    assert errors[0] < 0.9 * errors[1]
