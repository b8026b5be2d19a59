# Crop maps at scale. `make help` lists what can be made; each target sets up what it needs.
# Needs Python 3.11, 3.12 or 3.13 and make. Another Python than python3: make test PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= 2
# Languages of the book: make book LANGUAGES="en es"
LANGUAGES ?= en

# What the environment .venv holds: extras and groups of pyproject.toml, in the versions of uv.lock.
# The extra java is a small Java runtime. It is always there, and used only where the machine has no Java of its own.
EXTRAS := spark java vector labs train images keras-segmentation homework book lakes real
GROUPS := test tensorflow

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV
# What is imported is compiled once, and not by each process: TensorFlow costs each of them 7 s.
unexport PYTHONDONTWRITEBYTECODE
# Trust what the machine trusts: networks of schools and firms have certificates of their own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS := true
endif

# The uv of this machine, else one that is fetched for this project alone.
UV := $(or $(shell command -v uv 2>/dev/null),_build/uv/bin/uv)
ENV := .venv/.made-with$(subst /,-,-$(PYTHON))
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
DATA := data/delta/_complete
SITE := _build/html/index.html
# Simulated, or made of simulated data. Not data/labels nor the tables of other studies: they may have taken hours.
SIMULATED := data/delta* data/groves* data/grove-homework data/fields* data/farm* data/forms-fields* \
  data/classifier-fields* data/lab1-sample-* data/work-groves* data/work-fields* data/*.lock data/.*.lock
DICTIONARY := _build/testing/es.dic
AZURITE := _build/azurite/node_modules/.bin/azurite-blob
CATALOGUES := $(wildcard arsetlib/locale/*/LC_MESSAGES/*.po book/locale/*/LC_MESSAGES/*.po)
LINTED := $(wildcard arsetlib book benchmarks homework labs tests .ci)

.PHONY: help
help: ## list the targets
	@echo "Usage: make TARGET [PYTHON=python3.12] [WORKERS=2]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: book
book: env data ## build the book: run the labs, write the site to _build/html
	$(RUN) python book/vendor.py
	$(RUN) python book/cover.py data/delta
	$(RUN) python book/build.py $(LANGUAGES)

.PHONY: translations
translations: env ## gather the words to translate, compile the catalogues, list what is missing or stale
	$(RUN) python book/translations.py

.PHONY: slides
slides: env ## make the slides of the labs again, from the labs as `make book` ran them
	$(RUN) python book/vendor.py
	$(RUN) python book/slides.py

.PHONY: class-data
class-data: env ## make the data that all learners of a class share: make class-data OUT=/srv/class
	$(RUN) python book/class_data.py "$(OUT)"

.PHONY: lanes
lanes: | $(UV) ## rehearse platforms and both ends of the versions (an hour); make lane-colab: one of them
	UV="$(abspath $(UV))" WORKERS=$(WORKERS) $(PYTHON) .ci/lanes/lanes.py

lane-%: | $(UV)
	UV="$(abspath $(UV))" WORKERS=$(WORKERS) $(PYTHON) .ci/lanes/lanes.py $*

.PHONY: dist
dist: | $(UV) ## build the wheel and the sdist in _build/dist, and check them
	UV="$(abspath $(UV))" $(PYTHON) .ci/dist.py $(TAG)

.PHONY: image
image: ## build the container of Dockerfile, where docker, podman or buildah can
	$(PYTHON) .ci/image.py

.PHONY: homework
homework: env bubblewrap ## make the homework from its masters: learners' notebooks, autograder, solutions in _build/homework
	$(RUN) python homework/build.py
	$(RUN) python homework/matrix.py

.PHONY: test
test: env bubblewrap azurite $(DICTIONARY) ## run the tests, and those of the book where it is built
	$(RUN) python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not browser and not live and not labs"
	@if [ -f $(SITE) ]; then $(MAKE) --no-print-directory check-book; fi

$(DICTIONARY): book/vendor.py | $(ENV)
	$(RUN) python book/vendor.py
	@touch $@

.PHONY: check-book
check-book: env chromium ## look at the built book with a real browser
	@[ -f $(SITE) ] || { echo "The book is not built yet: run 'make book' first." >&2; exit 1; }
	$(RUN) python -m pytest -n $(WORKERS) -m browser

.PHONY: labs
labs: env data ## run every lab from start to end on small data; `make book` runs them on all
	$(RUN) python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m labs

.PHONY: live
live: env ## test against the real services on the internet
	$(RUN) python -m pytest -m live

.PHONY: bench
bench: env data ## measure the headline figures, write benchmarks/results.json
	$(UV) sync --quiet --locked --inexact --python $(PYTHON) $(EXTRAS:%=--extra %) $(GROUPS:%=--group %) --group bench
	$(RUN) python benchmarks

.PHONY: lint
lint: env ## check style, types, and that the lock file fits pyproject.toml
	$(RUN) ruff check $(LINTED)
	$(RUN) ruff format --check $(LINTED)
	$(RUN) mypy
	$(UV) lock --check --python $(PYTHON)

.PHONY: env
env: $(ENV) $(CATALOGUES:.po=.mo) ## make the environment .venv
%.mo: %.po | $(ENV)
	$(RUN) python book/translations.py compile $<
$(ENV): pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --python $(PYTHON) $(EXTRAS:%=--extra %) $(GROUPS:%=--group %)
	@touch $@

_build/uv/bin/uv: .ci/get_uv.py
	$(PYTHON) .ci/get_uv.py _build/uv
	@touch $@

.PHONY: home
home: ## set the address of your copy in every file: make home URL=https://github.com/me/copy
	$(PYTHON) .ci/home.py "$(URL)"

.PHONY: data
data: $(DATA) ## make the simulated sample data in data/delta
$(DATA): $(wildcard arsetlib/simulate/*.py) arsetlib/studies/sample.toml | $(ENV)
	@if [ -f $@ ]; then echo "The simulation has changed: making data/delta again."; rm -rf data/delta; fi
	$(RUN) arset simulate data/delta
	@touch $@

.PHONY: chromium
chromium: ## find a browser; as root on Debian install one; else say how
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	elif [ -n "$$CI" ]; then echo "No Chromium, and CI must not go without: install it first." >&2; exit 1; \
	else echo "No Chromium here: the tests of the book are skipped. On Debian: sudo apt-get install chromium"; fi

.PHONY: bubblewrap
bubblewrap: ## find the sandbox of `arset grade`; as root on Debian install it; else say how
	@if [ -n "$$GITHUB_ACTIONS" ]; then \
	  sudo apt-get update -qq && sudo apt-get install -y -qq --no-install-recommends bubblewrap; \
	  sudo sysctl -q -w kernel.apparmor_restrict_unprivileged_userns=0; \
	elif command -v bwrap; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap; \
	elif [ -n "$$CI" ]; then echo "No bubblewrap, and CI must not go without: install it first." >&2; exit 1; \
	else echo "No bubblewrap here: tests of the sandbox are skipped. On Debian: sudo apt-get install bubblewrap"; fi

.PHONY: azurite
azurite: ## install a server that speaks Azure's protocol, for tests, where npm can; else say how
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory $(AZURITE); then :; \
	elif [ -n "$$CI" ]; then echo "No Azurite, and CI must not go without: install npm first." >&2; exit 1; \
	else echo "No Azurite here: tests with Azure's protocol are skipped. Install npm (Node 20 or newer) for them."; fi

$(AZURITE): tests/azurite/package-lock.json tests/azurite/package.json
	@mkdir -p _build/azurite && cp $^ _build/azurite
	cd _build/azurite && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: clean
clean: ## remove all that make made: .venv, _build, simulated data and what labs made of them, fetched scripts, caches
	rm -rf .venv _build $(SIMULATED) book/static/vendor book/en/images/cover* book/*/points book/*/points.csv spark-warehouse artifacts
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find arsetlib book benchmarks homework labs tests -name __pycache__ -prune -exec rm -rf {} +
