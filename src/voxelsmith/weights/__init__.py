"""The model zoo: which trained networks ship or can be fetched, where their files lie, and whether they are intact."""

from voxelsmith.weights import zoo
from voxelsmith.weights.manifest import WeightsEntry, entries, entry
from voxelsmith.weights.store import load, path, save, verify

__all__ = ["WeightsEntry", "entries", "entry", "load", "path", "save", "verify", "zoo"]
