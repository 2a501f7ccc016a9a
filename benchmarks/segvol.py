"""How long SegVol takes on this machine and how much memory, against the matrix products that it cannot do without.

    python benchmarks/segvol.py [--threads N] [--rounds 3] [--precision auto] [--device auto]

Speed does not depend on what the weights are, so random ones of the published size are written to a temporary folder
and loaded as the published ones are. "Products" are those of the image encoder alone, with nothing between them: once
as torch does them by itself, and once as this package has them done. Times are the shortest of the rounds. Peak memory
is that of the process above what it held after importing: with the text tower never loaded, and with one word encoded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from voxelsmith.core.progress import run_job
from voxelsmith.models import dense
from voxelsmith.models.segvol import Architecture, SegVolNet
from voxelsmith.segment.segvol.network import ViewPrompts, load_network
from voxelsmith.segment.segvol.tokeniser import END, START

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def peak_mib() -> float:
    """Peak resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_weights(folder: Path) -> None:
    """Random weights of the published size, with a vocabulary of single letters, where the zoo looks for them."""
    folder.mkdir(parents=True)
    torch.save(
        {f"model.{name}": weight for name, weight in SegVolNet().state_dict().items()}, folder / "pytorch_model.bin"
    )
    letters = [chr(code) + end for code in range(97, 123) for end in ("", "</w>")] + [".</w>"]
    numbers = {piece: number for number, piece in enumerate(letters)} | {START: 49406, END: 49407}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def shortest(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of some rounds, the first of which warms up."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def products(multiply: Product, place: str, dtype: torch.dtype, rounds: int) -> float:
    """Seconds for all matrix products of the image encoder; ``multiply`` takes (rows, n) and (m, n)."""
    a = Architecture()

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=place, dtype=dtype)

    voxels = a.patch[0] * a.patch[1] * a.patch[2]
    layers = {(a.width, voxels): 1}
    for shape in ((3 * a.width, a.width), (a.width, a.width), (a.hidden, a.width), (a.width, a.hidden)):
        layers[shape] = a.depth
    head = a.width // a.heads
    pairs = [(made(a.tokens, n), made(m, n), times) for (m, n), times in layers.items()]
    heads = a.depth * a.heads
    pairs += [(made(a.tokens, n), made(m, n), heads) for m, n in ((a.tokens, head), (head, a.tokens))]
    with torch.inference_mode():
        return sum(times * shortest(lambda x=x, w=w: multiply(x, w), rounds) for x, w, times in pairs)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--write", type=Path, help="write random weights into this folder, and nothing else")
    arguments = parser.parse_args()
    if arguments.write:
        write_weights(arguments.write)
        return
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--write", f"{folder}/segvol"], check=True)
        os.environ |= {"VOXELSMITH_WEIGHTS": folder, "VOXELSMITH_CACHE": f"{folder}/cache"}
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Print the rows."""
    before, rounds = peak_mib(), arguments.rounds
    started = time.perf_counter()
    network = load_network(arguments.device, arguments.precision)
    loading = time.perf_counter() - started
    view = np.random.default_rng(0).random(Architecture().view, dtype=np.float32)
    embedding = run_job(network.encode(view))
    points = np.array([[14, 120, 140], [10, 60, 60]], np.float32)
    prompts = ViewPrompts(points, np.array([1, 0]), np.array([4, 50, 50, 20, 200, 200], np.float32))
    network.decode(embedding, prompts)
    peak = peak_mib() - before
    encoding = shortest(lambda: run_job(network.encode(view)), rounds)
    decoding = shortest(lambda: network.decode(embedding, prompts), rounds)
    started = time.perf_counter()
    network.text("liver")
    reading = time.perf_counter() - started
    with_word = peak_mib() - before
    place = embedding.device.type
    half = {"cuda": torch.float16}.get(place, torch.float32) if arguments.precision == "auto" else None
    dtype = half or getattr(torch, arguments.precision)
    by_torch = products(lambda x, w: x @ w.t(), place, dtype, rounds)
    ours = products(dense.linear, place, dtype, rounds)
    rows = {
        "image encoder, s": f"{encoding:.3f}",
        "its products as torch does them, s": f"{by_torch:.3f}",
        "its products as this package does them, s": f"{ours:.3f}",
        "image encoder / products of torch": f"{encoding / by_torch:.2f}",
        "image encoder / products of this package": f"{encoding / ours:.2f}",
        "decoder, with the logits at full size, s": f"{decoding:.3f}",
        "loading the weights, s": f"{loading:.2f}",
        "a new word, s": f"{reading:.2f}",
        "peak memory, text tower not loaded, MiB": f"{peak:.0f}",
        "peak memory, a new word included, MiB": f"{with_word:.0f}",
    }
    print(f"| {place}, {dtype}, {torch.get_num_threads()} threads | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    if place == "cuda":
        print(f"| peak memory of the device, MiB | {torch.cuda.max_memory_allocated() / 2**20:.0f} |")


if __name__ == "__main__":
    main()
