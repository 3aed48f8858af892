"""What a model file may hold, at each level of vetting."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

STANDARD_DOMAIN: Final = "ai.onnx"

# What a network of layers is made of. None of them makes a tensor whose size depends on values.
_LAYER_OPS: Final = """
Abs Add And BatchNormalization Cast Celu Clip Concat Constant Div Dropout Elu Equal Erf Exp Flatten
Floor Gather Gelu Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity InstanceNormalization
IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mish
Mul Neg Not Or PRelu Pow RMSNormalization Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu
Reshape Round Selu Shrink Sigmoid Sign Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish
Tanh ThresholdedRelu Transpose Unsqueeze Where Xor
"""

# Also where their domain is allowed: each leads out of the file.
DENIED: Final = MappingProxyType(
    {
        ("ai.onnx", "ImageDecoder"): "it hands a caller's bytes to image decoders",
        ("com.microsoft", "EPContext"): "it loads compiled code for a device",
        ("com.microsoft", "PythonOp"): "it runs Python",
        ("com.microsoft", "PythonOpGrad"): "it runs Python",
        ("org.pytorch.aten", "ATen"): "it calls into another library",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a file may hold."""

    domains: frozenset[str]
    # None: every operator of the domains, but for the denied.
    ops: frozenset[str] | None = None
    min_opset: int = 7
    # Bodies of If, Loop and Scan inside one another; 0 allows none.
    max_depth: int = 8
    functions: bool = True
    external_data: bool = True
    non_finite_weights: bool = True
    # One FP32 table in, FP32 tables out.
    tables_only: bool = False
    # ONNX's own checker, types and shapes included. It objects to files that the runtime serves,
    # such as those that leave an output's shape open, and to none that the trial lets pass.
    checker: bool = False
    max_metadata_bytes: int = 4 << 20


_STANDARD: Final = Rules(domains=frozenset({STANDARD_DOMAIN, "ai.onnx.ml"}))
_STRICT: Final = Rules(
    domains=frozenset({STANDARD_DOMAIN}),
    ops=frozenset(_LAYER_OPS.split()),
    min_opset=13,
    max_depth=0,
    functions=False,
    external_data=False,
    non_finite_weights=False,
    tables_only=True,
    checker=True,
)


def rules_of(level: str, domains: Collection[str] = ()) -> Rules:
    """Return a level's rules; `domains` are allowed beside those of `standard`."""
    if level == "strict":
        return _STRICT
    return replace(_STANDARD, domains=_STANDARD.domains | frozenset(domains))
