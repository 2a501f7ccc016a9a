"""What an import costs: the package and its manifest load none of the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "dask",
    "monai",
    "napari",
    "nibabel",
    "numba",
    "pydicom",
    "qtpy",
    "safetensors",
    "SimpleITK",
    "skimage",
    "superqt",
    "torch",
    "zarr",
)


def heavy_modules_after(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after running ``statement``."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_probe_sees_a_heavy_module() -> None:
    assert "nibabel" in heavy_modules_after("import nibabel")


@pytest.mark.parametrize(
    "module", ["voxelsmith", "voxelsmith.core", "voxelsmith.core.volume", "voxelsmith.core.metrics"]
)
def test_the_core_imports_nothing_heavy(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == set()


@pytest.mark.parametrize("module", ["voxelsmith.io.registry", "voxelsmith.io.samples"])
def test_the_registry_imports_formats_lazily(module: str) -> None:
    assert heavy_modules_after(f"import {module}") == set()


def test_the_command_line_starts_without_napari_qt_or_torch() -> None:
    loaded = heavy_modules_after("import voxelsmith.cli")
    assert not loaded & {"monai", "napari", "numba", "qtpy", "safetensors", "superqt", "torch"}


def test_the_list_of_engines_and_weights_loads_neither() -> None:
    loaded = heavy_modules_after(
        "from voxelsmith.segment.engine import engine_infos\n"
        "from voxelsmith.weights import entries\n"
        "assert engine_infos()\n"
        "entries()\n"
    )
    assert not loaded & {"monai", "napari", "numba", "safetensors", "torch"}


def test_no_module_of_the_plugin_imports_torch() -> None:
    """Numba is not asked about: napari loads it where it is installed."""
    loaded = heavy_modules_after(
        "import importlib, pkgutil\n"
        "import voxelsmith.plugin as plugin\n"
        "names = [m.name for m in pkgutil.walk_packages(plugin.__path__, 'voxelsmith.plugin.')]\n"
        "assert 'voxelsmith.plugin.docks.prompt.controller' in names, names\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
    )
    assert "napari" in loaded
    assert not loaded & {"monai", "safetensors", "torch"}


def test_loading_the_manifest_imports_neither_torch_nor_the_plugin() -> None:
    loaded = heavy_modules_after(
        "import sys\n"
        "from npe2 import PluginManifest\n"
        "manifest = PluginManifest.from_distribution('napari-voxelsmith')\n"
        "assert manifest.contributions.widgets, 'the manifest offers no widget'\n"
        "assert 'voxelsmith.plugin' not in sys.modules\n"
    )
    assert not loaded & {"monai", "nibabel", "safetensors", "SimpleITK", "torch"}


def test_opening_a_viewer_with_the_plugin_imports_none_of_its_heavy_libraries() -> None:
    script = (
        "import napari\n"
        "from npe2 import PluginManager\n"
        "viewer = napari.Viewer(show=False)\n"
        "assert 'napari-voxelsmith' in [m.name for m in PluginManager.instance().iter_manifests()]\n"
        "viewer.close()\n"
    )
    loaded = heavy_modules_after(script)
    assert "napari" in loaded
    assert not loaded & {"monai", "nibabel", "pydicom", "safetensors", "SimpleITK", "torch", "zarr"}
