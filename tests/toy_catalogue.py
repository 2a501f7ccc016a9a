"""A catalogue of one network that a server on this machine gives away, and a cache in a temporary folder."""

from hashlib import sha256
from random import Random
from types import SimpleNamespace

from voxelsmith.weights import cache, catalogue, store, zoo

MIB = 2**20
LICENCE = "Unclear: the page names none."


def build_catalogue(folder, monkeypatch, server):
    """Let the package find this catalogue and this cache.

    Returns the server, the content of the two files, the folder of the cache, and a function that writes the catalogue
    anew; ``None`` leaves a field of the network's file out.
    """
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", zoo.OFFLINE, store.LOCAL_FOLDER):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.setenv(cache.CACHE, str(folder / "cache"))
    monkeypatch.setattr(catalogue, "CATALOGUE", folder / "zoo.toml")
    network, words = Random(1).randbytes(MIB), b"a b c\n" * 10
    server.files = {"/net.bin": network, "/words.txt": words}

    def write(**changes):
        first = {"name": "net.bin", "url": f"{server.url}/net.bin", "about": MIB} | changes
        fields = "\n".join(f"{key} = {value!r}" for key, value in first.items() if value is not None)
        catalogue.CATALOGUE.write_text(
            f"""
[[weights]]
name = "giant"
title = "Giant network"
licence = "{LICENCE}"
source = "{server.url}/page"
citation = "None."
good_at = "Nothing."
trained_on = "Noise."
modalities = ["CT"]
[[weights.files]]
{fields}
[[weights.files]]
name = "words.txt"
url = "{server.url}/words.txt"
bytes = {len(words)}
sha256 = "{sha256(words).hexdigest()}"
""",
            encoding="utf-8",
        )

    write()
    place = folder / "cache" / "weights" / "giant"
    return SimpleNamespace(server=server, network=network, words=words, place=place, write=write)
