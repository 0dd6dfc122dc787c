"""Netwright: from data to a trained, diagnosed, explained and served classic neural network.

    import netwright as nw
    data = nw.read("digits")
    run = nw.train(data, "convnet", epochs=5)
    run.test["accuracy"], run.predict(data.source.examples.take([0]))

Names are resolved on first use: importing this package loads no torch, numpy or pandas.
"""

__version__ = "0.1.0"

_HOMES = {
    "read": "netwright.data.read",
    "network": "netwright.api",
    "anatomy": "netwright.api",
    "diagram": "netwright.api",
    "explain": "netwright.api",
    "graph": "netwright.api",
    "steps": "netwright.api",
    "trace": "netwright.measures.trace",
    "diagnose": "netwright.clinic.visits",
    "prove": "netwright.clinic.visits",
    "examine": "netwright.doctor.consult",
    "watch": "netwright.doctor.watch",
    "train": "netwright.start",
    "resume": "netwright.start",
    "rerun": "netwright.repeat",
    "open": "netwright.run",
    "evaluate": "netwright.run",
    "compare": "netwright.run",
    "Run": "netwright.run",
    "Recipe": "netwright.recipe",
    "Terms": "netwright.training.objective",
    "NetwrightError": "netwright.errors",
    "UsageError": "netwright.errors",
    "DataError": "netwright.errors",
    "RunError": "netwright.errors",
}
_RENAMED = {"open": "open_run"}  # a module-level `open` would hide the builtin in that module

__all__ = [
    "DataError", "NetwrightError", "Recipe", "Run", "RunError", "Terms", "UsageError", "__version__", "anatomy",
    "compare", "diagnose", "diagram", "evaluate", "examine", "explain", "graph", "network", "open", "prove", "read",
    "rerun", "resume", "steps", "trace", "train", "watch",
]  # fmt: skip

TYPE_CHECKING = False  # type checkers know the name; importing `typing` for it would take most of the import time
if TYPE_CHECKING:
    from netwright.api import anatomy, diagram, explain, graph, network, steps
    from netwright.clinic.visits import diagnose, prove
    from netwright.data.read import read
    from netwright.doctor.consult import examine
    from netwright.doctor.watch import watch
    from netwright.errors import DataError, NetwrightError, RunError, UsageError
    from netwright.measures.trace import trace
    from netwright.recipe import Recipe
    from netwright.repeat import rerun
    from netwright.run import Run, compare, evaluate
    from netwright.run import open_run as open
    from netwright.start import resume, train
    from netwright.training.objective import Terms


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
