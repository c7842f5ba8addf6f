import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import couplevi as cvi

NAMES = ["nmi", "label_asw", "batch_asw", "graph_connectivity", "cell_cycle", "trajectory", "ilisi", "kbet"]
NAN = np.nan


def frame_of(values, n=100, names=NAMES):
    """A frame as `joint_embedding` returns it, its means included."""
    value = pd.Series([*values, *[NAN] * (len(names) - len(values))], names, dtype=float)
    if names is NAMES:
        value["mean4"], value["mean"] = value.iloc[:4].mean(skipna=False), value.mean()
    frame = value.rename_axis("score").reset_index(name="value")
    return frame.assign(n=np.where(frame["value"].isna(), 0, n))


TWO = {
    "a": frame_of([0.9, 0.5, 0.8, 1.0, NAN, NAN, 0.30, 0.2]),
    "b": frame_of([0.2, 0.6, 0.7, 1.0, NAN, NAN, 0.36, 0.8]),
}


def draw(scores=TWO, **options):
    return cvi.pl.embedding_scores(scores, show=False, **options)


def columns(ax):
    return [tick.get_text().replace("\n", " ") for tick in ax.get_xticklabels()]


def rows(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def cells(ax):
    """Text, boldness and background of each cell by the title of its column and the name of its row."""
    at = dict(zip(np.round(ax.get_xticks(), 6), columns(ax), strict=True))
    inside = [text for text in ax.texts if text.get_transform() == ax.transData]
    found = {}
    for text, patch in zip(inside, ax.patches, strict=True):
        x, y = text.get_position()
        assert patch.get_xy() == pytest.approx((x - 0.5, y - 0.5))
        found[at[round(x, 6)], rows(ax)[int(y)]] = (text.get_text(), text.get_weight() == "bold", patch.get_facecolor())
    return found


def brightness(color):
    return np.dot([0.2126, 0.7152, 0.0722], np.power(to_rgb(color), 2.2))


def bold(ax):
    return {place for place, (_, is_bold, _) in cells(ax).items() if is_bold}


def test_the_frames_of_joint_embedding_are_drawn_as_they_are():
    rng = np.random.default_rng(0)
    labels, batch = np.repeat(["B", "T"], 60), np.tile(["one", "two"], 60)
    noise = rng.normal(size=(120, 2))
    scores = {
        "apart": cvi.metrics.joint_embedding(noise + 20 * (labels == "T")[:, None], labels, batch),
        "noise": cvi.metrics.joint_embedding(noise, labels, batch),
    }
    ax = draw(scores)
    assert rows(ax) == ["apart", "noise"]
    for method, frame in scores.items():
        value = frame.set_index("score")["value"]
        for title, score in (("NMI", "nmi"), ("kBET", "kbet"), ("of four", "mean4"), ("of all 6", "mean")):
            assert cells(ax)[title, method][0] == f"{value[score]:.2f}"
    assert {("NMI", "apart"), ("of four", "apart"), ("graph connectivity", "apart")} <= bold(ax)
    assert ax.get_xlabel().startswith("120 cells. Larger is better.\nOf four: ")


def test_columns_are_in_groups_without_those_that_nobody_has_and_means_are_last():
    ax = draw()
    titles = [
        "NMI",
        "label silhouette",
        "graph connectivity",
        "batch silhouette",
        "iLISI",
        "kBET",
        "of four",
        "of all 6",
    ]
    assert columns(ax) == titles
    assert [t.get_text() for t in ax.texts if t.get_transform() != ax.transData] == ["biology", "batches", "mean"]
    gaps = np.round(np.diff(ax.get_xticks()), 6)
    assert gaps.tolist() == [1, 1, 1.2, 1, 1, 1.2, 1]
    assert [line.get_xdata().tolist() for line in ax.lines] == [
        pytest.approx([0.06, 2.94]),
        pytest.approx([3.26, 6.14]),
        pytest.approx([6.46, 8.34]),
    ]


def test_the_best_are_bold_and_darkest_and_what_looks_the_same_is_too():
    scores = {**TWO, "c": frame_of([0.898, 0.3, 0.75, 1.0, NAN, NAN, 0.35, 0.5])}
    ax = draw(scores)
    found = cells(ax)
    assert {method for title, method in bold(ax) if title == "NMI"} == {"a", "c"}  # 0.90 both
    assert {method for title, method in bold(ax) if title == "label silhouette"} == {"b"}
    assert {method for title, method in bold(ax) if title == "graph connectivity"} == {"a", "b", "c"}
    for title, order in (("kBET", "bca"), ("label silhouette", "bac"), ("batch silhouette", "acb")):
        assert np.all(np.diff([brightness(found[title, method][2]) for method in order]) > 0.05)
    assert min(brightness(color) for _, _, color in found.values()) > 0.18  # black is read on all


def test_small_differences_look_small():
    found = cells(draw())
    apart = {title: brightness(found[title, "b"][2]) - brightness(found[title, "a"][2]) for title in ("NMI", "iLISI")}
    assert apart["NMI"] > 0.5
    assert -0.45 < apart["iLISI"] < -0.1  # 0.06 of 0.1
    assert found["NMI", "a"][2] == found["iLISI", "b"][2] == found["kBET", "b"][2]


def test_a_score_that_is_missing_is_a_dash():
    scores = {**TWO, "c": frame_of([NAN, 0.3, 0.75, 1.0, NAN, NAN, 0.35, 0.5])}
    ax = draw(scores)
    assert cells(ax)["NMI", "c"] == ("–", False, (1, 1, 1, 1))
    assert cells(ax)["of four", "c"][0] == "–"
    assert cells(draw(columns=["cell_cycle", "nmi"]))["cell cycle", "a"][:2] == ("–", False)
    lacking = {"a": TWO["a"], "b": TWO["b"].iloc[1:]}
    assert cells(draw(lacking))["NMI", "b"][0] == "–"


def test_means_are_shown_where_they_can_be_compared():
    different = {**TWO, "c": frame_of([0.1, 0.3, 0.75, 1.0, 0.4, NAN, 0.35, 0.5])}
    ax = draw(different)
    assert columns(ax)[-2:] == ["kBET", "of four"]
    assert ax.get_xlabel().endswith("Methods have different scores, so that the mean of all is left out.")
    asked = draw(different, columns=["mean", "nmi"])
    assert columns(asked) == ["NMI", "of all 7"]
    assert not [title for title, _ in bold(asked) if title == "of all 7"]
    assert cells(asked)["of all 7", "a"][2] == (1, 1, 1, 1)
    assert asked.get_xlabel().endswith("the mean of all cannot be compared.")
    four = {name: frame_of([0.1 * k, 0.3, 0.75, 1.0]) for k, name in enumerate("ab", 1)}
    assert columns(draw(four))[-1] == "of four"
    three = {name: frame_of([0.1 * k, 0.3, NAN, 1.0]) for k, name in enumerate("ab", 1)}
    assert columns(draw(three)) == ["NMI", "label silhouette", "graph connectivity", "of all 3"]
    assert "Of four" not in draw(three).get_xlabel()


def test_a_record_says_which_direction_is_better():
    names = ["foscttm", "coverage_90", "my_score", "p_value"]
    scores = {"a": frame_of([0.4, 0.97, 0.2, 3], names=names), "b": frame_of([0.1, 0.85, 0.7, 5], names=names)}
    ax = draw(scores)
    titles = dict(zip(names, columns(ax), strict=True))
    assert titles["my_score"] == "my score"
    long = draw({"a": frame_of([0.1], names=["jensen_shannon"])}).get_xticklabels()[0].get_text()
    assert long == "Jensen-\nShannon"
    assert bold(ax) == {(titles["foscttm"], "b"), (titles["coverage_90"], "b"), (titles["my_score"], "b")}
    colors = cells(ax)
    assert brightness(colors[titles["foscttm"], "a"][2]) > brightness(colors[titles["foscttm"], "b"][2])
    assert colors[titles["p_value"], "b"] == ("5.00", False, (1, 1, 1, 1))
    assert not ax.lines  # one group alone has no name
    note = ax.get_xlabel()
    assert note.startswith("100 cells. Larger is better; FOSCTTM: smaller; ")
    assert "close to 0.9" in note
    assert "no direction" in note


def test_one_frame_is_of_one_method_or_of_several():
    ax = draw(TWO["a"])
    assert rows(ax) == ["embedding"]
    found = cells(ax)
    assert not bold(ax)
    bright = [brightness(found[title, "embedding"][2]) for title in ("kBET", "label silhouette", "graph connectivity")]
    assert np.all(np.diff(bright) < -0.1)  # 0.2, 0.5 and 1 on a scale to 1
    joined = pd.concat([frame.assign(method=method) for method, frame in (("z", TWO["a"]), ("y", TWO["b"]))])
    again = draw(joined)
    assert rows(again) == ["z", "y"]
    assert bold(again) == {(title, {"a": "z", "b": "y"}[method]) for title, method in bold(draw())}


def test_methods_are_sorted_by_a_score_best_first():
    scores = {**TWO, "c": frame_of([NAN, 0.55, 0.75, 1.0]), "d": frame_of([0.95, 0.1, 0.75, 1.0])}
    assert rows(draw(scores)) == list("abcd")
    assert rows(draw(scores, sort_by="nmi")) == list("dabc")  # missing ones last
    assert rows(draw(scores, sort_by="label_asw")) == list("bcad")
    smaller = {m: frame_of([v], names=["foscttm"]) for m, v in (("x", 0.4), ("y", 0.1))}
    assert rows(draw(smaller, sort_by="foscttm")) == ["y", "x"]


def test_the_number_of_cells_is_told_if_it_is_known():
    other = {"a": TWO["a"], "b": TWO["b"].assign(n=1_500)}
    assert draw(other).get_xlabel().startswith("100 to 1,500 cells. ")
    without = {name: frame.drop(columns="n") for name, frame in TWO.items()}
    assert draw(without).get_xlabel().startswith("Larger is better.")


@pytest.mark.parametrize("n_methods", [1, 3, 25])
def test_nothing_overlaps(n_methods, overlapping):
    scores = {f"a method with a long name {k}": TWO["a"] for k in range(n_methods)}
    ax = draw(scores)
    assert not overlapping(*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label)
    assert all(
        text.get_window_extent().x0 >= 0 and text.get_window_extent().y1 <= ax.figure.bbox.y1
        for text in [*ax.texts, *ax.get_yticklabels()]
    )
    _, given = plt.subplots()
    assert draw(scores, ax=given) is given


@pytest.mark.parametrize(
    ("scores", "options", "error", "message"),
    [
        ([TWO["a"]], {}, TypeError, "frames by the name of their method, found list"),
        ({"a": 0.5}, {}, TypeError, "a frame of scores of 'a', found float"),
        ({"a": TWO["a"].drop(columns="value")}, {}, KeyError, r"columns \['score', 'value'\].*joint_embedding"),
        ({"a": pd.concat([TWO["a"]] * 2)}, {}, ValueError, "each score of 'a' once, found .*'nmi'.* more than once"),
        ({"a": frame_of([np.inf])}, {}, ValueError, "finite or NaN"),
        ({"a": frame_of([NAN])}, {}, ValueError, "a score, found none"),
        ({}, {}, ValueError, "a score, found none"),
        (TWO, {"columns": ["nmi", "no"]}, KeyError, "unknown ones: \\['no'\\]"),
        (TWO, {"columns": []}, ValueError, "at least one of scores"),
        (TWO, {"sort_by": "no"}, KeyError, "scores to sort by"),
    ],
)
def test_bad_input(scores, options, error, message):
    with pytest.raises(error, match=message):
        draw(scores, **options)
