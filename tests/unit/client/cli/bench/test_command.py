"""`isotherm bench` where there is nothing to measure: a sentence and exit status 1."""

from __future__ import annotations

import grpc
import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "unknown model: 'absent'"),
        (["bare"], "its metadata is empty"),
        (["line", "--version", "9"], "NOT_FOUND"),
        (["line", "--rate", "1", "--concurrency", "1"], "give one of the two"),
        (["line", "--data", "absent.csv"], "absent.csv: No such file"),
        (["line", "--plot", "x.gif"], "ends with .png or .svg"),
    ],
)
def test_a_bench_that_cannot_be_made_ends_with_a_sentence(isotherm, server, arguments, message):
    """Exit status 1, nothing on stdout."""
    result = isotherm("bench", *arguments, "--address", server.address)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_an_address_where_nobody_listens_is_told(isotherm):
    """The address is part of the sentence."""
    result = isotherm("bench", "line", "--address", "127.0.0.1:1")

    assert result.exit_code == 1
    assert "UNAVAILABLE from 127.0.0.1:1" in result.stderr


def test_a_plot_without_matplotlib_names_the_extra(isotherm, monkeypatch):
    """Before anything is measured."""
    monkeypatch.setattr("isotherm.client.cli.bench.plot.find_spec", lambda _: None)

    result = isotherm("bench", "line", "--plot", "x.png")

    assert result.stderr == "error: --plot needs matplotlib: pip install 'isotherm[bench]'\n"


def test_without_any_answer_the_exit_status_is_one(isotherm, server):
    """The report, with what came instead, is printed all the same."""

    def fail_after_the_first():
        if len(server.requests) > 1:
            server.failures.append(grpc.StatusCode.RESOURCE_EXHAUSTED)

    server.delay = fail_after_the_first
    load = ("--rate", 50, "--duration", 0.2, "--warmup", 0)

    result = isotherm("bench", "line", "--address", server.address, *load)

    assert result.exit_code == 1
    assert "50/s: of 10 requests 10 RESOURCE_EXHAUSTED" in result.stdout
    assert result.stderr == f"error: no request to {server.address} was answered\n"
