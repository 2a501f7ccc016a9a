"""Settings shared by all tests: examples of hypothesis may take as long as a busy machine needs.

The examples are the same in every run, so that a failure comes from a change; `--hypothesis-profile=search` looks for
new ones.

No test downloads anything, and none reads or writes what the user has fetched.
"""

import pytest
from hypothesis import settings

settings.register_profile("voxelsmith", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("voxelsmith")


@pytest.fixture(scope="session", autouse=True)
def empty_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXELSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("VOXELSMITH_OFFLINE", "1")
        patch.setenv("VOXELSMITH_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("VOXELSMITH_WEIGHTS", raising=False)
        yield
