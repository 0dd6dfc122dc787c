"""The demo on every fault's card runs, quickly, and says something."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwright.catalogue import FAULTS

NAMES = [name for name, part in FAULTS.items() if part.facts.get("demo")]


def test_every_fault_of_the_signal_section_has_a_demo() -> None:
    wanted = {f"C{place}" for place in range(1, 17)}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("C")])
def test_card_is_half_a_page(name: str) -> None:
    words = (FAULTS[name].build.__doc__ or "").split()
    assert 90 <= len(words) <= 200


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_demo_runs_and_prints(name: str, tmp_path: Path) -> None:
    text = FAULTS[name].facts["demo"].strip() + "\n"
    assert len(text.splitlines()) <= 22
    script = tmp_path / f"demo_{name}.py"
    script.write_text("import torch\ntorch.set_num_threads(1)\n" + text)
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.strip()
    assert time.monotonic() - began < 60  # most of it starts Python and torch
