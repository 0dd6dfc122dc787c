"""The worked examples of CONTRIBUTING.md: each file, dropped into a copy of the package, is a part with its test."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S)
EXAMPLES = {Path(path).stem: (path, text) for path, text in BLOCKS if path.startswith("src/")}
TESTS = {Path(path).stem.removeprefix("test_"): (path, text) for path, text in BLOCKS if path.startswith("tests/")}
CONTRACTS = {"log_cosh": "test_losses.py", "sine": "test_activations.py", "all_conv": "test_networks.py test_papers.py"}


def test_each_example_has_its_test():
    assert set(EXAMPLES) == set(TESTS) == set(CONTRACTS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_one_file_and_its_test_are_a_new_part(name, tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "tests" / "contracts", tmp_path / "tests" / "contracts")
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "tests" / "support")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, text in (EXAMPLES[name], TESTS[name]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    contracts = [f"tests/contracts/{file}" for file in CONTRACTS[name].split()]
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", name, TESTS[name][0], *contracts]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "NETWRIGHT_LANG": "en"}
    found = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-500:]
    assert re.search(r"\d+ passed|\.{4,}", found.stdout), found.stdout[-500:]
