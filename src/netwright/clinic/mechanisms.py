"""What a diagnosis says is wrong, as numbers of a finished training: a proof asks whether a remedy moved them."""

from collections.abc import Mapping

import torch

from netwright.clinic.trainings import Mechanism
from netwright.doctor.gauges.whole import units_of
from netwright.doctor.ops import HIDDEN, tracing
from netwright.training.answers import answers
from netwright.training.forward import Forward
from netwright.training.job import Job
from netwright.training.keeper import Outcome
from netwright.training.plan import settings

EXAMPLES = 512


def mechanism_of(fault: str) -> Mechanism:
    """The numbers behind a fault: dead units (C6), the gap to validation (F1, A14), else how far the loss fell."""
    if fault == "C6":
        return dead_units
    return gap if fault in ("F1", "A14", "C14") else fall


def fall(job: Job, outcome: Outcome) -> Mapping[str, float]:
    """The lowest training loss."""
    return {"lowest_train_loss": outcome.lowest_train_loss}


def dead_units(job: Job, outcome: Outcome) -> Mapping[str, float]:
    """The share of ReLU units that no training example activates."""
    positions = job.dataset.splits["train"][:EXAMPLES]
    job.model.eval()
    with torch.no_grad(), tracing(job.model, kinds=HIDDEN) as trace:
        job.model(job.dataset.encode(positions).to(job.launch.device))
    shares = [(units_of(op.tensor) == 0).all(0).float().mean().item() for op in trace.ops if op.name == "relu"]
    return {"dead_units": max(shares)} if shares else {}


def gap(job: Job, outcome: Outcome) -> Mapping[str, float]:
    """The loss on validation examples less that on as many training examples."""
    dataset, chosen = job.dataset, settings(job.recipe, "loss")
    forward = Forward(job.model, dataset.targets, job.recipe.table("loss")["name"], chosen, job.launch.device)
    if not dataset.examples["validation"]:
        return {}
    count = min(dataset.examples["train"], EXAMPLES)
    seen = answers(forward, dataset, "train", torch.arange(count).numpy(), decode=False)
    return {"loss_gap": answers(forward, dataset, "validation", decode=False).loss - seen.loss}
