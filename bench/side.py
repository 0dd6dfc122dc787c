"""The process of one side of one work: imports its framework, builds, warms up, and then runs steps as it is told.

python -m bench.side ORDER        # one line of JSON, see `bench.works.Order`; `whole` instead of rounds with --whole
"""

import importlib
import json
import os
import sys
import time

from bench.gate import Gate
from bench.works import Order

SIDES = {
    "limit": ("limit", "torch"),
    "limit-tuned": ("limit", "torch"),
    "netwright": ("own", "netwright"),
    "plain": ("plain", "torch"),
    "plain-2": ("plain", "torch"),
    "accelerate": ("plain", "accelerate"),
    "skorch": ("skorch_side", "skorch"),
    "lightning": ("lightning_side", "lightning"),
    "fastai": ("fastai_side", "fastai"),
    "keras-torch": ("keras_side", "keras"),
    "keras-jax": ("keras_side", "keras"),
    "keras-tensorflow": ("keras_side", "keras"),
    "compiled": ("plain", "torch"),
}
"""Each side's module in `bench.sides`, and the package that it is named after."""
FRAMEWORKS = (
    "netwright",
    "torch",
    "lightning",
    "skorch",
    "accelerate",
    "fastai",
    "keras",
    "jax",
    "tensorflow",
    "numpy",
)


def main() -> None:
    """Serve one order."""
    began = time.perf_counter()
    order = Order.parse(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to the log
    if order.side.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = order.side.removeprefix("keras-")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    module = importlib.import_module(f"bench.sides.{SIDES[order.side][0]}")
    if "--whole" in sys.argv:
        answers.write(json.dumps(module.whole(order)) + "\n")
        answers.flush()
        os._exit(0)
    gate = Gate(order.what.warmup, answers, sys.stdin)
    gate.tell(event="imported", seconds=time.perf_counter() - began, versions=versions())
    (module.train if order.what.trains else module.infer)(order, gate)


def versions() -> dict[str, str]:
    """The versions of the frameworks that this process has loaded."""
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in FRAMEWORKS}
    return {"python": sys.version.split()[0]} | {name: str(version) for name, version in found.items() if version}


if __name__ == "__main__":
    main()
