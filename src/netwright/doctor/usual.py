"""Changes worth a try where no symptom points anywhere: they are the doctor's controls, too."""

from netwright.doctor.chart import Chart
from netwright.doctor.suspicion import Suspicion


def usual(chart: Chart, named: set[str]) -> list[Suspicion]:
    """The usual changes as faint suspicions, for the faults that nothing has named."""
    return []
