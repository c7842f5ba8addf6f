"""Names that several rooms share: registry keys and every slot that couplevi writes, each spelled once.

``docs/tables.py`` makes the table of slots in ``docs/guide/data_layout.md`` of the docstrings here. A line with bars is
a row: where the slot is, what it holds, its shape, who writes it, who reads it.
"""

from __future__ import annotations

from typing import Final

CORRESPONDENCE: Final = "correspondence"
"""Links that the user knows.

mdata.obsp | confidences of links that you know; rows are cells of the first modality, columns of the second | (n_obs, n_obs) CSR float32 in [0, 1] | pp.link | setup_mudata(correspondence_key=)
mdata.uns | the modalities of rows and columns | dict: `modalities` | pp.link | set-up, to check the orientation
"""

MATCH: Final = "match"
"""Links that were inferred.

mdata.obsp | inferred confidences | (n_obs, n_obs) CSR float32, rows sum to at most 1 | tl.match | setup_mudata(match_key=), pl.match
mdata.uns | how they were inferred, and how sure they are | dict: `modalities`, `method`, `settings`, `n_known`, `n_unmatched`, `effective_matches`, `objective`, `converged`, `restarts` | tl.match | set-up, pl.match
"""

SINGLE: Final = "adata"
"""Name that stands for the modality of an AnnData."""

UNKNOWN: Final = "unknown"
"""A cell that was left without a class on purpose; as a prediction it is one of its own."""

NO_LABEL: Final = frozenset({"", "nan", "None", "<NA>", "unknown", "Unknown", "Mis"})
"""Spellings of a missing label; cells that carry one are left out of label metrics, and counted."""

TERM_COLUMNS: Final = ("label", "definition", "synonyms", "parents")
"""Columns of a table of the terms of an ontology."""

TERM_SEPARATOR: Final = "|"
"""Between synonyms, and between parents, of a term in such a table."""


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

    @staticmethod
    def covariate(kind: str, key: str) -> str:
        """Column of ``obs``; `kind` is ``"batch"``, ``"categorical"`` or ``"continuous"``."""
        return f"{kind}_covariate_{key}"

    @staticmethod
    def column(role: str) -> str:
        """Column of what is known of cells; `role` is ``"state"``, ``"group"``, ``"labels"``, or a phase of the cycle."""
        return f"{role}_column"


class Key:
    """Slots in a MuData, or an AnnData, by attribute. `key` is the ``key_added`` of the function that writes."""

    class obsm:
        @staticmethod
        def latent(key: str) -> str:
            """Where a model puts profiles and cells.

            mdata[m] | mean latent of each profile | (n_m, n_latent) float32 | tl.jamie, tl.map_query | tl.umap, scanpy
            mdata | latent of each cell: what modalities share, and what each alone knows | (n_obs, n_latent + n_private of each modality) float32, NaN for cells with none of the modalities | tl.jamie, tl.map_query | scanpy
            data | probabilities of the categories | (n_obs, K) float32 | tl.cplmixvae |
            adata | scores in the principal components | (n_obs, n_components) float32 | tl.otgm | pl.states, scanpy
            mdata | where each cell is: a dimension for each label, each score of the cell cycle, and free ones | (n_obs, n_dimensions) float32, NaN for cells with none of the modalities | tl.jae, tl.map_query | scanpy
            mdata[m] | the same of each profile, by its modality alone | (n_m, n_dimensions) float32 | tl.jae, tl.map_query | tl.umap, scanpy
            adata | cells in the space that they share with texts, rows of length 1 | (n_obs, n_dimensions) float32 | tl.celltext | scanpy
            """
            return f"X_{key}"

        @staticmethod
        def shared(key: str) -> str:
            """Where cells are in the space that modalities share.

            mdata | latent of each cell in the space of the profiles; not with `n_private=0`, where it is the one above | (n_obs, n_latent) float32 | tl.jamie, tl.map_query | tl.umap
            """
            return f"X_{key}_shared"

        @staticmethod
        def umap(key: str) -> str:
            """One UMAP of all modalities.

            mdata[m] | one UMAP of all modalities: the profiles | (n_m, 2) float32 | tl.umap | pl.latent
            mdata | one UMAP of all modalities: the cells | (n_obs, 2) float32 | tl.umap | pl.latent
            """
            return f"X_{key}_umap"

        @staticmethod
        def imputed(key: str, target: str) -> str:
            """Predictions for every cell of the source, in the units of the target.

            mdata[s] | imputed values of **every** cell of the source, in the target's units | (n_s, n_vars_t) float32, columns in `mdata.uns["jamie"]["var_names"][t]` | tl.impute |
            mdata[s] | the same by a simple method, `knn` or `ridge` | (n_s, n_vars_t) float32, columns in `mdata.uns["knn"]["var_names"][t]` | tl.impute_baseline |
            """
            return f"{key}_{target}"

        @staticmethod
        def imputed_sd(key: str, target: str) -> str:
            """Standard deviations of the predictions.

            mdata[s] | standard deviations of the imputed values, with `return_sd=True` | (n_s, n_vars_t) float32 | tl.impute |
            """
            return f"{key}_{target}_sd"

        @staticmethod
        def label_probabilities(key: str, labels: str) -> str:
            """Probabilities of the labels.

            mdata | probabilities of the labels | (n_obs, n_labels) float32, columns in `mdata.uns["jamie"]["classifiers"][labels]["classes"]` | tl.predict_labels |
            """
            return f"{key}_{labels}"

        @staticmethod
        def jae_label(key: str) -> str:
            """Probabilities of the labels that a joint autoencoder learned.

            mdata | probabilities of the labels, if there were some | (n_obs, n_labels) float32, columns in `mdata.uns["jae"]["labels"]` | tl.jae, tl.map_query |
            """
            return f"{key}_label"

        @staticmethod
        def state(key: str) -> str:
            """Continuous position within the category.

            data | continuous position within the category | (n_obs, n_state) float32; several modalities side by side, NaN where one was not measured | tl.cplmixvae | scanpy
            mdata[m] | the same, if there are several modalities | (n_m, n_state) float32 | tl.cplmixvae | scanpy
            """
            return f"X_{key}_state"

        @staticmethod
        def text_scores(key: str) -> str:
            """Probabilities of the labels that cells were named by.

            adata | probabilities of the labels | (n_obs, n_labels) float32, columns in `adata.uns["celltext"]["candidates"]` | tl.annotate |
            """
            return f"{key}_scores"

        @staticmethod
        def posterior(key: str) -> str:
            """Probabilities of the states.

            adata | probabilities of the states | (n_obs, n_states) float32, columns in `adata.uns["otgm"]["states"]` | tl.otgm |
            """
            return f"{key}_posterior"

        TRUTH: Final = "latent_true"
        """Positions that were simulated.

        mdata | positions that were simulated | (n_obs, k) float32 | data.branching_manifold, data.count_clusters |
        """

    class obsp:
        @staticmethod
        def match(key: str) -> str:
            """Links inferred on the way to a model.

            mdata | inferred links, as of tl.match; `jamie_match_{a}_{b}` of more than two modalities | (n_obs, n_obs) CSR float32 | tl.jamie | set-up
            """
            return f"{key}_match"

    class obs:
        @staticmethod
        def label(key: str, labels: str) -> str:
            """Predicted label.

            mdata | predicted label | categorical | tl.predict_labels |
            """
            return f"{key}_{labels}"

        @staticmethod
        def category(key: str) -> str:
            """Category that was found.

            data | category | categorical, `"0"` the largest | tl.cplmixvae | scanpy
            """
            return f"{key}_category"

        @staticmethod
        def category_confidence(key: str) -> str:
            """Probability of the category.

            data | probability of the category | in [0, 1] | tl.cplmixvae |
            """
            return f"{key}_confidence"

        @staticmethod
        def category_stability(key: str) -> str:
            """Share of other trainings that agree on the category.

            data | share of other trainings in which it is of the corresponding category | in [0, 1]; with `n_init` above 1 | tl.cplmixvae |
            """
            return f"{key}_stability"

        @staticmethod
        def state(key: str) -> str:
            """Most probable state.

            adata | most probable state | categorical | tl.otgm | scanpy
            """
            return f"{key}_state"

        S_SCORE: Final = "S_score"
        """Score of the S phase.

        mdata[m] | score of the S phase of the cell cycle | float | pp.score_cell_cycle | tl.jae(cell_cycle_keys=)
        """

        G2M_SCORE: Final = "G2M_score"
        """Score of the G2 and M phases.

        mdata[m] | score of the G2 and M phases of the cell cycle | float | pp.score_cell_cycle | tl.jae(cell_cycle_keys=)
        """

        PHASE: Final = "phase"
        """Phase with the higher score.

        mdata[m] | phase of the cell cycle | `"G1"`, `"S"` or `"G2M"` | pp.score_cell_cycle | scanpy
        """

        @staticmethod
        def label_confidence(key: str, labels: str) -> str:
            """Probability of the predicted label.

            mdata | probability of the predicted label | in [0, 1] | tl.predict_labels |
            """
            return f"{key}_{labels}_confidence"

        @staticmethod
        def jae_label(key: str) -> str:
            """Label that a joint autoencoder predicts.

            mdata | predicted label, if there were some to learn | categorical | tl.jae, tl.map_query | pl.confusion
            """
            return f"{key}_label"

        @staticmethod
        def jae_label_confidence(key: str) -> str:
            """Its probability.

            mdata | probability of the predicted label | in [0, 1] | tl.jae, tl.map_query |
            """
            return f"{key}_label_confidence"

        @staticmethod
        def jae_label_typicality(key: str) -> str:
            """How typical a cell is of the labels.

            mdata | share of the cells with a label that are further from it: near 0 for another type | in [0, 1] | tl.jae, tl.map_query |
            """
            return f"{key}_label_typicality"

        @staticmethod
        def text_label(key: str) -> str:
            """Label that a cell was named by.

            adata | the most probable of the labels that were asked for, or `"unknown"` | categorical | tl.annotate | pl.nearest_texts, pl.confusion
            """
            return f"{key}_label"

        @staticmethod
        def text_confidence(key: str) -> str:
            """Its probability.

            adata | probability of the label | in [0, 1] | tl.annotate |
            """
            return f"{key}_confidence"

        @staticmethod
        def text_typicality(key: str) -> str:
            """How typical a cell is of the labels.

            adata | share of the cells of known types that are further from theirs: near 0 for another type | in [0, 1] | tl.annotate |
            """
            return f"{key}_typicality"

        @staticmethod
        def fitted(key: str, source: str) -> str:
            """Whether an imputed cell was learned from.

            mdata[t] | whether the model was trained on the cell's pair with s | bool | tl.impute | pl.imputation, pl.imputation_comparison, pl.distribution_similarity, pl.feature_by_type
            mdata[t] | the same of a simple method, `knn` or `ridge` | bool | tl.impute_baseline | the same figures
            """
            return f"{key}_from_{source}_fitted"

    class layers:
        @staticmethod
        def imputed(key: str, source: str) -> str:
            """Predictions beside the measured values.

            mdata[t] | imputed values beside the measured ones | (n_t, n_vars_t) float32, NaN rows for cells without s | tl.impute | pl.imputation, pl.imputation_comparison, pl.distribution_similarity, pl.feature_by_type
            mdata[t] | the same by a simple method, `knn` or `ridge` | (n_t, n_vars_t) float32, NaN rows for cells without s | tl.impute_baseline | the same figures
            """
            return f"{key}_from_{source}"

        @staticmethod
        def imputed_sd(key: str, source: str) -> str:
            """Standard deviations beside the measured values.

            mdata[t] | standard deviations of the imputed values, with `return_sd=True` | (n_t, n_vars_t) float32 | tl.impute |
            """
            return f"{key}_from_{source}_sd"

        LOG1P: Final = "log1p"
        """Logarithm of counts, simulated or normalised by the command line.

        mdata[m] | logarithm of simulated counts, or of those that `couplevi ... --normalize` names | (n_m, n_vars_m) float32 | data.branching_manifold, data.count_clusters | setup_mudata(layers=)
        adata | the same | (n_obs, n_vars) float32 | data.perturbation_screen | tl.otgm(layer=)
        """

    class varm:
        @staticmethod
        def shap_from(key: str, source: str) -> str:
            """Mean absolute Shapley values of a modality's features, by features of the source.

            mdata[t] | mean absolute Shapley values of features of the source | (n_vars_t, n_vars_s) float32, columns in `mdata.uns["jamie"]["var_names"][s]`, NaN rows for targets not explained | tl.explain | pl.explain
            """
            return f"{key}_shap_from_{source}"

        @staticmethod
        def shap_to(key: str, target: str) -> str:
            """Mean absolute Shapley values of latents (`"latent"`) or labels, by features of the source.

            mdata[s] | the same where t is `latent` or a column of labels | (n_vars_s, outputs) float32 | tl.explain | pl.explain
            """
            return f"{key}_shap_to_{target}"

        @staticmethod
        def direction_from(key: str, source: str) -> str:
            """Whether a higher value of a feature of the source raises those of a modality.

            mdata[t] | correlation, over the cells explained, of the values of a feature of the source with its Shapley values: whether a high one raises or lowers the prediction | (n_vars_t, n_vars_s) float32 in [-1, 1], NaN where one of both does not vary | tl.explain | pl.explain
            """
            return f"{key}_shap_direction_from_{source}"

        @staticmethod
        def direction_to(key: str, target: str) -> str:
            """Whether a higher value of a feature of the source raises latents or probabilities of labels.

            mdata[s] | the same where t is `latent` or a column of labels | (n_vars_s, outputs) float32 | tl.explain | pl.explain
            """
            return f"{key}_shap_direction_to_{target}"

        @staticmethod
        def shap(key: str) -> str:
            """Mean absolute Shapley values of texts.

            adata | mean absolute Shapley values of the cosine with texts | (n_vars, n_texts) float32, columns in `adata.uns["celltext"]["explained"]` | tl.explain_text |
            """
            return f"{key}_shap"

    class mod:
        @staticmethod
        def imputed(source: str, target: str) -> str:
            """Predictions as a modality, with the `obs` of the source.

            mdata | imputed values as a modality, with the `obs` of the source | AnnData (n_s, n_vars_t); `uns["jamie"]`: `source` and `target`; `layers["sd"]` with `return_sd=True` | tl.impute(as_modality=True) | scanpy
            """
            return f"{target}_from_{source}"

    class uns:
        """What was done, under the `key` of the function.

        mdata | how the model was made | dict: `preset`, `settings`, `losses`, `versions`, and what is below | tl.jamie, tl.map_query |
        data | how the model was made | dict: `settings`, `losses`, `versions`, and what is below | tl.cplmixvae |
        mdata | how the model was made | dict: `preset`, `settings`, `losses`, `versions`, and what is below | tl.jae, tl.map_query |
        adata | how the model was made | dict: `settings`, `versions`, `control`, `n_cells`, `pooled_share`, and what is below | tl.otgm |
        adata | how the model was made | dict: `settings`, `losses`, `encoders`, `versions`, and what is below | tl.celltext |
        """

        MODALITIES: Final = "modalities"
        """Names of the modalities.

        mdata | its modalities | list of names | tl.jamie, tl.map_query, tl.jae | tl.umap, pl.latent
        data | its modalities | list of names | tl.cplmixvae |
        """

        VAR_NAMES: Final = "var_names"
        """Names of the features of each modality.

        mdata | names of features | dict: a list for each modality | tl.jamie, tl.map_query, tl.impute, tl.explain | pl.explain
        mdata | names of features | dict: a list for the target | tl.impute_baseline |
        """

        @staticmethod
        def match(key: str) -> str:
            """How links were inferred on the way to a model.

            mdata | how links were inferred, as of tl.match; `jamie_match_{a}_{b}` of more than two modalities | dict | tl.jamie | set-up
            """
            return f"{key}_match"

        @staticmethod
        def rank_genes(key: str) -> str:
            """Ranked features of each state.

            adata | ranked features of each state | dict in the format of `sc.tl.rank_genes_groups` | tl.otgm | scanpy
            """
            return f"{key}_rank_genes"

        STATES: Final = "states"
        """Names of the states.

        adata | names of the states | list, in the order of the columns of the posterior | tl.otgm |
        """

        LABELS: Final = "labels"
        """Names of the labels.

        mdata | names of the labels | list, in the order of the columns of their probabilities | tl.jae, tl.map_query |
        adata | names of the types that were learned | list, in alphabetical order | tl.celltext |
        """

        TEXTS: Final = "texts"
        """Texts of the labels.

        adata | texts of the types that were learned | list, in the order of `labels` | tl.celltext |
        """

        CANDIDATES: Final = "candidates"
        """Labels that cells were named by.

        adata | labels that cells were named by | list, in the order of the columns of their probabilities | tl.annotate |
        """

        EXPLAINED: Final = "explained"
        """Texts that were explained.

        adata | texts that were explained | list, in the order of the columns of the Shapley values | tl.explain_text |
        """

        INFERRED: Final = "inferred"
        """Keys in ``mdata.obsp`` of links that were inferred.

        mdata | keys in `mdata.obsp` of links that were inferred | list of names | tl.jamie |
        """

        CLASSIFIERS: Final = "classifiers"
        """Classifiers on the latent, by column of labels.

        mdata | classifiers on the latent, by column of labels | dict: for each, `classes`, `coefficients`, `intercept`, `model` (whose latents they were learned from) | tl.predict_labels | tl.explain
        """

        CATEGORIES: Final = "categories"
        """Names of the categories.

        data | names of the categories | list, in the order of the columns of their probabilities | tl.cplmixvae | pl.consensus
        """

        CONSENSUS: Final = "consensus"
        """How far arms agree, category by category.

        data | how far two arms agree, category by category | (K, K); not with a single arm | tl.cplmixvae | pl.consensus
        """

        PRUNING: Final = "pruning"
        """Number of categories and scores of each round of training.

        data | number and scores of categories by round of training | dict: one value per round | tl.cplmixvae | pl.pruning
        """
