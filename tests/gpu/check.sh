#!/bin/sh
# Everything that wants a GPU, in the order of what is worth most, each with a limit of its own; one
# that fails does not keep the others from running. Leaves reports in a folder, eight files at most.
#     tests/gpu/check.sh FOLDER [doctor] [facts] [tests] [lanes] [training] [bench]
set -u
cd "$(dirname "$0")/../.."
out=${1:?a folder for the reports}
shift
mkdir -p "$out"
[ $# -gt 0 ] || set -- doctor facts tests lanes training bench
export PYTHON="${PYTHON:-python3}"
# What runs in a few cells only must not depend on which plugins of pytest the machine happens to have.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONUNBUFFERED=1
# A server that hangs is to leave time for the tests after it.
export SERVER_START_S=40
failed=0

limited() {
  name=$1 seconds=$2
  shift 2
  echo "== $name"
  begin=$(date +%s)
  # The group, since servers are started in it.
  timeout --kill-after 10 "$seconds" "$@" >>"$out/$name.log" 2>&1
  status=$?
  tail -n "${lines:-25}" "$out/$name.log"
  echo "== $name: status $status after $(($(date +%s) - begin)) s"
  [ "$status" -eq 0 ] || failed=1
}

# Each in a process of its own: who has lost a device has lost it to all that comes afterwards.
tested() {
  name=$1 seconds=$2
  shift 2
  lines=60 limited "$name" "$seconds" "$PYTHON" -m pytest -p pytest_asyncio.plugin -p pytest_timeout \
    -p no:cacheprovider -W default -m gpu --timeout 75 -o faulthandler_timeout=70 --durations 15 -v \
    --continue-on-collection-errors "$@"
}

for step in "$@"; do
  case $step in
    doctor)
      lines=60 limited doctor 60 "$PYTHON" -m isotherm.client.cli doctor --provider cuda
      ;;
    facts)
      lines=12 limited facts 30 sh tests/gpu/facts.sh
      ;;
    tests)
      all_s=${TESTS_S:-200}
      # A hundred loads come last.
      servers=$(ls tests/gpu/test_*.py | grep -v -e lanes -e training -e memory)
      tested tests $((all_s / 3)) tests/gpu/test_lanes.py
      tested tests $((all_s - all_s / 3)) $servers tests/gpu/test_memory.py
      ;;
    lanes)
      lines=60 limited lanes "${LANES_S:-75}" "$PYTHON" -m tests.bench.gpus.lanes --json "$out/lanes.json"
      ;;
    training)
      tested training "${TRAINING_S:-90}" tests/gpu/test_training.py
      ;;
    bench)
      : >"$out/bench.log"
      # Beside the figures: clocks, power and memory, every other second.
      nvidia-smi dmon -s pucm -d 2 >>"$out/bench.log" 2>&1 &
      watcher=$!
      lines=90 limited bench "${BENCH_S:-480}" "$PYTHON" tests/bench/gpu.py --json "$out/gpu.json" ${BENCH:-}
      kill "$watcher" 2>/dev/null
      ;;
    *)
      echo "no step called $step" >&2
      exit 2
      ;;
  esac
done
exit "$failed"
