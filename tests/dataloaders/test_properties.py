"""What holds for any links, sizes and batches."""

import anndata as ad
import mudata as md
import numpy as np
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import couplevi as cvi
from couplevi._types import LinkBatch
from couplevi._validate import check_confidences
from couplevi.dataloaders import CoupledDataset, CoupledDataSplitter, Links, UnitSampler, make_units
from couplevi.registry import written_links

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
sizes = st.fixed_dictionaries({m: st.integers(1, 8) for m in "abc"})
PAIRS = (("a", "b"), ("c", "b"), ("a", "c"))
EVERYTHING = 100


def confidences(rng, n_rows, n_cols):
    """Certain pairs of some rows and columns, in any order, beside links of any confidence."""
    matrix = np.where(rng.random((n_rows, n_cols)) < 0.15, rng.choice([0.25, 0.5, 1], size=(n_rows, n_cols)), 0)
    n_pairs = rng.integers(0, min(n_rows, n_cols) + 1)
    rows, cols = rng.permutation(n_rows)[:n_pairs], rng.permutation(n_cols)[:n_pairs]
    if rng.random() < 0.5:
        matrix[rows], matrix[:, cols] = 0, 0
    matrix[rows, cols] = 1
    return matrix.astype(np.float32)


def tables(rng, n, share=1.0):
    """Links of some pairs of modalities, dense."""
    return {(a, b): confidences(rng, n[a], n[b]) for a, b in PAIRS if rng.random() < share}


def as_links(dense):
    return {pair: Links(sp.csr_array(matrix)) for pair, matrix in dense.items()}


def dataset_of(rng, n):
    rows = {m: rng.normal(size=(n[m], 2)).astype(np.float32) for m in n}
    links, matches = tables(rng, n), tables(rng, n, 0.5)
    return CoupledDataset(rows, as_links(links), as_links(matches)), links, matches


def some(rng, n, least=0):
    return rng.permutation(n)[: rng.integers(least, n + 1)]


def dense_block(block, shape):
    matrix = np.zeros(shape, dtype=np.float32)
    np.add.at(matrix, (block.row.numpy(), block.col.numpy()), block.confidence.numpy())
    return matrix


def unit_of(dataset):
    """Unit of each profile, by modality and position."""
    return {
        (m, i): u
        for u, row in enumerate(dataset.units.tolist())
        for m, i in zip(dataset.rows, row, strict=True)
        if i >= 0
    }


def drawn_units(dataset, draw):
    owner = unit_of(dataset)
    return {owner[m, i] for m, part in draw.items() for i in part.position[part.drawn].tolist()}


def epoch_of(dataset, units, epoch=0, **arguments):
    sampler = UnitSampler(dataset, units, **arguments)
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert len(draws) == len(sampler)
    return draws


@few
@given(seed=seeds, n=sizes)
def test_a_block_is_the_slice_of_the_matrix_whatever_the_positions(seed, n):
    """Rows may be asked for several times."""
    rng = np.random.default_rng(seed)
    matrix = confidences(rng, n["a"], n["b"])
    rows, cols = rng.integers(0, n["a"], rng.integers(0, 12)), some(rng, n["b"])
    block = Links(sp.csr_array(matrix)).block(rows, cols)
    expected = matrix[np.ix_(rows, cols)]
    np.testing.assert_array_equal(dense_block(block, expected.shape), expected)
    row, col = block.row.numpy(), block.col.numpy()
    by_row, by_col = (matrix / np.maximum(matrix.sum(axis=axis, keepdims=True), 1) for axis in (1, 0))
    np.testing.assert_allclose(block.row_weight, by_row[rows[row], cols[col]], rtol=1e-6)
    np.testing.assert_allclose(block.col_weight, by_col[rows[row], cols[col]], rtol=1e-6)
    np.testing.assert_array_equal(block.row_known, matrix.any(axis=1)[rows])
    np.testing.assert_array_equal(block.col_known, matrix.any(axis=0)[cols])


@few
@given(seed=seeds, n=sizes)
def test_the_block_of_transposed_links_is_the_transposed_block(seed, n):
    rng = np.random.default_rng(seed)
    matrix = confidences(rng, n["a"], n["b"])
    rows, cols = some(rng, n["a"]), some(rng, n["b"])
    block = Links(sp.csr_array(matrix)).block(rows, cols)
    mirror = Links(sp.csr_array(np.ascontiguousarray(matrix.T))).block(cols, rows)
    by_place = lambda row, col, *values: sorted(
        zip(row.tolist(), col.tolist(), *(v.tolist() for v in values), strict=True)
    )
    ours = by_place(block.row, block.col, block.confidence, block.row_weight, block.col_weight)
    assert ours == by_place(mirror.col, mirror.row, mirror.confidence, mirror.col_weight, mirror.row_weight)
    assert block.row_known.equal(mirror.col_known)
    assert block.col_known.equal(mirror.row_known)


@few
@given(
    seed=seeds,
    n=sizes,
    dtype=st.sampled_from(["bool", "int8", "uint8", "int64", "float32", "float64"]),
    kind=st.sampled_from([np.asarray, sp.csr_matrix, *(getattr(sp, f"{f}_array") for f in "csr csc coo lil dok bsr".split())]),
)  # fmt: skip
def test_links_do_not_depend_on_the_format_or_the_type_of_numbers(seed, n, dtype, kind):
    rng = np.random.default_rng(seed)
    matrix = (confidences(rng, n["a"], n["b"]) == 1).astype(np.float32)
    links = Links(check_confidences(kind(matrix.astype(dtype)), "`links`"))
    for ours, theirs in zip(links.all(), Links(sp.csr_array(matrix)).all(), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.equal(theirs)


@few
@given(seed=seeds, n=sizes)
def test_pairs_are_certain_and_exclusive_by_definition(seed, n):
    matrix = confidences(np.random.default_rng(seed), n["a"], n["b"])
    certain = matrix == 1
    expected = [(i, j) for i, j in np.argwhere(certain).tolist() if certain[i].sum() == 1 and certain[:, j].sum() == 1]
    row, col = Links(sp.csr_array(matrix)).pairs()
    assert sorted(zip(row.tolist(), col.tolist(), strict=True)) == expected


def cells_by_merging(n, links):
    """Sets of profiles that certain links join, found by merging; those with two of a modality come apart."""
    groups = [{(m, i)} for m in n for i in range(n[m])]
    for (a, b), table in links.items():
        for i, j in zip(*(index.tolist() for index in table.pairs()), strict=True):
            ends = [g for g in groups if (a, i) in g or (b, j) in g]
            groups = [g for g in groups if g not in ends] + [set().union(*ends)]
    apart = [g for g in groups if len({m for m, _ in g}) < len(g)]
    return {frozenset(g) for g in groups if g not in apart} | {frozenset([p]) for g in apart for p in g}


@few
@given(seed=seeds, n=sizes)
def test_units_partition_the_profiles_and_keep_certain_pairs_together(seed, n):
    links = as_links(tables(np.random.default_rng(seed), n, 0.8))
    units = make_units(n, links)
    found = [frozenset((m, i) for m, i in zip(n, row, strict=True) if i >= 0) for row in units.tolist()]
    assert sum(len(u) for u in found) == sum(n.values())
    assert set(found) == cells_by_merging(n, links)
    assert units.tolist() == sorted(units.tolist())


@few
@given(seed=seeds, n=sizes)
def test_units_do_not_depend_on_the_orientation_or_order_of_tables(seed, n):
    rng = np.random.default_rng(seed)
    dense = tables(rng, n)
    other = {(b, a): np.ascontiguousarray(dense[a, b].T) for a, b in rng.permutation(list(dense)).tolist()}
    np.testing.assert_array_equal(make_units(n, as_links(dense)), make_units(n, as_links(other)))


@few
@given(
    seed=seeds,
    n=sizes,
    batch_size=st.integers(1, 9),
    n_replicas=st.integers(1, 4),
    epoch=st.integers(0, 2),
    shuffle=st.booleans(),
    mixup_alpha=st.sampled_from([0.0, 0.4]),
)
def test_each_unit_is_drawn_once_per_epoch_over_all_processes(
    seed, n, batch_size, n_replicas, epoch, shuffle, mixup_alpha
):
    """The last ones go round where the processes do not divide their number."""
    rng = np.random.default_rng(seed)
    dataset, _, _ = dataset_of(rng, n)
    units = some(rng, len(dataset), least=1)
    arguments = {"batch_size": batch_size, "shuffle": shuffle, "mixup_alpha": mixup_alpha, "seed": seed}
    n_drawn, per_process = np.zeros(len(dataset), dtype=int), -(-len(units) // n_replicas)
    for rank in range(n_replicas):
        draws = epoch_of(dataset, units, epoch, num_replicas=n_replicas, rank=rank, **arguments)
        each = [drawn_units(dataset, draw) for draw in draws]
        assert len(draws) == -(-per_process // batch_size)
        assert sum(len(d) for d in each) == per_process
        assert max(map(len, each)) <= batch_size
        assert max(map(len, each)) - min(map(len, each)) <= 1
        for found in each:
            n_drawn[list(found)] += 1
    assert n_drawn.sum() == per_process * n_replicas
    assert set(np.flatnonzero(n_drawn)) == set(units)
    assert n_drawn[units].max() - n_drawn[units].min() <= (len(units) % n_replicas > 0)


@few
@given(seed=seeds, n=sizes, batch_size=st.integers(1, 9), release=st.integers(0, 3), epoch=st.integers(0, 4))
def test_units_held_back_are_not_drawn_before_their_release(seed, n, batch_size, release, epoch):
    rng = np.random.default_rng(seed)
    dataset, _, _ = dataset_of(rng, n)
    units = some(rng, len(dataset), least=1)
    held = units[: rng.integers(0, len(units) + 1)]
    draws = epoch_of(dataset, units, epoch, batch_size=batch_size, held_back=held, release_epoch=release)
    found = [u for draw in draws for u in drawn_units(dataset, draw)]
    assert sorted(found) == sorted(set(units) - set(held) if epoch < release else units)


def neighbours(tables, m, i):
    """Profiles with a link, given or inferred, to one profile."""
    for table in tables:
        for (a, b), matrix in table.items():
            for here, there, row in ((a, b, matrix), (b, a, matrix.T)):
                if here == m:
                    yield from ((there, j) for j in np.flatnonzero(row[i]).tolist())


@few
@given(seed=seeds, n=sizes, batch_size=st.integers(1, 9), n_partners=st.sampled_from([0, 1, 2, EVERYTHING]))
def test_partners_are_linked_to_a_drawn_profile_and_as_many_as_wanted_come(seed, n, batch_size, n_partners):
    rng = np.random.default_rng(seed)
    dataset, links, matches = dataset_of(rng, n)
    owner, units = unit_of(dataset), some(rng, len(dataset), least=1)
    for draw in epoch_of(dataset, units, batch_size=batch_size, n_partners=n_partners, seed=seed):
        drawn = {(m, i) for m, part in draw.items() for i in part.position[part.drawn].tolist()}
        along = [(m, i) for m, part in draw.items() for i in part.position[~part.drawn].tolist()]
        assert len(along) == len(set(along))
        assert not drawn & set(along)
        linked = {
            p: {q for q in neighbours((links, matches), *p) if owner[q] in units and owner[q] != owner[p]}
            for p in drawn
        }
        assert set(along) <= set().union(*linked.values())
        for (m, _), others in linked.items():
            for target in "abc":
                near = {q for q in others if q[0] == target}
                assert len(near & (drawn | set(along))) >= min(n_partners, len(near)), (m, target)
        assert len(along) <= sum(min(n_partners, sum(q[0] == t for q in qs)) for qs in linked.values() for t in "abc")


@few
@given(seed=seeds, n=sizes, batch_size=st.integers(1, 9))
def test_what_is_drawn_does_not_depend_on_the_orientation_of_tables(seed, n, batch_size):
    rng = np.random.default_rng(seed)
    dataset, links, matches = dataset_of(rng, n)
    mirrored = [{(b, a): np.ascontiguousarray(x.T) for (a, b), x in table.items()} for table in (links, matches)]
    other = CoupledDataset(dataset.rows, *map(as_links, mirrored))
    units = np.arange(len(dataset))
    draws = (epoch_of(d, units, batch_size=batch_size, n_partners=EVERYTHING) for d in (dataset, other))
    for ours, theirs in zip(*draws, strict=True):
        for m in "abc":
            for field, same in zip(ours[m], theirs[m], strict=True):
                np.testing.assert_array_equal(field, same)


@few
@given(seed=seeds, n=sizes, batch_size=st.integers(2, 12))
def test_units_are_mixed_as_a_whole_and_only_if_they_have_no_links_to_others(seed, n, batch_size):
    rng = np.random.default_rng(seed)
    dataset, links, matches = dataset_of(rng, n)
    owner, units = unit_of(dataset), np.arange(len(dataset))
    tied = {owner[p] for p in owner if any(owner[q] != owner[p] for q in neighbours((links, matches), *p))}
    measured = dataset.units >= 0
    for draw in epoch_of(dataset, units, batch_size=batch_size, mixup_alpha=1.0, seed=seed):
        mixture = {}
        for m, part in draw.items():
            assert ((part.share >= 0.5) & (part.share <= 1)).all()
            for place, (i, drawn, other, share) in enumerate(zip(*(x.tolist() for x in part), strict=True)):
                if not drawn:
                    assert (other, share) == (place, 1)
                    continue
                mate = owner[m, part.position[other]]
                assert part.drawn[other]
                assert mixture.setdefault(owner[m, i], (mate, share)) == (mate, share)
        for unit, (mate, share) in mixture.items():
            assert (measured[unit] == measured[mate]).all()
            if unit in tied:
                assert (mate, share) == (unit, 1)
        assert sorted(mate for mate, _ in mixture.values()) == sorted(mixture)


@few
@given(seed=seeds, n=sizes, batch_size=st.integers(1, 9))
def test_a_batch_holds_mixed_profiles_and_the_slices_of_both_tables(seed, n, batch_size):
    rng = np.random.default_rng(seed)
    dataset, links, matches = dataset_of(rng, n)
    for draw in epoch_of(dataset, np.arange(len(dataset)), batch_size=batch_size, mixup_alpha=1.0):
        batch = dataset[draw]
        for m, part in draw.items():
            own, other = dataset.rows[m][part.position], dataset.rows[m][part.position[part.other]]
            mixed = part.share[:, None] * own + (1 - part.share[:, None]) * other
            np.testing.assert_allclose(batch["profiles"][m].h, mixed, atol=1e-6)
            np.testing.assert_array_equal(batch["profiles"][m].drawn, part.drawn)
        for name, table in (("links", links), ("matches", matches)):
            assert set(batch[name]) == set(table)
            for (a, b), matrix in table.items():
                expected = matrix[np.ix_(draw[a].position, draw[b].position)]
                block = LinkBatch(*batch[name][a, b])
                np.testing.assert_array_equal(dense_block(block, expected.shape), expected)


shares = st.floats(0.05, 1).flatmap(lambda t: st.tuples(st.just(t), st.none() | st.floats(0, 1 - t)))


@few
@given(seed=seeds, n=sizes, share=shares, n_calibration=st.integers(0, 5), shuffle=st.booleans())
def test_sets_are_disjoint_and_complete_and_come_back_with_the_state(seed, n, share, n_calibration, shuffle):
    dataset, _, _ = dataset_of(np.random.default_rng(seed), n)
    arguments = {
        "dataset": dataset,
        "train_size": share[0],
        "validation_size": share[1],
        "n_calibration": n_calibration,
        "shuffle_set_split": shuffle,
    }
    torch.manual_seed(seed)
    splitter, other = CoupledDataSplitter(**arguments), CoupledDataSplitter(**arguments)
    parts = (splitter.train_idx, splitter.val_idx, splitter.test_idx)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(dataset)))
    assert splitter.n_train == max(1, np.ceil(share[0] * len(dataset)))
    if share[1] is None:
        assert len(splitter.test_idx) == 0
    else:
        assert splitter.n_val <= share[1] * len(dataset) + 1e-6
    n_measured = (dataset.units >= 0).sum(axis=1)
    assert set(splitter.calibration_idx) <= set(splitter.train_idx)
    assert (n_measured[splitter.calibration_idx] > 1).all()
    assert len(splitter.calibration_idx) == min(n_calibration, (n_measured[splitter.train_idx] > 1).sum())
    other.load_state_dict(splitter.state_dict())
    for name in ("train_idx", "val_idx", "test_idx", "calibration_idx", "seed"):
        np.testing.assert_array_equal(getattr(other, name), getattr(splitter, name))


def measured(cells, rng):
    adata = ad.AnnData(rng.normal(size=(len(cells), 2)).astype(np.float32))
    adata.obs_names = cells
    return adata


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(4, 12), hide=st.floats(0, 0.9), prefix=st.sampled_from(["0", "zz"]))
def test_a_cell_with_a_hidden_pair_is_the_same_as_two_rows(seed, n, hide, prefix):
    rng = np.random.default_rng(seed)
    cells = [f"cell{i}" for i in rng.permutation(n)]
    a, b = (measured([c for c in rng.permutation(cells) if c in own], rng) for own in (cells[: n - 1], cells[1:]))
    b.var_names = [f"b{j}" for j in range(b.n_vars)]
    whole = md.MuData({"a": a, "b": b})
    cvi.pp.link(whole, modalities=("a", "b"), hide=hide, seed=seed)
    linked = set(whole.obs_names[whole.obsp["correspondence"].diagonal() == 1])
    halves = b.copy()
    halves.obs_names = [c if c in linked else prefix + c for c in b.obs_names]
    split = md.MuData({"a": a.copy(), "b": halves})
    cvi.pp.link(split, modalities=("a", "b"))
    before, after = (written_links(x, "correspondence", "a", "b") for x in (whole, split))
    np.testing.assert_array_equal(after.toarray(), before.toarray())
    assert before.nnz == len(linked) == n - 2 - round(hide * (n - 2))
    units = make_units({"a": a.n_obs, "b": b.n_obs}, {("a", "b"): Links(before)})
    assert len(units) == split.n_obs
