"""Changes worth a try where no symptom points anywhere: the doctor's own controls, believed least."""

from collections.abc import Callable, Iterator

from netwright.catalogue import FAULTS
from netwright.doctor.changes.data import standardised_inputs
from netwright.doctor.changes.penalties import no_decay
from netwright.doctor.changes.signal import swap_activations
from netwright.doctor.changes.steps import longer, other_optimizer, rate_times
from netwright.doctor.changes.structure import less_dropout, wider
from netwright.doctor.chart import Chart
from netwright.doctor.subject import Change
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.language import say

FAINT = 0.1
"""How much such a suspicion is believed: one with a symptom comes first."""
TRIES: tuple[tuple[str, Callable[[Chart], Change | None]], ...] = (
    ("A1", lambda chart: standardised_inputs(chart.subject)),
    ("C9", lambda chart: swap_activations(chart) if chart.hidden else None),
    ("D1", lambda chart: rate_times(chart.subject, 0.1)),
    ("D2", lambda chart: rate_times(chart.subject, 10)),
    ("D4", lambda chart: other_optimizer(chart.subject, "adam")),
    ("D7", lambda chart: no_decay(chart.subject)),
    ("C14", lambda chart: less_dropout(chart)),
    ("C10", lambda chart: wider(chart)),
    ("D6", lambda chart: longer(chart.subject) if chart.subject.total else None),
)


def usual(chart: Chart, named: set[str]) -> list[Suspicion]:
    """The usual changes as faint suspicions, for the faults that nothing has named."""
    return list(_found(chart, named))


def _found(chart: Chart, named: set[str]) -> Iterator[Suspicion]:
    for fault, make in TRIES:
        if fault in named or fault not in FAULTS:
            continue
        try:
            change = make(chart)
        except (Unmeasured, RuntimeError, ValueError, TypeError, LookupError):
            continue
        if change is not None:
            where = say("tried without a symptom")
            yield Suspicion(fault, say(str(FAULTS[fault].facts["title"])), where, {}, FAINT, changes=[change])
