"""Tests of what a stream asks of the other processes, with one that is told of more."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from isotherm.trainer.progress import OnEpoch, OnRows
from isotherm.trainer.stream import fit, prepare
from isotherm.trainer.world import Alone
from tests.support.streams import config, numbers, write


class _Listening(Alone):
    """Notes what all processes have to agree on."""

    def __init__(self) -> None:
        self.agreed: dict[str, object] = {}

    def same(self, what: str, value: object) -> None:
        self.agreed[what] = value


class _Half(Alone):
    """The first of two, whose sums are its own."""

    size = 2


class _Watch:
    """Notes the rows of each stage, and how many there were to be."""

    def __init__(self) -> None:
        self.told: defaultdict[tuple[str, int], list[int]] = defaultdict(list)

    def __call__(self, _stage: str, _epochs: int) -> OnEpoch:
        return lambda _epoch, _training, _validation: None

    def rows(self, stage: str, total: int) -> OnRows:
        return lambda rows, _loss: self.told[stage, total].append(rows)


def _agreed(path: Any, **settings: Any) -> dict[str, object]:
    world = _Listening()
    prepared = prepare.prepare(config(path, fit__epochs=1, **settings), world=world)
    table = prepared.frame.table(prepared.survey.held_out)
    fit.fit(prepared, fit.built(prepared.frame, table, prepared.config), world=world)
    return world.agreed


def test_all_processes_have_to_come_to_the_same_model(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(1000))
    name = "parameters of the network of digest"
    first, again = _agreed(path), _agreed(path)
    other = _agreed(path, fit__learning_rate=0.02)
    assert {"files", name} == {*first}
    assert first == again
    assert first["files"] == other["files"]
    assert first[name] != other[name]


@pytest.mark.parametrize(("world", "rows"), [(Alone(), 1700), (_Half(), 1000)])
def test_a_pass_tells_of_the_rows_that_its_process_reads(tmp_path, world, rows):
    path = write(tmp_path / "a.parquet", numbers(1700), 500)
    watch = _Watch()
    prepare.prepare(config(path), world=world, watch=watch)
    expected = {("statistics", rows), ("sums and samples", rows)}
    assert expected == {*watch.told}
    assert all(rows == told[-1] for told in watch.told.values())
