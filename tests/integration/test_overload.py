"""Several times more than a server can carry, from callers who wait for nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isotherm.client.cli.bench.crew import Crew
from isotherm.client.cli.bench.load import Closed, Open, Period, Target
from tests.support import models
from tests.support.rpc import infer_request
from tests.support.server import eventually, serving

DEADLINE_S = 0.5
ROWS = 32
WIDTHS = (256, 1024, 1024, 1024, 1024, 32)
OVERLOAD = 4
PERIOD = Period(duration_s=2.0, warmup_s=0.5)


@pytest.mark.alone
@pytest.mark.slow
def test_what_cannot_be_carried_is_refused_and_the_rest_is_answered(tmp_path: Path) -> None:
    """Nobody is left without an end, and nothing runs but what is then answered."""
    models.publish(tmp_path, "heavy", models.mlp(WIDTHS))
    x = np.zeros((ROWS, WIDTHS[0]), np.float32)
    with serving(tmp_path, "--workers", "1", "--log-level", "error") as server:
        target = Target(
            address=server.address,
            bodies=(infer_request("heavy", x=x).SerializeToString(),),
            connections=4,
            timeout_s=DEADLINE_S,
        )
        with Crew(target, 1) as crew:
            carried, _ = crew.measure(Closed(concurrency=8), PERIOD)
            capacity = carried.completed / carried.seconds
            offered, _ = crew.measure(Open(rate=OVERLOAD * capacity), PERIOD)

        def counted(family: str, labels: str) -> float:
            return server.metric(f'{family}{{{labels},version="1"}}')

        assert eventually(lambda: counted("isotherm_queue_pending_requests", 'model="heavy"') == 0)
        executed = counted("isotherm_inferences_total", 'model="heavy"')
        answered = counted("isotherm_requests_total", 'code="OK",model="heavy"')

    ends = offered.statuses
    assert set(ends) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert ends.total() == offered.requests
    # Of what is offered a quarter can be carried; half of that is left to this machine's moods.
    assert ends["OK"] > ends.total() / OVERLOAD / 2
    assert ends["RESOURCE_EXHAUSTED"] > ends["OK"]
    assert ends["DEADLINE_EXCEEDED"] < ends["OK"] / 4
    assert executed == ROWS * answered
