"""What runs between the layers of a stack: its shape, whether it is token numbers, and where it may end."""

from dataclasses import dataclass

from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.shapes import Ends, Shape, shape_of, units
from netwright.parts.notation import Item


@dataclass(frozen=True)
class Flow:
    """What runs from layer to layer: one example's shape, and whether its features end in a backward half.

    `tokens` is the size of the vocabulary as long as token numbers run; `uneven` says that steps differ in number.
    """

    shape: Shape
    two_way: bool = False
    tokens: int = 0
    uneven: bool = False

    @property
    def ragged(self) -> bool:
        """Whether there are steps that may be padding."""
        return self.uneven and len(self.shape) == 2


def entering(inputs: Ends) -> Flow:
    text = inputs["kind"] == "text"
    return Flow(shape_of(inputs), tokens=int(inputs["vocabulary"]) if text else 0,
                uneven=text or bool(inputs.get("variable")))  # fmt: skip


def check_end(item: Item, place: int, end: Flow, outputs: Ends) -> None:
    """The last layer gives one vector with as many numbers as the data needs, or for tags one at every step."""
    shape, wanted, kind = end.shape, units(outputs), outputs.get("kind")
    if kind == "text":
        text = say("a stack answers once or at every step; it writes no texts.")
        raise UsageError(text + " " + say("Use network {other!r}.", other="char_lm, seq2seq_attention, ctc"))
    steps = kind == "tags"
    if (shape in ((wanted,), (wanted, 1, 1)) and not steps) or (steps and len(shape) == 2 and shape[1] == wanted):
        return
    where = say("layer {place} {text!r}", place=place, text=item.text)
    if steps and len(shape) != 2:
        text = say("{where} gives {shape}; tags need {wanted} numbers at every step.",
                   where=where, shape=by(shape), wanted=wanted)  # fmt: skip
        raise UsageError(text + " " + say("Leave {names} out.", names="`last`, `mean`, `max`, `flatten`"))
    if len(shape) == 1 or steps:
        text = say(
            "{where} gives {count} numbers; the data needs {wanted}.", where=where, count=shape[-1], wanted=wanted
        )
        raise UsageError(text + " " + say("End with `linear out`."))
    text = say("{where} gives {shape}; the data needs {wanted} numbers.", where=where, shape=by(shape), wanted=wanted)
    ends = say("`globalpool` or `linear out`") if len(shape) == 3 else say("`last`, `mean` or `max`, then `linear out`")
    raise UsageError(text + " " + say("End with {ends}.", ends=ends))


def by(shape: Shape) -> str:
    return "x".join(map(str, shape))


def refuse(name: str, flow: Flow, where: str) -> None:
    """Refuse what would read token numbers as amounts, or mix the steps of texts of unequal length."""
    if flow.tokens and name != "embedding":
        raise UsageError(f"{where}: {tokens_came(name, flow)}")
    if flow.ragged and name == "flatten":
        text = say("{where}: texts differ in length, so up to {steps} steps of {features} numbers make no vector.",
                   where=where, steps=flow.shape[0], features=flow.shape[1])  # fmt: skip
        raise UsageError(text + " " + say("Read them out with `last`, `mean` or `max` first."))


def tokens_came(name: str, flow: Flow) -> str:
    text = say("{name} wants numbers, but up to {steps} token numbers from 0 to {last} came.",
               name=name, steps=flow.shape[0], last=flow.tokens - 1)  # fmt: skip
    return text + " " + say("Put `embedding 64` before it.")
