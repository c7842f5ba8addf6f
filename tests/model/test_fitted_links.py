import numpy as np
import pandas as pd
import scipy.sparse as sp

import couplevi as cvi
from couplevi.model._fitted_links import FittedLinks, hashed


def links(*pairs):
    ends = [hashed(pd.Index(side)) for side in zip(*pairs, strict=True)]
    return FittedLinks({"a|b": np.stack(ends, axis=1)})


def test_ends_are_given_in_the_order_that_is_asked_for():
    fitted = links(("x", "y"), ("z", "z"))
    np.testing.assert_array_equal(fitted.between("a", "b"), fitted.between("b", "a")[:, ::-1])
    assert fitted.between("a", "b")[0, 0] == hashed(pd.Index(["x"]))[0]


def test_only_a_cell_linked_to_itself_is_held():
    fitted = links(("x", "y"), ("z", "z"))
    assert fitted.hold(pd.Index(["x", "y", "z", "w"]), "b", "a").tolist() == [False, False, True, False]


def test_nothing_is_held_of_modalities_that_were_never_linked():
    assert not links(("x", "x")).hold(pd.Index(["x"]), "a", "c").any()


def test_links_of_two_trainings_are_kept_once():
    together = links(("x", "y"), ("z", "z")).together(links(("z", "z"), ("w", "w")))
    assert len(together.between("a", "b")) == 3
    assert together.hold(pd.Index(["w", "z"]), "a", "b").all()
    assert len(FittedLinks({}).together(links(("x", "x"))).between("a", "b")) == 1


def test_hashes_are_the_same_on_every_machine():
    assert hashed(pd.Index(["cell1", "AAACCTG-1"])).tolist() == [1105602970852291730, -3110960244071630883]


def test_confidences_are_those_of_the_data_that_hold_the_links(paired, quick):
    cvi.pp.link(paired, modalities=("rna", "ephys"), hide=0.25)
    paired.obsp["correspondence"].data[:] = 0.5
    model = cvi.tl.jamie(paired, modalities=("rna", "ephys"), correspondence_key="correspondence", train_kwargs=quick)
    found = model.fitted_links("rna", "ephys")
    both = sp.csr_array(paired.obsp["correspondence"])
    rows, columns = (paired.obs_names.get_indexer(paired[m].obs_names) for m in ("rna", "ephys"))
    assert (found != both[rows][:, columns]).nnz == 0
    assert (model.fitted_links("ephys", "rna") != found.T.tocsr()).nnz == 0
