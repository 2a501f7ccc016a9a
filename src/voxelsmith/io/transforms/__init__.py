"""Transforms in files: displacement fields and affine maps as other programs write and read them."""

from voxelsmith.io.transforms.registry import read_transform, write_transform

__all__ = ["read_transform", "write_transform"]
