"""`isotherm predict` over long files, in processes of its own, against the real server."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.support.models import doubling, doubling_contract, publish, with_contract
from tests.support.server import Server, eventually, serving
from tests.support.signals import interruptible

ROWS = 100_000
# What Python and its libraries take by themselves is measured with so many.
FEW = 5_000
# All rows at once would take several times as much.
SPARE_BYTES = 32 * 2**20


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    publish(repository, "doubling", with_contract(doubling(), doubling_contract()))
    with serving(repository) as server:
        yield server


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rows.csv` and `rows.parquet` of 100 000 readings among wide columns; `few.*` likewise."""
    folder = tmp_path_factory.mktemp("files")
    for name, count in (("rows", ROWS), ("few", FEW)):
        lines = [
            f"{row},{(row % 2000) / 100 - 10}," + ",".join([f"note {row:08d} on it"] * 12)
            for row in range(count)
        ]
        head = ",".join(["id", "reading", *(f"note{each}" for each in range(12))])
        path = folder / f"{name}.csv"
        path.write_text("\n".join([head, *lines, ""]))
        pq.write_table(pa.csv.read_csv(path), folder / f"{name}.parquet", row_group_size=20_000)
    return folder


def _command(server: Server, *arguments: object) -> list[str]:
    command = [sys.executable, "-m", "isotherm.client.cli", "predict", "doubling"]
    return [*command, *map(str, arguments), "--address", server.address]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(name="whole", scope="module")
def _whole(
    server: Server, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], bytes]:
    """What a run in one go over `rows.csv` writes, by the suffix of its file."""

    @cache
    def written(suffix: str) -> bytes:
        path = tmp_path_factory.mktemp("whole") / f"whole.{suffix}"
        arguments = ("--data", files / "rows.csv", "--batch-rows", 100, "--output", path)
        assert _run(_command(server, *arguments)).returncode == 0
        return path.read_bytes()

    return written


# What the kernel tells a parent has the parent's own memory in it, from before the program began.
_WATCHED = """
import atexit, re, runpy, sys
from pathlib import Path

path = sys.argv.pop(1)
status = Path("/proc/self/status")
atexit.register(
    lambda: Path(path).write_text(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1])
)
runpy.run_module("isotherm.client.cli", run_name="__main__")
"""


def _peak_bytes(command: list[str], folder: Path) -> int:
    """Run a command and return the most memory that it had."""
    peak = folder / "peak"
    _, _, _, *arguments = command
    subprocess.run([sys.executable, "-c", _WATCHED, peak, *arguments], check=True)
    return int(peak.read_text()) * 1024


def _rows(path: Path) -> list[tuple[float, float]]:
    read = {
        ".csv": pa.csv.read_csv,
        ".jsonl": lambda each: pa.Table.from_pylist(
            [json.loads(line) for line in each.read_text().splitlines()]
        ),
        ".parquet": pq.read_table,
    }[path.suffix]
    columns = read(path).to_pydict()
    return list(zip(columns["reading"], columns["twice"], strict=True))


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_long_file_passes_in_flat_memory(server, files, tmp_path, form, suffix):
    """100 000 rows in, 100 000 out in their order, and no more memory than for a few."""
    few = _command(server, "--data", files / f"few.{form}", "--output", tmp_path / f"few.{suffix}")
    output = tmp_path / f"all.{suffix}"
    all_rows = _command(server, "--data", files / f"rows.{form}", "--output", output)

    by_itself = _peak_bytes(few, tmp_path)
    peak = _peak_bytes(all_rows, tmp_path)

    rows = _rows(output)
    assert [(row % 2000) / 100 - 10 for row in range(ROWS)] == [reading for reading, _ in rows]
    assert all(abs(twice - 2 * reading) < 1e-5 for reading, twice in rows)
    assert peak < by_itself + SPARE_BYTES
    print(f"{form} to {suffix}: {by_itself / 2**20:.0f} MiB, {peak / 2**20:.0f} MiB for {ROWS}")


def _interrupted(command: list[str], server: Server, number: signal.Signals) -> tuple[int, str]:
    """Start a command, send it a signal once the server has answered some of its rows."""
    before = server.metric(_ANSWERED)
    with subprocess.Popen(interruptible(command), stderr=subprocess.PIPE, text=True) as running:
        assert eventually(lambda: server.metric(_ANSWERED) > before + 20, 60)
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    return running.returncode, errors


_ANSWERED = 'isotherm_requests_total{code="OK",model="doubling",version="1"}'


@pytest.mark.parametrize(
    ("suffix", "number"),
    [
        ("csv", signal.SIGINT),
        ("parquet", signal.SIGTERM),
        pytest.param("csv", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("jsonl", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("parquet", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_file(
    server, files, whole, tmp_path, suffix, number
):
    """Whole rows, a command to go on with, and in the end the bytes of a run in one go."""
    output = tmp_path / f"parts.{suffix}"
    command = _command(server, "--data", files / "rows.csv", "--batch-rows", 100)

    status, errors = _interrupted([*command, "--output", str(output)], server, number)

    count = len(_rows(output))
    assert status == 128 + number
    assert 0 < count < ROWS
    assert f"{output} has {count} whole rows; go on with:\n  isotherm predict doubling" in errors
    # The command is the last line.
    resumed = _run(
        [sys.executable, "-m", "isotherm.client.cli", *errors.split()[_program(errors) :]]
    )
    assert resumed.returncode == 0, resumed.stderr
    assert output.read_bytes() == whole(suffix)


def _program(errors: str) -> int:
    """Return where the arguments of the command begin, among the words of what was said."""
    words = errors.split()
    return len(words) - 1 - words[::-1].index("isotherm") + 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_run_that_was_killed_goes_on_behind_its_last_whole_row(server, files, tmp_path, suffix):
    """Half a row, as a machine that went down leaves it, is cut off."""
    output, whole = tmp_path / f"parts.{suffix}", tmp_path / f"whole.{suffix}"
    arguments = ("--data", files / "few.csv", "--batch-rows", 512, "--output")
    assert _run(_command(server, *arguments, whole)).returncode == 0
    output.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])

    assert _run(_command(server, *arguments, output, "--resume")).returncode == 0
    assert output.read_bytes() == whole.read_bytes()


def test_a_server_that_ends_leaves_whole_rows(files, whole, tmp_path):
    """Status 3; with the server back, the same file as in one go."""
    repository = tmp_path / "models"
    publish(repository, "doubling", with_contract(doubling(), doubling_contract()))
    output = tmp_path / "parts.csv"
    arguments = ("--data", files / "rows.csv", "--batch-rows", 100, "--timeout", 3, "--output")
    with (
        serving(repository) as server,
        subprocess.Popen(
            _command(server, *arguments, output), stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        assert eventually(lambda: output.exists() and output.stat().st_size > 0, 60)
        server.stop()
        _, errors = running.communicate(timeout=60)
    rows = len(_rows(output))
    assert running.returncode == 3, errors
    assert f"{output} has {rows} whole rows" in errors

    with serving(repository) as server:
        assert _run(_command(server, *arguments, output, "--resume")).returncode == 0
    assert output.read_bytes() == whole("csv")


def test_a_row_that_is_refused_is_named_by_its_line(server, tmp_path):
    """The model takes no missing values; the rows before it are answered."""
    path, output = tmp_path / "rows.csv", tmp_path / "out.jsonl"
    path.write_text("reading\n" + "1\n" * 700 + "nan\n" + "1\n" * 700)

    done = _run(_command(server, "--data", path, "--output", output, "--batch-rows", 512))

    assert done.returncode == 1
    assert f"error: {path}, line 702: " in done.stderr
    assert len(_rows(output)) == 700


def test_a_reader_who_had_enough_ends_the_run_in_silence(server, files):
    """As `head` does; the status is that of a closed pipe."""
    command = _command(server, "--data", files / "rows.csv", "--format", "csv")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "reading,twice\n"
        running.stdout.close()
        assert running.stderr is not None
        errors = running.stderr.read()
        status = running.wait(60)

    assert (status, errors) == (128 + signal.SIGPIPE, "")


def test_a_terminal_shows_a_bar_while_a_file_is_read(server, files, tmp_path):
    """On standard error, to the end."""
    ours, theirs = pty.openpty()
    command = _command(server, "--data", files / "few.csv", "--output", tmp_path / "out.csv")
    with subprocess.Popen(command, stderr=theirs, env=os.environ | {"TERM": "xterm"}) as running:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            # Linux says so when the other end is closed.
            pass
        finally:
            os.close(ours)

    assert running.returncode == 0
    assert b"5,000 rows" in shown
    assert b"100%" in shown
