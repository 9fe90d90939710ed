"""Makes the toy model of these tests importable, in this process and as a script in others."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
