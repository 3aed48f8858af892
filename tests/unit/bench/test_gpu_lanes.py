"""tests/bench/gpus/lanes.py tells a batch's steps apart; here on a device in the host's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from isotherm.server.device.lane import Lane
from tests.bench.gpus import lanes
from tests.bench.gpus.budget import Budget
from tests.bench.gpus.plan import NETWORKS, TARGET

SMALL = {TARGET: (6, 16, 3), "small": (1, 4, 1)}
STEPS = {
    "lent",
    "filled",
    "copied_in",
    "ran_eagerly",
    "copied_out",
    "whole",
    "handed_over",
    "asked",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NETWORKS.keys() - SMALL.keys():
        monkeypatch.delitem(NETWORKS, name)
    for name, widths in SMALL.items():
        monkeypatch.setitem(NETWORKS, name, widths)
    monkeypatch.setattr(lanes, "STEP_S", 0.005)
    monkeypatch.setattr(lanes, "TOGETHER_S", 0.02)


def test_every_step_of_a_batch_has_its_time(tmp_path: Path) -> None:
    """For each size; the whole takes as long as its parts; and what lanes do together."""
    found = [*lanes.measured(tmp_path, "cpu", Budget(60), (64, 5))]

    assert [facts for facts in found if "failed" in facts] == []
    loads = [facts for facts in found if "load_s" in facts]
    assert len(loads) == 5
    assert all(facts["device_bytes"] > 0 and facts["notes"] == () for facts in loads)
    told = [facts for facts in found if "whole_us" in facts]
    # Twice the target's two sizes, with graphs and without, and the small network's.
    assert [facts["rows"] for facts in told] == [64, 5] * 3
    for facts in told:
        assert {name.removesuffix("_us") for name in facts if name.endswith("_us")} == STEPS
        assert all(facts[f"{step}_us"] > 0 for step in STEPS)
        assert facts["whole_us"] < facts["asked_us"]
        assert 0 < facts["own_share"] <= 1.2
        # There are none on this device.
        assert (facts["bucket"], facts["runs_in_bucket"]) == (0, 0)
    rates = [facts["rows_per_s"] for facts in found if "rows_per_s" in facts]
    assert len(rates) == 3 * len(lanes.TOGETHER)
    assert min(rates) > 0


def test_what_fails_or_has_no_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, and the rest goes on."""
    monkeypatch.setattr(Lane, "bound", lambda *_: None)
    found = [*lanes.measured(tmp_path, "cpu", Budget(60), (5,))]
    budget = Budget(7)

    failed = [facts["what"] for facts in found if "AssertionError" in facts.get("failed", "")]
    assert len(failed) == 3
    assert len([facts for facts in found if "load_s" in facts]) == 5
    assert [*lanes.measured(tmp_path, "cpu", budget)] == []
    assert len(budget.cut) == 5
