"""Tools: they fit models and write what these find into the MuData."""

from couplevi.tl._ablate import ablate
from couplevi.tl._annotate import annotate
from couplevi.tl._celltext import celltext
from couplevi.tl._cplmixvae import cplmixvae
from couplevi.tl._evaluate import evaluate
from couplevi.tl._evaluate_perturbations import evaluate_perturbations
from couplevi.tl._evaluate_text import evaluate_text
from couplevi.tl._explain import explain
from couplevi.tl._explain_text import explain_text
from couplevi.tl._impute import impute
from couplevi.tl._impute_baseline import impute_baseline
from couplevi.tl._jae import jae
from couplevi.tl._jamie import jamie
from couplevi.tl._map_query import map_query
from couplevi.tl._match import match
from couplevi.tl._otgm import otgm
from couplevi.tl._predict_labels import predict_labels
from couplevi.tl._summary import summary
from couplevi.tl._umap import umap

__all__ = [
    "ablate",
    "annotate",
    "celltext",
    "cplmixvae",
    "evaluate",
    "evaluate_perturbations",
    "evaluate_text",
    "explain",
    "explain_text",
    "impute",
    "impute_baseline",
    "jae",
    "jamie",
    "map_query",
    "match",
    "otgm",
    "predict_labels",
    "summary",
    "umap",
]
