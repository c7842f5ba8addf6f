import copy

import mudata as md
import numpy as np
import pytest
import torch
from small import BOTH, make_jamie

import couplevi as cvi
from couplevi.model.jamie.inference import errors, imputed, latents_of_cells, latents_of_profiles, posteriors
from couplevi.model.jamie.uncertainty import Uncertainty
from couplevi.registry import Registered, registered_keys


def test_latents_are_in_the_order_of_the_names(fitted):
    model, mdata = fitted
    for m in BOTH:
        z = model.get_latent_representation(modality=m)
        assert z.shape == (mdata[m].n_obs, 32)
        assert z.dtype == np.float32
        np.testing.assert_allclose(z[[5, 3]], model.get_latent_representation(modality=m, indices=[5, 3]), atol=1e-5)
    np.testing.assert_array_equal(
        model.get_latent_representation(indices=[7, 2]), model.get_latent_representation()[[7, 2]]
    )


def test_latent_of_a_cell_is_the_weighted_mean_over_its_modalities(fitted):
    model, mdata = fitted
    w = {m: x.item() for m, x in model.module.aggregation_weights().items()}
    z = {m: model.get_latent_representation(modality=m) for m in BOTH}
    cells = model.get_latent_representation()
    for i, name in enumerate(mdata.obs_names):
        rows = {m: mdata[m].obs_names.get_indexer([name])[0] for m in BOTH}
        measured = {m: r for m, r in rows.items() if r >= 0}
        # with its own pair alone, both aggregates are the weighted mean of the two
        expected = sum(w[m] * z[m][r] for m, r in measured.items()) / sum(w[m] for m in measured)
        np.testing.assert_allclose(cells[i], expected, atol=1e-5)


def test_latent_of_a_cell_uses_all_its_links(paired, quick):
    """Half a link to another cell pulls by half."""
    matrix = np.zeros((40, 40), dtype=np.float32)
    matrix[0, 1] = 0.5
    cvi.pp.link(paired, modalities=BOTH, pairs=matrix)
    model = make_jamie(paired, correspondence_key="correspondence")
    model.train(**quick)
    w = {m: x.item() for m, x in model.module.aggregation_weights().items()}
    z = {m: model.get_latent_representation(modality=m).astype(np.float64) for m in BOTH}
    aggregated = (w["rna"] * z["rna"][0] + 0.5 * w["ephys"] * z["ephys"][1]) / (w["rna"] + 0.5 * w["ephys"])
    expected = (w["rna"] * aggregated + w["ephys"] * z["ephys"][0]) / (w["rna"] + w["ephys"])
    np.testing.assert_allclose(model.get_latent_representation()[0], expected, atol=1e-5)


def test_cell_with_none_of_the_modalities_has_no_latent(fitted):
    model, mdata = fitted
    with_other = md.MuData({"rna": mdata["rna"][:5].copy(), "other": mdata["ephys"][-5:].copy()})
    z = model.get_latent_representation(with_other)
    absent = ~with_other.obs_names.isin(mdata["rna"].obs_names[:5])
    assert np.isnan(z[absent]).all()
    assert np.isfinite(z[~absent]).all()


def test_sampled_latents_scatter_around_the_mean(fitted):
    model, mdata = fitted
    rna = mdata["rna"][:3]
    torch.manual_seed(0)
    draws = [model.get_latent_representation(rna, modality="rna", give_mean=False) for _ in range(300)]
    mean = model.get_latent_representation(rna, modality="rna")
    assert np.std(draws, axis=0).min() > 0
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=0.35)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_results_do_not_depend_on_batches(fitted, batch_size):
    model, mdata = fitted
    for m in BOTH:
        np.testing.assert_allclose(
            model.get_latent_representation(modality=m, batch_size=batch_size),
            model.get_latent_representation(modality=m),
            atol=1e-5,
        )
    np.testing.assert_allclose(
        model.impute(source="rna", target="ephys", batch_size=batch_size).X,
        model.impute(source="rna", target="ephys").X,
        rtol=1e-3,
        atol=1e-3,
    )


def test_imputation_is_the_decoder_of_the_target_in_its_own_units(fitted):
    model, mdata = fitted
    imputed = model.impute(source="rna", target="ephys")
    z = torch.from_numpy(model.get_latent_representation(modality="rna"))
    with torch.inference_mode():
        h = model.module.decode("ephys", z, torch.zeros(len(z), 0)).mean.numpy()
    ephys = mdata["ephys"].X
    np.testing.assert_allclose(imputed.X, h * ephys.std(axis=0) + ephys.mean(axis=0), rtol=1e-3, atol=1e-3)
    assert imputed.obs_names.equals(mdata["rna"].obs_names)
    assert imputed.var_names.equals(mdata["ephys"].var_names)
    assert imputed.X.dtype == np.float32


def test_errors_and_bound(fitted):
    model, mdata = fitted
    errors = model.get_reconstruction_error()
    for m, layer in (("rna", "log1p"), ("ephys", None)):
        x = mdata[m].layers[layer] if layer else mdata[m].X
        z, own = (torch.from_numpy(model.get_latent_representation(modality=m, part=p)) for p in ("shared", "private"))
        with torch.inference_mode():
            h = model.module.decode(m, z, torch.zeros(len(z), 0), own).mean.numpy()
        decoded = model.module.observation(m).preparation.record().inverse(h)
        expected = np.square((x - decoded) / x.std(axis=0)).mean()
        assert errors[m] == pytest.approx(expected, rel=1e-3)
    assert -1 < model.get_elbo() + np.mean(list(errors.values())) < 0  # the divergence weighs little
    assert model.get_elbo(mdata) == pytest.approx(model.get_elbo())


@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_batch_sizes_are_whole_numbers_above_zero(fitted, batch_size):
    model, _ = fitted
    for call in (model.train, model.get_latent_representation, model.get_elbo):
        with pytest.raises(ValueError, match="`batch_size` to be a whole number of at least 1"):
            call(batch_size=batch_size)


def test_data_without_distinct_cells_or_a_modality(fitted):
    model, mdata = fitted
    double = mdata.copy()
    double["rna"].obs_names = ["same"] * double["rna"].n_obs
    with pytest.raises(ValueError, match=r"each cell once in `mdata\['rna'\].obs_names`"):
        model.get_latent_representation(double)
    with pytest.raises(KeyError, match=r"`modality` to be one of \['rna'\], found 'ephys'"):
        model.get_elbo(md.MuData({"rna": mdata["rna"].copy()}))


def _latents(model, profiles, modality):
    none = np.empty((profiles.n_obs, 0), dtype=np.float32)
    return latents_of_profiles(model.module, model.reader(modality), profiles, none, True, None)


def registered(mdata, model):
    """What was set up, links and matches included."""
    keys = {kind: registered_keys(model.registry, kind) for kind in ("correspondence", "match")}
    return Registered(mdata, {m: model.reader(m) for m in model.modalities_}, keys)


@pytest.fixture
def linked(mdata):
    """A model with unequal weights, links and matches that are no pairs, and its data; not trained."""
    rng = np.random.default_rng(0)
    shape = mdata["rna"].n_obs, mdata["ephys"].n_obs
    given, inferred = (np.where(rng.random(shape) < 0.02, 0.5, 0).astype(np.float32) for _ in range(2))
    cvi.pp.link(mdata, modalities=BOTH, pairs=given)
    cvi.pp.link(mdata, modalities=BOTH, pairs=inferred, key_added="match")
    model = make_jamie(mdata, correspondence_key="correspondence", match_key="match")
    model.module.match_weight = 0.25
    with torch.no_grad():
        model.module.log_aggregation_weights.copy_(torch.tensor([0.3, -0.6]))
    return model, mdata, given, inferred


def test_latent_of_a_cell_uses_links_and_matches_of_any_direction_and_their_shares(linked):
    model, mdata, given, inferred = linked
    found = latents_of_cells(model.module, registered(mdata, model), "shared", True, None)
    z = {m: model.module.shared(_latents(model, mdata[m], m)).numpy() for m in BOTH}
    w = {"ephys": np.exp(0.3), "rna": np.exp(-0.6)}

    def bounded(p):  # a row whose sum exceeds 1 is divided by it
        return p / np.maximum(p.sum(axis=1, keepdims=True), 1)

    total, weight = np.zeros((mdata.n_obs, 4)), np.zeros((mdata.n_obs, 1))
    for own, other, p, f in (("rna", "ephys", given, inferred), ("ephys", "rna", given.T, inferred.T)):
        pull = w[other] * (0.75 * bounded(p) + 0.25 * bounded(f))
        aggregated = (w[own] * z[own] + pull @ z[other]) / (w[own] + pull.sum(axis=1, keepdims=True))
        rows = mdata.obs_names.get_indexer(mdata[own].obs_names)
        total[rows] += w[own] * aggregated
        weight[rows] += w[own]
    np.testing.assert_allclose(found, total / weight, atol=1e-5)


def test_posteriors_are_those_of_the_prepared_features_without_dropout(fitted):
    model, mdata = fitted
    model.module.train()
    none = np.empty((45, 0), dtype=np.float32)
    parts = list(posteriors(model.module, model.reader("rna"), mdata["rna"], none, 20))
    assert [(rows.start, rows.stop) for rows, *_ in parts] == [(0, 20), (20, 40), (40, 45)]
    assert not model.module.training
    record = model.module.observation("rna").preparation.record()
    expected = torch.from_numpy(record.transform(mdata["rna"].layers["log1p"]))
    torch.testing.assert_close(torch.cat([h for _, h, _, _ in parts]), expected)
    q = model.module.encode("rna", expected, torch.zeros(len(expected), 0))
    torch.testing.assert_close(torch.cat([q.scale for *_, q in parts]), q.scale.detach())


def test_imputed_values_come_with_deviations_if_these_are_asked_for(fitted):
    model, mdata = fitted
    module = copy.deepcopy(model.module)
    module.residual_variance("rna", "ephys").fill_(4.0)
    for uncertainty in (None, Uncertainty(module)):
        none = np.empty((45, 0), dtype=np.float32)
        parts = list(imputed(module, model.reader("rna"), mdata["rna"], none, "ephys", [], None, uncertainty, 30))
        mean = np.concatenate([mean for _, mean, _ in parts])
        np.testing.assert_allclose(mean, model.impute(source="rna", target="ephys").X, rtol=1e-4, atol=1e-4)
        assert all((sd is None) == (uncertainty is None) for _, _, sd in parts)
    assert min(sd.min() for _, _, sd in parts) >= 2  # the spread of the posterior comes on top


def test_errors_of_profiles_are_in_their_order_whatever_the_batch(fitted):
    model, mdata = fitted
    whole = errors(model.module, registered(mdata, model), None)
    parts = errors(model.module, registered(mdata, model), 7)
    assert list(whole) == ["ephys", "rna"]
    for m in BOTH:
        assert whole[m][0].shape == (mdata[m].n_obs,)
        for a, b in zip(whole[m], parts[m], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)
    elbo = -np.concatenate([error + model.settings_.kl_weight * kl for error, kl in whole.values()]).mean()
    assert model.get_elbo() == pytest.approx(elbo)


def test_places_are_decoded_as_the_profiles_that_lie_there(fitted):
    model, mdata = fitted
    z = model.get_latent_representation(modality="rna")
    decoded = model.decode(z, modality="ephys")
    np.testing.assert_allclose(decoded.X, model.impute(source="rna", target="ephys").X, atol=1e-5)
    assert list(decoded.var_names) == list(mdata["ephys"].var_names)


def test_places_of_the_joint_space_are_decoded_with_what_the_modality_alone_knows(fitted):
    model, mdata = fitted
    both = model.get_latent_representation(part="joint")
    shared, private = (model.get_latent_representation(part=part) for part in ("shared", "private"))
    first = model.modalities_.index("rna") * model.module.n_private
    own = torch.from_numpy(private[:, first : first + model.module.n_private])
    with torch.inference_mode():
        expected = model.module.features("rna", torch.from_numpy(shared), torch.zeros(len(shared), 0), [], own)
    np.testing.assert_allclose(model.decode(both, modality="rna", part="joint").X, expected, atol=1e-3)
    assert not np.allclose(model.decode(shared, modality="rna").X, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"modality": "atac"}, "`modality` to be one of"),
        ({"modality": "rna", "part": "private"}, "`part` to be one of"),
        ({"modality": "rna", "part": "joint"}, "of the joint space, found shape"),
    ],
)
def test_places_that_cannot_be_decoded_are_refused(fitted, call, message):
    model, _ = fitted
    with pytest.raises(ValueError, match=message):
        model.decode(np.zeros((2, 32)), **call)
