"""What tests of the native library share: its instruction sets, and floats at which kernels go wrong."""
import numpy as np

from qnn import backend

ISAS = [row["name"] for row in backend.isa_table() if row["is_usable"]]
EDGES = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1e-39, -1e-39, 1.2e-38, -1.2e-38, 3.4e38,
                  -3.4e38, 1, -1], np.float32)


def floats(*shape, seed=0):
    """Normal numbers with special values strewn in."""
    rs = np.random.RandomState(seed)
    x = rs.randn(*shape).astype(np.float32)
    chosen = rs.rand(*shape) < 0.2
    x[chosen] = rs.choice(EDGES, chosen.sum())
    return x
