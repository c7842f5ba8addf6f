import numpy as np
import pandas as pd
import pytest

from couplevi.tl._windows import check_windows, positions, window_groups, window_name


def test_positions_are_read_however_they_are_written():
    expected = pd.DataFrame({"chromosome": ["1", "X"], "start": [5.0, 7.0], "end": [9.0, 8.0]}, index=["a", "b"])
    columns = {"Chromosome": ["chr1", "X"], "Start": [5, 7], "End": [9, 8]}
    pd.testing.assert_frame_equal(positions(pd.DataFrame(columns, index=["a", "b"]), ""), expected, check_dtype=False)
    interval = pd.DataFrame({"interval": ["chr1:5-9", "chrX:7-8"]}, index=["a", "b"])
    pd.testing.assert_frame_equal(positions(interval, ""), expected, check_dtype=False)
    names = pd.DataFrame(index=["chr1_5_9", "X-7-8"])
    pd.testing.assert_frame_equal(positions(names, "").set_axis(["a", "b"]), expected, check_dtype=False)
    some = positions(pd.DataFrame({"chrom": ["1", None], "start": [5, 7], "end": [9, 8]}), "")
    assert some.notna().all(axis=1).tolist() == [True, False]
    floats = pd.DataFrame({"chrom": [1.0, np.nan], "start": [5, 7], "end": [9, 8]})
    assert positions(floats, "")["chromosome"].iloc[0] == "1"
    assert positions(pd.DataFrame(index=["Chr2:1-2"]), "")["chromosome"].iloc[0] == "2"
    with pytest.raises(ValueError, match="positions of the features of modality 'rna', found columns \\['x'\\] and"):
        positions(pd.DataFrame({"x": [1]}, index=["Gad1"]), "modality 'rna'")


def test_windows_have_the_names_that_people_give_them():
    assert [window_name(w) for w in (500, 10_000, 2_000_000, 1_500)] == ["500 bp", "10 kb", "2 Mb", "1.5 kb"]


def places(*rows):
    return pd.DataFrame(rows, columns=["chromosome", "start", "end"])


SOURCE = places(("1", 100, 200), ("1", 300, 400), ("2", 100, 200), (np.nan, np.nan, np.nan), ("1", 1000, 1100))
TARGET = places(("1", 250, 260), (np.nan, np.nan, np.nan), ("2", 500, 600), ("3", 100, 200))


def groups(*windows):
    return [(g.name, g.features.tolist(), g.targets.tolist()) for g in window_groups(SOURCE, TARGET, windows)]


@pytest.mark.parametrize(("distance", "features"), [(39, []), (40, [1]), (49, [1]), (50, [0, 1]), (740, [0, 1, 4])])
def test_a_feature_is_in_a_window_if_any_of_it_is(distance, features):
    """The target lies from 250 to 260, features end at 200 and start at 300 and at 1000."""
    assert groups(distance)[0] == (f"{distance} bp", features, [0])


def test_each_target_with_a_position_has_a_window_of_its_own():
    assert groups(400) == [("400 bp", [0, 1], [0]), ("400 bp", [2], [2]), ("400 bp", [], [3])]


def test_targets_on_a_chromosome_share_it_and_all_of_them_the_genome():
    assert groups("chromosome") == [("chromosome", [0, 1, 4], [0]), ("chromosome", [2], [2]), ("chromosome", [], [3])]
    assert groups("genome", 0)[0] == ("genome", [0, 1, 2, 3, 4], [0, 2, 3])


@pytest.mark.parametrize(
    ("given", "expected"),
    [(5, [5]), ("genome", ["genome"]), ((0, "chromosome"), [0, "chromosome"]), (np.array([7, 9]), [7, 9])],
)
def test_windows_are_a_list(given, expected):
    assert check_windows(given) == expected


@pytest.mark.parametrize("given", [-1, [2.5], True, "exon", [10, -10]])
def test_windows_are_distances_or_names(given):
    with pytest.raises(ValueError, match="`windows` to be whole base pairs, 'chromosome' or 'genome'"):
        check_windows(given)


def test_windows_differ():
    for given in ([], [5, 5]):
        with pytest.raises(ValueError, match="one or more different `windows`"):
            check_windows(given)
