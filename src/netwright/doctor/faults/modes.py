"""E5 to E8: modes, clipping and accumulation, randomness, and what is carried from batch to batch."""

from torch import nn

from netwright.catalogue import FAULTS
from netwright.doctor.changes.loop import fresh_state, ordinary_step, train_mode
from netwright.doctor.changes.structure import less_dropout, rate_of
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.loop import watched
from netwright.doctor.faults.norms import awake_dropouts
from netwright.doctor.gauges.audit import audit
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say


@FAULTS.add(
    "E5", title="wrong mode", source="doctor catalogue E5",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
x = torch.randn(8, 4)
for mode in (True, False):
    net.train(mode)
    before = net[1].running_mean.clone()
    once, twice = net(x), net(x)
    print("train" if mode else "eval", "- two passes agree:", torch.equal(once, twice),
          "- running statistics move:", not torch.equal(before, net[1].running_mean))
""",
)  # fmt: skip
def wrong_mode(chart: Chart) -> Suspicion | None:
    """The network trains in evaluation mode, or is judged in training mode.

    Batch norm and dropout act differently in the two modes. After an evaluation without `model.train()`, dropout stays
    off and batch norm uses statistics that no longer follow the data. An evaluation in training mode drops units, lets
    examples depend on their neighbours, and moves the running statistics with data that are not for training.

    Seen exactly: the flag `training` of every batch norm and dropout while steps are made, and a dropout that acts in
    evaluation mode (F.dropout without `training=self.training`). Dropout left on to measure how sure a network is
    (Monte Carlo dropout) costs score on purpose; it is a finding where the score is clearly better without.

    Batch norms kept in evaluation mode on purpose, in fine-tuning with small batches, are a note. A network without
    such layers has no modes to mix up. When evaluation is far worse than training on the same examples although the
    modes are right, look at C13.

    Call `model.train()` at the beginning of every epoch and `model.eval()` with `torch.no_grad()` before each
    evaluation.
    """
    subject = chart.subject
    found = watched(chart, "E5", possible(train_mode(subject)))
    if found is not None and not found.note:
        return found
    if isinstance(subject, CodeSubject) and subject.own_step is None and not subject.model.training:
        moody = [name for name, part in subject.model.named_modules() if _has_mode(part) and not part.training]
        if moody:
            evidence = {"modules": len(moody), "first": moody[0], "model.training": False}
            return Suspicion("E5", say("training in eval mode"), moody[0], evidence, 1.0, exact=True,
                             harm=say("dropout is off, and batch norm does not follow the data"),
                             changes=possible(train_mode(subject)))  # fmt: skip
    awake = awake_dropouts(chart) if isinstance(subject, CodeSubject) else []
    if awake:
        rate = max(rate_of(op) for op in awake)
        return Suspicion("E5", say("dropout that never rests"), named([op.where for op in awake]),
                         {"p": rate, "acts in evaluation mode": True}, 0.7,
                         harm=say("the same question gets different answers"),
                         changes=possible(less_dropout(chart, 1.0), less_dropout(chart)))  # fmt: skip
    return found


def _has_mode(module: nn.Module) -> bool:
    dropping = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return dropping or isinstance(module, nn.modules.batchnorm._BatchNorm)


@FAULTS.add(
    "E6", title="clipping or accumulation out of order", source="doctor catalogue E6",
    demo="""
import torch

torch.manual_seed(0)
x, y = torch.randn(64, 5), torch.randn(64)
w = torch.zeros(5, requires_grad=True)
((x @ w - y) ** 2).mean().backward()
whole = w.grad.clone()
for divide in (False, True):
    w.grad = None
    for rows in torch.arange(64).split(16):  # four small batches in place of one
        loss = ((x[rows] @ w - y[rows]) ** 2).mean()
        (loss / 4 if divide else loss).backward()
    print("divided by 4:" if divide else "summed:", (w.grad.norm() / whole.norm()).item(), "times the gradient of all")
""",
)  # fmt: skip
def clip_out_of_order(chart: Chart) -> Suspicion | None:
    """Gradients are clipped when it is too late or too early, or several are summed without being averaged.

    Clipping belongs between `backward()` and `step()`: before, there is nothing to clip; after, it was used already.
    With a gradient scaler the gradients are thousands of times too large until they are unscaled; clipped before that,
    they all come out at the same tiny size. Accumulating k batches sums their gradients: without dividing the loss by
    k, the rate is k times what it says.

    Seen exactly: the order of the calls, the change of gradients between `backward()` and `step()`, and how many
    `backward()` belong to a step.

    A summed gradient behaves like a rate too high (D1). With Adam the factor k is divided away and does little harm;
    with SGD it is the rate. Scaled losses and several losses of one batch are no accumulation.

    Clip right before `step()`, after `scaler.unscale_(optimizer)`; divide the loss by k; step after the last batch of
    an epoch, too.
    """
    return watched(chart, "E6", possible(ordinary_step(chart.subject)))


@FAULTS.add(
    "E7", title="randomness that repeats", source="doctor catalogue E7",
    demo="""
import torch
from torch import nn

x = torch.ones(1, 10)
drop = nn.Dropout(0.5)
for inside in (True, False):
    torch.manual_seed(0)
    masks = set()
    for step in range(100):
        if inside:
            torch.manual_seed(0)  # a seed inside the loop
        masks.add(tuple((drop(x) > 0)[0].tolist()))
    print("seed in the loop:" if inside else "seed before it:", len(masks), "different dropout masks in 100 steps")
""",
)  # fmt: skip
def repeated_randomness(chart: Chart) -> Suspicion | None:
    """The same random numbers come again and again: the same mask, the same augmentation, the same order.

    A seed set inside the loop gives every step the same dropout mask: half of the network is never trained, and the
    other half never regularised. Workers of a loader that share one NumPy seed augment alike; an order drawn from the
    same seed in every epoch shows the same neighbours for ever.

    Seen exactly: the state of the random generator at each step of a network that draws random numbers; for data, the
    batches of two epochs compared.

    A loader without shuffling is A9, and harmless where the data come in random order anyhow. A fixed order in
    validation is right. Reproducible runs set their seed once, before the loop.

    Seed once, before the first epoch; give each worker `worker_init_fn` with a seed of its own, or a
    `torch.Generator` to the loader.
    """
    return watched(chart, "E7", possible(ordinary_step(chart.subject)))


@FAULTS.add(
    "E8", title="state carried from batch to batch", source="doctor catalogue E8",
    demo="""
import torch
from torch import nn

class Reader(nn.GRU):
    def __init__(self, keep):
        super().__init__(3, 4, batch_first=True)
        self.keep, self.state = keep, None

    def forward(self, x):
        out, state = super().forward(x, self.state)
        self.state = state.detach() if self.keep else None
        return out

x, other = torch.ones(2, 5, 3), torch.randn(2, 5, 3)
for keep in (True, False):
    net = Reader(keep)
    first, _, again = net(x), net(other), net(x)
    print("keeps its state:" if keep else "starts anew:", "same answer again:", torch.allclose(first, again))
""",
)  # fmt: skip
def carried_state(chart: Chart) -> Suspicion | None:
    """What one batch leaves behind changes the answers to the next, though the two have nothing to do with each other.

    A recurrent network that keeps its hidden state begins each sequence with the memory of a stranger. A metric that is
    not reset averages over epochs. Averaged weights mixed with current ones, or the best weights not put back before
    the test, give a network that nobody trained.

    Seen exactly: the same examples, in evaluation mode and with the same random numbers, are answered before and after
    another batch. If the answers differ, the attribute that changed in between is named.

    A state kept on purpose, over the consecutive parts of one long text, is right; then the batches must follow each
    other in order. Running statistics of batch norm do not change in evaluation. Dropout left on is E5.

    Start every sequence with a zero state, or pass the state in and out of `forward`; reset metrics at the start of an
    epoch.
    """
    found = watched(chart, "E8", possible(ordinary_step(chart.subject)))
    if found is not None and not found.note:
        return found
    kept = audit(chart).remembers
    if not kept or not isinstance(chart.subject, CodeSubject):
        return found
    path, names = next(iter(kept.items()))
    module = chart.subject.model.get_submodule(path)
    where = ".".join(part for part in (path, names[0]) if part)
    evidence = {"attributes": ", ".join(names), "answers_differ": True}
    return Suspicion("E8", say("state carried from batch to batch"), where, evidence, 0.75,
                     harm=say("an answer depends on the batch before"),
                     changes=possible(fresh_state(chart.subject, module, names)))  # fmt: skip
