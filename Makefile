# make run     serve on http://127.0.0.1:8000
# make test    everything that tests
# make fuzz    the inbound wire, a minute; SECONDS=600: longer
# make lint    ruff and mypy
# make audit   known vulnerabilities in what is installed; fails too where it cannot ask
# make conformance    Autobahn's WebSocket cases, four minutes
# make bench   beside its peers, half an hour; QUICK=1: two minutes; ARGS="--only latency": see python -m bench --help
# make bench-cluster    several workers and hosts as one chat, beside one worker, 17 minutes; QUICK=1: two; the hosts take root
# make soak    thousands of clients that come, go and die at random, for 10 minutes; MINUTES=1 CLIENTS=500 SEED=7
# make chaos   clients that lose their lines and a server that is killed, and is anything lost?; DATABASE=postgresql MINUTES=1 SEED=7
#              WORKERS=3: so many workers and their Valkey, which is killed too, and once cut off
# make resume  5,000 clients that come back at once to what they have missed; N=1000
# make screenshots    the pictures in docs/img

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test fuzz lint audit conformance bench bench-cluster soak chaos resume screenshots programs bench-programs clean

run: $(VENV)/run
	$(BIN)/gunicorn wsgi:app

# Four processes for two cores, because much is waiting; files in the order of tests/conftest.py.
test: $(VENV)/dev programs node_modules/.package-lock.json
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

fuzz: $(VENV)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# What could not be asked about is not cleared.
audit: $(VENV)/dev $(VENV)/auditor/done
	@failed=; \
	$(BIN)/pip check || failed=y; \
	$(VENV)/auditor/bin/pip-audit --strict --progress-spinner off \
		--path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || failed=y; \
	npm audit || failed=y; \
	[ -z "$$failed" ] || { echo "Not cleared: something above is vulnerable, or broken, or could not be looked up."; exit 1; }

conformance: $(VENV)/dev
	$(BIN)/python -m tests.conformance

bench: $(VENV)/run bench-programs
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

bench-cluster: $(VENV)/run bench-programs
	$(BIN)/python -m bench.cluster $(if $(QUICK),--quick) $(ARGS)

HOW = $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/dev
	$(BIN)/python -m tests.soak $(HOW)

chaos: $(VENV)/dev programs
	$(BIN)/python -m tests.chaos $(HOW) $(if $(DATABASE),--database $(DATABASE)) $(if $(WORKERS),--workers $(WORKERS))

resume: $(VENV)/dev
	$(BIN)/python -m tests.resume $(if $(N),--count $(N))

screenshots: $(VENV)/dev programs
	$(BIN)/python -m tests.live.gallery

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is wanted: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements.txt $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements.txt requirements-dev.txt $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run

# In an environment of its own: it brings thirty packages that nothing else wants.
$(VENV)/auditor/done: requirements-audit.txt $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/auditor
	$(VENV)/auditor/bin/pip install --quiet --disable-pip-version-check -r requirements-audit.txt
	@touch $@

define install
if [ -n "$$wanted" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && apt-get install -y -qq $$wanted >/dev/null; \
fi
endef

# Tests drive Debian's Chromium, PostgreSQL, Redis, iproute2 and libfaketime; elsewhere they say what to install.  redis-tools
# has the server too, under another name: redis-server would start it as a service.
programs:
	@wanted=; \
	command -v chromium-headless-shell >/dev/null || wanted="chromium-headless-shell fonts-liberation fonts-noto-color-emoji"; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="$$wanted postgresql"; \
	command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null || wanted="$$wanted redis-tools"; \
	command -v ip >/dev/null || wanted="$$wanted iproute2"; \
	ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || wanted="$$wanted libfaketime"; \
	$(install)

# The load is written in C, ws is Node's, socketify wants libuv, hosts are made by iproute2; what is missing elsewhere, the
# benchmark says.
bench-programs:
	@wanted=; \
	command -v cc >/dev/null || wanted="gcc libc6-dev"; \
	command -v npm >/dev/null || wanted="$$wanted nodejs npm"; \
	{ ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q 'libuv\.so\.1' || wanted="$$wanted libuv1"; \
	command -v ip >/dev/null || wanted="$$wanted iproute2"; \
	$(install)

# axe-core, for the accessibility tests, and TypeScript, for the types of chat-client; without them those fail, and the others run.
node_modules/.package-lock.json: package.json package-lock.json
	@if command -v npm >/dev/null; then npm ci --loglevel=error >/dev/null && touch $@; \
		else echo "Some tests want axe-core and TypeScript: install npm (apt-get install npm), and run make test again."; fi

clean:
	rm -rf $(VENV) node_modules bench/.env .mypy_cache .ruff_cache .pytest_cache
