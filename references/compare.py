"""Published layouts load, and give the same numbers: our networks beside torchvision's and timm's model code.

Each reference is built without weights of its own; its weights and batch-norm statistics are made random (at default
initialisation several networks put out numbers near 1e-9, where anything agrees with anything), saved as safetensors,
and read by `network.weights`. Both then answer the same random pictures in evaluation mode; the largest difference,
relative to the largest output, must not exceed 1e-5. Only model code is used: nothing is downloaded.

    python -m references.compare [NAME ...]
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-5
CLASSES = 1000
PICTURES = 2


@dataclass(frozen=True)
class Case:
    """One of our networks and a reference for it: a library, its name there, the side of the pictures, settings."""

    network: str
    library: str
    name: str
    side: int
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of our network."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of the reference."""


FULL = {"stem": "full"}
PLAIN_V3 = {"norm": "batchnorm(eps=0.00001)"}
BARE = {"aux_logits": False, "init_weights": False}
CASES = (
    Case("alexnet", "torchvision", "alexnet", 64, FULL),
    Case("vgg16", "torchvision", "vgg16", 64, FULL),
    Case("vgg16", "timm", "vgg16", 224),
    Case("vgg16_bn", "torchvision", "vgg16_bn", 64, FULL),
    Case("vgg16_bn", "timm", "vgg16_bn", 224),
    Case("googlenet_bn", "torchvision", "googlenet", 64, FULL, BARE),
    Case("inception_v3", "torchvision", "inception_v3", 75, FULL, BARE),
    Case("inception_v3", "timm", "inception_v3", 75, FULL),
    Case("inception_v4", "timm", "inception_v4", 75, FULL),
    Case("inception_resnet_v2", "timm", "inception_resnet_v2", 75, FULL),
    Case("resnet18", "torchvision", "resnet18", 64, FULL),
    Case("resnet18", "timm", "resnet18", 64, FULL),
    Case("resnet50", "torchvision", "resnet50", 64, FULL),
    Case("resnet50", "timm", "resnet50", 64, FULL),
    Case("preact_resnet50", "timm", "resnetv2_50", 64, FULL),
    Case("mobilenet_v1", "timm", "mobilenetv1_100", 64, FULL),
    Case("mobilenet_v2", "torchvision", "mobilenet_v2", 64, FULL),
    Case("mobilenet_v2", "timm", "mobilenetv2_100", 64, FULL),
    Case("mobilenet_v3_large", "torchvision", "mobilenet_v3_large", 64, FULL),
    Case("mobilenet_v3_large", "timm", "mobilenetv3_large_100", 64, {**FULL, **PLAIN_V3}),
    Case("mobilenet_v3_small", "torchvision", "mobilenet_v3_small", 64, FULL),
    Case("mobilenet_v3_small", "timm", "mobilenetv3_small_100", 64, {**FULL, **PLAIN_V3}),
    Case("nasnet_large", "timm", "nasnetalarge", 96, FULL),
)


def libraries() -> dict[str, Callable[..., nn.Module]]:
    """Builders by library. torchvision's compiled operators are stubbed where they do not load: no classifier here
    uses one."""
    register = torch.library.register_fake

    def tolerant(name: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(name, str) and name.startswith("torchvision::"):
            return lambda function: function
        return register(name, *rest, **more)

    torch.library.register_fake = tolerant  # type: ignore[assignment]
    try:
        import timm
        from torchvision import models
    finally:
        torch.library.register_fake = register
    return {
        "torchvision": lambda name, **options: getattr(models, name)(weights=None, **options),
        "timm": lambda name, **options: timm.create_model(name, pretrained=False, num_classes=CLASSES, **options),
    }


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that keep the size of signals, and batch-norm statistics that matter."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=draw)
        elif tensor.dim() > 1:
            tensor.normal_(0, math.sqrt(2 / tensor[0].numel()), generator=draw)
        elif name.endswith("weight"):
            tensor.uniform_(0.5, 1.5, generator=draw)
        else:
            tensor.normal_(0, 0.2, generator=draw)
    return model.eval()


@torch.inference_mode()
def difference(ours: nn.Module, theirs: nn.Module, side: int) -> float:
    """The largest difference between the outputs for random pictures, relative to the largest output."""
    pictures = torch.randn(PICTURES, 3, side, side, generator=torch.Generator().manual_seed(1))
    found, expected = scores(ours.eval()(pictures)), scores(theirs.eval()(pictures))
    return float((found - expected).abs().max() / expected.abs().max())


def scores(outputs: Any) -> Tensor:
    """The scores of the main head."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def compare(case: Case, builders: dict[str, Callable[..., nn.Module]], folder: Path) -> dict[str, Any]:
    """One row of the table."""
    from safetensors.torch import save_file

    from netwright.api import network

    theirs = randomise(builders[case.library](case.name, **case.options))
    file = folder / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, file)
    shape = (3, case.side, case.side)
    ours = network(case.network, inputs=shape, outputs=CLASSES, weights=str(file), **case.settings)
    parameters = [sum(weight.numel() for weight in model.parameters()) for model in (ours, theirs)]
    largest = difference(ours, theirs, case.side)
    return {
        "network": case.network, "reference": f"{case.library} {case.name}", "side": case.side,
        "parameters": parameters[0], "keys": len(theirs.state_dict()), "loaded": ours.published.tensors,
        "difference": largest, "passes": largest <= TOLERANCE and parameters[0] == parameters[1],
    }  # fmt: skip


def main(names: list[str]) -> int:
    """Print the table; 1 where a row fails."""
    builders = libraries()
    wanted = [case for case in CASES if not names or case.network in names]
    print(f"{'network':<22}{'reference':<34}{'side':>5}{'parameters':>13}{'keys':>6}{'difference':>12}  {'passes'}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in wanted:
            started = time.monotonic()
            label = f"{case.network:<22}{case.library + ' ' + case.name:<34}{case.side:>5}"
            try:
                row = compare(case, builders, Path(folder))
            except (ValueError, RuntimeError) as error:
                failed += 1
                print(f"{label}  FAILED: {error}", flush=True)
                continue
            failed += not row["passes"]
            numbers = f"{row['parameters']:>13,}{row['keys']:>6}{row['difference']:>12.1e}"
            took = time.monotonic() - started
            print(f"{label}{numbers}  {'yes' if row['passes'] else 'NO'}  {took:.1f} s", flush=True)
    print(f"{len(wanted) - failed} of {len(wanted)} agree to {TOLERANCE:g}")
    return int(failed > 0 or not wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
