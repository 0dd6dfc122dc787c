"""The benchmark stands beside the package, not in it: its folder has to be found."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
