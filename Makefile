# The whole project in five commands. `make demo` and `make test` set up what they need by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV      = $(shell command -v uv || echo $(BIN)/uv)
PORT   ?= 8000
# Trust what this machine trusts, also behind a proxy of its own: the two names of one switch, by the age of uv.
export UV_SYSTEM_CERTS = 1
export UV_NATIVE_TLS = 1

SLURM_ROOT ?= /var/lib/madang-slurm
SLURM_PORT ?= 16800

.PHONY: setup demo test check fault slurm-up slurm-down lock pictures messages clean

setup: $(VENV)/.ready  ## install what Madang runs on into .venv/

$(VENV)/.ready: requirements/run.txt pyproject.toml
	@$(PYTHON) tools/preflight.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

demo: setup  ## build the reference site, play one company's story, serve it; ENGINE=slurm: on a real Slurm here
ifeq ($(ENGINE),slurm)
	@said=$$($(PYTHON) dev/slurm.py up --root $(SLURM_ROOT) --port $(SLURM_PORT) --python $(VENV)) && \
	  MADANG_HOME=$(SLURM_ROOT)/madang MADANG_SLURM="$$said" $(BIN)/madang demo --port $(PORT) $(DEMO)
else
	$(BIN)/madang demo --port $(PORT) $(DEMO)
endif

test: $(VENV)/.ready-dev  ## every check and every test
	@$(BIN)/python tools/browser.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadgroup --no-loadscope-reorder -rs

check: $(VENV)/.ready-dev  ## the quick half of `make test`
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy

fault: $(VENV)/.ready-dev  ## kill everything, often, and count what it cost: PARTS, ROUNDS, OPEN_S, SEED, JSON
	$(BIN)/python -m tests.fault

slurm-up:  ## a real Slurm on this machine with pretended GPUs (root on Debian or Ubuntu): SLURM_ROOT, SLURM_PORT
	@$(PYTHON) dev/slurm.py up --root $(SLURM_ROOT) --port $(SLURM_PORT)

slurm-down:  ## stop it; PURGE=1 removes it
	@$(PYTHON) dev/slurm.py down --root $(SLURM_ROOT) $(if $(PURGE),--purge)

bench-%: $(VENV)/.ready-dev  ## ratios to a ceiling of the same run: bench-ledger, -claims, -twin, -compute; JSON=path writes them
	$(BIN)/python -m bench.$*

lock:  ## choose versions anew and pin them by hash
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras pyproject.toml -o requirements/run.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt

messages: $(VENV)/.ready-dev  ## collect what the pages say and compile the translations
	$(BIN)/python tools/messages.py

pictures: $(VENV)/.ready-dev  ## make the pictures of docs/ anew
	MADANG_PICTURES=1 $(BIN)/pytest -q tests/test_story_browser.py

clean:
	rm -rf $(VENV) .ruff_cache .mypy_cache
