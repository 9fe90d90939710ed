"""Makes the comparison with the engine, and the cells of the program's tests, importable."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "program")]
