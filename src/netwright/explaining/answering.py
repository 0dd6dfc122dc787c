"""What the network says to one example, and the one number of it that is explained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.data.sequence_targets import NextTokens, SeriesTargets, TagTargets, TokenTargets
from netwright.data.targets import ClassTargets
from netwright.deploy.predict import Predictor
from netwright.errors import UsageError
from netwright.explaining.reading import Given, label, sign_of
from netwright.language import say
from netwright.measures.entering import values_of
from netwright.networks.blocks import Scores
from netwright.parts.sequences import END, START, Sequences


@dataclass(frozen=True)
class Answer:
    """An answer, and how to get the number that is explained from a batch of such examples."""

    prediction: Any
    score: Callable[[Any], Tensor]
    """(inputs) -> one number an example: an output of the network before any softmax."""
    of: str
    """What the number is, in words."""
    run: Callable[[], Any]
    """Runs the network once on the example, all that it wrote included."""
    position: int = 0
    """The output that is explained, from 1; 0 where there is only one."""
    written: list[str] = field(default_factory=list)
    """Labels of the tokens that it wrote."""
    decoded: list[str] = field(default_factory=list)
    """Labels of what its decoder read: the start, then each token that it wrote but the last."""
    tags: list[str] = field(default_factory=list)


def answer(predictor: Predictor, model: nn.Module, given: Given, position: int) -> Answer:
    """What the network says to one example; `position` chooses the output of several, from 1 (0: a telling one).

    Errors: UsageError where there is no such position.
    """
    targets, task = predictor.targets, predictor.targets.task
    if isinstance(targets, TokenTargets):
        return (_translation if task == "translate" else _transcript)(targets, model, given, position)
    with torch.no_grad():
        outputs = main(model(given.inputs))

    def run() -> Any:
        return model(given.inputs)

    if isinstance(targets, TagTargets):
        return _tags(targets, model, given, outputs, position)
    if isinstance(targets, NextTokens):
        return _next(targets, model, given, outputs, position)
    if isinstance(targets, ClassTargets):
        _only(position)
        link = predictor.forward.link
        best = int(outputs[0].argmax()) if outputs.shape[1] > 1 or link == "softmax" else int(outputs[0, 0] > 0)
        name = targets.classes[best]
        if outputs.shape[1] == 1 and len(targets.classes) == 2:
            sign = 1 if best else -1
            return Answer(name, lambda x: sign * main(model(x))[:, 0], say("the score of {name!r}", name=name), run)
        return Answer(name, lambda x: main(model(x))[:, best], say("the score of {name!r}", name=name), run)
    numbers = predictor.forward.predictions(outputs.float())[0]
    if isinstance(targets, SeriesTargets):
        at = _place(position, outputs.shape[1], 0)
        what = say("the number {steps} steps ahead, standardised", steps=at + 1)
        return Answer([float(one) for one in numbers], lambda x: main(model(x))[:, at], what, run, at + 1)
    _only(position)
    return Answer(float(numbers), lambda x: main(model(x))[:, 0], say("the number, standardised"), run)


def main(outputs: Any) -> Tensor:
    """The plain outputs, whatever a network gives beside them."""
    found = outputs.main if isinstance(outputs, Scores) else outputs
    return found.values if isinstance(found, Sequences) else found


def _only(position: int) -> None:
    if position > 1:
        raise UsageError(say("--position {position}: this run gives one answer an input", position=position))


def _place(position: int, count: int, usual: int) -> int:
    """The output that is meant, from 0."""
    if position > count:
        text = say("--position {position}: there are {count} outputs", position=position, count=count)
        raise UsageError(f"{text}; {say('it is 1 to {count}', count=count)}")
    return position - 1 if position else usual


def _tags(targets: TagTargets, model: Any, given: Given, outputs: Tensor, position: int) -> Answer:
    numbers = _numbers_of(model, given, outputs)
    tags = targets.decode(numbers)
    at = _place(position, len(tags), next((place for place, tag in enumerate(tags) if tag != "O"), 0))
    tag = numbers[at]
    what = say("the score of {name!r} at {token}", name=tags[at], token=f"{given.labels[at]} ({at + 1})")
    return Answer(tags, lambda x: main(model(x))[:, at, tag], what, lambda: model(given.inputs), at + 1, tags=tags)


def _numbers_of(model: Any, given: Given, outputs: Tensor) -> list[int]:
    if hasattr(model, "answer") and isinstance(given.inputs, Sequences):
        return [int(one) for one in model.answer(given.inputs)[0]]
    return [int(one) for one in outputs[0].argmax(1).tolist()]


def _next(targets: NextTokens, model: Any, given: Given, outputs: Tensor, position: int) -> Answer:
    at = _place(position, outputs.shape[1], outputs.shape[1] - 1)
    token = int(outputs[0, at].argmax())
    sign = label(sign_of(targets.encoder.tokenizer, token))
    what = say(
        "the score of {name!r} as the next token behind {token}", name=sign, token=f"{given.labels[at]} ({at + 1})"
    )
    return Answer(sign, lambda x: main(model(x))[:, at, token], what, lambda: model(given.inputs), at + 1)


def _translation(targets: TokenTargets, model: Any, given: Given, position: int) -> Answer:
    inputs = given.inputs if isinstance(given.inputs, Sequences) else _as_sequences(given.inputs)
    with torch.no_grad():
        numbers = [int(one) for one in model.answer(inputs)[0]]
    numbers = numbers if numbers[-1:] == [END] else [*numbers, END]
    signs = [label(sign_of(targets.encoder.tokenizer, one)) for one in numbers]
    at = _place(position, len(numbers), 0)
    token = numbers[at]
    wanted = torch.tensor([numbers])

    def forced(x: Any) -> Tensor:
        count = len(values_of(x))
        return main(model(x, Sequences(wanted.expand(count, -1), torch.tensor([len(numbers)] * count))))

    what = say("the score of {name!r}, token {place} of the answer", name=signs[at], place=at + 1)
    start = label(sign_of(targets.encoder.tokenizer, START))
    return Answer(
        targets.decode(numbers), lambda x: forced(x)[:, at, token], what, lambda: forced(given.inputs), at + 1,
        signs, [start, *signs[:-1]],
    )  # fmt: skip


def _as_sequences(values: Tensor) -> Sequences:
    return Sequences(values, torch.tensor([values.shape[1]] * len(values)))


def _transcript(targets: TokenTargets, model: Any, given: Given, position: int) -> Answer:
    """Of a network that scores every frame: a token counts at the first frame of the best path that says it."""
    with torch.no_grad():
        outputs = main(model(given.inputs))[0]
    path = outputs.argmax(1).tolist()
    frames = [at for at, (now, before) in enumerate(zip(path, [0, *path], strict=False)) if now not in (0, before)]
    text = targets.decode([path[at] for at in frames])
    if not frames:
        at, token, place = len(path) - 1, 0, 0
        what = say("the score of the blank at the last frame: nothing was heard")
    else:
        place = _place(position, len(frames), 0)
        at = frames[place]
        token = path[at]
        sign = label(sign_of(targets.encoder.tokenizer, token))
        what = say("the score of {name!r}, token {place} of the transcript", name=sign, place=place + 1)
        place += 1
    return Answer(text, lambda x: main(model(x))[:, at, token], what, lambda: model(given.inputs), place)
