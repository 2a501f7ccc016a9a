"""The wheel: what users install, as opposed to the checkout that the other tests see."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from voxelsmith.io.samples import SAMPLES
from voxelsmith.weights import entries

ROOT = Path(__file__).resolve().parents[1]
LICENSES = {"mni.txt", "mricron-data.txt", "pyradiomics.txt", "voxelsmith.txt"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(member))


def test_the_manifest_is_in_the_package(wheel: Path, names: set[str]) -> None:
    assert "voxelsmith/napari.yaml" in names
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in names if n.endswith(".dist-info/entry_points.txt"))
        entry_points = archive.read(member).decode()
    assert "[napari.manifest]\nnapari-voxelsmith = voxelsmith:napari.yaml" in entry_points
    assert "[console_scripts]\nvoxelsmith = voxelsmith.cli:main" in entry_points


def test_every_sample_ships_with_its_licence(names: set[str]) -> None:
    folder = "voxelsmith/sample_data/"
    assert {f"{folder}{name}.nii.gz" for name in SAMPLES} <= names
    assert {f"{folder}licenses/{name}" for name in LICENSES} <= names
    assert f"{folder}README.md" in names


def test_every_sample_file_is_described(names: set[str]) -> None:
    shipped = {Path(n).name.removesuffix(".nii.gz") for n in names if n.endswith(".nii.gz")}
    assert shipped == set(SAMPLES)


def test_sample_data_stay_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        size = sum(i.file_size for i in archive.infolist() if i.filename.startswith("voxelsmith/sample_data/"))
    assert size < 12e6


def test_the_weights_ship_with_manifest_and_cards(names: set[str]) -> None:
    folder = "voxelsmith/weights/"
    assert {f"{folder}manifest.json", f"{folder}zoo.toml", "voxelsmith/segment/segvol/words.toml"} <= names
    expected = {f"{folder}files/{name}" for entry in entries() for name in (entry.file, entry.card)}
    assert {name for name in names if name.startswith(f"{folder}files/")} == expected


def test_nothing_but_the_package_ships(names: set[str]) -> None:
    top = {name.split("/")[0] for name in names}
    assert {t for t in top if not t.endswith(".dist-info")} == {"voxelsmith"}
    assert not [n for n in names if "/tests/" in n or "__pycache__" in n or Path(n).name.startswith("test_")]
    assert [n for n in names if n.endswith(".dist-info/licenses/LICENSE")]


def test_the_metadata_list_the_plugin(metadata: Message) -> None:
    assert "Framework :: napari" in metadata.get_all("Classifier", [])
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_no_qt_in_the_base_dependencies(metadata: Message) -> None:
    base = [r.lower() for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert any(r.startswith("napari>=") for r in base)
    assert not [r for r in base if r.startswith(("pyqt", "pyside")) or "napari[" in r]


def test_a_sample_reads_from_the_unpacked_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import json\n"
        "from voxelsmith.io import samples\n"
        "labels = samples.load('brain1_label')\n"
        "print(json.dumps([str(samples.path('brain1_label')), labels.grid, labels.values(), dict(labels.names)]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    path, grid, values, label_names = json.loads(done.stdout)
    assert Path(path) == tmp_path / "voxelsmith" / "sample_data" / "brain1_label.nii.gz"
    assert (grid, values, label_names) == ([256, 256, 25], [1], {"1": "tumour"})
