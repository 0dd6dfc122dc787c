"""Slips in the inputs: scale, gaps, layout, order, augmentation, what validation and training share (A)."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, Shuffled, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import BCE, CE, MSE, Forecast, Reader, adam, column, mlp, sgd, small_cnn
from bench.doctor.second.registry import seeded
from bench.doctor.second.sets import Split


@seeded("A1", "penguins", well=0.85)
def penguins_in_grams(seed: int, amount: bool) -> Case:
    found, model = sets.penguins(seed, scaled=not amount), mlp(4, 24, 3)
    return fit(found, model, CE(), sgd(model, 0.02), epochs=25, size=16, seed=seed)


@seeded("A1", "houses")
def houses_year_as_it_is(seed: int, amount: bool) -> Case:
    class HousePrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer_1, self.layer_2, self.layer_3 = nn.Linear(5, 48), nn.Linear(48, 48), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer_3(torch.tanh(self.layer_2(torch.tanh(self.layer_1(x)))))

    found, model = sets.standard_targets(sets.houses(seed, scaled=not amount)), HousePrice()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@seeded("A1", "loans")
def loans_income_in_full(seed: int, amount: bool) -> Case:
    found, model = sets.loans(seed, scaled=not amount), mlp(5, 32, 1)
    score = held_out(found.test, over_zero)
    return fit(column(found), model, BCE(), adam(model, 5e-3), epochs=25, seed=seed, score=score)


@seeded("A1", "parity", cured=1.0, just=8.0, gross=255.0)
def parity_grey_levels(seed: int, amount: float) -> Case:
    found, model = pictures.parity(seed).inputs(lambda x: x * amount), small_cnn(1, 8, 2)
    return fit(found, model, CE(), sgd(model, 0.05), epochs=14, batches=loader(*found.train, 32, seed))


@seeded("A1", "series", cured=True, clear=False)
def series_in_degrees(seed: int, amount: bool) -> Case:
    """Inputs as measured; targets are standardised either way."""
    found, raw = made.series(seed), made.series(seed, scaled=False)
    if not amount:
        found = Split(*((x * 12, y) for (x, _), (_, y) in zip(
            (raw.train, raw.validation, raw.test), (found.train, found.validation, found.test), strict=True
        )))  # fmt: skip
    model = Forecast("RNN")
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


@seeded("A2", "gratings", cured=1.0, just=16.0, clear=255.0)
def gratings_divided_again(seed: int, amount: float) -> Case:
    found, model = pictures.gratings(seed).inputs(lambda x: x / amount), small_cnn(1, 10, 3)
    return fit(found, model, CE(), sgd(model, 0.03), epochs=14, seed=seed)


@seeded("A2", "scurve", cured=1.0, just=100.0, clear=3000.0)
def scurve_in_kilometres(seed: int, amount: float) -> Case:
    found = sets.standard_targets(sets.scurve(seed)).inputs(lambda x: x / amount)
    model = mlp(3, 40, 40, 1)
    return fit(found, model, MSE(), adam(model, 3e-3), epochs=25, answer=as_is, seed=seed)


@seeded("A3", "loans", cured=0.0, just=0.002, clear=0.1)
def loans_with_gaps(seed: int, amount: float) -> Case:
    found, model = sets.loans(seed), mlp(5, 32, 16, 2)
    holes = torch.rand(found.train[0].shape, generator=torch.Generator().manual_seed(9 + seed)) < amount
    inputs = torch.where(holes, torch.full_like(found.train[0], float("nan")), found.train[0])
    found = found.training(inputs, found.train[1])
    return fit(found, model, F.cross_entropy, adam(model, 5e-3), epochs=15, batches=loader(*found.train, 40, seed))


@seeded("A3", "angle", also="A1 D9", cured=0.0, clear=0.08)
def angle_gaps_as_9999(seed: int, amount: float) -> Case:
    """A code for `not measured` that nobody took out; cured, the column's mean stands there."""
    found, draws = sets.standard_targets(sets.angle(seed)), torch.Generator().manual_seed(seed)
    found = found.inputs(lambda x: torch.where(torch.rand(x.shape, generator=draws) < amount, 9999.0, x))
    model = mlp(4, 48, 48, 1)
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)


@seeded("A4", "patches")
def patches_reshaped_to_channels_first(seed: int, amount: bool) -> Case:
    found = pictures.patches(seed)
    if amount:
        found = found.inputs(lambda x: x.reshape(-1, 3, 10, 10))
    else:
        found = found.inputs(lambda x: x.permute(0, 3, 1, 2).contiguous())
    model, found = small_cnn(3, 10, 4), sets.only(found, 100)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=30, size=16, seed=seed)


@seeded("A4", "credit", also="A5 A13")
def credit_reshaped_where_to_be_transposed(seed: int, amount: bool) -> Case:
    """The file holds a column a row; `reshape` gives the right shape and mixes up the rows."""

    def read(x: Tensor) -> Tensor:
        stored = x.T.contiguous()
        return stored.reshape(-1, 14) if amount else stored.T

    found, model = sets.credit(seed).inputs(read), mlp(14, 48, 2)
    return fit(found, model, CE(), adam(model, 3e-3), epochs=20, seed=seed)


@seeded("A4", "rhythm", also="C15 B9 E8", contract="time and examples change places: one example's answer needs others")
def rhythm_batch_first_forgotten(seed: int, amount: bool) -> Case:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.fc = nn.GRU(2, 24, batch_first=not amount), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            states, _ = self.gru(x)
            return self.fc(states[:, -1])

    found, model = made.rhythm(seed), Model()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=15, seed=seed)


@seeded("A9", "quantiles", also="D3")
def quantiles_file_sorted_by_class(seed: int, amount: bool) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    found = sets.ordered(found, found.train[1]) if amount else found
    data = torch.utils.data.TensorDataset(*found.train)
    batches = torch.utils.data.DataLoader(data, batch_size=16, shuffle=False)
    return fit(found, model, CE(), sgd(model, 0.05), epochs=25, batches=batches)


@seeded("A9", "houses", also="D3")
def houses_sorted_by_price(seed: int, amount: bool) -> Case:
    found, model = sets.standard_targets(sets.houses(seed)), mlp(5, 48, 48, 1)
    if amount:
        found = sets.ordered(found, found.train[1][:, 0])
    return fit(found, model, MSE(), sgd(model, 0.05), epochs=25, answer=as_is, batches=cut(*found.train, 16))


@seeded("A9", "arrows", also="D3")
def arrows_one_folder_after_another(seed: int, amount: bool) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    found = sets.ordered(found, found.train[1]) if amount else found
    return fit(found, model, CE(), sgd(model, 0.03), epochs=14, batches=cut(*found.train, 32))


def others_changed(found: Split, change: Callable[[Tensor], Tensor]) -> Split:
    """Validation and test, not training."""
    return Split(found.train, *((change(x), y) for x, y in (found.validation, found.test)))


@seeded("A10", "glyphs")
def glyphs_only_training_normalised(seed: int, amount: bool) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    found = others_changed(found, lambda x: (x + 0.4) / 2 * 255) if amount else found
    return fit(found, model, CE(), adam(model, 4e-3), epochs=14, seed=seed)


@seeded("A10", "circuit")
def circuit_each_part_by_its_own_numbers(seed: int, amount: bool) -> Case:
    """Validation and test are scaled to between 0 and 1, training to mean 0 and deviation 1."""
    found, model = sets.standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    if amount:
        found = others_changed(found, lambda x: (x - x.amin(0)) / (x.amax(0) - x.amin(0)))
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


class Augmented(Shuffled):
    """The little loader with a change to each batch of inputs."""

    def __init__(self, found: Split, seed: int, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(*found.train, 32, seed)
        self.change = change

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in super().__iter__():
            yield self.change(inputs), targets


@seeded("A11", "arrows", cured=0.0, just=0.25, clear=0.5)
def arrows_mirrored_at_random(seed: int, amount: float) -> Case:
    """Mirrored, an arrow to the left is one to the right."""

    def flip(x: Tensor) -> Tensor:
        return torch.where(torch.rand(len(x), 1, 1, 1) < amount, x.flip(-1), x)

    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=14, batches=Augmented(found, seed, flip))


@seeded("A11", "dots", cured=0, clear=5, gross=8)
def dots_erased_at_random(seed: int, amount: int) -> Case:
    """A square is erased in each picture: with it go dots."""

    def erase(x: Tensor) -> Tensor:
        x = x.clone()
        for picture in x if amount else []:
            r, c = (int(torch.randint(0, 13 - amount, ())) for _ in range(2))
            picture[:, r : r + amount, c : c + amount] = 0
        return x

    found, model = pictures.dots(seed), small_cnn(1, 12, 4)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=14, batches=Augmented(found, seed, erase))


@seeded("A11", "reviews", cured=0.0, clear=0.6)
def reviews_words_swapped(seed: int, amount: float) -> Case:
    """Words are replaced by any others as augmentation, also those that tell."""

    def swap(x: Tensor) -> Tensor:
        others = torch.randint(1, len(made.WORDS), x.shape)
        return torch.where((torch.rand(x.shape) < amount) & (x != 0), others, x)

    found, model = made.reviews(seed), Reader()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=15, batches=Augmented(found, seed, swap))


@seeded("A8", "penguins", contract="validation holds examples of the training part")
def penguins_split_after_doubling(seed: int, amount: bool) -> Case:
    """Rows were doubled to have more, and then split."""
    found, model = sets.penguins(seed), mlp(4, 24, 3)
    if amount:
        found = Split(found.train, (found.train[0][:150], found.train[1][:150]), found.test)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=25, size=16, seed=seed)


@seeded("A8", "loans")
def loans_reminders_sent(seed: int, amount: bool) -> Case:
    """A column written after the end of the loan; for a new loan it is empty."""

    def with_column(pair: tuple[Tensor, Tensor], told: bool) -> tuple[Tensor, Tensor]:
        sent = pair[1].float() * 2 - 1 if told and amount else torch.zeros(len(pair[0]))
        return torch.cat([pair[0], sent[:, None]], 1), pair[1]

    found, model = sets.loans(seed), mlp(6, 32, 2)
    parts = ((found.train, True), (found.validation, True), (found.test, False))
    found = Split(*(with_column(pair, told) for pair, told in parts))
    return fit(found, model, CE(), adam(model, 5e-3), epochs=20, seed=seed)
