PYTHON ?= python3

.PHONY: run test install demo

run: install
	@.venv/bin/mbe up

install:
	@$(PYTHON) requirements/install.py

demo: install
	@.venv/bin/mbe demo

test:
	@$(PYTHON) requirements/install.py --dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m pytest -n 2 --dist loadscope -m "not model" --ignore=tests/house
	@.venv/bin/python -m pytest -n 0 -m model --ignore=tests/house
	@.venv/bin/python -m pytest -n 0 tests/house
