"""Tests of `isotherm tune` as a process of its own: killed, stopped, and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from isotherm.trainer import export, run
from isotherm.trainer.tune.__main__ import app
from isotherm.trainer.tune.record import INDEX
from tests.support.processes import children
from tests.support.server import eventually

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "isotherm.trainer.tune")
QUICK = ("thermometer", "--epochs", "60", "--no-draw")
# Long enough that a signal comes before the trials are over.
SLOW = ("thermometer", "--epochs", "200", "--no-draw")


@pytest.fixture(name="inside", autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def errors(result: Result) -> list[float]:
    """Return the errors of the trials of a run, in the order in which they ended."""
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    return [line["error"] for line in lines if "trial" in line]


def interrupt(number: signal.Signals, after: int, *arguments: str) -> int:
    """Signal a run once `after` trials have ended in it; return its status."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        workers: set[int] = set()
        for line in process.stderr:
            if '"trial"' in line:
                after -= 1
            if not after:
                workers = {*descendants(process.pid)}
                process.send_signal(number)
                break
        said = process.stderr.read()
        status = process.wait(60)
    # Whatever ends the command ends its workers too.
    assert workers
    assert eventually(lambda: not any(alive(worker) for worker in workers), 20)
    assert number is signal.SIGKILL or "the same command goes on" in said
    return status


def descendants(process: int) -> Iterator[int]:
    for child in children(process):
        yield child
        yield from descendants(child)


def alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def kept(path: Path) -> tuple[dict[int, Any], dict[str, Any]]:
    """Return what a study's file has: parameters of trials that ended, and of those that began."""
    import optuna

    study = optuna.load_study(study_name="isotherm", storage=f"sqlite:///{path}")
    trials = study.get_trials()
    indices = [trial.user_attrs[INDEX] for trial in trials]
    assert len({*indices}) == len(indices)
    ended = {trial.user_attrs[INDEX]: trial.params for trial in trials}
    return ended, study.user_attrs.get("begun", {})


def test_a_search_that_is_killed_and_stopped_tries_what_an_uninterrupted_one_tries(
    inside: Path,
) -> None:
    """Six trials, with one job: SIGKILL and Ctrl-C on the way, and the same in the end."""
    often = (*SLOW, "--trials", "6", "--storage", "often.db")
    statuses = [interrupt(number, 2, *often) for number in (signal.SIGKILL, signal.SIGINT)]
    last = tune(*often)
    through = tune(*SLOW, "--trials", "6", "--storage", "through.db")

    assert statuses == [-signal.SIGKILL, 128 + signal.SIGINT]
    assert (last.exit_code, through.exit_code) == (0, 0), last.stderr + through.stderr
    assert kept(inside / "often.db") == kept(inside / "through.db")
    assert errors(through)[-len(errors(last)) :] == errors(last)
    # The seconds that trials took differ, and so does the version.
    boards = [text.stdout.partition("\nmodel ")[2].rpartition("\n")[0] for text in (last, through)]
    assert boards[0].partition("published")[0] == boards[1].partition("published")[0]


@pytest.mark.alone
def test_with_several_jobs_no_trial_is_lost(inside: Path) -> None:
    """Those that ran when the search was killed run again, with the same parameters."""
    arguments = (*SLOW, "--trials", "10", "--jobs", "3", "--storage", "study.db")
    begun: dict[str, Mapping[str, object]] = {}
    statuses = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        statuses.append(interrupt(number, 2, *arguments))
        ended, now = kept(inside / "study.db")
        unfinished = {index: one for index, one in now.items() if int(index) not in ended}
        assert unfinished
        begun |= unfinished
    last = tune(*arguments)
    ended, _ = kept(inside / "study.db")

    assert statuses == [-signal.SIGKILL, 128 + signal.SIGTERM]
    assert last.exit_code == 0, last.stderr
    assert {*ended} == {*range(10)}
    assert {index: ended[int(index)] for index in begun} == begun


def test_the_best_is_trained_with_the_leaderboard_and_published(inside: Path) -> None:
    """And says of how many it is the best; a study that is complete is not searched again."""
    arguments = (*QUICK, "--trials", "4", "--model", "network")
    first, second = tune(*arguments), tune(*arguments)
    path = inside / "models/thermometer/1/model.onnx"
    properties = {
        entry.key: entry.value for entry in export.parse(path.read_bytes()).metadata_props
    }
    recipe = json.loads(properties[run.TRAINING_KEY])
    (board,) = (line for line in first.stdout.splitlines() if line.startswith("network"))

    assert first.exit_code == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"published {path.relative_to(inside)}"
    assert f"{min(errors(first)):.4g}" in board
    assert "the best of 4 that a search tried" in first.stdout
    assert "6 configurations were compared in all" in first.stdout
    assert recipe["search"] == {"trials": 4, "configurations": 6}
    assert (second.exit_code, errors(second)) == (0, [])
    assert (inside / "models/thermometer/2/model.onnx").exists()
    assert [one.name for one in (inside / "studies").glob("*.db")] == ["thermometer.db"]


def test_another_table_and_another_space_are_refused(inside: Path) -> None:
    """In one sentence that says what differs; nothing is searched or published."""
    (inside / "a.csv").write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(9)))
    columns = ("--data", "a.csv", "--features", "a", "--targets", "b")
    quick = ("--epochs", "5", "--no-draw", "--storage", "one.db", "--trials", "1")
    first = tune(*columns, *quick)
    (inside / "space.toml").write_text("[tune.space]\nwidth = { low = 2, high = 4 }\n")
    space = tune(*columns, *quick, "--config", "space.toml")
    (inside / "a.csv").write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(10)))
    table = tune(*columns, *quick)

    assert first.exit_code == 0, first.stderr
    assert (space.exit_code, table.exit_code) == (2, 2)
    assert "space.width.high is 128 there and 4 here" in space.stderr
    assert "'one.db' is the study of another search: table.sha256 is" in table.stderr
    assert "published" not in space.stdout + table.stdout


def test_a_time_limit_lets_no_trial_begin(inside: Path) -> None:
    """Those that run are finished; without any there is nothing to train."""
    limited = tune(*QUICK, "--trials", "100000", "--timeout", "0.5")
    none = tune(*QUICK, "--trials", "5", "--timeout", "0.000001", "--storage", "none.db")

    assert limited.exit_code == 0, limited.stderr
    assert 0 < len(errors(limited)) < 1000
    assert (none.exit_code, none.stdout) == (1, "")
    assert "the time was over before a trial ended" in none.stderr
    assert [*kept(inside / "none.db")[0]] == []
