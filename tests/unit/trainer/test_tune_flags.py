"""Tests of the flags of `isotherm tune` beside those of `isotherm train`."""

from __future__ import annotations

import inspect

import pytest
from typer.testing import CliRunner

from isotherm.trainer.__main__ import train
from isotherm.trainer.tune.__main__ import app, tune


def test_a_search_takes_the_flags_of_a_training() -> None:
    """But for those of a stream, of checkpoints and of one network; the types are the same."""
    training, search = (inspect.signature(one).parameters for one in (train, tune))
    without = {"recipe", "memory", "summary", "checkpoint", "checkpoint_every", "checkpoint_steps"}

    assert {*training} - {*search} == without
    assert {*search} - {*training} == {"trials", "jobs", "timeout", "storage", "prune"}
    for name in {*training} & {*search}:
        assert training[name] == search[name]


def test_a_search_under_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has processes of its own."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    result = CliRunner().invoke(app, ["thermometer"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "rank 1: a search starts its processes itself (--jobs); leave torchrun out" in (
        result.stderr
    )
