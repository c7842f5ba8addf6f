import numpy as np
import pandas as pd


def test_probabilities_are_the_mean_over_arms(pruned):
    mean = pruned.predict_probabilities()
    np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-5)
    arms = [pruned.predict_probabilities(arm=a) for a in (0, 1)]
    np.testing.assert_allclose(mean, (arms[0] + arms[1]) / 2, atol=1e-6)
    assert (pruned.predict().astype(str) == mean.idxmax(axis=1)).all()


def test_cells_of_one_modality_are_predicted_by_it_alone(joint):
    model, mdata = joint
    only = mdata.obs_names.difference(mdata["b"].obs_names)
    cells = model.predict_probabilities()
    alone = model.predict_probabilities(mdata["a"], modality="a")
    pd.testing.assert_frame_equal(cells.loc[only], alone.loc[only])
    pd.testing.assert_frame_equal(model.predict_probabilities(mdata, modality="a").dropna(), alone)


def test_states_of_modalities_side_by_side(joint):
    model, mdata = joint
    state = model.get_latent_representation()
    assert state.shape == (mdata.n_obs, 6)
    own = model.get_latent_representation(modality="b")
    rows = mdata.obs_names.get_indexer(mdata["b"].obs_names)
    np.testing.assert_array_equal(state[rows, 3:], own)
    assert np.isnan(state[~mdata.obs_names.isin(mdata["b"].obs_names), 3:]).all()


def test_consensus_matrix_of_agreeing_arms_is_the_identity(pruned, adata):
    matrix = pruned.consensus_matrix(adata[:100].copy())
    assert list(matrix.index) == ["0", "1", "2"]
    np.testing.assert_allclose(matrix, np.eye(3), atol=0.1)
