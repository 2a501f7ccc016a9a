"""What the plugin adds to opening napari.

    tools/with_display.sh python benchmarks/startup.py [--times 5]

Each run is a fresh process that imports napari and opens a viewer, once as installed and once with the plugin's
manifest hidden from npe2 (its entry point is filtered out of the installed distributions, as if it were not installed).
The two take turns, so that a change of the machine's load meets both. Below the table are the heavy libraries that were
loaded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PLUGIN = "napari-voxelsmith"
HEAVY = (
    "dask",
    "monai",
    "nibabel",
    "ome_zarr",
    "pydicom",
    "scipy",
    "SimpleITK",
    "skimage",
    "tifffile",
    "torch",
    "zarr",
)

HIDE = f"""
from importlib import metadata
everything = metadata.distributions
metadata.distributions = lambda **k: (d for d in everything(**k) if d.metadata["Name"] != {PLUGIN!r})
"""

OPEN = f"""
import json, sys, time
began = time.perf_counter()
import napari
imported = time.perf_counter()
viewer = napari.Viewer()
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
opened = time.perf_counter()
from npe2 import PluginManager
print(json.dumps({{
    "import": imported - began,
    "viewer": opened - imported,
    "cpu": time.process_time(),
    "known": {PLUGIN!r} in [m.name for m in PluginManager.instance().iter_manifests()],
    "modules": [m for m in {HEAVY!r} if m in sys.modules] + [m for m in sys.modules if m.startswith("voxelsmith")],
}}))
viewer.close()
"""


def run(script: str) -> dict:
    """What one process reports."""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    scripts = {"without the plugin": HIDE + OPEN, "with the plugin": OPEN}
    for script in scripts.values():
        run(script)
    runs: dict[str, list[dict]] = {name: [] for name in scripts}
    for _ in range(times):
        for name, script in scripts.items():
            runs[name].append(run(script))
    print(
        f"| median of {times} | npe2 knows it | import napari, s | open a viewer, s | together, s | processor time, s |"
    )
    print("|---|---|---|---|---|---|")
    totals, cpu = {}, {}
    for name, results in runs.items():
        first, second = (statistics.median(r[key] for r in results) for key in ("import", "viewer"))
        totals[name] = statistics.median(r["import"] + r["viewer"] for r in results)
        cpu[name] = statistics.median(r["cpu"] for r in results)
        known = "yes" if all(r["known"] for r in results) else "no"
        print(f"| {name} | {known} | {first:.2f} | {second:.2f} | {totals[name]:.2f} | {cpu[name]:.2f} |")
    added, added_cpu = (d["with the plugin"] - d["without the plugin"] for d in (totals, cpu))
    print(f"| added |  |  |  | {added:+.2f} | {added_cpu:+.2f} |")
    modules = [set().union(*(r["modules"] for r in results)) for results in runs.values()]
    print(f"\nLoaded by both: {', '.join(sorted(modules[0] & modules[1])) or 'none'}")
    print(f"Only with the plugin: {', '.join(sorted(modules[1] - modules[0])) or 'none'}")


if __name__ == "__main__":
    main()
