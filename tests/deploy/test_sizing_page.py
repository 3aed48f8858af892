"""docs/sizing.md is what its generator writes, from what was measured and from the manifests."""

import pytest
from deploy.sizing import figures, manifests
from deploy.sizing.__main__ import PAGE
from deploy.sizing.figures import Load
from deploy.sizing.manifests import Replica
from deploy.sizing.page import page, plan

REPLICA = Replica(workers=2, cores=2, memory_mib=1024, replicas=2, cpu_target=75, rows_target=1024)


def test_the_committed_page_is_the_generated_one():
    """Run `python -m deploy.sizing --write` after a benchmark, or a change of the manifests."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_figures_are_those_of_the_measurement(monkeypatch, tmp_path):
    """A control: another figure makes another page."""
    before = page()
    (load,) = (
        each for each in figures.loads(1, "16 x 4") if each.network == "1-13-1" and each.rows == 1
    )
    text = figures.PAGE.read_text(encoding="utf-8")
    changed = tmp_path / "performance.md"
    cell = f"{load.requests_s:,}"
    assert cell in text
    row = next(
        line
        for line in text.splitlines()
        if line.startswith("| Isotherm, 1 worker |") and cell in line
    )
    changed.write_text(
        text.replace(row, row.replace(f"; {load.cpu_us} us", "; 1,234 us")), encoding="utf-8"
    )
    monkeypatch.setattr(figures, "PAGE", changed)

    assert "1,234 us" not in before
    assert "| 1-13-1 | 1 | 1,234 us |" in page()


def test_the_figures_of_a_gpu_are_elsewhere():
    """The page says where; they are no rows of its own table."""
    assert "\n## On a GPU\n" in figures.PAGE.read_text(encoding="utf-8")
    assert "(performance.md#on-a-gpu)" in page()


@pytest.mark.parametrize(
    ("asked", "cpu_us", "for_load", "replicas"),
    [
        (100, 1000, 1, 2),
        (1500, 1000, 1, 2),
        (1501, 1000, 2, 3),
        (100_000, 60, 4, 5),
    ],
)
def test_a_plan_is_reckoned_as_the_page_says(asked, cpu_us, for_load, replicas):
    """Cores at the autoscaler's share, rounded up to replicas, and one more."""
    made = plan(Load("n", 1, 1, 1.0, cpu_us), asked, REPLICA)

    assert (made.for_load, made.replicas) == (for_load, replicas)


def test_the_manifests_are_read():
    """A component that is renamed or restructured is noticed here."""
    replica = manifests.replica()

    assert replica.workers == replica.cores
    assert replica.memory_mib >= 256
    assert 50 <= replica.cpu_target <= 90
    assert manifests.queue_mib() == 256
