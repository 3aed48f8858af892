#!/bin/sh
# What the machine is: what nobody can ask any more when it has been given back.
set -u
python=${PYTHON:-python3}

tell() {
  echo "== $*"
  timeout 15 "$@" 2>&1 || echo "status $?"
}

tell "$python" -m isotherm.client.cli doctor --json
tell nvidia-smi
tell nvidia-smi topo -m
tell nvidia-smi -q
tell lscpu
tell uname -a
tell free -m
tell df -h . /tmp /dev/shm
tell sh -c 'ulimit -a; env | grep -i -E "cuda|nvidia|omp|mkl"'
tell sh -c 'gcc --version; h2load --version; ldd --version | head -n 1'
tell "$python" -c 'import importlib.metadata as m; print(*sorted({f"{d.name} {d.version}" for d in m.distributions()}), sep=", ")'
# Its end is what is shown.
tell nvidia-smi --query-gpu=name,driver_version,pstate,clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,memory.used,compute_mode,mig.mode.current,pcie.link.gen.current,pcie.link.width.current --format=csv
