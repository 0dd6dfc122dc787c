"""Faults of modes and chance: eval in training, train in evaluation, equal masks, batches of one (E5, E7, C13)."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.watching.diary import Diary
from netwright.doctor.watching.places import NORMS, draws
from netwright.language import say

FEW = 3
"""So many equal random states make a rule, fewer may be chance of the sampling."""


def read_modes(diary: Diary, error: BaseException | None) -> Iterator[Finding]:
    """Everything about train(), eval() and random numbers."""
    parts = [(path, part) for model in diary.models for path, part in draws(model)]
    yield from _eval_in_training(diary, parts)
    yield from _parts_in_eval(diary, parts)
    yield from _train_in_evaluation(diary, parts)
    yield from _masks(diary)
    yield from _one_example(diary, error)


def _is_frozen(model: nn.Module, path: str, part: nn.Module) -> bool:
    """Whether a part belongs to a frozen whole: its own parameters, else those of the nearest part around it."""
    place, holder = path, part
    while True:
        own = list(holder.parameters())
        if own or not place:
            return bool(own) and not any(p.requires_grad for p in own)
        place = place.rpartition(".")[0]
        holder = model.get_submodule(place)


def _kinds(parts: list[tuple[str, nn.Module]]) -> str:
    return ", ".join(f"{path} ({type(part).__name__})" for path, part in parts[:3]) + (
        ", ..." if len(parts) > 3 else ""
    )


def _eval_in_training(diary: Diary, parts: list[tuple[str, nn.Module]]) -> Iterator[Finding]:
    times = diary.modes.count(False)
    if not times:
        return
    live = [(path, part) for model in diary.models for path, part in draws(model) if not _is_frozen(model, path, part)]
    first = diary.modes.index(False) + 1
    rare = times == 1 and len(diary.modes) > 10
    restored = (
        say("model.train() is missing after an evaluation") if first > 1 else say("model.train() is never called")
    )
    yield Finding(
        "E5", say("training in eval mode"), _kinds(live) or say("the whole network"),
        {"steps in eval mode": times, "steps": len(diary.modes), "first such step": first, "threshold": 0},
        say("batch norm does not follow the data and dropout does not drop: {why}", why=restored) if live
        and not rare else "",
        [Remedy({"code": "model.train() before each epoch of training"}, restored)],
    )  # fmt: skip


def _parts_in_eval(diary: Diary, parts: list[tuple[str, nn.Module]]) -> Iterator[Finding]:
    sets = [quiet for quiet, mode in zip(diary.looks.quiet_parts, _aligned(diary), strict=False) if mode]
    if not sets or not any(sets):
        return
    always = set.intersection(*sets)
    later = set.union(*sets) - sets[0]
    turned = [(path, part) for path, part in parts if path in later and path in sets[-1]]
    live = [(path, part) for model in diary.models for path, part in turned if not _is_frozen(model, path, part)]
    chosen = live or [(path, part) for path, part in parts if path in (always or set.union(*sets))]
    yield Finding(
        "E5", say("parts in eval mode in training"), _kinds(chosen),
        {"parts": len(chosen), "from the first step": not live, "threshold": 0},
        say("they were in train mode before, and were not put back") if live else "",
        [Remedy({"code": "model.train() before each epoch of training"}, say("only if it is not intended"))],
    )  # fmt: skip


def _aligned(diary: Diary) -> list[bool]:
    """Whether the network itself was in train mode, for each close look."""
    if not diary.modes:
        return []
    return [
        all(diary.modes) or diary.modes[min(index, len(diary.modes) - 1)]
        for index in range(len(diary.looks.quiet_parts))
    ]


def _train_in_evaluation(diary: Diary, parts: list[tuple[str, nn.Module]]) -> Iterator[Finding]:
    quiet, runs = diary.quiet[True], diary.quiet_runs
    extra = 0
    passes = Counter(forwards for forwards, _ in diary.runs if forwards)
    if passes and len(diary.runs) > 2:
        usual = passes.most_common(1)[0][0]
        extra = sum(forwards - usual for forwards, _ in diary.runs[1:] if forwards > usual)
        extra += max(0, diary.since_backward - usual) if diary.since_backward > usual else 0
        rare = sum(forwards > usual for forwards, _ in diary.runs[1:]) < 0.5 * len(diary.runs)
        extra = extra if rare and usual > 0 else 0
    steps = max(1, diary.steps)
    evaluating = runs > 0 or (quiet > 0 and len(diary.quiet_steps) <= 0.5 * steps)
    alone = len(diary.courses) <= 1 and diary.steps > 0
    in_train = (quiet if evaluating else 0) + (extra if not diary.eval_extra else 0)
    if in_train and alone and parts:
        yield Finding(
            "E5", say("evaluation in train mode"), _kinds(parts),
            {"forward passes without a backward, in train mode": in_train, "threshold": 0},
            say("dropout falsifies the figures, batch norm mixes the examples and learns from the evaluation data"),
            [Remedy({"code": "model.eval() before the evaluation, model.train() after it"},
                    say("an example's answer must not depend on chance or on its neighbours"))],
        )  # fmt: skip
    if extra or diary.eval_extra:
        yield Finding(
            "E5", say("evaluation builds graphs"), say("forward passes outside no_grad()"),
            {"forward passes": max(extra, diary.eval_extra), "threshold": 0}, "",
            [Remedy({"code": "with torch.no_grad(): ..."}, say("saves memory and time; the numbers are the same"))],
        )  # fmt: skip


def _masks(diary: Diary) -> Iterator[Finding]:
    looks = diary.looks
    if looks.same_random >= FEW and looks.drawn >= FEW and diary.steps > FEW:
        yield Finding(
            "E7", say("the same random numbers in every step"), say("the forward pass"),
            {"steps compared": looks.compared, "with an equal random state": looks.same_random, "threshold": FEW},
            say("dropout takes the same mask each time: part of the network is never trained"),
            [Remedy({"code": "torch.manual_seed(...) once, before the loop"},
                    say("a seed inside the loop repeats the same random numbers"))],
        )  # fmt: skip
    if looks.same_first >= 2 and looks.many_batches:
        yield Finding(
            "E7", say("every epoch begins with the same batch"), say("the order of the data"),
            {"epochs": looks.same_first + 1, "threshold": 2}, "",
            [Remedy({"code": "DataLoader(..., shuffle=True), seeded once"}, say("a new order in each epoch"))],
        )  # fmt: skip


def _one_example(diary: Diary, error: BaseException | None) -> Iterator[Finding]:
    every = [pair for model in diary.models for pair in model.named_modules()]
    norms: list[tuple[str, nn.Module]] = [(path, part) for path, part in every if isinstance(part, NORMS)]
    live = [(path, part) for path, part in norms if part.training or diary.modes.count(True)]
    remedies = [
        Remedy({"code": "DataLoader(..., drop_last=True) or a larger batch"}, say("batch norm needs several examples")),
        Remedy({"code": "GroupNorm or LayerNorm"}, say("they do not look at the other examples")),
    ]
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        yield Finding(
            "C13", say("a batch of one with batch norm"), _kinds(norms) or say("batch norm"),
            {"values per channel": 1, "step": diary.steps + 1, "threshold": 2},
            say("one value has no spread: torch stops there"), remedies,
        )  # fmt: skip
        return
    batches = diary.looks.batches
    ones = sum(size == 1 for size in batches)
    if live and ones and diary.courses and diary.backwards:
        yield Finding(
            "C13", say("a batch of one with batch norm"), _kinds(live),
            {"batches of one": ones, "batches looked at": len(batches), "threshold": len(batches) // 2},
            say("each example is normalised by itself alone; evaluation uses other statistics")
            if ones > len(batches) // 2
            and len(batches) > 1 else "", remedies,
        )  # fmt: skip
