"""Names that several rooms share: registry keys and every slot that couplevi writes, each spelled once."""

from __future__ import annotations

from typing import Final

CORRESPONDENCE: Final = "correspondence"
"""Default of ``mdata.obsp`` and ``mdata.uns`` for links given by the user."""

MATCH: Final = "match"
"""Default of ``mdata.obsp`` and ``mdata.uns`` for inferred links."""

NO_LABEL: Final = frozenset({"", "nan", "None", "<NA>", "unknown", "Unknown", "Mis"})
"""Spellings of a missing label; cells that carry one are left out of label metrics, and counted."""


class Registry:
    """Keys of the fields in the :class:`~scvi.data.AnnDataManager` of a model."""

    @staticmethod
    def values(modality: str) -> str:
        """Layer or representation of a modality."""
        return f"X_{modality}"

    @staticmethod
    def links(kind: str, a: str, b: str) -> str:
        """Matrix of confidences between two modalities; `kind` is ``"correspondence"`` or ``"match"``."""
        return f"{kind}_{a}_{b}"


class Key:
    """Slots in a MuData, or an AnnData, by attribute. `key` is the ``key_added`` of the function that writes."""

    class obsm:
        @staticmethod
        def latent(key: str) -> str:
            return f"X_{key}"

        @staticmethod
        def umap(key: str) -> str:
            return f"X_{key}_umap"

        @staticmethod
        def imputed(key: str, target: str) -> str:
            return f"{key}_{target}"

        @staticmethod
        def imputed_sd(key: str, target: str) -> str:
            return f"{key}_{target}_sd"

        @staticmethod
        def label_probabilities(key: str, labels: str) -> str:
            return f"{key}_{labels}"

        @staticmethod
        def state(key: str) -> str:
            return f"X_{key}_state"

        TRUTH: Final = "latent_true"

    class obs:
        @staticmethod
        def label(key: str, labels: str) -> str:
            return f"{key}_{labels}"

        @staticmethod
        def category(key: str) -> str:
            return f"{key}_category"

        @staticmethod
        def category_confidence(key: str) -> str:
            return f"{key}_confidence"

        @staticmethod
        def label_confidence(key: str, labels: str) -> str:
            return f"{key}_{labels}_confidence"

    class layers:
        @staticmethod
        def imputed(key: str, source: str) -> str:
            return f"{key}_from_{source}"

        @staticmethod
        def imputed_sd(key: str, source: str) -> str:
            return f"{key}_from_{source}_sd"

        LOG1P: Final = "log1p"

    class varm:
        @staticmethod
        def shap_from(key: str, source: str) -> str:
            return f"{key}_shap_from_{source}"

        @staticmethod
        def shap_to(key: str, target: str) -> str:
            return f"{key}_shap_to_{target}"

    class mod:
        @staticmethod
        def imputed(source: str, target: str) -> str:
            return f"{target}_from_{source}"

    class uns:
        MODALITIES: Final = "modalities"
        VAR_NAMES: Final = "var_names"
        CLASSIFIERS: Final = "classifiers"
        CONSENSUS: Final = "consensus"
        PRUNING: Final = "pruning"
