"""Offered layers: helpers and previews of one dock are not offered by another."""

import numpy as np
from napari.components import ViewerModel

from voxelsmith.plugin.docks.offered import PREVIEW, offered
from voxelsmith.plugin.docks.prompt.looks import HELPER
from voxelsmith.plugin.layers import NAMESPACE


def test_only_what_the_user_works_with_is_offered_uppermost_first():
    viewer = ViewerModel()
    for name, ours in (("below", {}), ("helper", {HELPER: "box"}), ("preview", {PREVIEW: True}), ("above", {})):
        viewer.add_image(np.zeros((4, 4, 4)), name=name, metadata={NAMESPACE: ours})
    assert [layer.name for layer in offered(viewer)] == ["above", "below"]
