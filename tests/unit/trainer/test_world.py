"""Tests of the processes that train one model: real ones, connected by gloo."""

from __future__ import annotations

import functools
import json
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from isotherm.trainer import torchrun
from isotherm.trainer.errors import ConfigError, WorldError
from isotherm.trainer.world import Alone
from tests.support import ranks
from tests.support.apps import worlds
from tests.support.ports import free_port

PROGRAM = "tests.support.apps.worlds"
# 127.0.0.1, as /proc/net/tcp has it.
LOOPBACK = "0100007F"

Play = Callable[..., list[ranks.Ended]]


@pytest.fixture(name="play")
def _play(tmp_path: Path) -> Play:
    """Start a scenario on so many ranks, and wait for their end."""

    def play(scenario: str, size: int, **changes: str) -> list[ranks.Ended]:
        with ranks.started(["-m", PROGRAM, scenario, str(tmp_path)], size, changes) as processes:
            return ranks.ended(processes)

    return play


@pytest.fixture(name="agreed", scope="module")
def _agreed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[ranks.Ended], list[worlds.Found]]:
    """Three ranks that exchanged everything: how they ended, and what each found."""
    folder = tmp_path_factory.mktemp("agreed")
    with ranks.started(["-m", PROGRAM, "agree", str(folder)], 3) as processes:
        ended = ranks.ended(processes)
    assert [each.status for each in ended] == [0, 0, 0], ended
    return ended, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


@pytest.fixture(name="found")
def _found(agreed: tuple[list[ranks.Ended], list[worlds.Found]]) -> list[worlds.Found]:
    return agreed[1]


def test_without_variables_the_world_is_one_process(monkeypatch):
    """And so it is with torchrun's variables of one process."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with torchrun.joined() as world:
        assert (world.rank, world.size) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with torchrun.joined() as world:
        assert isinstance(world, Alone)


def test_alone_nothing_changes():
    """The gradients are those of autograd, to the bit, and the values come back."""
    model = nn.Linear(2, 1)
    loss = model(torch.ones(3, 2)).square().mean()
    loss.backward()
    before = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    world = Alone()

    assert world.average(list(model.parameters()), 3, loss) is loss
    after = [each.grad for each in model.parameters() if each.grad is not None]
    assert all(map(torch.equal, before, after))
    assert world.gather("a") == ["a"]
    assert world.broadcast("a") == "a"
    assert world.total(np.array([0.1])).tolist() == [0.1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORLD_SIZE", "two"), ("RANK", ""), ("ISOTHERM_WORLD_TIMEOUT_S", "1 min")],
)
def test_a_variable_that_is_no_number_is_named(name, value, monkeypatch):
    """With its value, and who sets it."""
    for each, usual in ranks.variables(0, 2, 1).items():
        monkeypatch.setenv(each, usual)
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=f"{name} is '{value}'"), torchrun.joined():
        pass


def test_a_missing_address_is_named(monkeypatch):
    """It is torch that looks for it."""
    for each, usual in ranks.variables(0, 2, 1).items():
        monkeypatch.setenv(each, usual)
    monkeypatch.delenv("MASTER_ADDR")

    with pytest.raises(ConfigError, match="MASTER_ADDR"), torchrun.joined():
        pass


def test_a_rank_whose_others_do_not_come_says_where_it_waited(monkeypatch):
    """After the time that it was given."""
    port = free_port()
    for each, usual in ranks.variables(0, 2, port).items():
        monkeypatch.setenv(each, usual)
    monkeypatch.setenv("ISOTHERM_WORLD_TIMEOUT_S", "1")

    with pytest.raises(WorldError, match=f"rank 0 of 2 .* 127.0.0.1:{port}"), torchrun.joined():
        pass


def test_those_who_are_there_meet_whatever_the_dead_have_left(tmp_path):
    """Torchrun keeps its store over restarts, with a start of rank 0 that others had joined."""
    common = store(tmp_path)
    common.set("isotherm/opened", "dead")
    PrefixStore("dead", common).set("complete", "dead too")
    deadline = time.monotonic() + 20
    with ThreadPoolExecutor(3) as pool:
        starts = [pool.submit(torchrun.met, common, rank, 3, deadline) for rank in (2, 1, 0)]
        second, first, zeroth = (start.result() for start in starts)
    zeroth.set("told", "by rank 0")

    assert {first.get("told"), second.get("told")} == {b"by rank 0"}
    assert not PrefixStore("dead", common).check(["told"])


def test_who_waits_for_somebody_else_gives_up(tmp_path):
    """Rank 0 for the others, and they for it."""
    for rank, reason in ((0, "not all of them"), (1, "rank 0 does not answer")):
        with pytest.raises(TimeoutError, match=reason):
            torchrun.met(store(tmp_path / str(rank)), rank, 2, time.monotonic())


def store(folder: Path) -> Store:
    """A store as torchrun keeps one, in a file."""
    folder.mkdir(exist_ok=True)
    found: Store = next(rendezvous(f"file://{folder}/store?rank=0&world_size=1"))[0]
    return found


@pytest.mark.slow
def test_values_arrive_in_the_order_of_the_ranks(found):
    """On each of them the same."""
    for each in found:
        assert each["gathered"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert each["told"] == "rank 0"


@pytest.mark.slow
def test_a_sum_has_the_same_bits_everywhere(found):
    """Those of adding in the order of the ranks."""
    expected = functools.reduce(np.add, [worlds.uneven(rank) for rank in range(3)])

    assert [each["total"] for each in found] == [expected.tobytes().hex()] * 3


@pytest.mark.slow
def test_full_batches_give_the_model_of_one_process(found):
    """Of rows that weigh unequally, in unequal shares, of which one is empty.

    In single precision the rounding of 20 steps is within 1e-6; in double precision no other
    difference is left after 200.
    """
    table = worlds.table()
    single = worlds.train(Alone(), table, steps=20)
    double = worlds.train(Alone(), [part.double() for part in table], steps=200)

    for precision, expected, within in (("single", single, 1e-6), ("double", double, 1e-12)):
        assert found[0][precision] == found[1][precision] == found[2][precision]
        for part, same in zip(found[0][precision], expected, strict=True):
            assert part == pytest.approx(same, rel=0, abs=within)
    # They have learned something that could have differed.
    assert double[1][-1] < double[1][0] / 10


@pytest.mark.slow
def test_rows_that_nobody_has_move_nothing(found):
    """Neither the loss nor the gradients become NaN."""
    assert [each["weightless"] for each in found] == [[0, 0, 0]] * 3


@pytest.mark.slow
def test_batch_statistics_are_the_mean_of_the_ranks(found):
    """Of 1, 2 and 3 times the same two rows."""
    assert [each["settled"] for each in found] == [
        [pytest.approx([2, 4]), pytest.approx([2 * 14 / 3, 8 * 14 / 3])]
    ] * 3


@pytest.mark.slow
def test_a_rank_with_other_settings_is_named_to_all(found):
    """The third one, with both values."""
    expected = "rank 2 has a table of '11 rows', and rank 0 has '10 rows'"

    assert all(each["differs"].startswith(expected) for each in found)


@pytest.mark.slow
def test_gloo_listens_on_the_loopback_alone(found):
    """Where all ranks are on one machine; rank 0 keeps torch's store open as well."""
    assert [each["listening"] for each in found[1:]] == [[LOOPBACK]] * 2
    assert LOOPBACK in found[0]["listening"]


@pytest.mark.slow
def test_no_thread_outlives_the_connections(found):
    """One that does may meet a Python that is ending, and abort the process."""
    assert not [name for each in found for name in each["threads"] if "gloo" in name]


@pytest.mark.slow
def test_rank_0_alone_prints(agreed):
    """And nobody complains."""
    ended, _ = agreed

    assert [each.stdout for each in ended] == ["rank 0 prints\n", "", ""]
    assert [each.stderr for each in ended] == ["", "", ""]


@pytest.mark.slow
def test_what_one_rank_met_is_told_by_the_others(play):
    """Nobody waits for it in vain."""
    first, second, third = play("refuse", 3)

    assert (first.status, third.status) == (1, 1)
    assert second.status != 0
    assert "ValueError: column 'rooms' has gone" in second.stderr
    for rank, each in ((0, first), (2, third)):
        assert each.stderr == (
            f"error: rank {rank} of 3 ends because rank 1 failed: "
            "ValueError: column 'rooms' has gone\n"
        )


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_others(play):
    """With one sentence, and at once."""
    first, second = play("die", 2)

    assert (first.status, second.status) == (1, -signal.SIGKILL)
    assert first.stderr.startswith("error: rank 0 of 2 lost another process")
    assert len(first.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_rank_that_does_not_answer_is_given_up(tmp_path):
    """After the time-out, although it lives."""
    arguments = ["-m", PROGRAM, "stall", str(tmp_path)]
    with ranks.started(arguments, 2, {"ISOTHERM_WORLD_TIMEOUT_S": "3"}) as processes:
        _, stderr = processes[0].communicate(timeout=ranks.TIMEOUT_S)
        assert processes[1].poll() is None

    assert processes[0].returncode == 1
    assert stderr.startswith("error: rank 0 of 2 lost another process")


@pytest.mark.slow
def test_torchrun_s_summary_has_the_sentence(tmp_path):
    """Instead of no traceback."""
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", PROGRAM]
    result = ranks.run([sys.executable, *command, "refuse", str(tmp_path)])

    assert result.status == 1
    assert result.stderr.partition("Root Cause")[2].count("column 'rooms' has gone") == 1
