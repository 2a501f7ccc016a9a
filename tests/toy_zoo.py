"""A zoo in a temporary folder: one network, with its manifest entry and its card."""

import hashlib
import json
from types import SimpleNamespace

import torch

from voxelsmith.weights import manifest, save, store

CARD = "# Toy\n" + "".join(f"\n## {heading}\n\nText.\n" for heading in manifest.CARD_HEADINGS)


def make_record(**changes):
    record = {
        "name": "toy",
        "title": "Toy network",
        "file": "toy.safetensors",
        "bytes": 100,
        "sha256": "0" * 64,
        "licence": "BSD-3-Clause",
        "source": "The Voxelsmith developers",
        "citation": "None",
        "card": "toy.md",
        "good_at": "Nothing.",
        "trained_on": "Noise.",
    }
    return record | changes


def build_zoo(folder, monkeypatch):
    """Let the package find this zoo instead of its own.

    Returns folder, files and tensors, the manifest's one record, and a function that writes other records.
    """
    files = folder / "files"
    files.mkdir()
    monkeypatch.setattr(manifest, "MANIFEST", folder / "manifest.json")
    monkeypatch.setattr(store, "FILES", files)
    monkeypatch.delenv(store.LOCAL_FOLDER, raising=False)
    state = {
        "conv.weight": torch.linspace(-1, 1, 54).reshape(2, 1, 3, 3, 3),
        "norm.num_batches_tracked": torch.tensor(2**40 + 1),
    }
    file = files / "toy.safetensors"
    save(state, file, {"voxelsmith": "0.1.0"})
    (files / "toy.md").write_text(CARD, encoding="utf-8")

    def write(*records):
        manifest.MANIFEST.write_text(json.dumps(list(records)), encoding="utf-8")

    data = file.read_bytes()
    record = make_record(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    write(record)
    return SimpleNamespace(folder=folder, files=files, file=file, state=state, record=record, write=write)
