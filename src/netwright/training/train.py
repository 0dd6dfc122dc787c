"""One training from a resolved recipe: loop, validation, best weights, log, saves, stopping."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from netwright.training.checkpoints import Checkpoint, digests, model_tensors
from netwright.training.job import Job, new_batches, new_state
from netwright.training.keeper import Keeper, Outcome
from netwright.training.loop import NonFinite, steps
from netwright.training.published import begin
from netwright.training.signals import Interrupted, Watch, watching


def fit(job: Job, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train `job`, from `checkpoint` where there is one. A signal saves and raises `Interrupted`."""
    job.launch.impose()
    if checkpoint is None:
        begin(job)
    initial = digests(job.model)
    keeper = Keeper(job, new_state(job), new_batches(job))
    with torch.random.fork_rng(devices=[]), watching() as watch, saving(keeper):
        job.ranks.watch = watch
        if checkpoint is not None:
            keeper.restore(checkpoint)
        else:
            keeper.best_weights = model_tensors(job.model)
            keeper.save()
        if not keeper.stopped:
            if checkpoint is None:
                keeper.procedure.begin()
            _train(job, keeper, watch)
    job.progress.done()
    return keeper.outcome(initial)


@contextmanager
def saving(keeper: Keeper) -> Iterator[None]:
    """However a training ends, the save in flight is waited for and its thread ends; no failure of it is lost."""
    failed = True
    try:
        yield
        failed = False
    finally:
        keeper.close(failed=failed)


def _train(job: Job, keeper: "Keeper", watch: Watch) -> None:
    try:
        probes = (*job.probes, keeper.quotients.after)
        for step in steps(keeper.state, keeper.batches, job.training["epochs"], probes):
            keeper.after_step(step)
            if step.epoch_done and keeper.after_epoch(step):
                break
            if number := job.ranks.signal if job.ranks.many else watch.number:
                keeper.save(last=True)
                raise Interrupted(number)
            if keeper.save_due():
                keeper.save()
    except NonFinite as error:
        keeper.stopped = "non-finite"
        ids = [job.dataset.source.ids[position] for position in error.examples.tolist()]
        keeper.non_finite = {"where": error.where, "step": error.step, "epoch": error.epoch, "examples": ids}
        job.progress.say(str(error))
    keeper.stopped = keeper.stopped or "epochs"
    keeper.save(last=True)
