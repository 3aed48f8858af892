"""The command `export`: a contract for a model that was trained elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from isotherm.trainer import export_flags as flags
from isotherm.trainer.__main__ import now, sentences
from isotherm.trainer.errors import ConfigError, LayerError, RepositoryError
from isotherm.trainer.lists import split

# The packages behind these take seconds to import: `--help` and a mistyped flag need not wait.
if TYPE_CHECKING:
    from isotherm.trainer.config import TrainConfig
    from isotherm.trainer.data import Table
    from isotherm.trainer.foreign import Foreign, Request

app = typer.Typer(add_completion=False)


@app.command()
def export(
    model: flags.Model,
    *,
    data: flags.Data,
    features: flags.Features,
    targets: flags.Targets,
    units: flags.Units = None,
    task: flags.Task = "auto",
    state_dict: flags.StateDict = None,
    head: flags.Head = "auto",
    output: flags.Output = "",
    name: flags.Name = None,
    repository: flags.Repository = Path("models"),
    plots: flags.Plots = None,
    draw: flags.Draw = True,
    seed: flags.Seed = 0,
) -> None:
    """Describe a model that was trained elsewhere by a sample of its rows, verify and publish it.

    The model takes and gives the sample's own units: scaling is part of it.
    """
    with sentences():
        settings: dict[str, object] = {
            "data.file": data,
            "data.features": split(features),
            "data.targets": split(targets),
            "data.units": _units(units),
            "data.task": task,
            "repository": repository,
            "name": name,
            "plots": plots,
            "draw": draw,
            "fit.seed": seed,
        }
        _publish(model, settings, state_dict=state_dict, head=head, output=output)


def _publish(
    source: str,
    settings: dict[str, object],
    *,
    state_dict: Path | None,
    head: str,
    output: str,
) -> None:
    from isotherm.trainer import data, foreign, parity, publish
    from isotherm.trainer.config import load

    # Where a module of the user's own is looked for, as `python -m` would.
    sys.path.insert(0, "")
    config = load(None, settings)
    parity.runtime()
    publish.check_repository(config.repository)
    # Gaps pass here: what is said of them there is for a training.
    table = data.read(config.data.model_copy(update={"missing": "mean"}))
    request = foreign.Request(
        name=config.name,
        created_at=now(),
        seed=config.fit.seed,
        head=_head(head),
        output=output,
    )
    model = _described(source, table, request, state_dict)
    for note in model.notes:
        typer.echo(f"note: {note}")
    typer.echo(foreign.score(model))
    typer.echo(f"parity: {foreign.proof(model)}")
    path = publish.publish(model.content, config.repository, config.name)
    try:
        for written in _report(model, config, path) if config.draw else []:
            typer.echo(f"report {written}")
    finally:
        # The last line is for scripts, and true whatever became of the report.
        typer.echo(f"published {path}")


def _report(model: Foreign, config: TrainConfig, path: Path) -> list[Path]:
    from isotherm.trainer import account, foreign, run

    told = account.Account(
        path=path,
        contract=model.contract,
        findings=account.of_foreign(model),
        parity=f"Parity: {foreign.proof(model)}.",
    )
    folder = run.beside(config, path)
    try:
        return account.write(told, folder)
    except OSError as error:
        msg = f"cannot write the report to '{folder}': {error.strerror}; choose another --plots"
        raise RepositoryError(msg) from error


def _described(source: str, table: Table, request: Request, state_dict: Path | None) -> Foreign:
    from isotherm.trainer import attach, foreign, loading

    if not source.endswith(".onnx"):
        if request.output:
            msg = "--output names an output of a .onnx file; a module has one"
            raise ConfigError(msg)
        return foreign.of_module(loading.module(source, state_dict), table, request)
    if state_dict is not None:
        msg = f"'{source}' has its weights inside; leave --state-dict out"
        raise LayerError(msg)
    return attach.of_file(Path(source), table, request)


def _head(head: str) -> Any:
    if head not in {"auto", "logits", "probabilities"}:
        msg = f"--head is '{head}'; expected auto, logits or probabilities"
        raise ConfigError(msg)
    return head


def _units(text: str | None) -> dict[str, str]:
    units = {}
    for part in split(text) or ():
        name, equals, unit = part.partition("=")
        if not (name and equals):
            msg = f"--units has '{part}'; expected column=unit, such as area=m2"
            raise ConfigError(msg)
        units[name.strip()] = unit.strip()
    return units


if __name__ == "__main__":
    app(prog_name="isotherm export")
