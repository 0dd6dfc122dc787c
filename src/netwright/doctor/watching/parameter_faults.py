"""Faults of what is trained: parameters nobody trains, optimizers that hold other tensors (E2, E3)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.watching.diary import Diary, named_parameters
from netwright.doctor.watching.places import head_of, hidden_tensors, is_fresh
from netwright.language import say

SMALL = 0.01
"""A trained share below this is a fault where neither the head nor trained weights explain it."""
BODY = 0.5
"""A frozen head is a fault where at least this share of the rest is trained."""


@dataclass
class Sorted:
    """The parameters of the network by what happened to them."""

    trained: dict[str, Tensor]
    frozen: dict[str, Tensor]
    outside: dict[str, Tensor]
    """Ask for gradients, in no optimizer."""
    unused: dict[str, Tensor]
    """In an optimizer, never with a gradient."""
    still: dict[str, Tensor]
    """With a gradient, and yet as they were."""

    @property
    def total(self) -> int:
        return sum(count(group) for group in vars(self).values())


def count(group: dict[str, Tensor]) -> int:
    return sum(p.numel() for p in group.values())


def read_parameters(diary: Diary) -> Iterator[Finding]:
    """Which parameters were trained, and which were not although they should have been."""
    steps = sum(course.whole_steps for course in diary.courses)
    yield from _hidden(diary)
    stale = list(_stale(diary))
    yield from stale
    if not steps or stale:
        return
    sorts = sort(diary)
    if not sorts.trained:
        yield from _nothing(diary, sorts, steps)
        return
    yield from _head(diary, sorts)
    yield from _outside(diary, sorts)
    yield from _rest(diary, sorts, steps)


def sort(diary: Diary) -> Sorted:
    """Sort every parameter of the network."""
    held = {key for course in diary.courses for key in course.ids}
    still, looks, sorts = diary.looks.still(), diary.looks, Sorted({}, {}, {}, {}, {})
    for name, p in diary.named.items():
        if not still.get(name, False):
            group = sorts.trained if id(p) in held or p.requires_grad else sorts.frozen
        elif not p.requires_grad:
            group = sorts.frozen
        elif id(p) not in held:
            group = sorts.outside
        else:
            group = sorts.still if id(p) in looks.graded else sorts.unused
        group[name] = p
    return sorts


def names(group: dict[str, Tensor]) -> str:
    """The modules that hold these parameters, the first few."""
    paths = list(dict.fromkeys(name.rpartition(".")[0] or name for name in group))
    return ", ".join(paths[:4]) + (", ..." if len(paths) > 4 else "")


def _module(diary: Diary, name: str) -> nn.Module:
    """The module that holds a parameter."""
    path = name.rpartition(".")[0]
    if len(diary.models) == 1:
        return diary.models[0].get_submodule(path)
    number, _, rest = path.partition(".")
    return diary.models[int(number)].get_submodule(rest)


def fresh(diary: Diary, group: dict[str, Tensor]) -> list[str]:
    """Those of a group that still look as their initializer drew them."""
    matrices = [name for name, p in group.items() if p.dim() > 1 and p.numel() >= 16]
    return [name for name in matrices if is_fresh(_module(diary, name))]


def _add(diary: Diary) -> Remedy:
    kinds = type(diary.courses[0].optimizer).__name__ if diary.courses else "SGD"
    return Remedy(
        {"code": f"optimizer = {kinds}(model.parameters(), ...)"}, say("the optimizer moves only what it holds")
    )


def _nothing(diary: Diary, sorts: Sorted, steps: int) -> Iterator[Finding]:
    for course in diary.courses:
        if course.zero_rates >= course.steps:
            return  # said as D8
    if any(course.times("cleared before step") or course.times("uncleared") for course in diary.courses):
        return
    evidence = {"parameters moved": 0, "parameters": sorts.total, "steps": steps, "frozen": count(sorts.frozen),
                "not in the optimizer": count(sorts.outside), "without gradient": count(sorts.unused),
                "with gradient, not moved": count(sorts.still), "threshold": 1}  # fmt: skip
    remedy = _add(diary)
    if sorts.frozen and not (sorts.outside or sorts.still):
        remedy = Remedy({"code": "model.requires_grad_(True)"}, say("a frozen parameter gets no gradient"))
    elif sorts.still and not sorts.outside:
        remedy = Remedy({"code": "lr larger, or a loss whose gradient is not zero"},
                        say("the gradients are zero, or the steps too small for the numbers"))  # fmt: skip
    yield Finding("E2", say("no parameter moves"), say("the whole network"), evidence,
                  say("{steps} steps changed nothing: the network is what it was", steps=steps), [remedy])  # fmt: skip


def _head(diary: Diary, sorts: Sorted) -> Iterator[Finding]:
    for model in diary.models[:1]:
        found = head_of(model)
        if found is None:
            continue
        path, head = found
        own = {id(p) for p in head.parameters(recurse=False)}
        held = {**sorts.frozen, **sorts.outside}
        fixed = {name: p for name, p in held.items() if id(p) in own and p.dim() > 1}
        if not fixed or any(id(p) in own for p in sorts.trained.values()):
            continue
        if diary.looks.executed and id(head) not in diary.looks.executed:
            continue  # never used: no head
        rest = sum(p.numel() for p in diary.named.values() if id(p) not in own)
        share = count(sorts.trained) / max(1, rest)
        if share >= BODY:
            yield Finding(
                "E2", say("the head is not trained"), path,
                {"trained share of the rest": share, "threshold": BODY, "parameters of the head": count(fixed)},
                say("the body must learn around an output layer that stays as it was drawn"),
                [Remedy({"code": f"model.{path}.requires_grad_(True); optimizer = ...(model.parameters())"},
                        say("the output layer belongs to the task; it is the last to be frozen"))],
            )  # fmt: skip


def _outside(diary: Diary, sorts: Sorted) -> Iterator[Finding]:
    looks = diary.looks
    graded = {name: p for name, p in sorts.outside.items() if id(p) in looks.graded or p.grad is not None}
    bare = fresh(diary, graded)
    small = [name for name, p in graded.items() if p.dim() < 2]
    alone = small and not any(name for name, p in graded.items() if p.dim() > 1)
    if graded:
        share = count(graded) / max(1, sorts.total)
        yield Finding(
            "E2", say("parameters outside the optimizer"), names({name: graded[name] for name in bare} or graded),
            {"parameters": count(graded), "share": share, "tensors": len(graded), "as initialized": len(bare),
             "threshold": 0},
            say("they get gradients and are never moved: they stay as they were drawn") if bare or alone else "",
            [_add(diary)],
        )  # fmt: skip


def _rest(diary: Diary, sorts: Sorted, steps: int) -> Iterator[Finding]:
    looks = diary.looks
    share = count(sorts.trained) / max(1, sorts.total)
    if sorts.frozen:
        drawn = fresh(diary, sorts.frozen)
        head = head_of(diary.models[0])
        trains_head = head is not None and any(p is q for p in head[1].parameters() for q in sorts.trained.values())
        bad = share < SMALL and not trains_head and len(drawn) > 0
        yield Finding(
            "E2", say("frozen parameters"), names(sorts.frozen),
            {"frozen": count(sorts.frozen), "trained share": share, "threshold": SMALL, "as initialized": len(drawn)},
            say("almost nothing is trained, and what is frozen was never trained before") if bad else "",
            [Remedy({"code": "model.requires_grad_(True)"}, say("only if the freezing is not intended"))],
        )  # fmt: skip
    if sorts.unused:
        ran = {name: p for name, p in sorts.unused.items() if id(_module(diary, name)) in looks.in_graph}
        bare = fresh(diary, ran)
        yield Finding(
            "E2", say("parameters without a gradient"), names({name: ran[name] for name in bare} or sorts.unused),
            {"parameters": count(sorts.unused), "share": count(sorts.unused) / sorts.total,
             "in parts that ran": count(ran), "as initialized": len(bare), "threshold": 0},
            say("these parts ran, yet the loss's graph does not reach them: detach(), numpy() or argmax cut it")
            if bare else "",
            [Remedy({"code": "no detach(), numpy(), item() or argmax between these parts and the loss"},
                    say("the gradient must be able to go back through every step"))],
        )  # fmt: skip
    if any(p.dim() > 1 for p in sorts.still.values()):  # a bias before a batch norm has no effect, and never moves
        yield Finding(
            "E2", say("parameters that did not move"), names(sorts.still),
            {"parameters": count(sorts.still), "share": count(sorts.still) / sorts.total, "steps": steps}, "",
        )  # fmt: skip


def _hidden(diary: Diary) -> Iterator[Finding]:
    held = {key for course in diary.courses for key in course.ids} | diary.other_params
    used = diary.looks.reached
    lost = [
        (place, t)
        for place, t in hidden_tensors(diary.models)
        if id(t) not in held and (t.grad is not None or id(t) in used)
    ]
    if lost:
        yield Finding(
            "E2", say("layers that are not registered"), ", ".join(place for place, _ in lost[:4]),
            {"tensors": len(lost), "parameters": sum(t.numel() for _, t in lost), "threshold": 0},
            say("the network uses them, but parameters() does not list them: no optimizer ever moves them"),
            [Remedy({"code": "nn.ModuleList([...]) or nn.Parameter(...)"},
                    say("torch finds layers in attributes and ModuleList, not in a Python list or dict"))],
        )  # fmt: skip
    if diary.looks.fleeting:
        yield Finding(
            "E2", say("layers made anew in every forward pass"), say("the network's forward"),
            {"parameters that lived for one step": diary.looks.fleeting, "threshold": 0},
            say("each pass draws new random weights: nothing in them can be learnt"),
            [Remedy({"code": "make the layer in __init__, use it in forward"}, say("a layer must outlive the step"))],
        )  # fmt: skip


def _stale(diary: Diary) -> Iterator[Finding]:
    own = diary.owned | {id(p) for _, p in named_parameters(diary.models)}
    held = {key for course in diary.courses for key in course.ids}
    outside = {name: p for name, p in diary.named.items() if id(p) not in held and p.requires_grad}
    for course in diary.courses:
        strange = [p for p in course.params if id(p) not in own]
        idle = [p for p in strange if p.grad is None and id(p) not in diary.looks.graded]
        shapes = [tuple(p.shape) for p in idle]
        twins = [name for name, p in outside.items() if tuple(p.shape) in shapes]
        whole = len(strange) == len(course.params) and outside
        others = [n for n, p in outside.items() if p.grad is not None or id(p) in diary.looks.graded]
        if not (whole and len(diary.courses) == 1) and not (idle and (twins or others)):
            continue
        yield Finding(
            "E3", say("the optimizer holds tensors that are not in the network"),
            names({name: diary.named[name] for name in twins} or outside),
            {"tensors of the optimizer": len(course.params), "not in the network": len(strange),
             "without gradient": len(idle), "tensors of the network in no optimizer": len(outside), "threshold": 0},
            say("the optimizer moves old tensors; the network that computes the loss is not trained")
            if outside else "",
            [Remedy({"code": "make the optimizer after the network is final: optimizer = ...(model.parameters())"},
                    say("a layer replaced, a network made anew or copied later has other tensors"))],
        )  # fmt: skip
