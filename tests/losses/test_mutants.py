"""Facts that the mutation check (tests/mutation.py) found to be tested nowhere else."""

from couplevi.losses import (
    CONSENSUS_COORDINATES,
    aitchison_coordinates,
    euclidean_coordinates,
    minimum_variance_coordinates,
)


def test_each_coupling_has_the_coordinates_of_its_name():
    assert dict(CONSENSUS_COORDINATES) == {
        "euclidean": euclidean_coordinates,
        "aitchison": aitchison_coordinates,
        "minimum_variance": minimum_variance_coordinates,
    }
