"""A libcudart in the host's memory: what it is told is checked, done, and written down."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from tests.support.native import build

SONAME: Final = "libcudart.so.13"

# Its own: an argument is not what the header says it is.
WRONG: Final = 1

# `calls` is what it was told; `fails_at`, `fails_with` let one function fail.
_SOURCE: Final = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BLOCKS 64
#define SAY(...) used += snprintf(calls + used, sizeof calls - used, __VA_ARGS__)
#define ENTER(name) if (!strcmp(fails_at, name)) return last = fails_with

typedef struct { char *at; size_t size; int on_device; } Block;

char calls[1 << 16];
char fails_at[64];
int fails_with;
static size_t used;
static int last;
static Block blocks[MAX_BLOCKS];
static int streams[8];

void forget(void) { used = 0; calls[0] = 0; }

static int inside(const void *at, size_t size, int on_device) {
  for (int i = 0; i < MAX_BLOCKS; i++) {
    Block *b = &blocks[i];
    if (b->at && b->on_device == on_device && (char *)at >= b->at
        && (char *)at + size <= b->at + b->size) return 1;
  }
  return 0;
}

static int take(void **at, size_t size, int on_device) {
  for (int i = 0; i < MAX_BLOCKS; i++) {
    if (blocks[i].at) continue;
    blocks[i] = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, on_device};
    memset(blocks[i].at, 0xff, size);
    *at = blocks[i].at;
    return 0;
  }
  return 2;
}

static int give(void *at, int on_device) {
  for (int i = 0; i < MAX_BLOCKS; i++) {
    if (blocks[i].at != at || blocks[i].on_device != on_device) continue;
    free(at);
    blocks[i].at = 0;
    return 0;
  }
  return last = 1;
}

int left(void) {
  int count = 0;
  for (int i = 0; i < MAX_BLOCKS; i++) count += blocks[i].at != 0;
  for (int i = 0; i < 8; i++) count += streams[i];
  return count;
}

static int known(void *stream) {
  size_t number = (size_t)stream - 0x7f0000000000;
  return number < 8 && streams[number];
}

int cudaSetDevice(int device) { ENTER("cudaSetDevice"); SAY("set %d\n", device); return 0; }

int cudaThreadExchangeStreamCaptureMode(int *mode) {
  SAY("mode %d\n", *mode); *mode = 0; return 0;
}

int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
  ENTER("cudaStreamCreateWithFlags");
  for (size_t i = 0; i < 8; i++) {
    if (streams[i]) continue;
    streams[i] = 1;
    *stream = (void *)(0x7f0000000000 + i);
    SAY("stream %u\n", flags);
    return 0;
  }
  return 2;
}

int cudaStreamDestroy(void *stream) {
  if (!known(stream)) return last = 1;
  streams[(size_t)stream - 0x7f0000000000] = 0;
  return 0;
}

int cudaStreamSynchronize(void *stream) {
  ENTER("cudaStreamSynchronize");
  if (stream && !known(stream)) return last = 1;
  SAY("wait\n");
  return 0;
}

int cudaHostAlloc(void **at, size_t size, unsigned flags) {
  ENTER("cudaHostAlloc");
  SAY("pin %zu %u\n", size, flags);
  return take(at, size, 0);
}

int cudaFreeHost(void *at) { SAY("unpin\n"); return give(at, 0); }

int cudaMalloc(void **at, size_t size) {
  ENTER("cudaMalloc");
  SAY("allocate %zu\n", size);
  return take(at, size, 1);
}

int cudaFree(void *at) { SAY("free\n"); return give(at, 1); }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  ENTER("cudaMemcpyAsync");
  SAY("copy %zu %d\n", size, kind);
  if (!known(stream)) return last = 1;
  if (kind == 1 ? !inside(to, size, 1) : kind != 2 || !inside(from, size, 1)) return last = 1;
  if (kind == 1 ? inside(from, size, 1) : inside(to, size, 1)) return last = 1;
  memcpy(to, from, size);
  return 0;
}

int cudaMemsetAsync(void *at, int value, size_t size, void *stream) {
  ENTER("cudaMemsetAsync");
  SAY("set %d %zu\n", value, size);
  if (!known(stream) || !inside(at, size, 1)) return last = 1;
  memset(at, value, size);
  return 0;
}

int capturing;

int cudaStreamIsCapturing(void *stream, int *status) {
  if (!known(stream)) return last = 1;
  *status = capturing;
  return 0;
}

int cudaStreamEndCapture(void *stream, void **graph) {
  if (!known(stream) || !capturing) return last = 1;
  *graph = capturing == 1 ? (void *)0x7f00000000aa : 0;
  SAY("end capture\n");
  last = capturing == 1 ? 0 : 901;
  capturing = 0;
  return last;
}

int cudaGraphDestroy(void *graph) {
  if (graph != (void *)0x7f00000000aa) return last = 1;
  SAY("destroy graph\n");
  return 0;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
  *free_bytes = 3; *total_bytes = (size_t)80 << 30; return 0;
}

int cudaGetLastError(void) { int error = last; last = 0; return error; }
int pending(void) { return last; }

const char *cudaGetErrorName(int error) {
  return error == 2 ? "cudaErrorMemoryAllocation" : "cudaError";
}

const char *cudaGetErrorString(int error) { return error == 2 ? "out of memory" : "it failed"; }
"""


class StandIn:
    """The library, and a look into it."""

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(build(folder, SONAME, _SOURCE)))

    @property
    def calls(self) -> list[str]:
        """What it was told since it was last asked."""
        calls = (ctypes.c_char * (1 << 16)).in_dll(self.library, "calls").value
        self.library.forget()
        return calls.decode().splitlines()

    @property
    def left(self) -> int:
        """How many streams and pieces of memory were not given back."""
        count: int = self.library.left()
        return count

    @property
    def pending(self) -> int:
        """The error that the next caller would find."""
        error: int = self.library.pending()
        return error

    def capture(self, status: int) -> None:
        """Let streams be in a capture: 1 for one that goes on, 2 for one that has failed."""
        ctypes.c_int.in_dll(self.library, "capturing").value = status

    def fail(self, function: str, error: int) -> None:
        """Let a function fail from now on; "" for none."""
        (ctypes.c_char * 64).in_dll(self.library, "fails_at").value = function.encode()
        ctypes.c_int.in_dll(self.library, "fails_with").value = error
