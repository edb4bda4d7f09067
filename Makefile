PYTHON ?= python3
BIN := .venv/bin
METADATA := settings.ini setup.py pyproject.toml

.PHONY: demo test lint export lab book bench clean

demo: .venv/installed                     ## hear it: fills the folder demo/
	$(BIN)/gan-audio demo --out demo

test: lint                                ## style, notebooks, exported modules, behaviour
	$(BIN)/nbdev-test --n-workers 2
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/developer                     ## format and style, as .pre-commit-config.yaml has it
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

export: .venv/developer                   ## notebooks -> modules; run it after editing a notebook
	$(BIN)/ruff format --quiet nbs
	$(BIN)/nbdev-export
	$(BIN)/ruff format --quiet gan_audio_tut
	$(BIN)/nbdev-clean

lab: .venv/lab                            ## read and run the chapters
	$(BIN)/jupyter lab nbs

book: .venv/docs                          ## the chapters as a web site, in _docs/
	$(BIN)/sphinx-build -q -b html -c docs . _docs
	@echo open _docs/docs/index.html

bench: .venv/bench                        ## measure the claims again; some ten hours, on the data in GAN_AUDIO_TUT_DATA_DIR
	$(BIN)/python tools/make_voices.py runs/voices --minutes 100
	$(BIN)/python tools/fetch_speech.py runs/real
	for b in mel.py step.py diagnostics.py speak.py hour.py classifiers.py "recipes.py recipes" "recipes.py changes" "recipes.py losses" \
	    "generation.py generation" "generation.py ingredients" "generation.py few" "vocoder.py train 8000" "vocoder.py train 16000" \
	    "vocoder.py trials 8000" "vocoder.py adversarial-weight 8000" "vocoder.py training-data 8000" "vocoder.py magnitude-weight 8000" \
	    "vocoder.py evaluate 8000 --on valid" "vocoder.py evaluate 8000 --on valid --magnitude-weight 0.1" \
	    "vocoder.py evaluate 8000 --on test" "vocoder.py evaluate 16000 --on test" "vocoder.py evaluate 16000 --on test --shipped" \
	    "restoration.py ablation 8000" "restoration.py evaluate 8000 --on valid" "restoration.py evaluate 8000 --on test" \
	    "restoration.py evaluate 16000 --on valid" "restoration.py evaluate 16000 --on test"; do $(BIN)/python benchmarks/$$b || exit 1; done

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "gan_audio_tut needs Python 3.11, 3.12 or 3.13, and this is %d.%d; say which with: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv

.venv/installed: $(METADATA) | .venv/bin/python
	$(BIN)/pip install --quiet -e .
	touch $@

# extras of settings.ini that each target needs
developer := dev
bench := metrics,data,peers
lab := app,dev
docs := docs

.venv/developer .venv/bench .venv/lab .venv/docs: $(METADATA) | .venv/bin/python
	$(BIN)/pip install --quiet -e '.[$($(@F))]'
	touch $@ .venv/installed

clean:
	rm -rf .venv demo build dist *.egg-info
