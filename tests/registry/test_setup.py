"""Bad input is refused with a message that says what to do, and changes nothing."""

import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import couplevi as cvi

BOTH = ("rna", "ephys")


def setup(mdata, **kwargs):
    cvi.model.JAMIE.setup_mudata(mdata, **{"modalities": BOTH, **kwargs})


def refuse(mdata, error, message, **kwargs):
    before = set(mdata.uns), set(mdata.obsp), {m: (mdata[m].X, set(mdata[m].layers)) for m in mdata.mod}
    with pytest.raises(error, match=message):
        setup(mdata, **kwargs)
    assert (set(mdata.uns), set(mdata.obsp)) == before[:2]
    for m, (x, layers) in before[2].items():
        assert mdata[m].X is x
        assert set(mdata[m].layers) == layers


def test_setup_changes_nothing_but_two_identifiers(mdata):
    mdata["rna"].layers["f"] = np.asfortranarray(mdata["rna"].X)
    before = mdata.copy()
    x, order, names = mdata["rna"].X, list(mdata.mod), mdata.obs_names
    setup(mdata, layers={"rna": "f"})
    assert mdata["rna"].X is x
    assert mdata["rna"].layers["f"].flags.f_contiguous
    np.testing.assert_array_equal(mdata["rna"].X, before["rna"].X)
    assert list(mdata.mod) == order
    assert mdata.obs_names.equals(names)
    assert set(mdata.uns) - set(before.uns) == {"_scvi_uuid", "_scvi_manager_uuid"}
    assert mdata.obs.equals(before.obs)
    assert set(mdata.obsp) == set(before.obsp)


def test_anndata_is_told_how_to_become_a_mudata(mdata):
    with pytest.raises(TypeError, match=r"a MuData, found anndata.*mudata.MuData\(\{"):
        setup(mdata["rna"])
    with pytest.raises(TypeError, match="a MuData, found anndata"):
        cvi.model.JAMIE.setup_anndata(mdata["rna"])
    with pytest.raises(TypeError, match="`setup_mudata` for a MuData"):
        cvi.model.JAMIE.setup_anndata(mdata)
    with pytest.raises(TypeError, match=r"a MuData, found pandas.*read_h5mu"):
        setup(pd.DataFrame())


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"modalities": ("rna", "atac")}, KeyError, r"`modalities` to be one of \['rna', 'ephys'\], found 'atac'"),
        ({"modalities": ("rna", "rna")}, ValueError, "`modalities` to be different"),
        ({"modalities": ("rna",)}, ValueError, "at least two `modalities`, found \\['rna'\\]"),
        ({"modalities": "rna"}, TypeError, "a sequence of names"),
        ({"layers": {"rna": "counts"}}, KeyError, r"In modality 'rna': .*layers\['counts'\].*found keys \['log1p'\]"),
        ({"layers": {"atac": "x"}}, ValueError, r"`layers` for modalities .*also \['atac'\]"),
        ({"use_rep": {"rna": "X_pca"}}, KeyError, r"In modality 'rna': .*obsm\['X_pca'\]"),
        ({"layers": {"rna": "log1p"}, "use_rep": {"rna": "X_pca"}}, ValueError, "a layer or a representation"),
        ({"batch_key": "donor"}, KeyError, "column 'donor' in the `obs` of a modality"),
        ({"categorical_covariate_keys": "donor"}, TypeError, "`categorical_covariate_keys` to be a list of columns"),
        ({"correspondence_key": "links"}, KeyError, r"a matrix of links in `mdata.obsp\['links'\]`"),
        ({"match_key": "match"}, KeyError, r"a matrix of links in `mdata.obsp\['match'\]`"),
        ({"correspondence_key": {("rna", "atac"): "x"}}, ValueError, "`correspondence_key` to map pairs of"),
        ({"correspondence_key": {("rna", "ephys"): None}}, ValueError, "`correspondence_key` to map pairs of"),
        ({"layers": "log1p"}, TypeError, "`layers` to map modalities to keys, found 'log1p'"),
    ],
)
def test_bad_arguments(mdata, kwargs, error, message):
    refuse(mdata, error, message, **kwargs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_values(mdata, bad):
    mdata["ephys"].X[3, 2] = bad
    refuse(mdata, ValueError, "finite values in .* of modality 'ephys', found 1 that are NaN or infinite")


def test_missing_values_altogether(mdata):
    mdata["rna"].X = None
    refuse(mdata, ValueError, r"In modality 'rna': Expected values in `X`, found none")
    setup(mdata, layers={"rna": "log1p"})


def test_values_that_are_no_numbers(mdata):
    mdata["rna"].obsm["words"] = pd.DataFrame({"a": ["x"] * mdata["rna"].n_obs}, index=mdata["rna"].obs_names)
    message = r"modality 'rna': .*numbers in each column of `obsm\['words'\]`, found others in \['a'\]"
    refuse(mdata, TypeError, message, use_rep={"rna": "words"})


@pytest.mark.filterwarnings("ignore:.*obs_names are not unique", "ignore:Observation names are not unique")
def test_duplicate_cell_names(mdata):
    rna = mdata["rna"].copy()
    rna.obs_names = ["twice", "twice", *rna.obs_names[2:]]
    broken = md.MuData({"rna": rna, "ephys": mdata["ephys"]})
    with pytest.raises(ValueError, match=r"each cell once in `mdata\['rna'\].obs_names`, found \['twice'\] more than"):
        setup(broken)


@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:var_names are not unique")
def test_duplicate_feature_names(mdata):
    mdata["rna"].var_names = ["gene", "gene", *mdata["rna"].var_names[2:]]
    refuse(mdata, ValueError, r"each feature of .* once, found \['gene'\] more than once. Call .*var_names_make_unique")


def test_single_cell_in_a_modality(mdata):
    small = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"][:1].copy()})
    refuse(small, ValueError, "at least two cells in modality 'ephys', found 1")


def test_view(mdata):
    with pytest.raises(ValueError, match=r"found a view of another one. Pass `mdata\[...\].copy\(\)`"):
        setup(mdata[mdata.obs_names[:50]])


def test_generic_names_are_warned_about(paired):
    for m in BOTH:
        paired[m].obs_names = [str(i) for i in range(40)]
    generic = md.MuData({m: paired[m].copy() for m in BOTH})
    with pytest.warns(UserWarning, match="named by plain numbers .*'0'.*taken for the same cell"):
        setup(generic)


def test_no_linked_cell_is_warned_about():
    mdata = cvi.data.branching_manifold(40, n_features={"rna": 10, "ephys": 4}, paired=0.0)
    with pytest.warns(
        UserWarning, match="No profile .* is linked .* the same name; JAMIE and CplMixVAE also take links"
    ):
        setup(mdata)


def test_ignored_links_are_warned_about(paired):
    cvi.pp.link(paired, modalities=BOTH, hide=0.5)
    with pytest.warns(
        UserWarning, match="not used: .* Pass `correspondence_key='correspondence'` to use it; JAE links by"
    ):
        setup(paired)
    setup(paired, correspondence_key="correspondence")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (sp.csr_matrix(([-0.5], ([0], [0])), shape=(40, 40)), "values from -0.5 to -0.5"),
        (sp.csr_matrix(([1.5], ([0], [0])), shape=(40, 40)), "between 0 and 1 .* values from 1.5 to 1.5"),
        (sp.csr_matrix(([np.nan], ([0], [0])), shape=(40, 40)), "found NaN"),
        (sp.csr_matrix(([-1.0], ([0], [0])), shape=(40, 40)), "`mdata.update"),
    ],
)
def test_bad_links(paired, matrix, message):
    paired.obsp["links"] = matrix
    refuse(paired, ValueError, message, correspondence_key="links")


def test_links_the_wrong_way_round(mdata):
    cvi.pp.link(mdata, modalities=("ephys", "rna"))
    refuse(mdata, ValueError, "Name the modalities in that order", correspondence_key="correspondence")


def test_three_modalities_need_a_mapping_of_links(three_modalities):
    mdata = three_modalities.copy()
    cvi.pp.link(mdata, modalities=("ephys", "morph"), hide=0.5)
    names = ("rna", "ephys", "morph")
    refuse(
        mdata,
        ValueError,
        "`correspondence_key` to map pairs of modalities to keys when there are 3",
        modalities=names,
        correspondence_key="correspondence",
    )
    setup(mdata, modalities=names, correspondence_key={("ephys", "morph"): "correspondence"})


def test_model_needs_data_that_are_set_up(mdata):
    with pytest.raises(ValueError, match=r"Call `JAMIE.setup_mudata\(mdata, modalities=..., layers=...\)` first"):
        cvi.model.JAMIE(mdata)
    with pytest.raises(TypeError, match="a MuData"):
        cvi.model.JAMIE()


def test_data_that_scvi_tools_cannot_register(mdata):
    dotted = md.MuData({"rna.a": mdata["rna"].copy(), "ephys": mdata["ephys"].copy()})
    refuse(dotted, ValueError, "without a dot, .* found 'rna.a'", modalities=("rna.a", "ephys"))
    view = md.MuData({"rna": mdata["rna"][:20], "ephys": mdata["ephys"].copy()})
    with pytest.raises(ValueError, match=r"an AnnData of its own as modality 'rna', found a view.*`rna.copy\(\)`"):
        setup(view)
    empty = md.MuData({"rna": mdata["rna"][:, :0].copy(), "ephys": mdata["ephys"].copy()})
    refuse(empty, ValueError, "at least one feature in .* of modality 'rna', found none")
    with pytest.warns(UserWarning, match="obs_names are not unique"):
        across = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["rna"].copy()}, axis=1)
    with pytest.raises(ValueError, match="shares cells .* found `axis=1`"):
        setup(across)


def test_a_set_up_that_is_repeated_for_other_data_does_not_warn_again(tmp_path, quick):
    mdata = cvi.data.branching_manifold(40, n_features={"rna": 10, "ephys": 4}, paired=0.0)
    with pytest.warns(UserWarning, match="No profile"):
        model = cvi.tl.jamie(mdata, modalities=BOTH, train_kwargs=quick)
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=mdata)  # a warning would be an error
    np.testing.assert_array_equal(loaded.get_latent_representation(), model.get_latent_representation())
