"""Rules of models and their versions."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group

_FAILED: Final = f'isotherm_model_loads_total{{{JOB}, result="failed"}}'
_READY: Final = f'isotherm_model_state{{{JOB}, state="READY"}}'

GROUP: Final = Group(
    "isotherm.models",
    [
        Alert(
            name="IsothermModelNotReady",
            expr=f"max by (job, instance, model) ({_READY}) == 0",
            hold="5m",
            severity="page",
            summary="{{ $labels.instance }} has no ready version of {{ $labels.model }}.",
            description=(
                "Every version is loading or was refused. The log and RepositoryIndex give the "
                "reason."
            ),
        ),
        # The second half sees a version whose very first load failed: its series begins at one.
        Alert(
            name="IsothermModelLoadFailed",
            expr=(
                f"increase({_FAILED}[15m]) > 0\n"
                f"or\n(\n  {_FAILED} > 0\n  unless\n  {_FAILED} offset 15m\n)\n"
            ),
            severity="ticket",
            summary=(
                "{{ $labels.instance }} refused version {{ $labels.version }} of "
                "{{ $labels.model }}."
            ),
            description=(
                "A load failed within the last 15 minutes; a version that was ready before goes on "
                "serving. The log and RepositoryIndex give the reason."
            ),
        ),
    ],
)
