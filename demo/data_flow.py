"""Draw docs/_static/data_flow.png: what happens to a MuData."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, GREEN, ORANGE, GREY = "#dbe9f6", "#dff0df", "#fbe6d0", "#eeeeee"
BOXES = {
    "mdata": (0.0, 1.0, "MuData\nprofiles of each modality\ncells may lack some", GREY),
    "links": (0.0, 0.0, "links\nsame name, cvi.pp.link\nor cvi.tl.match", GREY),
    "prepare": (2.6, 1.0, "preparation\nscaling, components\nsaved with the model", BLUE),
    "units": (2.6, 0.0, "units\npairs and single profiles\nwith their links", BLUE),
    "encode": (5.2, 1.0, "encoder\nof each modality", GREEN),
    "pull": (5.2, 0.0, "average over links\ncontrast, alignment", GREEN),
    "latent": (7.6, 1.0, 'latent\n.obsm["X_jamie"]', ORANGE),
    "decode": (7.6, 0.0, "decoder\nof each modality", GREEN),
    "impute": (10.0, 0.0, "imputation, its sd\nlayers, .obsm", ORANGE),
    "use": (10.0, 1.0, "UMAP, clusters, labels\nShapley values", ORANGE),
}
ARROWS = [
    ("mdata", "prepare"),
    ("links", "units"),
    ("prepare", "units"),
    ("prepare", "encode"),
    ("units", "pull"),
    ("encode", "latent"),
    ("encode", "pull"),
    ("pull", "decode"),
    ("latent", "decode"),
    ("latent", "use"),
    ("decode", "impute"),
]
WIDTH, HEIGHT = 2.0, 0.62


def draw(path: Path) -> None:
    """Draw the figure into a file."""
    figure, ax = plt.subplots(figsize=(12, 3.2), layout="constrained")
    for x, y, text, color in BOXES.values():
        style = "round,pad=0.02,rounding_size=0.06"
        ax.add_patch(FancyBboxPatch((x, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle=style, fc=color, ec="0.4"))
        head, _, rest = text.partition("\n")
        n_lines = rest.count("\n") + 1
        ax.text(x + WIDTH / 2, y + 0.085 * n_lines, head, ha="center", va="center", weight="bold", fontsize=10)
        ax.text(x + WIDTH / 2, y - 0.09, rest, ha="center", va="center", fontsize=9)
    for start, end in ARROWS:
        (x0, y0, *_), (x1, y1, *_) = BOXES[start], BOXES[end]
        if y0 == y1:
            ends = (x0 + WIDTH + 0.03, y0), (x1 - 0.03, y1)
        else:
            ends = (x0 + WIDTH / 2, y0 - HEIGHT / 2 - 0.02), (x1 + WIDTH / 2, y1 + HEIGHT / 2 + 0.02)
        ax.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14, color="0.3"))
    ax.set(xlim=(-0.1, 12.1), ylim=(-0.45, 1.45))
    ax.set_axis_off()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "docs" / "_static" / "data_flow.png")
