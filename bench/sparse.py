"""Why Inception is made of dense pieces: the same multiply-adds dense, sparse and in dense blocks, timed.

    python -m bench.sparse [--size 1024] [--columns 256] [--blocks 4,16,64] [--rounds 9] [--threads N] [--json]

One matrix product Y = W X for each share 1/b of connections kept:

- `dense`: W whole, zeros and all: size * size * columns multiply-adds.
- `sparse`: the kept weights at random places (CSR): 1/b of the multiply-adds.
- `blocks`: as many weights, but in b dense blocks along the diagonal: 1/b of the multiply-adds, too.

GoogLeNet's paper (Szegedy et al. 2015, section 3) argues from this: a sparse structure saves arithmetic but not time on
hardware built for dense products, so it is approximated by dense pieces. Rounds are interleaved; figures are medians.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor


def measured(size: int, columns: int, blocks: int, rounds: int) -> dict[str, Any]:
    """Seconds of the three ways at a share of 1/blocks, and whether each gives the numbers of its dense matrix."""
    random = torch.Generator().manual_seed(0)
    x, whole = torch.randn(size, columns, generator=random), torch.randn(size, size, generator=random)
    kept = torch.rand(size, size, generator=random) < 1 / blocks
    pieces = torch.randn(blocks, size // blocks, size // blocks, generator=random)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says that its CSR support is in beta
        csr = (whole * kept).to_sparse_csr()
    split = x.view(blocks, size // blocks, columns)
    ways: dict[str, Callable[[], Tensor]] = {
        "dense": lambda: whole @ x,
        "sparse": lambda: csr @ x,
        "blocks": lambda: (pieces @ split).view(size, columns),
    }
    truth = {"dense": whole, "sparse": whole * kept, "blocks": torch.block_diag(*pieces)}
    right = {name: bool(torch.allclose(way(), truth[name] @ x, atol=1e-3)) for name, way in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    macs = {
        "dense": size * size * columns,
        "sparse": int(kept.sum()) * columns,
        "blocks": size * size // blocks * columns,
    }
    found = {
        name: {"seconds": median(times), "low": min(times), "high": max(times), "macs": macs[name],
               "macs_per_second": macs[name] / median(times), "right": right[name]}
        for name, times in taken.items()
    }  # fmt: skip
    return {"share": 1 / blocks, "blocks": blocks, "ways": found}


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    lines = [
        f"{found['size']}x{found['size']} times {found['size']}x{found['columns']}, float32; n = {found['n']} rounds; "
        f"{found['threads']} threads, torch {found['torch']}, {found['system']}.",
        "",
        "| share kept | way | multiply-adds | milliseconds, median | lowest to highest | multiply-adds a second |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        for name, one in row["ways"].items():
            times = f"{1e3 * one['seconds']:.2f} | {1e3 * one['low']:.2f} to {1e3 * one['high']:.2f}"
            rate = f"{one['macs_per_second'] / 1e9:.1f} G"
            lines.append(f"| {row['share']:.3f} | {name} | {one['macs']:,} | {times} | {rate} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--blocks", default="4,16,64")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    counts = [int(word) for word in given.blocks.split(",")]
    if any(given.size % count for count in counts):
        parser.error(f"--blocks {given.blocks} do not divide --size {given.size}")
    if given.threads:
        torch.set_num_threads(given.threads)
    found = {
        "size": given.size, "columns": given.columns, "n": given.rounds, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "system": f"{platform.system()} {platform.machine()}",
        "rows": [measured(given.size, given.columns, count, given.rounds) for count in counts],
    }  # fmt: skip
    print(json.dumps(found) if given.json else table(found))


if __name__ == "__main__":
    main()
