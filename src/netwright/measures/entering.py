"""What enters a network: the embeddings of its tokens, or the numbers themselves, held so that gradients reach them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from netwright.parts.sequences import Sequences


def values_of(inputs: Any) -> Tensor:
    """The tensor of a batch: token numbers or numbers."""
    return inputs.values if isinstance(inputs, Sequences) else inputs


def as_steps(values: Tensor) -> Tensor:
    """(batch, steps, features): a picture is read row by row, its channels side by side."""
    return values.transpose(1, 2).flatten(2) if values.dim() == 4 else values


@contextmanager
def entering(model: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the block `change` gets what the first table of embeddings to run gives out, and the network goes on with
    what it returns. Later tables, such as a decoder's, stay as they are."""
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    met: list[nn.Module] = []

    def swap(table: nn.Module, _given: Any, came: Tensor) -> Tensor | None:
        if met:
            return None
        met.append(table)
        return change(came)

    hooks = [table.register_forward_hook(swap) for table in tables]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def run_on(model: Any, inputs: Any, entered: Tensor, run: Callable[[Any], Any]) -> Any:
    """`run` on these inputs, with `entered` in place of their embeddings, or of their numbers."""
    if values_of(inputs).is_floating_point():
        return run(Sequences(entered, inputs.lengths) if isinstance(inputs, Sequences) else entered)
    with entering(model, lambda _: entered):
        return run(inputs)


def entered_by(model: nn.Module, inputs: Any, run: Callable[[Any], Any]) -> Tensor:
    """What enters the network for these inputs: (batch, steps, size), without a gradient."""
    values = values_of(inputs)
    if values.is_floating_point():
        return values.detach().clone()
    found: list[Tensor] = []

    def keep(came: Tensor) -> Tensor:
        found.append(came.detach().clone())
        return came

    with entering(model, keep):
        run(inputs)
    return found[0]
