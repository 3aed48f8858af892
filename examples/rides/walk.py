"""A model's life on a table that changes: trained, served, asked, drifted, retrained, swapped in.

    python examples/rides/walk.py [--folder build/rides] [--rows 2000000] [--epochs 5]

Everything is in the folder afterwards: the table, the models, the server's log, its metrics and
status page while it drifted. README.md says what one sees. The exit status is 1 where a call
failed, or something that should be seen was not.
"""

import argparse
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isotherm.client import Client, IsothermError

HERE = Path(__file__).parent
MODEL = "rides"
TARGET = "fare"
# A call every so often, so that the server looks at every row.
BATCH_ROWS, PAUSE_S = 100, 0.1
# The replay takes its rows from all over a year, so that a minute of it is like the year.
REPLAY_ROWS = 50_000
PATIENCE_S = 120


def main() -> None:
    """Walk through it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/rides"))
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the two years together")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--in-memory", action="store_true", help="read the table as a whole")
    parser.add_argument(
        "--window", type=int, default=20, help="seconds of rows that are compared: minutes in life"
    )
    given = parser.parse_args()
    folder: Path = given.folder

    say("1. Two years of rides")
    run(HERE / "generate.py", folder, "--rows", given.rows)
    before, after = folder / "before.parquet", folder / "after.parquet"

    say("2. A model of the first year")
    settings = ["--epochs", given.epochs, "--repository", folder / "models"]
    settings += [] if given.in_memory else ["--stream"]
    train(before, *settings)

    wanted = 0.8 * given.window * BATCH_ROWS / (PAUSE_S + 0.05)
    with serving(folder, given.window) as (address, metrics):
        say(f"3. Served at {address}, asked for the fares of rides like those of its training")
        with asking(address, before) as traffic:
            await_rows(metrics, 1, wanted)
            show(metrics, 1)
            calm = drifted(metrics, 1)

            say("4. The second year comes")
            traffic.replay(after)
            wait(lambda: "service" in drifted(metrics, 1), "drift of the kinds of service")
            # By now the window holds no row of the first year.
            time.sleep(given.window)
            show(metrics, 1)
            found = drifted(metrics, 1)
            keep(metrics, folder)

            say("5. A model of the second year, trained and swapped in while calls go on")
            train(after, *settings)
            wait(lambda: served(address) == ["2"], "version 2 to be served")
            await_rows(metrics, 2, wanted)
            show(metrics, 2)
            settled = drifted(metrics, 2)

    say("6. What there was")
    print(f"{traffic.rows} rows in {traffic.calls} calls, of which {len(traffic.failures)} failed")
    print("drifted from the first year:", ", ".join(found))
    problems = [
        *traffic.failures,
        *(f"{name} drifted before anything had changed" for name in calm),
        *(f"{name} drifted from its own year" for name in settled),
        *(f"no drift of {name} was told" for name in ("service", "rain") if name not in found),
    ]
    for problem in problems:
        print("problem:", problem)
    sys.exit(1 if problems else 0)


def say(text: str) -> None:
    """Print a headline."""
    print(f"\n== {text}", flush=True)


def run(*command: object) -> None:
    """Run a Python program to its end."""
    subprocess.run([sys.executable, *map(str, command)], check=True)


def train(path: Path, *settings: object) -> None:
    """Train on a file and publish the next version: `isotherm train --config ... --data ...`."""
    settings = ("--config", HERE / "train.toml", "--data", path, *settings)
    run("-m", "isotherm.client.cli", "train", *settings)


@contextmanager
def serving(folder: Path, window_s: int) -> Iterator[tuple[str, str]]:
    """Serve the folder's models; give the server's address, and that of its metrics.

    `isotherm serve models --model-control poll` takes up each version that is published.
    """
    ports = free_ports(2)
    flags = [*("--grpc-port", ports[0]), *("--metrics-port", ports[1])]
    flags += [*("--model-control", "poll"), *("--poll-seconds", 1), *("--drift-window", window_s)]
    command = [sys.executable, "-m", "isotherm.client.cli", "serve", folder / "models", *flags]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        try:
            address = f"127.0.0.1:{ports[0]}"
            with Client(address) as client:
                client.wait_ready(MODEL, timeout=PATIENCE_S)
            yield address, f"http://127.0.0.1:{ports[1]}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Traffic:
    """Callers of the model: rows in, predictions out, and later what the fares really were."""

    def __init__(self, client: Client, path: Path) -> None:
        self.rows = self.calls = 0
        self.failures: list[str] = []
        self._client = client
        self._table = sample(path)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def replay(self, path: Path) -> None:
        """Ask about the rides of another file from now on."""
        self._table = sample(path)

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        at = 0
        while not self._stopped.wait(PAUSE_S):
            table = self._table
            at = at + BATCH_ROWS if at + 2 * BATCH_ROWS <= table.num_rows else 0
            self.calls += 1
            try:
                self._ask(table.slice(at, BATCH_ROWS))
            except IsothermError as error:
                self.failures.append(str(error))

    def _ask(self, table: pa.Table) -> None:
        # By name, text and gaps as they are: the client looks up what the model calls them.
        fares = self._client.predict(MODEL, table.drop_columns([TARGET]), outputs="y")
        self._client.feedback(MODEL, fares, table.column(TARGET).to_numpy())
        self.rows += table.num_rows


@contextmanager
def asking(address: str, path: Path) -> Iterator[Traffic]:
    """Have the rides of a file asked about while the block runs."""
    with Client(address) as client:
        traffic = Traffic(client, path)
        try:
            yield traffic
        finally:
            traffic.stop()


def sample(path: Path) -> pa.Table:
    """Return rows from all over a file, shuffled; a row group at a time is in memory."""
    rng = np.random.default_rng(0)
    file = pq.ParquetFile(path)
    share = min(1.0, REPLAY_ROWS / file.metadata.num_rows)
    parts = []
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        parts.append(rows.take(rng.permutation(rows.num_rows)[: int(share * rows.num_rows)]))
    table = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
    return table.take(rng.permutation(table.num_rows))


def gauge(metrics: str, family: str, version: int) -> dict[str, float]:
    """Return a family of the metrics page by column or target, of one version of the model."""
    with urllib.request.urlopen(f"{metrics}/metrics", timeout=10) as page:
        text = page.read().decode()
    lines = re.findall(rf"^{family}{{(.*)}} (\S+)$", text, re.MULTILINE)
    labels = [(dict(re.findall(r'(\w+)="([^"]*)"', each)), float(value)) for each, value in lines]
    return {
        known.get("column") or known.get("target") or "": value
        for known, value in labels
        if known["model"] == MODEL and known["version"] == str(version)
        if known.get("kind") != "prediction"
    }


def drifted(metrics: str, version: int) -> list[str]:
    """Return the features that have drifted: what the alert IsothermDrift looks at."""
    index = gauge(metrics, "isotherm_drift_psi", version)
    threshold = gauge(metrics, "isotherm_drift_psi_threshold", version)
    return [name for name, value in index.items() if value > threshold.get(name, np.inf)]


def show(metrics: str, version: int) -> None:
    """Print how far each column has moved, and how good the predictions are now."""
    threshold = gauge(metrics, "isotherm_drift_psi_threshold", version)
    print(f"{'column':10} {'drift':>8} {'threshold':>10}   of version {version}")
    for name, value in gauge(metrics, "isotherm_drift_psi", version).items():
        bound = threshold[name]
        print(f"{name:10} {value:8.3f} {bound:10.3f}{'   DRIFTED' if value > bound else ''}")
    for name in ("rmse", "bias", "interval_coverage"):
        for target, value in gauge(metrics, f"isotherm_feedback_{name}", version).items():
            print(f"{target} {name} {value:.3f}")


def await_rows(metrics: str, version: int, wanted: float) -> None:
    """Wait until the window holds so many rows that the version has answered."""

    def there() -> bool:
        return sum(gauge(metrics, "isotherm_drift_window_rows", version).values()) >= wanted

    wait(there, f"{wanted:.0f} rows in the window")


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait for something to be seen; give up after a while."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"waited {PATIENCE_S} s for {what}, in vain")
        time.sleep(0.5)


def served(address: str) -> list[str]:
    """Return the versions that answer."""
    with Client(address) as client:
        return list(client.model_metadata(MODEL).versions)


def keep(metrics: str, folder: Path) -> None:
    """Keep what the server shows while its model has drifted."""
    for page, name in (("/metrics", "drifted.metrics.txt"), ("/", "drifted.status.html")):
        with urllib.request.urlopen(metrics + page, timeout=10) as answer:
            (folder / name).write_bytes(answer.read())
        print("kept", folder / name)


if __name__ == "__main__":
    main()
