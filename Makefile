# `make demo` and `make test` set everything up first: system packages, virtual environment, dependencies.

BIN := .venv/bin
DISPLAY_RUN := tools/with_display.sh

.PHONY: demo test setup lint clean

demo: setup
	@$(DISPLAY_RUN) $(BIN)/voxelsmith demo

test: setup lint
	@$(DISPLAY_RUN) $(BIN)/python -m pytest

setup:
	@tools/setup.sh

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(DISPLAY_RUN) $(BIN)/npe2 validate --imports napari-voxelsmith

clean:
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
