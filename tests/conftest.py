"""Settings shared by all tests: examples of hypothesis may take as long as a busy machine needs."""

from hypothesis import settings

settings.register_profile("voxelsmith", deadline=None)
settings.load_profile("voxelsmith")
