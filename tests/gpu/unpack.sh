#!/bin/sh
# Runs a command with what `make gpu-bundle` has packed:  tests/gpu/unpack.sh COMMAND...
# or, without one, prints the environment. Unpacks the first time.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
exports=$("$python" "$root/tests/gpu/unpack.py" --bundle "${GPU_BUNDLE:-$root/build/gpu-bundle}" --to "${GPU_SITE:-/tmp/isotherm-gpu}")
[ $# -gt 0 ] || { echo "$exports"; exit 0; }
eval "$exports"
exec "$@"
