import numpy as np

from couplevi.tl._write_jamie import write_jamie


def test_what_is_written_is_what_the_model_says(fitted):
    model, mdata = fitted
    copy = mdata.copy()
    for slots in (copy.obsm, copy["rna"].obsm, copy["ephys"].obsm):
        for key in [key for key in slots if key.startswith("X_jamie")]:
            del slots[key]
    write_jamie(copy, model, "k", model.modalities_, model.settings_)
    np.testing.assert_array_equal(copy.obsm["X_k_shared"], model.get_latent_representation(mdata))
    np.testing.assert_array_equal(copy.obsm["X_k"], model.get_latent_representation(mdata, part="joint"))
    for m in model.modalities_:
        np.testing.assert_array_equal(copy[m].obsm["X_k"], model.get_latent_representation(mdata, modality=m))
    assert copy.uns["k"]["preset"] == "custom"
    assert copy.uns["k"]["var_names"]["ephys"] == list(mdata["ephys"].var_names)
