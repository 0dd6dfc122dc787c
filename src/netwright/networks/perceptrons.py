"""One neuron, softmax regression, the multi-layer perceptron: all read an image or a sequence as one vector."""

from collections import OrderedDict
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.shapes import Ends, binary, features_of, units
from netwright.parts.activations import activation as fresh
from netwright.parts.initializers import initialise
from netwright.parts.norms import norm as fresh_norm

ANY = ("image", "vector", "sequence")


@NETWORKS.add(
    source="Rosenblatt 1958, Psychological Review 65",
    inputs=ANY,
    loss="perceptron",
    optimizer="sgd",
    classes=2,
    year=1958,
    stage="beginnings",
    traps=(
        "Labels 0 and 1 want the rule with (t - y); with -1 and 1 it is t.",
        "It never ends on data that no line parts.",
    ),
)
def perceptron(inputs: Ends, outputs: Ends, *, init: str = "constant") -> nn.Module:
    """One neuron that learns by Rosenblatt's rule: after each mistake it moves towards the example.

    Formula: y = step(w x + b); for a wrong example with t in {-1, 1}: w <- w + lr t x, b <- b + lr t

    Separable data of radius R and margin g cost at most (R/g)^2 mistakes (Novikoff 1962); XOR is never learnt. Two
    classes only; a score above 0 is class 1. Weights start at 0.
    """
    binary("perceptron", outputs, "softmax")
    neuron = Perceptron(features_of(inputs))
    initialise(neuron, init, "identity")
    return neuron


@NETWORKS.add(
    source="Cox 1958, J. Royal Stat. Soc. B 20",
    inputs=ANY,
    loss="bce_with_logits",
    classes=2,
    year=1958,
    stage="beginnings",
)
def logistic(inputs: Ends, outputs: Ends, *, init: str = "torch") -> nn.Module:
    """Logistic regression: one neuron whose sigmoid is the probability of the second class.

    Formula: P(class 1) = sigmoid(w x + b); the network returns w x + b, the loss applies the sigmoid
    """
    binary("logistic", outputs, "softmax")
    neuron = nn.Sequential(OrderedDict(flatten=nn.Flatten(), out=nn.Linear(features_of(inputs), 1)))
    initialise(neuron, init, "sigmoid")
    return neuron


@NETWORKS.add(
    source="Bridle 1990; multinomial logit: McFadden 1974",
    inputs=ANY,
    loss="cross_entropy",
    year=1974,
    stage="beginnings",
    traps=("Without a penalty the weights are not unique: adding one vector to all rows changes nothing.",),
)
def softmax(inputs: Ends, outputs: Ends, *, form: Literal["k", "reference"] = "k", init: str = "torch") -> nn.Module:
    """Softmax regression: one linear layer, a score for each class.

    Formula: p_k = exp(z_k) / sum_c exp(z_c), z = W x + b; `reference` fixes the last class's score at 0

    With K scores the weights are not unique (a constant added to every score changes nothing); `reference` has K - 1
    rows and unique weights. The network returns the scores z.
    """
    if outputs.get("kind") != "class":
        text = say("network {name!r} tells classes apart; the data asks for numbers.", name="softmax")
        raise UsageError(text + " " + say("Use network {other!r}.", other="mlp"))
    count = units(outputs)
    if form == "reference" and count < 2:
        raise UsageError(
            say(
                "network 'softmax': form = 'reference' needs 2 output units or more; the loss wants {count}.",
                count=count,
            )
        )
    linear = nn.Linear(features_of(inputs), count - (form == "reference"))
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(), out=linear)
    if form == "reference":
        layers["reference"] = ReferenceClass()
    net = nn.Sequential(layers)
    initialise(net, init, "identity")
    return net


@NETWORKS.add(
    source="Rumelhart, Hinton, Williams 1986, Nature 323",
    inputs=ANY,
    year=1986,
    stage="beginnings",
    parents=("perceptron",),
)
def mlp(
    inputs: Ends,
    outputs: Ends,
    *,
    hidden: list[int] = [256],  # noqa: B006  read only; the signature is the schema
    activation: str = "relu",
    norm: str = "none",
    dropout: Annotated[float, Range(0, 0.999)] = 0.0,
    init: str = "auto",
) -> nn.Module:
    """Multi-layer perceptron: fully connected layers with an activation between them.

    Formula: h = f(W1 x + b1), y = W2 h + b2, with one h for each entry of `hidden`; parameters sum (in + 1) * out

    `init = "auto"` suits the activation (He for ReLU, Glorot for tanh and sigmoid, which the last layer takes too) with
    biases 0; `torch` keeps PyTorch's own. `hidden = []` is linear regression.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = features_of(inputs)
    for place, size in enumerate(_sizes(hidden), 1):
        block: list[nn.Module] = [nn.Linear(width, size)]
        if norm != "none":
            block.append(fresh_norm(norm, (size,), "network.norm"))
        block.append(fresh(activation, "network.activation"))
        if dropout:
            block.append(nn.Dropout(dropout))
        layers[f"hidden{place}"] = nn.Sequential(*block)
        initialise(layers[f"hidden{place}"], init, activation)
        width = size
    layers["out"] = nn.Linear(width, units(outputs))
    initialise(layers["out"], "glorot_uniform" if init == "auto" else init)
    return nn.Sequential(layers)


def _sizes(hidden: Any) -> list[int]:
    wrong = [size for size in hidden if type(size) is not int or not 1 <= size <= 1_000_000]
    if wrong or len(hidden) > 10_000:
        shown = wrong[0] if wrong else say("{count} layers", count=len(hidden))
        raise UsageError(say("network 'mlp': hidden has {shown}; each layer has 1 to 1000000 units", shown=shown))
    return list(hidden)


class ReferenceClass(nn.Module):
    """Appends the score 0 of the reference class, the last one."""

    def forward(self, scores: Float[Tensor, "batch rest"]) -> Float[Tensor, "batch classes"]:
        return F.pad(scores, (0, 1))


class Perceptron(nn.Module):
    """One neuron; `update` is its own training step."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.out = nn.Linear(features, 1)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch one"]:
        scores: Tensor = self.out(self.flatten(x))
        return scores

    @torch.no_grad()
    def update(self, state: Any, batch: Any) -> Float[Tensor, "batch"]:
        """Rosenblatt's rule over a batch, one example after the other, so that the batch size changes nothing.

        `state.optimizers` gives the learning rate; `batch` has `inputs`, `targets` (0 or 1) and `weights` (or None).
        Returns max(0, -t z) of each example as it was met. Errors: UsageError unless the optimizer is plain SGD.
        """
        rate = _rate(state.optimizers)
        weight, bias = self.out.weight[0], self.out.bias
        examples = self.flatten(batch.inputs).to(weight.dtype)
        signs = (2 * batch.targets - 1).tolist()
        counts = [1.0] * len(signs) if batch.weights is None else batch.weights.tolist()
        losses = []
        with torch.autocast(weight.device.type, enabled=False):
            for x, sign, count in zip(examples, signs, counts, strict=True):
                margin = sign * float(weight @ x + bias)
                losses.append(max(0.0, -margin))
                if margin <= 0 and count:
                    weight.add_(x, alpha=rate * sign * count)
                    bias.add_(rate * sign * count)
        return torch.tensor(losses, dtype=weight.dtype, device=weight.device)


def _rate(optimizers: Any) -> float:
    """The learning rate of a plain SGD; anything else would be ignored by the rule, so it is refused."""
    for optimizer in optimizers.values():
        group = optimizer.param_groups[0]
        if isinstance(optimizer, torch.optim.SGD) and not group["momentum"] and not group["weight_decay"]:
            return float(group["lr"])
    text = say("network 'perceptron' learns by Rosenblatt's rule, which knows a learning rate and nothing else.")
    raise UsageError(
        text + " " + say("Use optimizer {other!r}, or network {network!r}.", other="sgd", network="logistic")
    )


def decision(scores: Float[Tensor, "batch one"]) -> Int[Tensor, "batch"]:
    """The class a single neuron decides for: 1 where its score is above 0."""
    return (scores[:, 0] > 0).long()
