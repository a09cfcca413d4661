"""Training and prediction: data in memory, networks, the loop, and weights on disk.

Idle threads of torch sleep instead of spinning. OpenMP reads this when torch is loaded, and torch is loaded by modules
of this package alone. Spinning gains up to half of the shortest steps as long as nobody else wants the cores; two runs
at a time on two cores spin against each other and become 20 times as slow. Results are the same.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
