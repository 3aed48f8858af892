"""The report: its JSON is a promise, its table fits a terminal, its notes say who was slow."""

from __future__ import annotations

import io
import json
import math
from collections import Counter

import pytest
from rich.console import Console

from isotherm.client.cli.bench import figures, plot, report
from isotherm.client.cli.bench.figures import Limits
from isotherm.client.cli.bench.load import Closed, Open
from isotherm.client.cli.bench.ramp import Ended, Found
from isotherm.client.cli.bench.report import Report, Setting
from isotherm.client.cli.bench.samples import Samples
from isotherm.client.cli.bench.tally import NOT_SENT, Tally
from isotherm.client.cli.failure import Failure

_LIMITS = Limits(p99_us=5000, error_share=0.001)
_SETTING = Setting(
    address="127.0.0.1:8001",
    model="line",
    model_version="",
    rows_per_request=1,
    request_bytes=34,
    input="the contract's ranges",
    processes=2,
    connections=4,
    duration_s=10,
    warmup_s=2,
    timeout_s=5,
)


def _figures(load=None, latency_s=0.00123456, lag_s=0.0002, cpu=0.4, **statuses):
    counts = Counter(statuses or {"OK": 1000})
    tally = Tally(
        statuses=counts,
        latencies=Samples([latency_s] * counts["OK"]),
        refusals=Samples([0.003] * counts["RESOURCE_EXHAUSTED"]),
        lags=Samples([lag_s] * counts.total()),
        completed=counts["OK"],
        seconds=10.0,
        cpu_shares=[cpu],
    )
    return figures.of(load or Open(rate=100), tally, 1)


def _json(done):
    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    return json.loads(report.as_json(done), parse_constant=refuse)


def _notes(*loads, **changes):
    return [*report.notes(Report(_SETTING, [*loads], **changes))]


def test_the_json_has_the_promised_names():
    """A name that goes or changes its meaning raises `schema_version`."""
    shown = _json(Report(_SETTING, [_figures()], _LIMITS, Found(100.0, Ended.FOUND)))

    assert shown["schema_version"] == 1
    assert [*shown] == [
        *("schema_version", "address", "model", "model_version", "rows_per_request"),
        *("request_bytes", "input", "processes", "connections", "duration_s", "warmup_s"),
        *("timeout_s", "interrupted", "loads", "ramp"),
    ]
    assert [*shown["loads"][0]] == [
        *("loop", "arrivals", "concurrency", "offered_per_s", "achieved_per_s", "rows_per_s"),
        *("measured_s", "requests", "answered", "errors", "error_share", "latency_mean_us"),
        *("latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_p999_us"),
        *(
            "latency_max_us",
            "refusal_p99_us",
            "send_lag_p50_us",
            "send_lag_p99_us",
            "send_lag_max_us",
        ),
        *("generator_cpu_share", "generator_limited", "percentiles_exact"),
    ]
    assert shown["ramp"] == {
        "latency_p99_limit_us": 5000,
        "error_share_limit": 0.001,
        "highest_rate_per_s": 100.0,
        "ended": "found",
    }


def test_what_was_not_measured_is_null():
    """NaN is no JSON."""
    shown = _json(Report(_SETTING, [_figures(INTERNAL=3)]))

    assert shown["loads"][0]["latency_p99_us"] is None
    assert shown["loads"][0]["errors"] == {"INTERNAL": 3}
    assert shown["ramp"] is None


def test_the_table_fits_eighty_columns():
    """Nothing is cut, also where numbers are large."""
    text = io.StringIO()
    console = Console(file=text, width=80, markup=False, highlight=False)
    wide = _figures(Open(rate=123_456), latency_s=12.3456, lag_s=1.5, OK=987_654, INTERNAL=9999)

    console.print(report.as_table([wide, _figures(Closed(concurrency=1024))]))

    assert "…" not in text.getvalue()
    assert "123456/s" in text.getvalue()
    assert " 12346 " in text.getvalue()
    assert " 1.23 " in text.getvalue()


def test_errors_are_listed_by_status():
    """The most frequent first."""
    assert _notes(_figures(OK=90, UNAVAILABLE=3, DEADLINE_EXCEEDED=7)) == [
        "100/s: of 100 requests 7 DEADLINE_EXCEEDED, 3 UNAVAILABLE"
    ]


def test_what_was_not_sent_is_explained():
    """It is no status of gRPC."""
    notes = _notes(_figures(OK=90, **{NOT_SENT: 10}))

    assert "NOT_SENT are requests that the generator left out" in notes[1]


def test_a_generator_at_its_limit_is_told_plainly():
    """Busy, or kept from working."""
    (busy,) = _notes(_figures(cpu=0.97))
    (late,) = _notes(_figures(latency_s=0.03, lag_s=0.02))

    assert busy.startswith("100/s: the generator was the limit, not the server")
    assert "97% of a CPU; give it more --processes" in busy
    assert "it sent late, by 20 ms at p99, although it took 40% of a CPU only" in late


def test_in_a_ramp_a_rate_that_was_held_needs_no_excuse():
    """Late, but within the limits all the same."""
    late = _figures(latency_s=0.004, lag_s=0.003)

    assert late.generator_limited
    assert _notes(late, limits=_LIMITS) == []


@pytest.mark.parametrize(
    ("figures_", "limits", "ending"),
    [
        (_figures(), None, "p99 1.23 ms, errors 0.00%"),
        (_figures(), _LIMITS, "errors 0.00%, held"),
        (_figures(latency_s=0.1), _LIMITS, "errors 0.00%, missed"),
        (_figures(cpu=1.0, latency_s=0.1), _LIMITS, "unknown: the generator was the limit"),
    ],
)
def test_each_of_several_loads_is_told_when_it_is_over(figures_, limits, ending):
    """In a ramp with the verdict."""
    line = report.step(figures_, limits)

    assert line.startswith("100/s: 100 answers/s, ")
    assert line.endswith(ending)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Found(400, Ended.FOUND), "the server holds 400/s with p99 <= 5 ms and errors <= 0.10%"),
        (Found(400, Ended.GENERATOR), "holds at least 400/s with p99 <= 5 ms"),
        (Found(400, Ended.INTERRUPTED), "interrupted; the server holds at least 400/s"),
        (Found(None, Ended.NOTHING_HELD), "ramp: no rate kept p99 <= 5 ms"),
        (Found(None, Ended.GENERATOR), "the generator was the limit before any rate kept"),
        (Found(None, Ended.INTERRUPTED), "interrupted before any rate kept"),
    ],
)
def test_a_ramp_ends_with_its_answer(found, sentence):
    """One sentence, whatever came."""
    (note,) = _notes(limits=_LIMITS, found=found)

    assert sentence in note


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_plot_is_drawn(tmp_path, suffix):
    """Also of loads in any order, of closed loops and where nothing was answered."""
    path = tmp_path / f"plot{suffix}"
    loads = [
        _figures(Open(rate=200), latency_s=0.04),
        _figures(Open(rate=100)),
        _figures(Open(rate=100), INTERNAL=4),
        _figures(Closed(concurrency=4)),
    ]

    plot.check(path)
    plot.draw(path, "title", loads, _LIMITS)

    assert path.stat().st_size > 5000


def test_how_soon_refusals_came_is_said():
    """A caller that is refused at once can go elsewhere."""
    assert _notes(_figures(OK=90, RESOURCE_EXHAUSTED=10)) == [
        "100/s: of 100 requests 10 RESOURCE_EXHAUSTED",
        "100/s: 99 % of the RESOURCE_EXHAUSTED came within 3 ms",
    ]
    assert math.isnan(_figures(OK=90).refusal_p99_us)


@pytest.mark.parametrize(
    ("name", "message"),
    [("plot.pdf", "ends with .png or .svg"), ("absent/plot.png", "there is no such folder")],
)
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_load(tmp_path, name, message):
    """Minutes of measuring must not be lost to a typing error."""
    with pytest.raises(Failure, match=message):
        plot.check(tmp_path / name)
