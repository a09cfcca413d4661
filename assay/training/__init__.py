"""Training and prediction: data in memory, networks, the loop, and weights on disk.

Idle threads of torch sleep instead of spinning. OpenMP reads this when torch is loaded, and torch is loaded by modules
of this package alone. Spinning gains up to half of the shortest steps as long as nobody else wants the cores; two runs
at a time on two cores spin against each other and become 20 times as slow. Results are the same.

They spin for some microseconds before they sleep: waking a sleeping thread costs as long, and a step has hundreds of
waits. That saves a quarter of a step of classification and up to 40% of one of detection.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
