"""`isotherm bench` against real servers: what it counts, when it counts from, what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import grpc
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models, triton
from tests.support.certificates import Authority
from tests.support.rpc import call
from tests.support.server import eventually, halted, serving
from tests.support.signals import interruptible

RATE = 100
DURATION_S = 0.5
STALL_S = 0.3


@pytest.fixture(name="server", scope="module")
def _server(repository):
    """A server of its own: it is halted."""
    with serving(repository, "--log-level", "error") as server:
        yield server


def _command(address, *arguments, model="doubling"):
    command = [sys.executable, "-m", "isotherm.client.cli", "bench", model]
    return [*command, "--address", address, *map(str, arguments)]


def _bench(address, *arguments, **options):
    return subprocess.run(
        _command(address, *arguments, **options),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _measured(address, *arguments, **options):
    fixed = ("--duration", DURATION_S, "--warmup", 0.1, "--format", "json")
    done = _bench(address, *fixed, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _answered(server):
    return server.metric(
        'grpc_server_handled_total{grpc_code="OK",grpc_method="ModelInfer",'
        'grpc_service="inference.GRPCInferenceService",grpc_type="unary"}'
    )


def _under_load(server, before):
    """Wait until the load runs; the first answer is the command's own try."""
    assert eventually(lambda: _answered(server) > before + 5, 30)


@contextmanager
def _halted_once(server, seconds):
    """Halt the server, for a time that every request due in it has to feel, once the load runs."""
    before = _answered(server)

    def halt():
        _under_load(server, before)
        with halted(server):
            time.sleep(seconds)

    thread = threading.Thread(target=halt)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_an_open_loop_sends_what_was_asked_for(server, tmp_path):
    """Rate times duration, by all processes together; and the picture is written."""
    picture = tmp_path / "load.svg"
    rates = ("--rate", f"{RATE},{RATE / 2}", "--processes", 2, "--plot", picture)

    shown = _measured(server.address, *rates, "--rows", 3)

    full, half = shown["loads"]
    assert (full["requests"], half["requests"]) == (RATE * DURATION_S, RATE * DURATION_S / 2)
    assert full["answered"] == full["requests"]
    assert full["errors"] == {}
    assert full["rows_per_s"] == pytest.approx(3 * full["achieved_per_s"])
    assert full["measured_s"] == DURATION_S
    assert 0 < full["latency_p50_us"] <= full["latency_p99_us"] <= full["latency_max_us"]
    assert 0 < full["send_lag_p50_us"] <= full["latency_max_us"]
    assert 0 < full["generator_cpu_share"]
    assert (shown["input"], shown["processes"]) == ("the contract's ranges", 2)
    assert "<svg" in picture.read_text()


def test_a_halt_is_felt_by_every_request_that_was_due(server):
    """Counted from when they were due; a loop that waits for answers would have sent one."""
    with _halted_once(server, STALL_S):
        shown = _measured(server.address, "--rate", RATE, "--duration", 1, "--warmup", 0)

    (load,) = shown["loads"]
    assert load["requests"] == RATE
    assert load["latency_max_us"] > 0.9 * STALL_S * 1e6
    # Of a hundred requests thirty were due meanwhile: one in ten waited for two thirds of it.
    assert load["latency_p90_us"] > 0.3 * STALL_S * 1e6


def test_deadlines_that_pass_are_counted(server):
    """By the name of their status, and not among the latencies."""
    with _halted_once(server, 0.8):
        done = _bench(
            server.address,
            *("--rate", RATE, "--duration", 1.5, "--warmup", 0, "--timeout", 0.4),
        )

    assert done.returncode == 0, done.stderr
    assert re.search(r"of 150 requests .*DEADLINE_EXCEEDED", done.stdout)


def test_a_closed_loop_keeps_its_calls_in_flight(server):
    """The rate is what the server makes of it; rows are the file's."""
    shown = _measured(server.address, "--concurrency", 3)

    (load,) = shown["loads"]
    assert (load["loop"], load["concurrency"], load["offered_per_s"]) == ("closed", 3, None)
    assert load["answered"] == load["requests"] > 3
    # Little's law: calls in flight are the rate times the latency.
    in_flight = load["achieved_per_s"] * load["latency_mean_us"] / 1e6
    assert 1.5 < in_flight < 6


@pytest.mark.slow
def test_a_ramp_finds_a_rate(server):
    """Until the server or the generator gives in."""
    shown = _measured(
        server.address,
        *("--ramp", "--rate", 50, "--p99-limit-ms", 200),
        *("--duration", 0.2, "--warmup", 0.05),
    )

    assert shown["ramp"]["ended"] in {"found", "generator"}
    rates = [load["offered_per_s"] for load in shown["loads"]]
    assert shown["ramp"]["highest_rate_per_s"] in rates
    assert rates[:2] == [50, 100]


def test_an_interrupted_bench_says_what_it_has(server):
    """Ctrl-C reaches the whole group; no process stays behind."""
    before = _answered(server)
    command = _command(server.address, *("--rate", RATE, "--warmup", 0, "--format", "json"))
    with subprocess.Popen(
        interruptible(command), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        _under_load(server, before)
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=30)

    shown = json.loads(output)
    (load,) = shown["loads"]
    assert running.returncode == 130
    assert shown["interrupted"]
    assert 0 < load["answered"] < RATE * 10
    assert 0 < load["measured_s"] < 10
    assert eventually(lambda: not _group_lives(running.pid))


@pytest.mark.slow
def test_a_bench_that_is_terminated_leaves_no_process_behind(server):
    """SIGTERM reaches the command alone."""
    before = _answered(server)
    with subprocess.Popen(
        _command(server.address, "--rate", RATE), stdout=subprocess.PIPE, start_new_session=True
    ) as running:
        _under_load(server, before)
        running.terminate()
        running.communicate(timeout=30)

    assert running.returncode == 128 + signal.SIGTERM
    assert eventually(lambda: not _group_lives(running.pid))


@pytest.mark.slow
def test_tls_and_a_token_are_spoken(repository, tmp_path):
    """By each process of the load."""
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("the-token")
    flags = ("--tls-cert", pair.cert, "--tls-key", pair.key, "--auth-token-file", token)
    with serving(repository, *map(str, flags)) as server:
        shown = _measured(
            server.address, "--rate", 50, "--tls-ca", authority.pair.cert, "--token-file", token
        )

    assert shown["loads"][0]["answered"] == 25


@pytest.mark.slow
def test_triton_is_measured_like_ours(repository, tmp_path):
    """By ModelMetadata and ModelInfer alone; its models carry no contract."""
    with serving(repository) as server, grpc.insecure_channel(server.address) as channel:
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="wide")).config
    triton.publish(tmp_path, config, models.mlp((4, 8, 3)).SerializeToString())
    with triton.triton(tmp_path) as (address, _):
        shown = _measured(address, "--rate", 50, "--rows", 4, model="wide")

    assert shown["input"] == "random numbers"
    assert shown["loads"][0]["answered"] == 25


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
