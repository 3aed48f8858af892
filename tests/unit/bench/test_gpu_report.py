"""The page of tests/bench/gpu.py says of its figures what they say, on machines unlike this one."""

from __future__ import annotations

import pytest

from tests.bench.gpus import report
from tests.bench.gpus.budget import Budget
from tests.bench.gpus.figures import Cell, Looped, Placed, Results, Served, Trained
from tests.bench.gpus.loops import contenders
from tests.bench.gpus.plan import TARGET
from tests.bench.gpus.served import rows


def looped(rows_per_s: float, run_ms: float, difference: float = 0.0) -> Looped:
    """Return a loop's figures."""
    return Looped(rows_per_s=rows_per_s, run_ms=run_ms, p99_ms=2 * run_ms, difference=difference)


def served(rows_per_s: float, p99_ms: float) -> Served:
    """Return a server's figures."""
    return Served(
        rows=512,
        in_flight=16,
        rows_per_s=rows_per_s,
        p99_ms=p99_ms,
        by="h2load",
        busiest_thread=0.99,
        server_cpus=2.5,
        load_cpus=1.25,
        device=0.4,
    )


@pytest.fixture(name="results")
def _results() -> Results:
    """What a run on a device gives: one size that meets both targets, one that misses both."""
    loops = {
        "CPU": looped(50e3, 10.0),
        "CUDA": looped(2e6, 0.25),
        "IO binding": looped(2.5e6, 0.2),
        "CUDA graph": looped(3e6, 0.17, difference=1e-3),
        "torch": looped(9e6, 0.1),
    }
    small = {"CPU": looped(70e3, 0.1), "CUDA": looped(60e3, 0.2)}
    return Results(
        provider="cuda",
        machine=["NVIDIA H100 (81559 MiB)", "16 cores"],
        rounds=3,
        seconds=401.4,
        workers=4,
        cells=[
            Cell(
                network=TARGET,
                batch=512,
                loops=loops,
                whole=served(2.8e6, 9.0),
                single=served(90e3, 9.0),
                half=served(1.4e6, 1.3),
                several=served(2.9e6, 9.0),
            ),
            Cell(
                network=TARGET,
                batch=8,
                loops=small,
                whole=served(30e3, 9.0),
                half=served(15e3, 1.5),
            ),
        ],
        placed=[
            Placed(network=TARGET, provider="cuda", break_even_rows="12", note=""),
            Placed(network="1-13-1", provider="cpu", break_even_rows="0", note="never faster"),
        ],
        trained=[Trained(network="1-13-1", batch=1024, eager=1e6, recorded=8e6)],
        cut=["1-13-1 at 8 rows"],
        failures=["torch.compile at 512 rows: no compiler"],
    )


def test_figures_survive_their_file(results: Results) -> None:
    """Measured on one machine, shown on another."""
    assert Results.from_json(results.to_json()) == results


def test_each_target_has_its_line(results: Results) -> None:
    """The best bare loop is ONNX Runtime's: torch is no target. What missed says what was busy."""
    lines = [*report.targets(results)]

    assert lines[2:] == [
        "* 8 rows: the server has 43% of the best bare loop (CPU, 70 k), wanted 90%: missed "
        "(thread 99%, load 1.2 CPUs, device 40%).",
        "* 512 rows: the server has 93% of the best bare loop (CUDA graph, 3 M), wanted 90%: met.",
        "* 8 rows at 15 k: p99 end to end 1.5 ms, wanted 1.2 ms (twice the bare run, plus 1 ms): "
        "missed.",
        "* 512 rows at 1.4 M: p99 end to end 1.3 ms, wanted 1.34 ms (twice the bare run, plus "
        "1 ms): met.",
        "",
    ]


def test_the_page_leaves_nothing_out(results: Results) -> None:
    """One table, in the order of sizes; break-even beside what the loops say; failures and cuts."""
    page = report.page(results)

    table = [line for line in page.splitlines() if line.startswith("| 256-")]
    assert [row.split(" | ")[1] for row in table] == ["8", "512"]
    assert "| 2.8 M; 9 ms | 93% | 1.3 ms at 1.4 M | 90 k; 9 ms | thread 99%" in table[1]
    assert "the device from 12 rows on. Of the loops above, the device is ahead from 512" in page
    assert "1-13-1: provider cpu, the device from 0 rows on (never faster)." in page
    assert "| 1-13-1 | 1,024 | 1 M | 8 M | 8.0 |" in page
    assert "CUDA graph on 256-1024x4-32 at 512 rows by 1e-03" in page
    assert "**4 workers on one device**, 256-1024x4-32: 512 rows 2.9 M" in page
    assert "**Failed:** torch.compile at 512 rows: no compiler" in page
    assert "Left out for want of time: 1-13-1 at 8 rows." in page
    assert "401 s in all" in page


def test_without_a_device_the_page_says_why(results: Results) -> None:
    """No column of CUDA, and no verdict that one could take for a device's."""
    results.no_device = "no NVIDIA driver"
    page = report.page(results)

    assert "CUDA: no device: no NVIDIA driver. The server ran on the CPU." in page
    assert "IO binding" not in next(line for line in page.splitlines() if "| network" in line)
    assert "(on the CPU: they are meant for a device)" in page


def test_the_budget_says_what_was_cut() -> None:
    """What does not fit is noted; what is shorter may still fit."""
    now_s = 100.0
    budget = Budget(10, clock=lambda: now_s)
    assert budget.allows("first", 10)
    now_s = 106.0
    assert not budget.allows("long", 5)
    assert budget.allows("short", 4)
    assert budget.cut == ["long"]


def test_a_loop_that_fails_or_answers_otherwise_is_told_of() -> None:
    """The first loop's answers are what the others are held to."""
    told: list[str] = []
    x = rows((3, 1), 4)

    def broken(_: object) -> None:
        raise RuntimeError("no kernel image\nmore")

    found = contenders(
        {"first": lambda x: lambda: x, "other": lambda x: lambda: x * 1.5, "broken": broken},  # type: ignore[dict-item]
        x,
        told.append,
    )
    for one in found.values():
        one.turn(0.0)

    assert told == ["broken at 4 rows: no kernel image"]
    assert found["first"].figures().difference == 0
    assert found["other"].figures().difference == pytest.approx(0.5)
    assert found["first"].figures().rows_per_s > 0
