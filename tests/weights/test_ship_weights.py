"""``tools/ship_weights.py``: trained weights get into the package whole, described, or not at all."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.weights import load, manifest, save, verify

TOOL = Path(__file__).parents[2] / "tools" / "ship_weights.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("ship_weights", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trained(zoo):
    file = zoo.folder / "run.safetensors"
    save({"conv.weight": torch.full((4,), 0.5)}, file, {"step": "100"})
    return file


@pytest.fixture
def unchanged(zoo):
    """Check that neither the manifest nor the weights were touched by the test."""
    before = zoo.file.read_bytes(), manifest.MANIFEST.read_bytes()
    yield
    assert (zoo.file.read_bytes(), manifest.MANIFEST.read_bytes()) == before


def test_new_weights_replace_old_ones(tool, zoo, trained):
    assert tool.ship(trained, "toy") == zoo.file
    assert verify("toy") == zoo.file
    assert load("toy")["conv.weight"].tolist() == [0.5] * 4
    assert json.loads(manifest.MANIFEST.read_text()) == [
        zoo.record | {"bytes": trained.stat().st_size, "sha256": manifest.entry("toy").sha256}
    ]


def test_an_entry_may_wait_for_its_size_and_digest(tool, zoo, trained):
    zoo.write({k: v for k, v in zoo.record.items() if k not in ("bytes", "sha256")})
    tool.ship(trained, "toy")
    assert manifest.entry("toy").bytes == trained.stat().st_size


@pytest.mark.usefixtures("unchanged")
def test_a_name_without_an_entry_is_refused(tool, trained):
    with pytest.raises(InputError, match="no entry 'dog'"):
        tool.ship(trained, "dog")


@pytest.mark.usefixtures("unchanged")
def test_an_incomplete_card_is_refused(tool, zoo, trained):
    card = zoo.files / "toy.md"
    card.write_text(card.read_text().replace("## Limits", "Limits"), encoding="utf-8")
    with pytest.raises(InputError, match=r"toy\.md lacks Limits;"):
        tool.ship(trained, "toy")
    card.unlink()
    with pytest.raises(InputError, match=r"lacks Purpose, .*, Licence;"):
        tool.ship(trained, "toy")


@pytest.mark.usefixtures("unchanged")
def test_wide_tensors_are_refused(tool, trained):
    save_file({"conv.weight": torch.zeros(4)}, trained)
    with pytest.raises(InputError, match=r"conv\.weight is wider"):
        tool.ship(trained, "toy")


@pytest.mark.usefixtures("unchanged")
def test_large_weights_are_refused(tool, trained):
    save_file({"conv.weight": torch.zeros(manifest.MAX_BYTES // 2, dtype=torch.float16)}, trained)
    with pytest.raises(FormatError, match="as bytes of 'toy'"):
        tool.ship(trained, "toy")


def test_its_help_names_both_arguments():
    done = subprocess.run([sys.executable, TOOL, "--help"], check=True, capture_output=True, text=True)
    assert "SAFETENSORS name" in done.stdout
