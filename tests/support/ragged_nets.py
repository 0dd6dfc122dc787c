"""Every network of the catalogue that reads sequences of unequal length, small, and batches for it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS
from netwright.data.batches import Batch
from netwright.parts.sequences import Ragged, Sequences
from netwright.training.objective import Draw, Terms, objective_of

TOKENS, FEATURES, CLASSES = 11, 3, 5
TEXT = {"kind": "text", "tokens": "word", "vocabulary": TOKENS, "steps": 9}
SERIES = {"kind": "sequence", "steps": 9, "features": FEATURES, "variable": True}
TRAITS = {"count": 13, "each": 3}
"""What the letters of words to be tagged tell: three numbers each, of thirteen."""
FIXED = ("forecaster", "perceptron", "logistic", "softmax", "mlp")
"""They read sequences of one length: windows of a series, or all numbers at once."""
LENGTHS = (7, 1, 9, 4, 4, 2)
LAYERS = {
    "text": "embedding 6, lstm 5 bidirectional=true, gru 4, mean, linear out",
    "sequence": "rnn 5, lstm 4 layers=2, max, linear out",
}


@dataclass(frozen=True)
class Case:
    """A network with settings of its own, what it reads and its task."""

    name: str
    kind: str = "text"
    task: str = "classify"
    more: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [str(value).split(",")[0] for value in self.more.values()]
        return " ".join([self.name, self.kind, *words])

    def build(self) -> nn.Module:
        part, inputs = NETWORKS[self.name], TEXT if self.kind == "text" else SERIES
        inputs = {**inputs, "traits": TRAITS} if (self.kind, self.task) == ("text", "tag") else inputs
        known = {"hidden": 6, "embedding": 6, "channels": 4, "heads": 2, "feed_forward": 8, "dropout": 0.0, "beam": 2}
        own = {name: value for name, value in known.items() if name in part.settings} | self.more
        count = TOKENS if self.task in ("generate", "translate", "transcribe") else CLASSES
        outputs: dict[str, Any] = {"kind": "class", "count": count}
        if self.task == "tag":
            outputs = {"kind": "tags", "count": count, "tags": ["O", "B-X", "I-X", "B-Y", "I-Y"]}
        torch.manual_seed(0)
        return part(inputs, outputs, **own).double()


def cases() -> list[Case]:
    """Networks, cells, forms, readouts and heads, both kinds of input."""
    found = []
    for kind in ("text", "sequence"):
        for cell in ("rnn", "lstm", "gru", "jordan", "leaky"):
            found += [Case(cell, kind), Case(cell, kind, more={"bidirectional": True, "layers": 2})]
        found += [Case("lstm", kind, more={"form": form, "bidirectional": True}) for form in ("peephole", "layer_norm")]
        found += [Case("gru", kind, more={"readout": readout}) for readout in ("last", "mean", "max", "attention")]
        found += [Case(name, kind) for name in ("text_cnn", "transformer_encoder")]
        found.append(Case("stack", kind, more={"layers": LAYERS[kind]}))
        found += [Case(name, kind, "tag", {"cell": cell}) for name in ("tagger", "tagger_crf")
                  for cell in CELLS if CELLS[cell].facts["kind"] == "recurrent"]  # fmt: skip
        found += [Case("seq2seq", kind, "translate", {"cell": cell}) for cell in ("lstm", "gru", "rnn")]
        found += [Case("seq2seq_attention", kind, "translate", {"attention": form})
                  for form in ("additive", "dot", "general", "scaled_dot") if _fits(form)]  # fmt: skip
    found += [Case(name, "text", "generate", {"cell": cell}) for name in ("char_lm", "word_lm")
              for cell in ("lstm", "gru", "rnn")]  # fmt: skip
    found += [Case("one_to_many", "text", "translate", {"feed": feed}) for feed in ("start", "each")]
    found += [Case("ctc", "sequence", "transcribe", {"stride": stride}) for stride in (1, 2, 3)]
    found += [Case("ctc", "sequence", "transcribe", {"beam": 4}), Case("speaker", "sequence")]
    return found


def _fits(form: str) -> bool:
    from netwright.catalogue import ATTENTION

    return form in ATTENTION and form not in ("dot", "scaled_dot")  # those want equal widths


def inputs_of(case: Case) -> Ragged:
    """Six sequences of unequal length, one of a single step, two equally long."""
    chance = torch.Generator().manual_seed(1)
    if case.kind == "text":
        words = Ragged.of([torch.randint(1, TOKENS, (length,), generator=chance) for length in LENGTHS])
        if case.task != "tag":
            return words
        traits = torch.randint(1, TRAITS["count"], (len(words.flat), TRAITS["each"]), generator=chance)
        return Ragged(words.flat, words.starts, traits)
    longer = 4 if case.task == "transcribe" else 1  # a path of CTC needs steps
    return Ragged.of([torch.randn(longer * length, FEATURES, generator=chance).double() for length in LENGTHS])


def targets_of(case: Case) -> Tensor | Ragged:
    chance = torch.Generator().manual_seed(2)
    if case.task == "classify":
        return torch.randint(0, CLASSES, (len(LENGTHS),), generator=chance)
    if case.task == "transcribe":
        return Ragged.of([torch.randint(4, TOKENS, (count,), generator=chance) for count in (3, 1, 2, 1, 4, 1)])
    lengths = LENGTHS if case.task in ("tag", "generate") else (3, 8, 1, 5, 5, 2)
    most = CLASSES if case.task == "tag" else TOKENS
    return Ragged.of([torch.randint(0 if case.task == "tag" else 2, most, (n,), generator=chance) for n in lengths])


def longer(batch: Sequences, steps: int) -> Sequences:
    """The same sequences with so many more steps of padding."""
    if not steps:
        return batch
    blank = batch.values.new_zeros(len(batch), steps, *batch.values.shape[2:])
    traits = batch.traits
    if traits is not None:
        traits = torch.cat([traits, traits.new_zeros(len(batch), steps, traits.shape[2])], 1)
    return Sequences(torch.cat([batch.values, blank], 1), batch.lengths, traits)


def terms_of(case: Case, model: nn.Module, places: list[int], more: int = 0) -> Terms:
    """What the objective of the case's task says to the examples at `places`, `more` steps of padding behind them."""
    targets = targets_of(case)
    wanted = longer(targets.padded(places), more) if isinstance(targets, Ragged) else targets[places]
    loss = "ctc" if case.task == "transcribe" else "cross_entropy"
    batch = Batch(longer(inputs_of(case).padded(places), more), wanted, None, torch.tensor(places).numpy(), 0)
    return objective_of(model, case.task, loss, {})(model, batch, Draw(0, 0))


def judged(case: Case, model: nn.Module, places: list[int], more: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per example loss and weight, the batch's loss, and its gradient as one row."""
    terms = terms_of(case, model, places, more)
    weight = torch.ones(len(places)) if terms.weight is None else terms.weight
    model.zero_grad(set_to_none=True)
    terms.loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return terms.per_example.detach(), weight.detach().double(), terms.loss.detach(), gradient
