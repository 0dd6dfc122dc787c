"""Every global name a function reads exists in its module.

The linters cannot say so: the names of axes (`Float[Tensor, "batch classes"]`) look like unknown names to them.
"""

import builtins
import dis
import importlib
import pkgutil
from collections.abc import Iterator
from types import CodeType, ModuleType

import netwright

MODULES = sorted(found.name for found in pkgutil.walk_packages(netwright.__path__, "netwright."))


def unknown(module: ModuleType) -> set[str]:
    """Names that the code of a module reads and that neither it nor Python has."""
    source = module.__loader__.get_code(module.__name__)  # type: ignore[union-attr]
    return {name for name in read_names(source) if name not in vars(module) and not hasattr(builtins, name)}


def read_names(code: CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from read_names(constant)


def test_every_name_is_known() -> None:
    modules = [importlib.import_module(name) for name in MODULES if not name.endswith("__main__")]
    assert not {module.__name__: found for module in modules if (found := unknown(module))}


def test_names_of_inner_functions_are_read() -> None:
    code = compile("def f():\n    return [len(nowhere) for _ in range(2)], lambda: beyond", "sketch", "exec")
    assert set(read_names(code)) == {"len", "nowhere", "range", "beyond"}
