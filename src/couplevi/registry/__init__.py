"""What was registered at set-up, and how it is read from the data of a model or from others."""

from couplevi.registry._columns import ColumnField, column_texts, column_values, registered_column
from couplevi.registry._covariates import Covariate, CovariateField, Design, registered_design
from couplevi.registry._fields import Keys, MuDataObspField, ValuesField, completed, registered_keys
from couplevi.registry._links import links_between, links_by_name, rows_in_obs, written_links
from couplevi.registry._places import stored, value_places
from couplevi.registry._reader import ModalityReader, Seen, registered_readers
from couplevi.registry._registered import Registered
from couplevi.registry._setup import coupled_manager, single_manager

__all__ = [
    "ColumnField",
    "Covariate",
    "CovariateField",
    "Design",
    "Keys",
    "ModalityReader",
    "MuDataObspField",
    "Registered",
    "Seen",
    "ValuesField",
    "column_texts",
    "column_values",
    "completed",
    "coupled_manager",
    "links_between",
    "links_by_name",
    "registered_column",
    "registered_design",
    "registered_keys",
    "registered_readers",
    "rows_in_obs",
    "single_manager",
    "stored",
    "value_places",
    "written_links",
]
