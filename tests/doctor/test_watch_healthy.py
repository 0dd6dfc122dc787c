"""Odd and healthy loops: the watch must find nothing, change nothing, and leave nothing behind."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from netwright.doctor.watch import Watch, watch, watch_steps
from netwright.errors import UsageError

LOOPS: dict[str, Callable[[], Watch]] = {}


def healthy(loop: Callable[[], Watch]) -> Callable[[], Watch]:
    LOOPS[loop.__name__] = loop
    return loop


@pytest.mark.parametrize("name", [
    "plain", "accumulation", "gan", "gan_in_one", "frozen_backbone", "frozen_by_no_grad", "low_rank", "cleared_to_zero",
    "lbfgs", "closure_sgd", "scaler", "clipped", "validated", "one_cycle", "cosine_per_step", "plateau", "tied",
    "auxiliary", "truncated", "averaged", "several_passes", "siamese", "two_losses", "full_batch", "warm_up",
    "cleared_by_hand", "model_zero_grad", "sparse", "adversarial", "frozen_norms", "late_group", "attention",
    "optimizer_per_epoch", "sharpness_aware", "lazy", "loss_with_weights", "distilled", "decayed", "multi_head",
    "critic_steps", "penalty", "manual_gradients", "step_decay_per_epoch", "batch_of_one_layer_norm", "checkpointed",
    "prelu_bias_only", "update_bn", "mean_teacher", "scaler_disabled", "unfreezing",
])  # fmt: skip
def test_healthy(name: str) -> None:
    torch.manual_seed(1)
    w = LOOPS[name]()
    assert w.findings == [], str(w.diagnosis)
    assert w.verdict == "healthy"


def net(dropout: float = 0.1, norm: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Linear(8, 32)] + ([nn.BatchNorm1d(32)] if norm else []) + [nn.ReLU()]
    return nn.Sequential(*parts, nn.Dropout(dropout), nn.Linear(32, 3))


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(size, 8)
    return x, x[:, :3].argmax(1)


def loader(count: int = 96) -> DataLoader:
    return DataLoader(TensorDataset(*batch(count)), batch_size=16, shuffle=True)


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 12, after: Callable = lambda: None) -> None:
    for _ in range(count):
        x, y = batch()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after()


@healthy
def plain() -> Watch:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    with watch(model, optimizer, F.cross_entropy) as w:
        steps(model, optimizer, 120)
    return w


@healthy
def accumulation() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        optimizer.zero_grad()
        for index in range(48):
            x, y = batch()
            (F.cross_entropy(model(x), y) / 8).backward()
            if index % 8 == 7:
                optimizer.step()
                optimizer.zero_grad()
    assert not any(note.fault == "E6" for note in w.notes)
    return w


def _gan(
    g: nn.Module, d: nn.Module, w: Watch, og: torch.optim.Optimizer, od: torch.optim.Optimizer, critic: int = 1
) -> Watch:
    judge = nn.BCEWithLogitsLoss()
    with w:
        for _ in range(20):
            for _ in range(critic):
                real, noise = torch.randn(16, 8), torch.randn(16, 4)
                fake = g(noise)
                od.zero_grad()
                loss = judge(d(real), torch.ones(16, 1)) + judge(d(fake.detach()), torch.zeros(16, 1))
                loss.backward()
                od.step()
            og.zero_grad()
            judge(d(fake), torch.ones(16, 1)).backward()
            og.step()
    return w


def _pair() -> tuple[nn.Module, nn.Module]:
    g = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    return g, nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(16, 1))


@healthy
def gan() -> Watch:
    g, d = _pair()
    og, od = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
    return _gan(g, d, watch([g, d], [og, od]), og, od)


@healthy
def gan_in_one() -> Watch:
    g, d = _pair()
    og, od = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
    return _gan(g, d, watch(nn.ModuleDict({"g": g, "d": d}), [og, od]), og, od)


@healthy
def critic_steps() -> Watch:
    g, d = _pair()
    og, od = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
    return _gan(g, d, watch(g, og), og, od, critic=5)


@healthy
def frozen_backbone() -> Watch:
    body = net(0.0)
    body.requires_grad_(False).eval()
    model = nn.Sequential(body, nn.Linear(3, 3))
    optimizer = sgd(model[1])
    with watch(model, optimizer) as w:
        for _ in range(3):
            model.train()
            body.eval()
            steps(model, optimizer, 6)
    assert any(note.fault == "E2" for note in w.notes)
    return w


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.body(x).relu()
        return self.head(x)


@healthy
def frozen_by_no_grad() -> Watch:
    model = Body()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        steps(model, optimizer)
    assert any(note.fault == "E2" for note in w.notes)
    return w


class LowRank(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, base.in_features) * 0.1)
        self.b = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@healthy
def low_rank() -> Watch:
    model = nn.Sequential(LowRank(nn.Linear(8, 64)), nn.ReLU(), nn.Linear(64, 3).requires_grad_(False))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    with watch(model, optimizer) as w:
        steps(model, optimizer)
    return w


@healthy
def cleared_to_zero() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(20):
            x, y = batch()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    return w


@healthy
def cleared_by_hand() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for index in range(20):
            for p in model.parameters():
                if index % 2:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.zero_()
            x, y = batch()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return w


@healthy
def model_zero_grad() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for index in range(20):
            model.zero_grad(set_to_none=bool(index % 2))
            x, y = batch()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return w


def _closed(optimizer: torch.optim.Optimizer, model: nn.Module) -> Watch:
    with watch(model, optimizer) as w:
        for _ in range(6):
            x, y = batch()

            def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    return w


@healthy
def lbfgs() -> Watch:
    model = net(0.0, False)
    return _closed(torch.optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe"), model)


@healthy
def closure_sgd() -> Watch:
    model = net()
    return _closed(sgd(model), model)


def _scaled(enabled: bool) -> Watch:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", enabled=enabled, init_scale=2.0**127)
    scheduler = lr_scheduler.StepLR(optimizer, 1000)
    with watch(model, optimizer) as w, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            x, y = batch()
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
    return w


@healthy
def scaler() -> Watch:
    return _scaled(True)


@healthy
def scaler_disabled() -> Watch:
    return _scaled(False)


@healthy
def clipped() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for index in range(20):
            x, y = batch()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if index % 2:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            else:
                nn.utils.clip_grad_value_(model.parameters(), 0.1)
            optimizer.step()
    return w


@healthy
def validated() -> Watch:
    model = net()
    optimizer = sgd(model)
    data, other = loader(), loader(32)
    with watch(model, optimizer) as w:
        for _ in range(4):
            model.train()
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x, _ in other:
                    model(x)
    assert w.notes == []
    return w


def _per_step(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], count: int = 60) -> Watch:
    model = net()
    optimizer = sgd(model, 0.1)
    scheduler = make(optimizer)
    data = loader()
    with watch(model, optimizer, scheduler=scheduler) as w:
        for _ in range(count // len(data)):
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
    return w


@healthy
def one_cycle() -> Watch:
    return _per_step(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=61))


@healthy
def cosine_per_step() -> Watch:
    return _per_step(lambda o: lr_scheduler.CosineAnnealingLR(o, 60))


@healthy
def warm_up() -> Watch:
    return _per_step(lambda o: lr_scheduler.LambdaLR(o, lambda k: min(1.0, k / 10)))


@healthy
def decayed() -> Watch:
    return _per_step(lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.01, total_iters=10), lr_scheduler.CosineAnnealingLR(o, 50)], [10]))  # fmt: skip


@healthy
def plateau() -> Watch:
    model = net()
    optimizer = sgd(model)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    with watch(model, optimizer, scheduler=scheduler) as w:
        for _ in range(5):
            steps(model, optimizer, 6)
            scheduler.step(0.5)
    return w


@healthy
def step_decay_per_epoch() -> Watch:
    model = net()
    optimizer = sgd(model)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [1, 2], gamma=0.1)
    with watch(model, optimizer, scheduler=scheduler) as w:
        for _ in range(5):
            w.epoch()
            steps(model, optimizer, 6)
            scheduler.step()
    return w


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(11, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 11)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(ids))[0])


@healthy
def tied() -> Watch:
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters())
    with watch(model, optimizer) as w:
        for _ in range(12):
            ids = torch.randint(0, 11, (4, 7))
            optimizer.zero_grad()
            F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
    return w


class Aux(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(8, 32), nn.Linear(32, 3), nn.Linear(32, 3)
        self.never = nn.Linear(32, 3)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        h = self.drop(self.body(x).relu())
        return (self.head(h), self.aux(h)) if self.training else self.head(h)


@healthy
def auxiliary() -> Watch:
    model = Aux()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            model.train()
            for _ in range(6):
                x, y = batch()
                one, two = model(x)
                optimizer.zero_grad()
                (F.cross_entropy(one, y) + 0.3 * F.cross_entropy(two, y)).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                model(batch()[0])
    return w


@healthy
def truncated() -> Watch:
    model = nn.LSTM(4, 8, batch_first=True)
    optimizer = sgd(model)
    state = None
    with watch(model, optimizer) as w:
        for _ in range(12):
            optimizer.zero_grad()
            out, state = model(torch.randn(3, 5, 4), state)
            state = tuple(part.detach() for part in state)
            out.square().mean().backward()
            optimizer.step()
    assert any(note.fault == "E8" for note in w.notes)
    return w


@healthy
def averaged() -> Watch:
    model = net()
    optimizer = sgd(model)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    with watch(model, optimizer) as w:
        steps(model, optimizer, 20, lambda: mean.update_parameters(model))
        copy.deepcopy(model)(batch()[0])
    return w


@healthy
def update_bn() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(2):
            steps(model, optimizer, 10)
            torch.optim.swa_utils.update_bn(loader(), model)
    return w


@healthy
def mean_teacher() -> Watch:
    model = net()
    teacher = copy.deepcopy(model)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(20):
            x, y = batch()
            with torch.no_grad():
                soft = teacher(x).softmax(1)
            optimizer.zero_grad()
            out = model(x)
            (F.cross_entropy(out, y) + F.cross_entropy(out, soft)).backward()
            optimizer.step()
            with torch.no_grad():
                for old, new in zip(teacher.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 0.1)
    return w


@healthy
def several_passes() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(20):
            x, y = batch()
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) + F.mse_loss(model(x + 0.1), model(x - 0.1).detach())).backward()
            optimizer.step()
    return w


@healthy
def siamese() -> Watch:
    model = net()
    optimizer = sgd(model)
    judge = nn.TripletMarginLoss()
    with watch(model, optimizer, judge) as w:
        for _ in range(20):
            optimizer.zero_grad()
            judge(*[model(batch()[0]) for _ in range(3)]).backward()
            optimizer.step()
    return w


@healthy
def two_losses() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(20):
            x, y = batch()
            out = model(x)
            optimizer.zero_grad()
            F.cross_entropy(out, y).backward(retain_graph=True)
            out.square().mean().backward()
            optimizer.step()
    assert w.notes == []
    return w


@healthy
def full_batch() -> Watch:
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = torch.tensor([[0.0], [1], [1], [0]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with watch(model, optimizer) as w:
        for _ in range(150):
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
            w.epoch()
    return w


@healthy
def sparse() -> Watch:
    model = nn.Sequential(nn.Embedding(20, 4, sparse=True), nn.Flatten(), nn.Linear(12, 2))
    one, two = torch.optim.SparseAdam(model[0].parameters()), sgd(model[2])
    with watch(model, [one, two]) as w:
        for _ in range(12):
            for optimizer in (one, two):
                optimizer.zero_grad()
            F.cross_entropy(model(torch.randint(0, 20, (8, 3))), torch.randint(0, 2, (8,))).backward()
            for optimizer in (one, two):
                optimizer.step()
    return w


@healthy
def adversarial() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, y = batch()
            model.eval()
            x.requires_grad_(True)
            F.cross_entropy(model(x), y).backward()
            assert x.grad is not None
            x = (x + 0.1 * x.grad.sign()).detach()
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return w


@healthy
def penalty() -> Watch:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x = batch()[0].requires_grad_(True)
            out = model(x)
            (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
            optimizer.zero_grad()
            (out.square().mean() + (slope.norm(dim=1) - 1).square().mean()).backward()
            optimizer.step()
    return w


@healthy
def manual_gradients() -> Watch:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, y = batch()
            found = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
            for p, g in zip(model.parameters(), found, strict=True):
                p.grad = g
            optimizer.step()
    return w


@healthy
def frozen_norms() -> Watch:
    model = net(0.0)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            model.train()
            model[1].eval()
            steps(model, optimizer, 6)
    assert any(note.fault == "E5" for note in w.notes)
    return w


@healthy
def late_group() -> Watch:
    model = net()
    optimizer = sgd(model[4])
    with watch(model, optimizer) as w:
        steps(model, optimizer, 5)
        optimizer.add_param_group({"params": [*model[0].parameters(), *model[1].parameters()]})
        steps(model, optimizer, 10)
    return w


@healthy
def unfreezing() -> Watch:
    model = net()
    model[0].requires_grad_(False)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        steps(model, optimizer, 5)
        model[0].requires_grad_(True)
        steps(model, optimizer, 10)
    return w


@healthy
def attention() -> Watch:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    with watch(model, optimizer) as w:
        for _ in range(12):
            x = torch.randn(4, 5, 8)
            optimizer.zero_grad()
            F.cross_entropy(model(x).flatten(0, 1), x[..., :3].argmax(-1).flatten()).backward()
            optimizer.step()
    return w


@healthy
def optimizer_per_epoch() -> Watch:
    model = net()
    with watch(model, sgd(model)) as w:
        for _ in range(3):
            steps(model, sgd(model), 6)
    return w


@healthy
def sharpness_aware() -> Watch:
    model = net(0.0)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, y = batch()
            F.cross_entropy(model(x), y).backward()
            moves = [0.01 * p.grad for p in model.parameters() if p.grad is not None]
            with torch.no_grad():
                for p, e in zip(model.parameters(), moves, strict=True):
                    p.add_(e)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, e in zip(model.parameters(), moves, strict=True):
                    p.sub_(e)
            optimizer.step()
            optimizer.zero_grad()
    return w


@healthy
def lazy() -> Watch:
    model = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(3))
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        steps(model, optimizer)
    return w


@healthy
def loss_with_weights() -> Watch:
    model, centres = net(), nn.Parameter(torch.randn(3, 3))
    optimizer = torch.optim.SGD([*model.parameters(), centres], lr=0.05)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, y = batch()
            out = model(x)
            optimizer.zero_grad()
            (F.cross_entropy(out, y) + (out - centres[y]).square().mean()).backward()
            optimizer.step()
    return w


@healthy
def distilled() -> Watch:
    teacher, model = net(), net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, _ = batch()
            optimizer.zero_grad()
            F.mse_loss(model(x), teacher(x)).backward()
            optimizer.step()
    return w


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, task: int) -> torch.Tensor:
        return (self.b if task else self.a)(self.body(x).relu())


@healthy
def multi_head() -> Watch:
    model = Heads()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for index in range(24):
            x, y = batch()
            optimizer.zero_grad()
            F.cross_entropy(model(x, index % 2), y).backward()
            optimizer.step()
    return w


@healthy
def batch_of_one_layer_norm() -> Watch:
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(20):
            x, y = batch(1)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return w


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = net(), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=True))


@healthy
def checkpointed() -> Watch:
    model = Checkpointed()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(12):
            x, y = batch()
            optimizer.zero_grad()
            F.cross_entropy(model(x.requires_grad_(True)), y).backward()
            optimizer.step()
    return w


@healthy
def prelu_bias_only() -> Watch:
    model = net()
    model.requires_grad_(False)
    model[4].requires_grad_(True)
    optimizer = sgd(model[4])
    with watch(model, optimizer) as w:
        steps(model, optimizer)
    return w


def _trained(watched: bool, seed: int = 3) -> list[bytes]:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 3)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=130)
    judge = nn.CrossEntropyLoss()

    def loop() -> list[float]:
        losses = []
        for _ in range(120):
            x, y = torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,))
            optimizer.zero_grad()
            loss = judge(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        return losses

    if watched:
        with watch(model, optimizer, judge, scheduler=scheduler) as w:
            losses = loop()
        assert w.verdict == "healthy"
    else:
        losses = loop()
    state = [t.numpy().tobytes() for t in model.state_dict().values()]
    inner = [
        t.numpy().tobytes() for one in optimizer.state.values() for t in one.values() if isinstance(t, torch.Tensor)
    ]
    return [*state, *inner, repr(losses).encode(), torch.get_rng_state().numpy().tobytes()]


def test_not_a_bit_is_changed() -> None:
    assert _trained(True) == _trained(False)


def _patched() -> list[object]:
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    kinds = [nn.Module, nn.Sequential, nn.LSTM, nn.Linear, torch.optim.Optimizer, torch.amp.GradScaler, DataLoader]
    kinds += [one for one in vars(lr_scheduler).values() if isinstance(one, type)]
    clip = nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_
    return [
        torch.autograd.backward, *[dict(vars(kind)) for kind in kinds], dict(_global_optimizer_pre_hooks),
        dict(_global_optimizer_post_hooks), [cell.cell_contents for one in clip for cell in one.__closure__ or ()],
        dict(nn.modules.module._global_forward_pre_hooks), clip,
    ]  # fmt: skip


class Stop(Exception):
    pass


def test_all_is_put_back_after_an_exception() -> None:
    before = _patched()
    model = nn.Sequential(nn.Linear(8, 3))
    optimizer = sgd(model)
    w = watch(model, optimizer)
    with pytest.raises(Stop) as caught, w:  # noqa: PT012
        assert _patched() != before
        steps(model, optimizer, 3)
        raise Stop("mine")
    assert caught.value.args == ("mine",)
    assert _patched() == before
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert "step" not in vars(optimizer)
    assert "zero_grad" not in vars(optimizer)
    assert w.verdict == "healthy"


def test_two_watches_in_any_order() -> None:
    before = _patched()
    one, two = net(), net()
    first, second = sgd(one), sgd(two)
    a, b = watch(one, first), watch(two, second)
    a.__enter__()
    b.__enter__()
    steps(one, first, 4)
    a.__exit__(None, None, None)
    steps(two, second, 4)
    b.__exit__(None, None, None)
    assert _patched() == before
    assert (a.verdict, b.verdict) == ("healthy", "healthy")


def test_copies_and_files_made_inside_hold_nothing_of_it() -> None:
    model = net()
    optimizer = sgd(model)
    before = {id(part): set(vars(part)) for part in model.modules()}
    with watch(model, optimizer):
        steps(model, optimizer, 2)
        twin, other = copy.deepcopy(model), copy.deepcopy(optimizer)
        for part in (*twin.modules(), *model.modules()):
            assert not part._forward_hooks
            assert not part._forward_pre_hooks
        assert not other._optimizer_step_pre_hooks
        assert {id(part): set(vars(part)) for part in model.modules()} == before


def test_a_few_steps_of_somebody_elses_step() -> None:
    model = net()
    optimizer = sgd(model)

    def step(given: tuple[torch.Tensor, torch.Tensor]) -> None:
        x, y = given
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    w = watch_steps(step, [batch() for _ in range(6)], model=model, optimizer=optimizer)
    assert [found.fault for found in w.findings] == ["E1"]


def test_accumulation_longer_than_the_few_steps_is_no_fault() -> None:
    model = net()
    optimizer = sgd(model)

    def step(given: tuple[torch.Tensor, torch.Tensor]) -> None:
        x, y = given
        (F.cross_entropy(model(x), y) / 8).backward()

    w = watch_steps(step, [batch() for _ in range(6)], model=model, optimizer=optimizer)
    assert w.findings == []
    assert w.verdict == "unsure"


def test_nothing_inside_is_unsure_and_mistakes_are_named() -> None:
    model = net()
    with watch(model, sgd(model)) as w:
        pass
    assert w.verdict == "unsure"
    assert w.diagnosis.to_json()["findings"] == []
    with pytest.raises(UsageError, match="Module was expected"):
        watch([1], sgd(model))  # type: ignore[list-item]
    with pytest.raises(UsageError, match="optimizer was expected"):
        watch(model, model)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="function or None"):
        watch(model, sgd(model), 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no diagnosis yet"):
        _ = watch(model, sgd(model)).verdict
