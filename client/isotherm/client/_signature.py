"""A model's signature: the tensors that it takes, as its metadata lists them."""

from __future__ import annotations

from typing import NamedTuple

from isotherm.v1.open_inference_pb2 import ModelMetadataResponse


class TensorSpec(NamedTuple):
    """Name, datatype and shape of a tensor; -1 stands for any size, the batch included."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """The inputs of one model."""

    model: str
    inputs: tuple[TensorSpec, ...]

    @classmethod
    def from_metadata(cls, model: str, metadata: ModelMetadataResponse) -> Signature:
        """Return the signature that the server describes."""
        return cls(
            model,
            tuple(
                TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape))
                for tensor in metadata.inputs
            ),
        )

    @property
    def input_names(self) -> str:
        """The inputs' names for a message."""
        return ", ".join(spec.name for spec in self.inputs) or "none"
