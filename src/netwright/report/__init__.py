"""Reports: how good, beside which baseline, with which interval."""
