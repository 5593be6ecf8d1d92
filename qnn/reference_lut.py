"""Reference of look-up-table layers, in plain numpy: what native/lut_train.c, MXNet graphs and packed tables are tested
against.

    y1 = sum_i W[i] prod_j (x_j if bit j of i else 1 - x_j),   i = 0..2^n - 1       (bit 0 of i: the node's input 0)
    y2 = ((y1 - mean) rstd) gamma + beta,   rstd = 1 / sqrt(max(var, 1e-5));  y = y2 > 0.5, or y2 clipped to 0..1

Data are (frames, in_nodes), connections (num_nodes, n) integers, W (num_nodes, 2^n), all float32. The sum is evaluated
as a tree of lerps, a + x (b - a), bit 0 first, each operation rounded to float32: C does the same, so tables decided
here are those of the training graph, bit for bit. Source: BinaryBrain's StochasticLut and DifferentiableLut.
"""
import numpy as np

MIN_INPUTS, MAX_INPUTS = 2, 6
VAR_FLOOR = np.float32(1e-5)
SMOOTH = (np.float32(0.25), np.float32(0.75))  # what a bit becomes, so that gradient reaches all entries of the table
HARD = (np.float32(0), np.float32(1))
LEVELS = {"smooth": SMOOTH, "hard": HARD}

# ---- the node --------------------------------------------------------------------------------------------------------


def lut_input(x, mode):
    """real: clip(x, 0, 1); smooth: x > 0.5 ? 0.75 : 0.25; hard: x > 0.5 ? 1 : 0."""
    x = np.asarray(x, np.float32)
    if mode == "real":
        return np.where(x > 0, np.minimum(x, np.float32(1)), np.float32(0))  # NaN -> 0
    low, high = LEVELS[mode]
    return np.where(x > np.float32(0.5), high, low)


def used_table(weight, lut_binarize=False, clip_weight=True):
    """The entries that forward and dx see: W > 0.5 for lut_binarize, else W clipped to 0..1 (its gradient is dW's)."""
    weight = np.asarray(weight, np.float32)
    if lut_binarize:
        return (weight > np.float32(0.5)).astype(np.float32)
    return np.clip(weight, np.float32(0), np.float32(1)) if clip_weight else weight


def multilinear(x, table):
    """x: (..., n) in 0..1, table: broadcastable (..., 2^n). Returns y1 (...,), evaluated as a tree of lerps."""
    level = table
    for j in range(x.shape[-1]):
        a, b = level[..., 0::2], level[..., 1::2]
        level = a + x[..., j, None] * (b - a)
    return level[..., 0]


def corners(n):
    """(2^n, n) bits of the indices: corners(2) = [[0, 0], [1, 0], [0, 1], [1, 1]]."""
    return (np.arange(2 ** n)[:, None] >> np.arange(n)) & 1


def normalize(y1, mean, var, gamma, beta):
    """y2 of y1, in the order that C has."""
    rstd = np.float32(1) / np.sqrt(np.maximum(np.asarray(var, np.float32), VAR_FLOOR))
    return ((y1 - np.asarray(mean, np.float32)) * rstd) * np.float32(gamma) + np.float32(beta)


# ---- the layer -------------------------------------------------------------------------------------------------------


def lut_statistics(y1):
    """(mean, var) over the frames; var is floored, as the layer keeps it."""
    y1 = np.asarray(y1, np.float64)
    return y1.mean(0).astype(np.float32), np.maximum(y1.var(0).astype(np.float32), VAR_FLOOR)


def lut_forward(x, connections, weight, mode="smooth", batch_norm=True, binarize=True, lut_binarize=False,
                clip_weight=True, gamma=0.3, beta=0.5, mean=None, var=None):
    """y: (frames, num_nodes). Statistics are those of the frames unless mean and var (num_nodes,) are given."""
    inputs = lut_input(x, mode)[:, connections]
    y = multilinear(inputs, used_table(weight, lut_binarize, clip_weight)[None])
    if batch_norm:
        mean, var = lut_statistics(y) if mean is None else (mean, var)
        y = normalize(y, mean, var, gamma, beta)
    return (y > np.float32(0.5)).astype(np.float32) if binarize else np.clip(y, np.float32(0), np.float32(1))


def lut_backward(x, connections, weight, dy, mode="smooth", batch_norm=True, lut_binarize=False, clip_weight=True,
                 gamma=0.3, beta=0.5, mean=None, var=None):
    """(dx, dW) in float64. The binarization passes the gradient; with batch_norm it stops where y2 leaves (0, 1).

    dW[i] = sum_f dy1 prod_j (x_j if bit j of i else 1 - x_j);  dx_k = dy1 dy1/dx_k, added up over the nodes that read
    it. Given mean and var are constants; else they are those of the frames and carry BatchNorm's gradient.
    """
    inputs = lut_input(x, mode)[:, connections].astype(np.float64)
    table = used_table(weight, lut_binarize, clip_weight)
    n, bits = inputs.shape[-1], corners(inputs.shape[-1])
    factors = np.where(bits, inputs[:, :, None, :], 1 - inputs[:, :, None, :])  # (frames, nodes, 2^n, n)
    dy1 = np.asarray(dy, np.float64)
    if batch_norm:
        y1 = multilinear(lut_input(x, mode)[:, connections], table[None])
        is_constant = mean is not None
        mean, var = (mean, var) if is_constant else lut_statistics(y1)
        y2 = normalize(y1, mean, var, gamma, beta)
        dxn = gamma * np.where((y2 > 0) & (y2 < 1), dy1, 0)
        rstd, mean = 1 / np.sqrt(np.maximum(np.asarray(var, np.float64), VAR_FLOOR)), np.asarray(mean, np.float64)
        dy1 = dxn * rstd
        if not is_constant:
            frames = len(y1)
            dvar = -(dxn * (y1 - mean) * rstd ** 2).sum(0) * rstd
            dmean = (-(dxn * rstd).sum(0) - mean * dvar) / frames
            dy1 = dy1 + dmean + y1 * dvar / frames
    dweight = np.einsum("fm,fmi->mi", dy1, factors.prod(-1))
    dx = np.zeros(np.shape(x))
    for k in range(n):
        others = np.delete(factors, k, -1).prod(-1)
        slope = (np.where(bits[:, k], table, -table)[None] * others).sum(-1)
        np.add.at(dx, (slice(None), connections[:, k]), dy1 * slope)
    return dx, dweight


def moving(old, batch, momentum):
    """Moving statistics: old momentum + batch (1 - momentum), in float32."""
    momentum = np.float32(momentum)
    return np.asarray(old, np.float32) * momentum + np.asarray(batch, np.float32) * (np.float32(1) - momentum)


def lut_tables(weight, mode="smooth", batch_norm=True, lut_binarize=False, clip_weight=True, gamma=0.3, beta=0.5,
               mean=None, var=None):
    """(num_nodes,) uint64: bit i is the node's output where input j is bit j of i, BatchNorm's moving statistics and
    the binarization included. A real-valued layer is read at 0 and 1."""
    n = int(np.log2(weight.shape[1]))
    low, high = LEVELS["hard" if mode == "real" else mode]
    x = np.where(corners(n), high, low)[None]  # (1, 2^n, n)
    y = multilinear(x, used_table(weight, lut_binarize, clip_weight)[:, None])
    if batch_norm:
        y = normalize(y, np.asarray(mean)[:, None], np.asarray(var)[:, None], gamma, beta)
    return pack_tables(y > np.float32(0.5))


def pack_tables(bits):
    """(num_nodes, 2^n) truth values -> (num_nodes,) uint64, entry i in bit i."""
    bits = np.asarray(bits, bool).astype(np.uint64)
    return (bits << np.arange(bits.shape[1], dtype=np.uint64)).sum(1, dtype=np.uint64)


def unpack_tables(tables, n):
    """Inverse of pack_tables: (num_nodes,) uint64 -> (num_nodes, 2^n) float32 of 0 and 1."""
    index = np.arange(2 ** n, dtype=np.uint64)
    return ((np.asarray(tables, np.uint64)[:, None] >> index) & np.uint64(1)).astype(np.float32)


def table_forward(x, connections, tables):
    """Tables read as they are: x: (frames, in_nodes), a bit is x > 0.5. Returns (frames, num_nodes), 0 and 1."""
    bits = (np.asarray(x) > 0.5)[:, connections]
    index = (bits << np.arange(bits.shape[-1])).sum(-1).astype(np.uint64)
    return ((np.asarray(tables, np.uint64)[None] >> index) & np.uint64(1)).astype(np.float32)


# ---- tables without weights ------------------------------------------------------------------------------------------


def average_tables(n, num_nodes):
    """AverageLut as tables: more than half of the inputs are 1; a tie gives 0."""
    return pack_tables(np.tile(2 * corners(n).sum(1) > n, (num_nodes, 1)))


def max_tables(n, num_nodes):
    """MaxLut as tables: OR."""
    return pack_tables(np.tile(corners(n).any(1), (num_nodes, 1)))


# ---- modulation ------------------------------------------------------------------------------------------------------


def uniform_thresholds(frames=1, depth=1, low=0.0, high=1.0):
    """(frames, 1, depth) float32: thresholds of RealToBinary, low + (high - low) (d + (f + 0.5)/frames) / depth."""
    f, d = np.arange(frames)[:, None, None], np.arange(depth)[None, None, :]
    return (low + (high - low) * (d + (f + 0.5) / frames) / depth).astype(np.float32)


def thermometer(x, thresholds):
    """x: (N, C, ...); thresholds: (F, 1 or C, D). Returns (N F, C D, ...): bit [n F + f, c D + d] = x > threshold."""
    x, thresholds = np.asarray(x, np.float32), np.asarray(thresholds, np.float32)
    f, _, d = thresholds.shape
    limits = thresholds.reshape((1, f) + thresholds.shape[1:] + (1,) * (x.ndim - 2))
    bits = x[:, None, :, None] > limits
    return bits.reshape((x.shape[0] * f, x.shape[1] * d) + x.shape[2:]).astype(np.float32)


def thermometer_grad(x, dy, frames, depth, low=0.0, high=1.0):
    """dx of the straight-through estimator: the sum of dy over frames and depth, over high - low, inside low..high.
    A bit's mean over the thresholds is (x - low)/(high - low): BinaryToReal behind it gives the identity's gradient."""
    x = np.asarray(x)
    summed = np.asarray(dy, np.float64).reshape((x.shape[0], frames, x.shape[1], depth) + x.shape[2:]).sum((1, 3))
    return np.where((x >= low) & (x <= high), summed / (high - low), 0)


def fit_thermometer(images, depth):
    """Thresholds fitted to data: quantiles (d + 1)/(depth + 1) of every column's values that are not its minimum.

    images: (N, C) float. Returns (1, C, depth) float32. The minimum, MNIST's background, would else take most of them;
    a constant column gets its value, so that its bits are 0.
    """
    images = np.asarray(images, np.float32)
    levels = (np.arange(depth) + 1.0) / (depth + 1)
    result = np.empty((images.shape[1], depth), np.float32)
    for column, values in enumerate(images.T):
        inner = values[values > values.min()]
        result[column] = np.quantile(inner, levels) if inner.size else values.max()
    return result[None]
