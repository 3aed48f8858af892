"""The configuration of tracking: which stores are told of a training."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class TrackingConfig(BaseModel):
    """Where a training is told of, beside its own report; nothing unless asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    # The folder of TensorBoard's event files.
    tensorboard: Path | None = None
    # Of an MLflow server, or of a database such as `sqlite:///mlflow.db`. It may hold a password.
    mlflow: SecretStr | None = None
    # MLflow's; None: the model's name.
    experiment: str | None = Field(default=None, min_length=1)
    # The name under which the version is registered with MLflow. (Every class of pydantic has a
    # `register` of its own.)
    register_as: str | None = Field(default=None, alias="register", min_length=1)

    @field_validator("mlflow")
    @classmethod
    def _store(cls, uri: SecretStr | None) -> SecretStr | None:
        if uri is not None and urlsplit(uri.get_secret_value()).scheme in {"", "file"}:
            # Without the value: it may be a password that stands in the wrong place.
            msg = (
                "expected the address of a server (https://...) or of a database "
                "(sqlite:///mlflow.db); MLflow writes to folders no longer"
            )
            raise ValueError(msg)
        return uri

    @model_validator(mode="after")
    def _needs_a_store(self) -> TrackingConfig:
        for name, value in (("experiment", self.experiment), ("register", self.register_as)):
            if value is not None and self.mlflow is None:
                msg = f"{name} is MLflow's; give its address as well (--mlflow)"
                raise ValueError(msg)
        return self
