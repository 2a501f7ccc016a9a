"""Offered layers: which of the open layers a dock lets the user choose.

Owns the mark of layers that only show something, and the rule that neither those nor the helpers of a session are
offered by any dock.
"""

from __future__ import annotations

from typing import Any

from voxelsmith.plugin.docks.prompt.looks import is_helper
from voxelsmith.plugin.layers import namespaced

PREVIEW = "registration_preview"
"""Key in our part of a layer's metadata that marks what only shows something, and is never offered."""


def offered(viewer: Any) -> list[Any]:
    """The layers to choose from, the uppermost first."""
    return [layer for layer in reversed(viewer.layers) if not is_helper(layer) and PREVIEW not in namespaced(layer)]
