"""The faults the doctor knows, a file for a few of them: `fault(chart, *, thresholds) -> Suspicion | None`."""
