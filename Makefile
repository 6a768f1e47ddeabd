# make book [PROFILE=paper|quick]   execute the notebooks and build _build/html/index.html
# make studies [PROFILE=…]          the parameter studies in full, for the book of that profile
# make figure FIG=s7                one figure of the paper, all seeds: 2, 3, s3, s5 … s8, s10 … s14
#                                   and the quick book (BOOK=paper: the large one) that shows it
# make paper                        all of them but those that take too long, one seed each
# make collect                      take what these have found into the book
# make results                      the long studies whose results come with the book: hours
# make test                         every test
# make test-PART                    one part: science, book, browser, batch or crash
# make lint                         formatting, lint, types and the layers of the package
# make kills                        kill a run 50 times at random moments and compare metrics
# make audit                        look up the pinned packages in the vulnerability database
# make coverage                     the share of figures_lib that the tests execute
# make mutants                      change the library in one place at a time: a test must fail
# make clean                        remove the built site (results in runs/ are kept)

PROFILE ?= paper
CONFIG_paper = config/fig3.yaml
CONFIG_quick = config/fig3_quick.yaml
CONFIG_theta = config/fig3_theta.yaml
CONFIG_test = config/fig3_test.yaml
CONFIG_gradient = config/fig3_gradient.yaml
CONFIG_quick_gradient = config/fig3_quick_gradient.yaml
CONFIG = $(CONFIG_$(PROFILE))
PYTHON ?= python3
READY = .venv/.installed

STUDIES = noise length neurons types inputs contrast speed theta differences

FIGURES = $(basename $(notdir $(wildcard config/figures/*.yaml)))
LONG = s11
BOOK ?= quick
# 2 is short for fig2
NAME = $(if $(wildcard config/figures/fig$(FIG).yaml),fig$(FIG),$(FIG))

.PHONY: book studies figure paper collect results test lint kills audit coverage mutants clean

book: $(READY)
	@test -n "$(CONFIG)" || { echo "PROFILE=$(PROFILE) is unknown; use paper, quick, theta, test, gradient or quick_gradient" >&2; exit 2; }
	.venv/bin/python -m figures_lib run --config $(CONFIG) --out runs/$(PROFILE)
	.venv/bin/python -m figures_lib build --run runs/$(PROFILE) --out _build/html
	@echo "open _build/html/index.html"

studies: $(STUDIES:%=study-%)

study-%: $(READY)
	.venv/bin/python -m figures_lib sweep config/sweeps/$*.yaml --out runs/$(PROFILE)/studies/$*

figure: $(READY)
	@test -f "config/figures/$(NAME).yaml" || { echo "FIG=$(FIG) is unknown; use one of $(FIGURES)" >&2; exit 2; }
	$(MAKE) figure-$(NAME)
	$(MAKE) book PROFILE=$(BOOK)

# figures have their stages in common: S3, S5 and S6 are of the recordings of Figure 2
figure-%: $(READY)
	mkdir -p runs/figures/stages runs/figures/$*
	ln -sfn ../stages runs/figures/$*/stages
	.venv/bin/python -m figures_lib sweep config/figures/$*.yaml --out runs/figures/$* \
	  --workers $(WORKERS) $(if $(SEEDS),--seeds $(SEEDS))

paper: $(READY)
	for name in $(filter-out $(LONG),$(FIGURES)); do $(MAKE) figure-$$name SEEDS=1 || exit 1; done
	$(MAKE) book PROFILE=$(BOOK)
	@echo "left out: $(LONG), and the other seeds; make figure FIG=$(LONG), make figure FIG=s7 and so on run them"

collect: $(READY)
	.venv/bin/python -m figures_lib collect runs/figures

# they need the packages of the extra bench: .venv/bin/pip install --editable ".[bench]"
BASELINES = baselines_fig3_quick baselines_fig2
RESULTS = $(STUDIES) calibration methods methods_continuum methods_figure2 $(BASELINES)

results: $(RESULTS:%=result-%)

result-%: $(READY)
	.venv/bin/python -m figures_lib sweep config/sweeps/$*.yaml --out runs/results/$* --workers $(WORKERS)
	cp runs/results/$*/results.csv book/results/$*.csv
	cp runs/results/$*/provenance.json book/results/$*.json

$(BASELINES:%=result-%): result-%: $(READY)
	.venv/bin/python -m figures_lib baselines --config config/$(*:baselines_%=%).yaml --out runs/results/$*
	cp runs/results/$*/results.csv book/results/$*.csv
	cp runs/results/$*/provenance.json book/results/$*.json

# the times of the methods are those of a machine that does nothing else
WORKERS = 0
$(STUDIES:%=result-%) result-calibration: WORKERS = 2

# two files of tests at a time, one per core; each is run by one process from end to end
PYTEST = .venv/bin/python -m pytest tests --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY) lint
	$(PYTEST)

test-%: $(READY)
	$(PYTEST) -m $*

lint: $(READY)
	.venv/bin/ruff format --check figures_lib tests book/_ext
	.venv/bin/ruff check figures_lib tests book/_ext
	.venv/bin/mypy
	.venv/bin/mypy book/_ext
	.venv/bin/lint-imports --no-cache --no-logo

kills: $(READY)
	.venv/bin/python tests/kills.py 50

audit: $(READY)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --strict

coverage: $(READY)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check pytest-cov
	.venv/bin/python -m pytest tests --cov figures_lib --cov-report term-missing:skip-covered \
	  --cov-report json:_build/coverage.json
	.venv/bin/python tests/checks.py _build/coverage.json

mutants: $(READY)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint requirements.lock mutmut
	.venv/bin/python tests/mutants.py

clean:
	rm -rf _build mutants

$(READY): requirements.lock pyproject.toml package-lock.json
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $(READY)
