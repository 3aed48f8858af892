"""TensorBoard: losses while a model is trained, then all there is to tell of it."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isotherm.trainer.errors import ConfigError
from isotherm.trainer.tracking.losses import Point
from isotherm.trainer.tracking.story import Story, Trial

_PNG: Final = ".png"
# Width and height stand in the header, which is the file's first chunk.
_PNG_SIZE: Final = struct.Struct(">16xII")


class Board:
    """One run in a folder of TensorBoard's."""

    def __init__(self, folder: Path, name: str, created_at: datetime) -> None:
        """Begin the run `<name>/<time>` in `folder`.

        Raises:
            ConfigError: TensorBoard is not installed, or nothing can be written there.
        """
        self._folder = folder / name / created_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.name = "TensorBoard"
        self._writer = _writer(self._folder)

    def on_point(self, point: Point) -> None:
        """Show the losses of an epoch."""
        self._scalar(f"training loss/{point.stage}", point.training, point.epoch, point.at)
        if not math.isnan(point.validation):
            self._scalar(f"validation loss/{point.stage}", point.validation, point.epoch, point.at)

    def tell(self, story: Story) -> str:
        """Add errors, settings, contract and pictures; return where all of it is."""
        for name, value in story.metrics.items():
            self._scalar(f"result/{name}", value, 0)
        rows = "".join(f"| {name} | {value} |\n" for name, value in story.parameters.items())
        self._writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{rows}")
        self._writer.add_text("leaderboard", story.leaderboard)
        self._writer.add_text("contract", f"```json\n{story.contract_json}\n```")
        for path in story.files:
            if path.suffix == _PNG:
                self._picture(path)
        for trial in story.trials:
            self._trial(trial)
        self.close()
        return f"TensorBoard has the run in {self._folder}"

    def hidden(self, text: str) -> str:
        """Return the text: a folder has no secrets."""
        return text

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()

    def _scalar(self, tag: str, value: float, step: int, at: float | None = None) -> None:
        self._writer.add_scalar(tag, value, step, walltime=at)

    def _picture(self, path: Path) -> None:
        from tensorboard.compat.proto import summary_pb2

        # Its names are made when it is imported.
        protocol: Any = summary_pb2
        content = path.read_bytes()
        width, height = _PNG_SIZE.unpack_from(content)
        image = protocol.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=content
        )
        value = protocol.Summary.Value(tag=f"pictures/{path.stem}", image=image)
        self._writer.file_writer.add_summary(protocol.Summary(value=[value]))

    def _trial(self, trial: Trial) -> None:
        writer = _writer(self._folder / trial.name)
        for step, loss in trial.losses.items():
            writer.add_scalar("validation loss/trial", loss, step)
        metrics = {} if trial.error is None else {"hparam/cross_validation_error": trial.error}
        # Into the trial's own run, not into one below it.
        writer.add_hparams(dict(trial.parameters), metrics, run_name=".")
        writer.close()


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = (
            "TensorBoard is asked for and not installed: pip install 'isotherm[tensorboard]', or "
            "leave --tensorboard out"
        )
        raise ConfigError(msg) from error
    try:
        # Untyped in torch.
        make: Any = SummaryWriter
        return make(str(folder))
    except OSError as error:
        msg = f"cannot write to '{folder}': {error.strerror}; choose another --tensorboard"
        raise ConfigError(msg) from error
