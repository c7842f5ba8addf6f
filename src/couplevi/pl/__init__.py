"""Figures, in the conventions of scanpy: ``ax``, ``show``, ``save``, ``return_fig``."""

from couplevi.pl._ablation import ablation
from couplevi.pl._accuracy import accuracy
from couplevi.pl._confusion import confusion
from couplevi.pl._consensus import consensus
from couplevi.pl._distribution_similarity import distribution_similarity
from couplevi.pl._embedding_scores import embedding_scores
from couplevi.pl._explain import explain
from couplevi.pl._feature_by_type import feature_by_type
from couplevi.pl._imputation import imputation
from couplevi.pl._imputation_comparison import imputation_comparison
from couplevi.pl._latent import latent
from couplevi.pl._losses import losses
from couplevi.pl._match import match
from couplevi.pl._nearest_texts import nearest_texts
from couplevi.pl._pruning import pruning
from couplevi.pl._ranked_genes import ranked_genes
from couplevi.pl._retrieval import retrieval
from couplevi.pl._shift import shift
from couplevi.pl._state_distances import state_distances
from couplevi.pl._state_traversal import state_traversal
from couplevi.pl._states import states
from couplevi.pl._text_similarity import text_similarity

__all__ = [
    "ablation",
    "accuracy",
    "confusion",
    "consensus",
    "distribution_similarity",
    "embedding_scores",
    "explain",
    "feature_by_type",
    "imputation",
    "imputation_comparison",
    "latent",
    "losses",
    "match",
    "nearest_texts",
    "pruning",
    "ranked_genes",
    "retrieval",
    "shift",
    "state_distances",
    "state_traversal",
    "states",
    "text_similarity",
]
