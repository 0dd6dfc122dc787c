"""An activation's module from its name with settings."""

from torch import nn

from netwright.catalogue import ACTIVATIONS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.notation import read_call, settings_from


def activation(spec: str, where: str = "activation") -> nn.Module:
    """A fresh module from a name with settings, such as `relu` or `leaky_relu(slope=0.1)`.

    Errors: UsageError for an unknown name or setting, and for one that changes the number of channels (maxout): layers
    that count on as many outputs as inputs could not follow it.
    """
    call = read_call(spec, where)
    part = ACTIVATIONS[call.name]
    if part.facts.get("acts_on") == "groups of channels":
        text = say("{where}: {name} gives fewer channels than it gets, so the layers behind it would not fit.",
                   where=where, name=call.name)  # fmt: skip
        raise UsageError(text + " " + say("It has its place in a stack: network=stack."))
    module: nn.Module = part(**settings_from(call, part.settings, f"{where} {call.name!r}"))
    return module
