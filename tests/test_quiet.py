import logging
import threading
import warnings

import pytest

from couplevi._quiet import LOGGERS, WARNINGS, quiet

SAID = (  # by packages of today, word for word
    "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec) and treespec.is_leaf()` instead.",
    "The 'train_dataloader' does not have many workers which may be a bottleneck. Consider increasing the value of the",
    "The `srun` command is available on your system but is not used. HINT: If your intention is to run Lightning on SLURM,",
    "GPU available but not used. You can set it by doing `Trainer(accelerator='gpu')`.",
    "`accelerator` has been automatically set to `cpu` although 'mps' exists. If you wish",
    "You defined a `validation_step` but have no `val_dataloader`. Skipping val loop.",
    "Your `val_dataloader`'s sampler has shuffling enabled, it is strongly recommended that you turn shuffling off",
)


@pytest.fixture
def heard(caplog):
    """Texts of records, as a handler of the user's gets them; notices are on, as these packages set it."""
    for name in (*LOGGERS, "lightning.pytorch", "couplevi"):
        caplog.set_level(logging.INFO, logger=name)
    handler = caplog.handler
    below = [
        logging.getLogger(name) for name in (*LOGGERS, "lightning.pytorch") if not logging.getLogger(name).propagate
    ]
    for logger in below:
        logger.addHandler(handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    for logger in below:
        logger.removeHandler(handler)


def state():
    """Filters, levels and handlers of all loggers, and the filters of warnings."""
    names = ["", *logging.root.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in names]
    return [(x.name, x.level, list(x.handlers), list(x.filters), x.propagate) for x in loggers], list(warnings.filters)


def test_what_others_say_of_themselves_is_not_shown():
    assert len(SAID) == len(WARNINGS)
    with quiet():
        for text in SAID:
            warnings.warn(text, FutureWarning, stacklevel=1)
    with pytest.warns(FutureWarning, match="LeafSpec"):
        warnings.warn(SAID[0], FutureWarning, stacklevel=1)


def test_warnings_of_ours_and_all_others_are_shown():
    with quiet(), pytest.warns(UserWarning) as caught:
        for text in ("The categories have collapsed.", "The 'lever' has many workers."):
            warnings.warn(text, UserWarning, stacklevel=1)
    assert len(caught) == 2


def test_notices_are_not_shown_and_more_than_notices_are(heard):
    below = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with quiet():
        below.info("GPU available: False, used: False")
        logging.getLogger("scvi").info("Generating sequential column names")
        below.warning("of weight")
    below.info("of no weight")
    assert heard() == ["of weight", "of no weight"]


def test_notices_of_ours_are_left_to_the_user(heard):
    with quiet():
        logging.getLogger("couplevi.tl").info("ours")
    assert heard() == ["ours"]


def test_who_asks_for_everything_gets_it(heard, caplog):
    with caplog.at_level(logging.DEBUG, logger="lightning.pytorch"), quiet():
        logging.getLogger("lightning.pytorch").info("GPU available: False")
    assert heard() == ["GPU available: False"]


def test_everything_is_as_before_also_after_a_failure():
    before = state()
    with pytest.raises(ValueError, match="stop"), quiet():
        assert state() != before
        with quiet():
            raise ValueError("stop")
    assert state() == before


def test_blocks_of_two_threads_may_overlap(heard):
    """The first one in is the first one out: what it found is not put back before the last one is out."""
    before, logger = state(), logging.getLogger("lightning.pytorch")
    entered, leave, left, ready = (threading.Event() for _ in range(4))

    def other():
        entered.wait()
        with quiet():
            ready.set()
            leave.wait()
            logger.info("of a thread in its block")
        logger.info("of a thread after its block")
        left.set()

    thread = threading.Thread(target=other)
    thread.start()
    with quiet():
        entered.set()
        ready.wait()
    logger.info("of a thread without a block")
    leave.set()
    left.wait()
    thread.join()
    assert heard() == ["of a thread without a block", "of a thread after its block"]
    assert state() == before
