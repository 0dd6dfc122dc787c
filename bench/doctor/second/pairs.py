"""Two slips at once; the fix takes both away, and harm is shown for the two together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, over_zero
from bench.doctor.programs.sets import standard_targets
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import BCE, CE, MSE, Forecast, Reader, adam, column, mlp, sgd, small_cnn
from bench.doctor.second.registry import seeded


@seeded("A1 B4", "houses")
def houses_raw_behind_a_sigmoid(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.houses(seed, scaled=not amount)), mlp(5, 48, 48, 1)
    if amount:
        model.append(nn.Sigmoid())
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=25, answer=as_is, seed=seed)


@seeded("B1 D2", "glyphs", also="D6")
def glyphs_softmax_twice_and_slow(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = small_cnn(1, 12, 10, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).softmax(-1) if amount else self.body(x)

    found, model = pictures.glyphs(seed), Net()
    return fit(found, model, CE(), sgd(model, 1e-3 if amount else 0.03), epochs=14, seed=seed)


@seeded("A12 A1", "circuit")
def circuit_everything_raw(seed: int, amount: bool) -> Case:
    found = sets.circuit(seed, scaled=False) if amount else standard_targets(sets.circuit(seed))
    model = mlp(4, 40, 40, 1)
    return fit(found, model, MSE(), sgd(model, 0.01), epochs=25, answer=as_is, seed=seed)


@seeded("C4 D6", "credit", also="D2")
def credit_sigmoids_and_three_epochs(seed: int, amount: bool) -> Case:
    found = sets.credit(seed)
    model = mlp(14, 24, 24, 24, 24, 1, act=nn.Sigmoid if amount else nn.ReLU)
    score = held_out(found.test, over_zero)
    return fit(column(found), model, BCE(), adam(model, 3e-3), epochs=3 if amount else 20, seed=seed, score=score)


@seeded("C14 D1", "reviews")
def reviews_dropout_and_fast(seed: int, amount: bool) -> Case:
    class Net(Reader):
        def forward(self, tokens: Tensor) -> Tensor:
            return super().forward(tokens) if not amount else F.dropout(super().forward(tokens), 0.8, self.training)

    found, model = made.reviews(seed), Net()
    return fit(found, model, CE(), adam(model, 0.3 if amount else 5e-3), epochs=10, seed=seed)


@seeded("E1 D1", "quantiles")
def quantiles_never_cleared_and_fast(seed: int, amount: bool) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    optimizer = sgd(model, 1.0 if amount else 0.05)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        if not amount:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return fit(found, model, F.cross_entropy, optimizer, epochs=25, seed=seed, step=train_step)


@seeded("A9 D1", "arrows", also="D3")
def arrows_sorted_and_fast(seed: int, amount: bool) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    found = sets.ordered(found, found.train[1]) if amount else found
    return fit(found, model, CE(), sgd(model, 0.2 if amount else 0.03), epochs=14, batches=cut(*found.train, 32))


@seeded("B8 C8", "bags")
def bags_broadcast_and_linear(seed: int, amount: bool) -> Case:
    found = standard_targets(sets.bags(seed))
    model = nn.Sequential(nn.Flatten(), *mlp(20, 64, 64, 1, act=nn.Identity if amount else nn.ReLU))
    score = held_out(found.test, as_is)
    found = found.targets(lambda y: y.reshape(-1)) if amount else found

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()

    return fit(found, model, loss, adam(model, 3e-3), epochs=20, seed=seed, score=score)


@seeded("E2 D7", "series")
def series_frozen_and_decayed(seed: int, amount: bool) -> Case:
    found, model = made.series(seed), Forecast()
    for parameter in model.rnn.parameters():
        parameter.requires_grad = not amount
    best = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.5 if amount else 0.0
    )
    return fit(found, model, MSE(), best, epochs=20, answer=as_is, seed=seed)


@seeded("C2 D1", "stripes")
def stripes_large_start_and_fast(seed: int, amount: bool) -> Case:
    found, model = sets.stripes(seed, 1500), mlp(2, 64, 64, 3)
    for part in model.modules():
        if amount and isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=2.0)
    return fit(found, model, CE(), adam(model, 0.2 if amount else 5e-3), epochs=30, seed=seed)
