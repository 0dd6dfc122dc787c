"""Faults of state that crosses batches: hidden state with its graph, hidden state kept at all (E8)."""

from collections.abc import Iterator

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.watching.diary import Diary
from netwright.language import say


def read_state(diary: Diary) -> Iterator[Finding]:
    """Whether a loss's graph reaches behind the last step, and whether hidden states are handed on."""
    looks = diary.looks
    where = ", ".join(looks.parts.values()) or say("the network's state")
    if looks.carried:
        failed = diary.times("second backward")
        yield Finding(
            "E8", say("state carried over with its graph"), where,
            {"losses whose graph reaches behind the last step": looks.carried, "errors": failed, "threshold": 0},
            say("backward() goes again through the steps before: it fails, or grows slower with each batch"),
            [Remedy({"code": "hidden = hidden.detach()  # an LSTM's: tuple(h.detach() for h in hidden)"},
                    say("keep the values, let go of the graph, at the start of each batch"))],
        )  # fmt: skip
    elif diary.times("second backward"):
        yield Finding(
            "E4", say("a second backward through one graph"), "loss.backward()",
            {"errors": diary.times("second backward"), "threshold": 0},
             say("the graph is gone after the first backward()"),
            [Remedy({"code": "(loss_a + loss_b).backward()"}, say("sum the losses and go back once"))],
        )  # fmt: skip
    if looks.carried_values and not looks.carried:
        yield Finding(
            "E8", say("hidden state kept from batch to batch"), where,
            {"batches that begin with the last state": looks.carried_values, "threshold": 0}, "",
            [Remedy({"code": "hidden = None at the start of each batch"},
                    say("right for text that runs on; wrong for batches that have nothing to do with each other"))],
        )  # fmt: skip
