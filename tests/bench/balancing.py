"""Three servers under load, by every way to balance: a rolling restart, one killed, one added.

    python tests/bench/balancing.py [--write]

Needs haproxy and nginx (Debian: haproxy, nginx-light); Envoy comes from the package index. Takes
some seven minutes, and writes a section of docs/balancing.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.page import machine, replace  # noqa: E402  the root must be importable first
from tests.deploy.balancing import balancers, ways  # noqa: E402
from tests.deploy.balancing.load import CALLERS, Ask  # noqa: E402
from tests.deploy.balancing.page import PAGE, channel_options, service_config  # noqa: E402
from tests.deploy.balancing.replicas import HOSTS, SETTINGS, Fleet, fleet_of  # noqa: E402
from tests.deploy.balancing.scenarios import (  # noqa: E402
    Outcome,
    kill,
    rolling_restart,
    scale_up,
)
from tests.support.names import naming  # noqa: E402

Way = Callable[[Fleet, Path], AbstractContextManager[Ask]]
# With it the name is asked again: so long a new server may stay unknown to those who ask a name.
AGE_S = 2


def behind(
    balancer: Callable[[Fleet, Path], AbstractContextManager[balancers.Balancer]],
    call: Callable[[str], AbstractContextManager[Ask]] = ways.plain,
) -> Way:
    """Return the way through a balancer."""

    @contextmanager
    def way(fleet: Fleet, folder: Path) -> Iterator[Ask]:
        with balancer(fleet, folder) as running, call(running.address) as ask:
            yield ask

    return way


def directly(call: Callable[[str], AbstractContextManager[Ask]]) -> Way:
    """Return the way of a client that balances by itself."""
    return lambda fleet, _folder: call(fleet.target)


def repeating(target: str) -> AbstractContextManager[Ask]:
    """Call one address, and repeat as the page says; watch no health."""
    config = service_config()
    del config["loadBalancingConfig"], config["healthCheckConfig"]
    return ways.plain(target, channel_options(config))


CONNECTIONS = "balancer of connections"
WAYS: dict[str, Way] = {
    "Envoy": behind(balancers.envoy),
    "Envoy, told to repeat nothing": behind(partial(balancers.envoy, changes=balancers.NO_RETRIES)),
    "haproxy": behind(balancers.haproxy),
    "nginx": behind(balancers.nginx),
    "gRPC's client, `round_robin`, health watched": directly(ways.bare_round_robin),
    "gRPC's client, with this page's `retryPolicy`": directly(ways.round_robin),
    "our `Client`": directly(ways.client),
    "our `AsyncClient`": directly(ways.async_client),
    f"{CONNECTIONS}, gRPC's client as it is": behind(balancers.connections),
    f"{CONNECTIONS}, this page's `retryPolicy`": behind(balancers.connections, repeating),
    f"{CONNECTIONS}, gRPC's client, health watched": behind(
        balancers.connections, ways.bare_round_robin
    ),
    f"{CONNECTIONS}, our `Client`": behind(balancers.connections, ways.client),
}
# On servers that end connections after AGE_S, which is less than the drain.
AGING = {
    f"{CONNECTIONS}, gRPC's client as it is, `--max-connection-age {AGE_S}`": behind(
        balancers.connections
    )
}
# By the list and health, or by a name.
FOUND_BY_HEALTH = ("Envoy", "haproxy", "nginx")
FOUND_BY_NAME = {
    "gRPC's client, `round_robin`, health watched": ways.bare_round_robin,
    "our `Client`": ways.client,
    "our `AsyncClient`": ways.async_client,
}


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = report(Path(folder))
    print(text)
    if arguments.write:
        replace("measured", text, PAGE)


def report(folder: Path) -> str:
    """Measure everything; return the section."""
    drained, killed = on_a_fleet(folder / "drained", WAYS, {}, also_kill=True)
    aging = {"ISOTHERM_MAX_CONNECTION_AGE": str(AGE_S)}
    aged = on_a_fleet(folder / "aging", AGING, aging, also_kill=True)
    drained, killed = drained | aged[0], killed | aged[1]
    undrained, _ = on_a_fleet(folder / "undrained", WAYS, {"ISOTHERM_DRAIN_DELAY": "0"})
    found = found_after_s(folder)
    lines = [
        f"Three servers as in `deploy/kustomize/base`, but with {SETTINGS['ISOTHERM_DRAIN_DELAY']} "
        f"s of drain; {CALLERS} callers, each with one call in flight; {machine()}; {versions()}. "
        "Callers, balancers and servers share the machine.",
        "",
        "| way | rolling restart: failed of all calls | a server that stops is left after "
        "| restart without a drain | one killed: failed, in flight "
        "| a new one has its share after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in (*WAYS, *AGING):
        lost = f"{killed[name].failed}, {killed[name].in_flight}"
        left = f"{drained[name].left_s:.1f} s"
        share = f"{found[name]:.1f} s" if name in found else ""
        without = of_all(undrained[name]) if name in undrained else ""
        row = (name, of_all(drained[name]), left, without, lost, share)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def on_a_fleet(
    folder: Path, the_ways: dict[str, Way], settings: dict[str, str], *, also_kill: bool = False
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Restart a fleet under each way in turn; then kill one of it, if asked."""
    restarted: dict[str, Outcome] = {}
    killed: dict[str, Outcome] = {}
    folder.mkdir()
    with fleet_of(len(HOSTS), folder, settings) as fleet:
        fleet.start()
        for number, (name, way) in enumerate(the_ways.items()):
            place = folder / f"way-{number}"
            place.mkdir()
            with way(fleet, place) as ask:
                spread = not name.startswith(CONNECTIONS)
                restarted |= rolling_restart(fleet, {name: ask}, spread=spread)
                if also_kill:
                    killed |= kill(fleet, {name: ask}, spread=spread)
            for kind, outcomes in (("restart", restarted), ("kill", killed)):
                if name in outcomes:
                    print(f"{kind}, {settings}, {name}: {outcomes[name]}", file=sys.stderr)
    return restarted, killed


def found_after_s(folder: Path) -> dict[str, float]:
    """Add a server; return after how long each way has found it."""
    found = {}
    for name in (*FOUND_BY_HEALTH, *FOUND_BY_NAME):
        place = Path(tempfile.mkdtemp(dir=folder))
        settings = {} if name in FOUND_BY_HEALTH else {"ISOTHERM_MAX_CONNECTION_AGE": str(AGE_S)}
        with ExitStack() as stack:
            fleet = stack.enter_context(fleet_of(len(HOSTS), place, settings))
            names = stack.enter_context(naming(*HOSTS[:-1]))
            fleet.start(fleet.replicas[:-1])
            if name in FOUND_BY_NAME:
                way = FOUND_BY_NAME[name](names.target(fleet.ports.grpc))
            else:
                way = WAYS[name](fleet, place)

            tell = partial(setattr, names, "addresses", HOSTS)
            found[name], outcome = scale_up(fleet, {name: stack.enter_context(way)}, tell)[name]
            print(f"scale up, {name}: {found[name]:.2f} s, {outcome}", file=sys.stderr)
    return found


def of_all(outcome: Outcome) -> str:
    """Return the failed calls, with their codes, of all."""
    text = f"{outcome.failed:,} of {outcome.calls:,}"
    codes = sorted({error.partition(":")[0] for error in outcome.errors})
    return f"{text}: {', '.join(codes)}" if codes else text


def versions() -> str:
    """Return which balancers were measured."""
    haproxy = subprocess.run(
        [balancers.haproxy_program(), "-v"], capture_output=True, text=True, check=True
    ).stdout
    nginx = subprocess.run(
        [balancers.nginx_program(), "-v"], capture_output=True, text=True, check=True
    ).stderr
    numbers = [re.search(r"\d+\.\d+\.\d+", text) for text in (haproxy, nginx)]
    found = [match[0] if match else "?" for match in numbers]
    envoy = balancers.ENVOY.partition("==")[2]
    return f"Envoy {envoy}, haproxy {found[0]}, nginx {found[1]}"


if __name__ == "__main__":
    main()
