"""The CUDA runtime by ctypes: as much of it as a lane needs.

The library comes with ONNX Runtime's own requirements, so nothing else has to be installed, and
ctypes lets other threads run during each of its calls.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_void_p
from typing import Any, Final

import numpy as np

from isotherm.server.device.device import Array, Octets
from isotherm.server.errors import DeviceLostError

# The newest first: what the provider library was linked with is loaded already, under its name.
_LIBRARIES: Final = ("libcudart.so.13", "libcudart.so.12")

_OUT_OF_MEMORY: Final = 2
# After these a process can do nothing with the device any more. The others spoil one call.
_LOST: Final = frozenset(
    {
        46,  # devices unavailable
        214,  # an error in memory that could not be corrected
        220,  # the same, on the way between devices
        226,  # the same, kept from other processes
        700,  # illegal address
        702,  # a kernel took longer than the driver allows
        709,  # the context is destroyed
        710,  # an assertion in a kernel
        714,  # hardware stack
        715,  # illegal instruction
        716,  # misaligned address
        717,  # invalid address space
        718,  # invalid program counter
        719,  # a kernel failed
        721,  # a kernel kept tensor memory
        806,  # the server that shares the device between processes (MPS) failed
        810,  # and has ended this one
        999,  # unknown, and seen where a device has fallen off its bus
    }
)
_HOST_TO_DEVICE: Final = 1
_DEVICE_TO_HOST: Final = 2
# Streams wait for nothing that others do on the default stream.
_NON_BLOCKING: Final = 1
# Pinned for all devices of the process.
_PORTABLE: Final = 1
_CAPTURE_MODE_RELAXED: Final = 2

_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "cudaSetDevice": (c_int,),
    "cudaThreadExchangeStreamCaptureMode": (c_void_p,),
    "cudaStreamCreateWithFlags": (c_void_p, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaHostAlloc": (c_void_p, c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMalloc": (c_void_p, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaMemsetAsync": (c_void_p, c_int, c_size_t, c_void_p),
    "cudaStreamIsCapturing": (c_void_p, c_void_p),
    "cudaStreamEndCapture": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaMemGetInfo": (c_void_p, c_void_p),
    "cudaGetLastError": (),
}


class CudaError(RuntimeError):
    """A call of the CUDA runtime failed."""


class Cuda:
    """One CUDA device: see `Device`."""

    kind = "cuda"

    def __init__(self, number: int, library: Any = None) -> None:
        """Take the device of that number, by the runtime that is installed unless another is given.

        Raises CudaError when there is none.
        """
        self.number = number
        self._library = library if library is not None else _load()
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = c_int
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            function = getattr(self._library, name)
            function.argtypes = (c_int,)
            function.restype = c_char_p
        # Called for every batch: looked up once.
        self._memcpy = self._library.cudaMemcpyAsync
        self._synchronize = self._library.cudaStreamSynchronize

    def enter(self) -> None:
        """Let the calling thread work on this device from now on."""
        self._call("cudaSetDevice", self.number)
        # ONNX Runtime captures graphs so that, meanwhile, calls like cudaMalloc fail in every
        # thread of the process, other models' too, which has not asked for this.
        mode = c_int(_CAPTURE_MODE_RELAXED)
        self._call("cudaThreadExchangeStreamCaptureMode", ctypes.byref(mode))

    def open_stream(self) -> int:
        """Return a new stream: what is asked for on it happens in that order."""
        stream = c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def close_stream(self, stream: int) -> None:
        """Forget a stream, on which nothing is left to do."""
        self._call("cudaStreamDestroy", stream)

    def pinned(self, size_bytes: int) -> Octets:
        """Return host memory that the device reads and writes without help."""
        address = c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(address), size_bytes, _PORTABLE)
        memory = (ctypes.c_uint8 * size_bytes).from_address(address.value or 0)
        return np.ctypeslib.as_array(memory)

    def unpin(self, memory: Octets) -> None:
        """Give back what `pinned` returned: that very array."""
        self._call("cudaFreeHost", memory.ctypes.data)

    def allocate(self, size_bytes: int) -> int:
        """Return the address of memory on the device."""
        address = c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), size_bytes)
        return address.value or 0

    def free(self, address: int) -> None:
        """Give back what `allocate` returned."""
        self._call("cudaFree", address)

    def copy_in(self, address: int, array: Array, stream: int) -> None:
        """Copy a contiguous array to the device; it must stay as it is until `wait`."""
        status = self._memcpy(address, array.ctypes.data, array.nbytes, _HOST_TO_DEVICE, stream)
        if status:
            self._fail("cudaMemcpyAsync", status)

    def copy_out(self, array: Array, address: int, stream: int) -> None:
        """Fill a contiguous array from the device; it holds nothing before `wait`."""
        status = self._memcpy(array.ctypes.data, address, array.nbytes, _DEVICE_TO_HOST, stream)
        if status:
            self._fail("cudaMemcpyAsync", status)

    def zero(self, address: int, size_bytes: int, stream: int) -> None:
        """Set memory of the device to zeros."""
        self._call("cudaMemsetAsync", address, 0, size_bytes, stream)

    def wait(self, stream: int) -> None:
        """Return when everything on the stream has happened."""
        status = self._synchronize(stream)
        if status:
            self._fail("cudaStreamSynchronize", status)

    def end_capture(self, stream: int) -> None:
        """Throw away the CUDA graph of which a failed run has left half on the stream, if any.

        Else the session's end would fail, in a place from which ONNX Runtime ends the process.
        """
        capturing = c_int()
        self._call("cudaStreamIsCapturing", stream, ctypes.byref(capturing))
        if capturing.value:
            graph = c_void_p()
            # Says that the capture has failed, which is known.
            self._library.cudaStreamEndCapture(stream, ctypes.byref(graph))
            self._library.cudaGetLastError()
            if graph.value:
                self._call("cudaGraphDestroy", graph)

    def memory(self) -> tuple[int, int]:
        """Return the bytes that are free, and those that there are."""
        free, total = c_size_t(), c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            self._fail(name, status)

    def _fail(self, name: str, status: int) -> None:
        # Until it is read, an error is also the next caller's, ONNX Runtime's for one.
        self._library.cudaGetLastError()
        code = self._library.cudaGetErrorName(status).decode()
        text = self._library.cudaGetErrorString(status).decode()
        msg = f"{name} on device {self.number}: {text} ({code}, {status})"
        if status in _LOST:
            raise DeviceLostError(msg)
        if status == _OUT_OF_MEMORY:
            raise MemoryError(msg)
        raise CudaError(msg)


def _load() -> Any:
    problems = []
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            problems.append(str(error))
    msg = f"the CUDA runtime cannot be loaded ({problems[0]}); install isotherm[server-gpu]"
    raise CudaError(msg)
