"""Linear layers as convolutions and back: a classifier slides over larger pictures and gives a map of scores (S-176).

A linear layer behind maps of h x w pixels is a convolution whose window is h x w; a linear layer behind that is a 1x1
convolution. The weights are the same numbers in another shape, so outputs on the training size stay the same.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.blocks import GlobalMean
from netwright.networks.shapes import Shape


def to_fully_convolutional(model: nn.Module, shape: Shape) -> nn.Module:
    """A copy of `model` without flattening: (out, 1, 1) on pictures of `shape`, a map of scores on larger ones.

    Formula: linear behind maps of C x h x w: W (out, C h w) becomes a kernel (out, C, h, w); linear behind that: 1x1

    Flatten layers go, pooling of the whole map becomes a window of that size with stride 1, batch norm of vectors one
    of maps. The copy is run on one picture and compared with the original. Errors: UsageError where a layer has no such
    form, or the network flattens in its own `forward`.
    """
    made = copy.deepcopy(model).eval()
    entered = _shapes(made, shape, "to_fully_convolutional")
    spatial: Shape | None = None
    gone: set[str] = set()
    for name, came in entered.items():
        if name.rpartition(".")[0] in gone:
            continue
        module = made.get_submodule(name)
        if isinstance(module, nn.Flatten) and len(came) == 3:
            spatial = came
            _replace(made, name, nn.Identity())
        elif isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, GlobalMean)):
            _replace(made, name, _sliding_pool(module, came))
            gone.add(name)
        elif isinstance(module, nn.Linear) and len(came) == 1:
            _replace(made, name, _as_convolution(module, spatial or (came[0], 1, 1)))
            spatial = None
        elif isinstance(module, nn.BatchNorm1d) and len(came) == 1:
            _replace(made, name, _batchnorm2d(module, spatial or (came[0], 1, 1)))
    return _verified(model, made, shape, lambda answer: answer.flatten(1))


def to_fully_connected(model: nn.Module, shape: Shape) -> nn.Module:
    """A copy of `model` whose convolutions that see the whole map are linear layers again; the way back.

    Formula: a kernel (out, C, h, w) on maps of C x h x w becomes W (out, C h w)
    """
    made = copy.deepcopy(model).eval()
    for name, came in _shapes(made, shape, "to_fully_connected").items():
        module = made.get_submodule(name) if name else made
        if isinstance(module, nn.Conv2d) and len(came) == 3 and module.kernel_size == came[1:] and module.groups == 1:
            linear = nn.Linear(module.weight[0].numel(), module.out_channels, module.bias is not None)
            _fill(linear, module, module.weight.flatten(1))
            row = nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (module.out_channels, 1, 1)))
            _replace(made, name, row.to(module.weight.device))
    return _verified(model, made, shape, lambda answer: answer)


def _shapes(model: nn.Module, shape: Shape, verb: str) -> dict[str, Shape]:
    """The shape of one example that enters each module, in the order of the run."""
    found: dict[str, Shape] = {}
    hooks = []
    for name, module in model.named_modules():

        def note(_: nn.Module, given: tuple[object, ...], name: str = name) -> None:
            if given and isinstance(given[0], Tensor):
                found.setdefault(name, tuple(given[0].shape[1:]))

        hooks.append(module.register_forward_pre_hook(note))
    try:
        with torch.no_grad():
            model(_example(model, shape))
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UsageError(
            say("{verb}: the network cannot take {shape}: {why}", verb=verb, shape=shape, why=reason)
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _example(model: nn.Module, shape: Shape) -> Tensor:
    """One picture of small numbers that differ, the same each time."""
    first = next(model.parameters(), torch.zeros(0))
    draw = torch.Generator().manual_seed(0)
    return torch.randn(1, *shape, generator=draw).to(first.device, first.dtype)


def _as_convolution(linear: nn.Linear, window: Shape) -> nn.Conv2d:
    channels, height, width = window
    made = nn.Conv2d(channels, linear.out_features, (height, width), bias=linear.bias is not None)
    _fill(made, linear, linear.weight.view(linear.out_features, channels, height, width))
    return made.to(linear.weight.device)


def _fill(made: nn.Module, source: nn.Module, weight: Tensor) -> None:
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if isinstance(source.bias, nn.Parameter):
        made.bias = nn.Parameter(source.bias.detach().clone(), requires_grad=source.bias.requires_grad)


def _sliding_pool(pool: nn.Module, came: Shape) -> nn.Module:
    """Adaptive pooling as a window of fixed size: the whole map at stride 1, or equal bins; nothing where it copies."""
    wanted = getattr(pool, "output_size", 1)
    bins = tuple(wanted) if isinstance(wanted, (tuple, list)) else (wanted, wanted)
    bins = tuple(n if m is None else m for m, n in zip(bins, came[1:], strict=True))
    if bins == came[1:]:
        return nn.Identity()
    if any(n % m for n, m in zip(came[1:], bins, strict=True)):
        text = say("to_fully_convolutional: pooling {size} into {bins} has unequal windows", size=came[1:], bins=bins)
        raise UsageError(text + "; " + say("no convolution slides like that."))
    kernel = tuple(n // m for n, m in zip(came[1:], bins, strict=True))
    stride = tuple(1 if m == 1 else k for m, k in zip(bins, kernel, strict=True))
    kind = nn.MaxPool2d if isinstance(pool, nn.AdaptiveMaxPool2d) else nn.AvgPool2d
    return kind((kernel[0], kernel[1]), (stride[0], stride[1]))


def _batchnorm2d(norm: nn.BatchNorm1d, maps: Shape) -> nn.Module:
    if maps[1:] != (1, 1):
        raise UsageError(say("to_fully_convolutional: a norm stands between flattened maps and their linear layer."))
    made = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made.load_state_dict(norm.state_dict())
    return made


def _parent(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.rpartition(".")[0])


def _replace(model: nn.Module, name: str, new: nn.Module) -> None:
    if not name:
        raise UsageError(say("to_fully_convolutional: the network is a single layer; put it into nn.Sequential."))
    setattr(_parent(model, name), name.rpartition(".")[2], new)


def _verified(model: nn.Module, made: nn.Module, shape: Shape, read: Callable[[Tensor], Tensor]) -> nn.Module:
    """`made`, in the mode of `model`, once both give the same on one picture."""
    mode = model.training
    model.eval()
    made.eval()
    try:
        with torch.no_grad():
            x = _example(model, shape)
            wanted, found = model(x), read(made(x))
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        text = say("the network has a step between its layers that takes vectors only: {why}", why=reason)
        raise UsageError(text) from None
    finally:
        model.train(mode)
    if found.shape != wanted.shape or not torch.allclose(
        found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max())
    ):
        raise UsageError(say("the network has a step between its layers that takes vectors only: its outputs differ."))
    return made.train(mode)
