# `make demo` and `make test` need Python >= 3.11 and make; everything else they install by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_VENV := .venv-proto
PROTO_BIN := $(PROTO_VENV)/bin
PROTO_OUT ?= proto

# Where Python may not keep what it has compiled, each of hundreds of servers compiles itself anew, and
# every worker of pytest all of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench-balancing bench-client bench-gpu bench-overload bench-peers bench-server bench-stream bench-swap bench-trainer bench-transports check clean demo dist example format gpu-bundle mypy proto pyright test test-fast test-slow

demo: $(VENV)/.installed
	$(BIN)/isotherm demo

# A table of two million rows: trained, served, drifted, trained anew and swapped in.
example: $(VENV)/.installed
	$(BIN)/python examples/rides/walk.py

# constraints.txt pins what is tested; pyproject.toml says what is allowed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	touch $@

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(MAKE) --jobs 2 mypy pyright

mypy: $(VENV)/.installed
	$(BIN)/mypy

pyright: $(VENV)/.installed
	$(BIN)/pyright --warnings

# In the order of the files, as below.
test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest -m 'not slow and not gpu' --numprocesses auto --dist loadfile --no-loadscope-reorder

test: check test-fast

# Needs the Debian packages that .ci/run installs. In the order of the files: the longest ones do not
# have the most tests.
test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m 'slow and not alone and not gpu' --timeout 900 --durations 40 \
	  --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m 'alone and not gpu' --timeout 900 --durations 10

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The generator needs an older protobuf than the rest, hence an environment of its own.
$(PROTO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(PROTO_BIN)/python -m pip install --quiet --group proto
	touch $@

# Our Python modules come from a copy with the package renamed, so that they can live in one process
# with tritonclient's and kserve's, which register `inference` (docs/decisions/0002).
proto: $(PROTO_VENV)/.installed
	rm -rf build/proto
	mkdir -p build/proto/isotherm/v1 $(PROTO_OUT)
	sed 's/^package inference;/package isotherm.v1;/' proto/isotherm/v1/open_inference.proto > build/proto/isotherm/v1/open_inference.proto
	cp proto/isotherm/v1/contract.proto proto/isotherm/v1/feedback.proto build/proto/isotherm/v1/
	PATH="$(abspath $(PROTO_BIN)):$$PATH" $(PROTO_BIN)/python -m grpc_tools.protoc --proto_path build/proto \
	  --python_out $(PROTO_OUT) --mypy_out $(PROTO_OUT) \
	  isotherm/v1/contract.proto isotherm/v1/feedback.proto isotherm/v1/open_inference.proto

dist: $(VENV)/.installed
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# core against aio under h2load; writes docs/performance.md.
bench-transports: $(VENV)/.installed
	$(BIN)/python tests/bench/transports.py --write

# Isotherm beside Triton, MLServer, KServe, Ray Serve, BentoML, LitServe, FastAPI and bare gRPC, each
# in an environment of its own under build/; writes docs/performance.md, docs/sizing.md. Needs h2load.
bench-peers: $(VENV)/.installed
	$(BIN)/python -m tests.bench.peers --json build/peers.json --write
	$(BIN)/python -m deploy.sizing --write

# Three servers behind every balancer while they restart; writes docs/balancing.md. Needs haproxy and
# nginx.
bench-balancing: $(VENV)/.installed
	$(BIN)/python tests/bench/balancing.py --write

# The client beside tritonclient and h2load on one server; writes docs/performance.md. Needs h2load.
bench-client: $(VENV)/.installed
	$(BIN)/python tests/bench/client.py --write

# On a machine with an NVIDIA GPU, in under eight minutes; writes docs/performance.md.
bench-gpu: $(VENV)/.installed
	$(BIN)/python tests/bench/gpu.py --json build/gpu.json --write

# Three times the capacity, and a fast model beside a slow one; writes docs/performance.md.
bench-overload: $(VENV)/.installed
	$(BIN)/python tests/bench/overload.py --write

# CPU by stage, cost of observing, start, memory, scaling; writes docs/performance.md.
bench-server: $(VENV)/.installed
	$(BIN)/python tests/bench/server.py --write

# A stream from Parquet beside the same training in memory; writes docs/performance.md.
bench-stream: $(VENV)/.installed
	$(BIN)/python tests/bench/stream.py --write

# A hundred version swaps under load; writes docs/performance.md.
bench-swap: $(VENV)/.installed
	$(BIN)/python tests/bench/swap.py --write

# The trainer beside a bare loop, Lightning, skorch and a DataLoader, by network and size of the table;
# writes docs/performance.md.
bench-trainer: $(VENV)/.installed
	$(BIN)/python tests/bench/trainer.py --write

# What a GPU machine without a network lacks, into build/gpu-bundle: tests/gpu/README.md.
gpu-bundle: $(VENV)/.installed
	$(BIN)/python -m tests.gpu.bundle

clean:
	rm -rf build dist $(VENV) $(PROTO_VENV)
