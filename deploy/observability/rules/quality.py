"""Rules of what models are asked and how right they are: drift, odd values, errors."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group, Recording

_BY: Final = "job, model, version"
_COLUMN: Final = "{{ $labels.column }} of {{ $labels.model }} {{ $labels.version }}"
_TARGET: Final = "{{ $labels.target }} of {{ $labels.model }} {{ $labels.version }}"
_ROWS: Final = f"sum by ({_BY}) (rate(isotherm_drift_rows_total{{{JOB}}}[15m]))"
# Fewer rows than 100 in the window are too few to judge by.
_FLOOR: Final = "100 / 900"
_OUTSIDE: Final = "job_model_version_column:isotherm_out_of_range:ratio_rate15m"
_MISSING: Final = "job_model_version_column:isotherm_missing:ratio_rate15m"
_UNEXPLAINED: Final = "job_model_version_target:isotherm_feedback_unexplained:ratio_rate6h"


def _columns(metric: str) -> str:
    return f"sum by ({_BY}, kind, column) (rate({metric}{{{JOB}}}[15m]))"


def _missing_share() -> str:
    """Rows that are refused for what is missing are not among those that were looked at."""
    missing, infinite = (
        _columns(f"isotherm_drift_{which}_total") for which in ("missing", "infinite")
    )
    bad = f"({missing} + {infinite})"
    return f"{bad}\n/ (\n  {bad}\n  + on ({_BY}) group_left\n  {_ROWS}\n  > {_FLOOR}\n)\n"


def _unless_compared(*bins: str) -> str:
    """Without columns whose training had such rows: how many there are now is part of the index."""
    labels = "job, model, version, kind, column"
    found = " or ".join(f'isotherm_drift_reference_ratio{{{JOB}, bin="{each}"}}' for each in bins)
    return f"unless on ({labels})\n({found})\n"


def _targets(metric: str) -> str:
    return f"sum by ({_BY}, target) (rate({metric}{{{JOB}}}[6h]))"


GROUP: Final = Group(
    "isotherm.quality",
    [
        Recording(
            record=_OUTSIDE,
            expr=(
                f"{_columns('isotherm_drift_out_of_range_total')}\n"
                f"/ on ({_BY}) group_left ()\n({_ROWS} > {_FLOOR})\n"
            ),
        ),
        Recording(record=_MISSING, expr=_missing_share()),
        # What the model leaves unexplained of the truth's spread about the mean of the training.
        Recording(
            record=_UNEXPLAINED,
            expr=(
                f"{_targets('isotherm_feedback_squared_error_total')}\n"
                f"/ ({_targets('isotherm_feedback_truth_squared_deviation_total')} > 0)\n"
                f"and\n{_targets('isotherm_feedback_rows_total')} > 100 / 21600\n"
            ),
        ),
        Alert(
            name="IsothermDrift",
            expr=f"isotherm_drift_psi{{{JOB}}} > isotherm_drift_psi_threshold{{{JOB}}}",
            hold="5m",
            severity="ticket",
            summary=f"{_COLUMN} has drifted from its training.",
            description=(
                "On {{ $labels.instance }} the population stability index of this "
                '{{ $labels.kind }} is {{ $value | printf "%.2f" }}, more than chance allows.'
            ),
        ),
        Alert(
            name="IsothermOutOfRange",
            expr=f"{_OUTSIDE} > 0.05\n{_unless_compared('(unknown)')}",
            hold="5m",
            severity="ticket",
            summary=f"{_COLUMN} leaves the range of its training.",
            description=(
                "{{ $value | humanizePercentage }} of the rows of the last 15 minutes lie outside: "
                "there the model extrapolates."
            ),
        ),
        Alert(
            name="IsothermMissingValues",
            expr=f"{_MISSING} > 0.01\n{_unless_compared('(missing)', '(unknown)')}",
            hold="5m",
            severity="ticket",
            summary=f"{_COLUMN} is often missing.",
            description=(
                "{{ $value | humanizePercentage }} of the rows of the last 15 minutes have NaN or "
                "infinity there."
            ),
        ),
        Alert(
            name="IsothermWorseThanMean",
            expr=f"{_UNEXPLAINED} > 1",
            hold="15m",
            severity="ticket",
            summary=f"{_TARGET} is predicted worse than by a constant.",
            description=(
                'Over 6 hours its squared error is {{ $value | printf "%.2f" }} times that of the '
                "mean of the training."
            ),
        ),
    ],
)
