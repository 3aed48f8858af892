"""Tests of the shuffle's worth: a file sorted by its target is learned from as well as any."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer.stream import fit, prepare
from isotherm.trainer.stream.shuffle import Plan
from isotherm.trainer.world import Alone
from tests.support.streams import config, numbers, write


def _loss(path) -> float:
    """Return the loss on rows held out after three epochs."""
    settings = config(path, data__memory=1, fit__learning_rate=0.02, fit__batch_size=256)
    prepared = prepare.prepare(settings, world=Alone())
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)
    learners, training = fit.training(prepared, nets, world=Alone())
    training.run()
    return learners[0].history.validation[-1]


@pytest.mark.slow
def test_sorted_file_is_learned_from_as_well_as_a_shuffled_one(tmp_path, monkeypatch):
    columns = numbers(90_000, features=2)
    order = np.argsort(columns["y"])
    in_order = {name: values[order] for name, values in columns.items()}
    # Three fills of twenty row groups each.
    shuffled = _loss(write(tmp_path / "shuffled.parquet", columns, 1500))
    path = write(tmp_path / "sorted.parquet", in_order, 1500)
    streamed = _loss(path)
    monkeypatch.setattr(Plan, "order", lambda plan, _: np.arange(len(plan.groups)))
    unshuffled = _loss(path)
    assert streamed < 1.5 * shuffled
    assert unshuffled > 2 * streamed
