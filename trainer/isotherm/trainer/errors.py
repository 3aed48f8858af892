"""The trainer's errors: each names the culprit, what was expected, and the next step.

TrainerError
├── InputError              what the caller gave cannot be used
│   ├── ConfigError         a flag, or a line of the TOML file
│   ├── DataError           the table
│   ├── LayerError          the network: its layers, or what a factory gave
│   ├── CheckpointError     a checkpoint to continue from, or the folder for it
│   ├── StudyError          a search to continue, or the file for it
│   └── RepositoryError     the folder to publish to, or the folder for pictures
├── TrainingError           the loss left the finite numbers
├── DeviceMemoryError       the device has no room for the training
├── TuneError               a search found no model, or a trial broke down
├── WorldError              another process of the same training is gone, or does otherwise
├── TrackingError           the model is published, and a store was not told of it
├── ExportError             the graph is not what the server needs
├── ParityError             ONNX Runtime and torch disagree
└── RuntimeMissingError     ONNX Runtime is not installed
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of all errors that the trainer raises on purpose."""


class InputError(TrainerError):
    """What the caller gave cannot be used; nothing was written."""


class ConfigError(InputError):
    """A flag, or a line of the TOML file, cannot be used."""


class DataError(InputError):
    """The table cannot be trained on."""


class LayerError(InputError):
    """The layers are not a network for this table."""


class CheckpointError(InputError):
    """A checkpoint cannot be written, read, or continued with these settings."""


class StudyError(InputError):
    """A search cannot be kept where it was asked for, or cannot be continued."""


class RepositoryError(InputError):
    """A version cannot be written where it was asked for."""


class TrainingError(TrainerError):
    """The loss left the finite numbers."""


class DeviceMemoryError(TrainerError):
    """The device has no room for the training; nothing was published."""


class TuneError(TrainerError):
    """A search found no model that could be trained."""


class WorldError(TrainerError):
    """Another process of the same training is gone, late, or does something else."""


class TrackingError(TrainerError):
    """A store was not told of a training, or not all; the model is published all the same."""


class ExportError(TrainerError):
    """The exported graph is not what the server needs."""


class ParityError(TrainerError):
    """ONNX Runtime's answers differ from torch's."""


class RuntimeMissingError(TrainerError):
    """ONNX Runtime, which the parity check runs on, is not installed."""


def first_line(error: BaseException) -> str:
    """Return what an error says first, without its full stop: those of others say more than helps.

    Of one that says nothing, it is the name.
    """
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
