# Noise on Purpose. `make` alone lists what there is to make.
#
# companion/experiments --> remembered results --> notebooks/NN-*.md --jupytext, papermill--> _build/executed/PROFILE/NN-*.ipynb --jupyter-book--> _build/site/PROFILE/
# Every rule below names its true inputs, so nothing is made twice. `python -m book` does what make cannot say clearly.

PROFILE ?= cpu
SEED    ?= 0
SEEDS   ?= 6 7 8
PORT    ?= 8000
REMOTE  ?= origin
PYTHON  ?= python3
VENV    ?= .venv
# Processes of one thread each, side by side: as many as there are cores; one on a GPU, which they would share.
JOBS    ?= $(if $(filter gpu,$(PROFILE)),1,$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))
export OMP_NUM_THREADS ?= 1

AXE        := 4.14.1
AXE_SHA512 := FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==

# No value of these reaches a shell as text: make expands none, and those that rules use hold only the signs of their kind.
VALUES := PROFILE SEED SEEDS PORT JOBS REMOTE PYTHON VENV REPOSITORY_URL HASHES PYTEST
$(foreach name,$(VALUES),$(if $(filter-out undefined file,$(origin $(name))),$(if $(findstring $$,$(value $(name))),\
  $(error $(name) has a dollar sign))))

PROFILES := smoke cpu long gpu
ifneq ($(words $(PROFILE)) $(filter-out $(PROFILES),$(PROFILE)),1 )
$(error PROFILE is '$(PROFILE)', but must be one of: $(PROFILES))
endif

quoted  = '$(subst ','\'',$(1))'
strange = test -z "$$(printf '%s' $(call quoted,$($(1))) | LC_ALL=C tr -d $(2))" || echo $(1);
STRANGE := $(shell $(foreach name,SEED PORT JOBS,$(call strange,$(name),0-9)) $(call strange,SEEDS,'0-9 ') \
  $(foreach name,PYTHON VENV REMOTE,$(call strange,$(name),'A-Za-z0-9@+./_~\200-\377-')))
$(foreach name,$(STRANGE),$(error $(name) is '$($(name))', but may hold only \
  $(if $(filter SEED SEEDS PORT JOBS,$(name)),digits,letters, digits and @+./_~-)))

READY     := $(VENV)/.ready
RUN       := $(VENV)/bin/python
BUILD     := $(RUN) -m book
CHAPTERS  := $(patsubst notebooks/%.md,%,$(sort $(wildcard notebooks/[0-9]*.md)))
MODULE    := $(shell find companion -name '*.py')
RECORDS   := $(shell find results -type f -not -name '.*' -not -path 'results/parts/*')
BOOK      := $(shell find book -type f -not -path '*/__pycache__/*' -not -path '*/_generated/*')

# The seed and the address of the repository, as files that change only when they do.
say = $(shell mkdir -p _build; printf '%s' $(2) | cmp -s - _build/$(1) || printf '%s' $(2) > _build/$(1))
$(call say,seed,$(call quoted,$(SEED)))
$(shell REPOSITORY_URL=$(call quoted,$(REPOSITORY_URL)) $(call quoted,$(PYTHON)) book/address.py _build/repository_url)

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help book smoke long gpu run site test serve publish linkcheck axe lab verdicts script notebooks picture \
  rehearsal dist lowest newest packages constraints upgrade clean

help: ## list these targets
	@grep -hE '^[a-z ]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "  variables: PROFILE=smoke|cpu|long|gpu  SEED=0  JOBS=cores  PORT=8000  REMOTE=origin  PYTHON=python3.12  VENV=path  REPOSITORY_URL=address  HASHES=no"

book: site ## run every chapter (profile cpu), build the site and say where it is
	@echo "The book is at $$PWD/_build/site/$(PROFILE)/index.html ('make serve' shows it)."

gpu: ## the same on a GPU, with the image experiments at full size
	@$(MAKE) --no-print-directory book PROFILE=gpu

long: ## the same with the image experiments at a size for two cores (up to a day; can be stopped and goes on)
	@$(MAKE) --no-print-directory book PROFILE=long

smoke: ## run every cell of every chapter at tiny sizes (profile smoke)
	@$(MAKE) --no-print-directory run PROFILE=smoke

# Chapters run side by side without being asked to.
SIDE_BY_SIDE = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
run: $(READY)
	@$(SIDE_BY_SIDE) $(CHAPTERS:%=_build/executed/$(PROFILE)/%.ipynb)
site: $(READY)
	@$(SIDE_BY_SIDE) _build/site/$(PROFILE)/index.html

# The tests in six parts, side by side like the chapters, the longest first: what a part says is shown when it is done. Each waits only
# for what it looks at, so the module is tested while the smoke runs are made.
TESTING := PYTEST_ADDOPTS="$$PYTEST_ADDOPTS $$PYTEST" env -u MPLBACKEND -u MAKEFLAGS -u MFLAGS OMP_NUM_THREADS=1 COMPANION_PROGRESS=0 PYTHONHASHSEED=0 $(RUN) -m pytest
NAMES := one_denoiser extra_noise tweedie noise_classifier gradient_estimation four_noises physics foellmer adaptation your_images
CHAPTER_TESTS := $(sort $(foreach name,$(NAMES),$(wildcard tests/test_$(name)*.py)))
SITE_TESTS    := $(wildcard tests/test_site*.py) tests/test_playground.py tests/test_front_pages.py tests/test_ledger_data.py
COMMAND_TESTS := tests/test_cli.py tests/test_colab.py
test-module:   TESTS = tests $(patsubst %,--ignore=%,$(CHAPTER_TESTS) $(SITE_TESTS) $(COMMAND_TESTS))
test-chapters: TESTS = $(CHAPTER_TESTS)
test-site:     TESTS = $(SITE_TESTS)
test-commands: TESTS = $(COMMAND_TESTS)
test-nbval:    TESTS = --nbval-lax $(patsubst %,_build/executed/smoke/%.ipynb,$(filter-out %-details,$(CHAPTERS)))
test-details:  TESTS = --nbval-lax $(patsubst %,_build/executed/smoke/%.ipynb,$(filter %-details,$(CHAPTERS)))
PARTS := test-site test-chapters test-module test-commands test-nbval test-details
.PHONY: $(PARTS)
test: $(READY) ## pytest, and nbval over the smoke runs
	@$(SIDE_BY_SIDE) --keep-going $(PARTS)
test-site:     _build/site/smoke/index.html
test-chapters: _build/executed/smoke/.experiments.json
test-nbval test-details: $(CHAPTERS:%=_build/executed/smoke/%.ipynb)
$(PARTS): $(READY)
	@echo "$@ begins"
	@$(TESTING) $(TESTS) > _build/$@.txt 2>&1; code=$$?; echo "$@:"; cat _build/$@.txt; exit $$code

serve: ## show the built site on http://127.0.0.1:8000
	@test -f _build/site/$(PROFILE)/index.html || { echo "There is no site yet: run 'make book PROFILE=$(PROFILE)' first."; exit 1; }
	@echo "http://127.0.0.1:$(PORT)  (stop with Ctrl-C)"
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/site/$(PROFILE) $(PORT)

publish: $(READY) ## build the site, and push it and the notebooks for Colab to branches of the remote
	@$(BUILD) publish check --remote $(REMOTE)
	@$(MAKE) --no-print-directory book
	@$(BUILD) publish push _build/site/$(PROFILE) --remote $(REMOTE)

linkcheck: $(READY) run ## ask every address that the site links to (needs a network)
	@$(BUILD) linkcheck $(PROFILE)

axe: _build/axe/axe.min.js ## fetch the accessibility checker that the site's tests then use (needs npm)

lab: $(READY) ## edit the chapters as notebooks in JupyterLab
	@test -x $(VENV)/bin/jupyter-lab || $(RUN) -m pip install -q -c constraints.txt -e ".[book,test,lab]"
	JUPYTER_CONFIG_DIR=_build/lab $(VENV)/bin/jupytext-config set-default-viewer markdown
	JUPYTER_CONFIG_DIR=_build/lab $(VENV)/bin/jupyter-lab notebooks

verdicts: $(READY) ## judge all claims on three fresh master seeds together, and keep that as published
	@$(RUN) -m companion verdicts all --publish $(SEEDS) --jobs $(JOBS)
	@$(BUILD) readme

script: $(READY) ## write each chapter as a plain Python script to _build/scripts
	@$(BUILD) script $(PROFILE) $(SEED)

notebooks: $(READY) ## write the .ipynb that Colab opens beside each chapter's .md
	@$(BUILD) notebooks

picture: $(READY) ## remake the moving picture of the README and the first page
	@$(BUILD) picture

rehearsal: $(READY) ## rehearse a fork: its workflow, what it publishes, its notebook in Colab
	@$(BUILD) rehearse

dist: $(READY) ## build sdist and wheel into _build/dist
	rm -rf _build/dist
	$(RUN) -m hatchling build -d _build/dist

lowest newest packages: ## the core's tests: oldest packages that are allowed, newest ones, from sdist and wheel
	@$(PYTHON) book/bounds.py $@

constraints: $(READY) ## pin what pyproject.toml declares, for Python 3.11 to 3.14, with hashes; what is pinned and allowed stays
	$(RUN) -m pip install -q uv
	cp constraints.txt constraints.new
	$(VENV)/bin/uv pip compile pyproject.toml -q --universal --python-version 3.11 --all-extras $(if $(UPGRADE),--upgrade) \
	  --no-header --no-annotate --no-emit-index-url -o constraints.new
	rm -f requirements.new
	$(VENV)/bin/uv pip compile pyproject.toml -q --universal --python-version 3.11 --extra book --extra test --extra build --extra images \
	  -c constraints.new --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.new
	mv constraints.new constraints.txt
	mv requirements.new requirements.txt

upgrade: ## the same, with the newest of everything
	@$(MAKE) --no-print-directory constraints UPGRADE=yes

clean: ## remove what was built (the environment in .venv stays)
	rm -rf _build

# ---- the environment
$(READY): pyproject.toml constraints.txt requirements.txt
	@$(PYTHON) book/environment.py $(VENV)

_build/axe/axe.min.js:
	@mkdir -p $(@D)
	cd $(@D) && npm pack --silent axe-core@$(AXE)
	@$(PYTHON) -c 'import base64, hashlib, sys; found = hashlib.sha512(open(sys.argv[1], "rb").read()).digest(); \
	  sys.exit(base64.b64encode(found).decode() != "$(AXE_SHA512)" and sys.argv[1] + " is not the published file")' $(@D)/axe-core-$(AXE).tgz
	cd $(@D) && tar -xzf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js && touch axe.min.js

# ---- for each profile: first the experiments, which are remembered; then the chapters, of which book/run.py leaves alone those that
# ---- rest on nothing that changed; then the site
# Each is written whole by what makes it. Make deletes none when it fails: another build may just have made it.
define profile_rules
.PRECIOUS: _build/executed/$(1)/.experiments.json _build/executed/$(1)/%.ipynb _build/site/$(1)/index.html

_build/executed/$(1)/.experiments.json: $(MODULE) constraints.txt _build/seed | $(READY)
	@$$(BUILD) experiments $(1) $$(SEED) $$@

_build/executed/$(1)/%.ipynb: notebooks/%.md _build/executed/$(1)/.experiments.json book/sources.yml book/run.py $(2) | $(READY)
	@$$(BUILD) run $(1) $$(SEED) $$< $$@

_build/site/$(1)/index.html: $(CHAPTERS:%=_build/executed/$(1)/%.ipynb) $(BOOK) $(MODULE) $(RECORDS) _config.yml _toc.yml CITATION.cff _build/repository_url | $(READY)
	@$$(BUILD) site $(1) _build/site/$(1)
endef
# The records are an input, except where they are written.
$(eval $(call profile_rules,smoke,$(RECORDS)))
$(eval $(call profile_rules,cpu,$(RECORDS)))
$(eval $(call profile_rules,long))
$(eval $(call profile_rules,gpu))
