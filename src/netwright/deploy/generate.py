"""What generating models write: continuations of a prompt, replies in a talk, poems of a form, music."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netwright.data.music.writing import written
from netwright.data.sequence_targets import NextTokens, TokenTargets
from netwright.data.source import Texts
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.parts.decoding import FORBIDDEN, Decoded, greedy, sample
from netwright.parts.sequences import END, FIRST, START, UNKNOWN
from netwright.randomness import seed_of
from netwright.storage import replace_bytes
from netwright.training.forward import Forward, evaluating

LENGTH = 500
"""Tokens that are written unless asked for otherwise, or until a text ends by itself."""
MOST = 1_000_000
FORM = re.compile(r"(\d{1,3})x(\d{1,3})")


@dataclass(frozen=True)
class Manner:
    """How tokens are drawn. Temperature 0 takes the likeliest; `top_k` and `top_p` leave unlikely ones out."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def decode(self, step: Any, state: Any, first: Tensor, *, most: int, number: int, **more: Any) -> Decoded:
        """Tokens of the `number`-th sample."""
        if self.temperature == 0:
            return greedy(step, state, first, most=most, **more)
        generator = torch.Generator().manual_seed(seed_of(self.seed, "sample", number))
        return sample(
            step, state, first, generator, most=most, temperature=self.temperature, top_k=self.top_k,
            top_p=self.top_p, **more,
        )  # fmt: skip


class Samples(list[dict[str, Any]]):
    """One entry a sample: `prompt`, `text`, and `files` where music was written."""

    def to_json(self) -> dict[str, Any]:
        return {"samples": list(self)}

    def __str__(self) -> str:
        return "\n\n".join(found["text"] for found in self)

    def _repr_html_(self) -> str:
        return "".join(f"<pre>{escape(found['text'])}</pre>" for found in self)


def generate(
    forward: Forward, targets: Any, encoder: Any, prompt: str = "", *, length: int = 0, manner: Manner | None = None,
    count: int = 1, form: str = "", out: Path | None = None,
) -> Samples:  # fmt: skip
    """`count` samples that go on from `prompt`, or answer it where the network translates.

    Args: `length` is the most tokens (0: 500, or as the form asks); `form` holds the form of a poem, verses x
    characters (4x7); `out` is a file name to which music is written as MIDI and ABC. Errors: UsageError for a network
    that writes nothing, or a form or length that cannot be; DataError where sampled music does not parse.
    """
    manner = manner or Manner()
    if not 0 <= length <= MOST or count < 1:
        raise UsageError(say("generate: length = {length}, count = {count}; they are whole numbers above 0",
                             length=length, count=count))  # fmt: skip
    if isinstance(targets, TokenTargets) and targets.task == "translate":
        _reads_texts(encoder)
        if not prompt:
            raise UsageError(say("this network answers a text; give it one as the prompt"))
        texts = [reply(forward, targets, encoder, prompt, manner, number) for number in range(count)]
        return Samples({"prompt": prompt, "text": text} for text in texts)
    if not isinstance(targets, NextTokens):
        raise UsageError(say("this run's task is {task}: it writes nothing; `predict` gives its answers",
                             task=targets.task))  # fmt: skip
    writer = Writer(forward, targets, manner)
    texts = [writer.write(prompt, length or LENGTH, number, form) for number in range(count)]
    found = Samples({"prompt": prompt, "text": text} for text in texts)
    if out is not None:
        for number, row in enumerate(found):
            row["files"] = _music(row["text"], targets.facts, out, number if count > 1 else None)
    return found


def _reads_texts(encoder: Any) -> None:
    """Refuse a network that writes of vectors or pictures: a prompt is none."""
    kind = encoder.inputs["kind"]
    if kind != "text":
        text = say("this network reads {kind} data and no prompt; `predict` gives what it writes", kind=say(kind))
        raise UsageError(text)


def _music(text: str, facts: dict[str, Any], out: Path, number: int | None) -> list[str]:
    """The sample as files beside one another, `out` with their endings."""
    if "music" not in facts:
        raise UsageError(say("--out writes music, and this run learnt text; use > to keep it"))
    stem = out.with_suffix("")
    stem = stem if number is None else stem.with_name(f"{stem.name}-{number + 1}")
    paths = []
    for ending, content in written(text, facts).items():
        paths.append(stem.with_suffix(ending))
        try:
            replace_bytes(paths[-1], content)
        except OSError as error:
            raise DataError(
                say("{path} cannot be written: {why}", path=paths[-1], why=error.strerror or error)
            ) from None
    return [str(path) for path in paths]


@dataclass
class Writer:
    """Writes with a language model, one token after another."""

    forward: Forward
    targets: NextTokens
    manner: Manner = field(default_factory=Manner)

    def write(self, prompt: str, length: int, number: int = 0, form: str = "") -> str:
        """The prompt and what follows, at most `length` tokens or up to the text's own end."""
        tokenizer = self.targets.encoder.tokenizer
        given: Any = tuple(prompt.split()) if self._divided else prompt
        known = [int(token) for token in tokenizer.encode(given)] if prompt else []
        if form:
            return self._formed(prompt, known, form, number)
        ids, state = self._begun(known)
        step, first = self._step, torch.tensor([ids[-1]])
        forbidden = (*FORBIDDEN, UNKNOWN) if self.marked else (*FORBIDDEN, UNKNOWN, END)
        with evaluating(self.forward.model):
            found = self.manner.decode(step, state, first, most=length, number=number, forbidden=forbidden)
        if tokenizer.kind == "word":  # its blanks stand between tokens
            return str(tokenizer.decode([*known, *found.tokens[0]]))
        return prompt + str(tokenizer.decode(found.tokens[0]))

    @property
    def marked(self) -> bool:
        """Whether texts begin and end by marks of their own."""
        return bool(self.targets.facts.get("marked"))

    @property
    def _divided(self) -> bool:
        return "step_mark" in self.targets.facts

    def _begun(self, known: Sequence[int]) -> tuple[list[int], Any]:
        """All tokens before the first one that is written, and the state behind all of them but the last."""
        ids = [START, *known] if self.marked else list(known) or [self._beginning()]
        if len(ids) == 1:
            return ids, None
        with evaluating(self.forward.model):
            before = torch.tensor([ids[:-1]]).to(self.forward.device)
            return ids, self.forward.model.read(before)[1]  # type: ignore[operator]

    def _beginning(self) -> int:
        """What stands before running text: a line feed where it has one, else its most frequent token."""
        found = self.targets.encoder.tokenizer.encode("\n")
        return int(found[0]) if len(found) == 1 and found[0] != UNKNOWN else FIRST

    def _step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        scores, state = self.forward.model.step(tokens.to(self.forward.device), state)  # type: ignore[operator]
        return scores.float().cpu(), state

    def _formed(self, prompt: str, known: list[int], form: str, number: int) -> str:
        """A poem of `verses` verses of `characters` characters, a comma behind every other and a full stop."""
        shape = FORM.fullmatch(form)
        if shape is None or self.targets.encoder.inputs["tokens"] != "character":
            forms = self.targets.facts.get("forms") or {}
            usual = ", ".join(name for name in list(forms)[:5] if FORM.fullmatch(name))
            text = say("form = {form!r}; it is verses x characters, such as {usual}, for a network of characters",
                       form=form, usual=usual or "4x7")  # fmt: skip
            raise UsageError(text)
        verses, characters = int(shape[1]), int(shape[2])
        tokenizer = self.targets.encoder.tokenizer
        plan = poem_plan(verses, characters)
        signs = {sign: int(tokenizer.encode(sign)[0]) for sign in set(plan) if sign}
        if len(prompt) > len(plan) or not _fits(prompt, plan):
            raise UsageError(
                say("the prompt {prompt!r} does not begin a poem of the form {form}", prompt=prompt, form=form)
            )
        ids, state = self._begun(known)
        made, token = list(prompt), torch.tensor([ids[-1]])
        with evaluating(self.forward.model):
            for place in range(len(prompt), len(plan)):
                scores, state = self._step(token, state)
                if plan[place]:
                    token, sign = torch.tensor([signs[plan[place]]]), plan[place]
                else:
                    scores[:, self._no_letters] = -torch.inf
                    found = self.manner.decode(
                        lambda tokens, state, scores=scores: (scores, state), None, token, most=1,
                        number=number * 100_000 + place, forbidden=(*FORBIDDEN, UNKNOWN, END),
                    )  # fmt: skip
                    token = torch.tensor(found.tokens[0])
                    sign = tokenizer.decode(found.tokens[0])
                made.append(sign)
        return "".join(made)

    @cached_property
    def _no_letters(self) -> list[int]:
        """The tokens that are marks, or no letters of any script."""
        tokenizer = self.targets.encoder.tokenizer
        return [
            number for number in range(len(tokenizer)) if number < FIRST or not tokenizer.decode([number]).isalpha()
        ]


def poem_plan(verses: int, characters: int) -> list[str]:
    """The place of every character of a poem: "" where one is free, else the mark that stands there.

    Two verses make a line; the first of them ends in a comma, the last of a line in a full stop and a line feed.
    """
    plan: list[str] = []
    for verse in range(verses):
        last = verse % 2 == 1 or verse == verses - 1
        plan += [*[""] * characters, "\u3002" if last else "\uff0c"]
        if last and verse < verses - 1:
            plan.append("\n")
    return plan


def _fits(prompt: str, plan: list[str]) -> bool:
    return all((sign == letter) if sign else letter.isalpha() for letter, sign in zip(prompt, plan, strict=False))


def continue_texts(forward: Forward, targets: NextTokens, prompts: Sequence[str], length: int = 100) -> list[str]:
    """How the network goes on after each prompt, its likeliest token at every step."""
    writer = Writer(forward, targets, Manner(temperature=0))
    return [writer.write(prompt, length)[len(prompt) :] for prompt in prompts]


def reply(
    forward: Forward, targets: TokenTargets, encoder: Any, text: str, manner: Manner | None = None, number: int = 0
) -> str:
    """What a sequence-to-sequence network answers to a text: by its beam, or drawn at a temperature above 0."""
    inputs = encoder.ragged(Texts([text])).padded().to(forward.device)
    with evaluating(forward.model):
        if manner is None or manner.temperature == 0:
            tokens = forward.model.answer(inputs)[0]  # type: ignore[operator]
        else:

            def drawn(step: Callable[..., Any], state: Any, first: Tensor, **more: Any) -> Decoded:
                return manner.decode(step, state, first, number=number, **more)

            tokens = forward.model.decoded(inputs, drawn).tokens[0]  # type: ignore[operator]
    return targets.decode(tokens)


def chat(
    forward: Forward, targets: Any, encoder: Any, lines: Iterable[str], manner: Manner | None = None
) -> Iterator[dict[str, str]]:
    """A reply to every line, as it comes: `{"prompt", "text"}`.

    A language model goes on from the line up to the next line feed. Errors: UsageError for other networks.
    """
    writes = isinstance(targets, NextTokens)
    if not writes and not (isinstance(targets, TokenTargets) and targets.task == "translate"):
        text = say("this run's task is {task}: it cannot talk; `chat` wants pairs of texts or a language model",
                   task=targets.task)  # fmt: skip
        raise UsageError(text)
    if not writes:
        _reads_texts(encoder)
    return _turns(forward, targets, encoder, lines, manner)


def _turns(
    forward: Forward, targets: Any, encoder: Any, lines: Iterable[str], manner: Manner | None
) -> Iterator[dict[str, str]]:
    for number, line in enumerate(line.strip() for line in lines):
        if not line:
            continue
        if isinstance(targets, NextTokens):
            text = Writer(forward, targets, manner or Manner()).write(line + "\n", LENGTH, number)[len(line) + 1 :]
            yield {"prompt": line, "text": text.split("\n")[0]}
        else:
            yield {"prompt": line, "text": reply(forward, targets, encoder, line, manner, number)}
