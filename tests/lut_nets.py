"""LUT networks for tests."""
import numpy as np

from qnn.lut_network import Encoder, LutNetwork


def random_tables(rng, count, n, weak=False):
    """(count,) uint64; weak: threshold functions that depend on few of their inputs, as trained ones do."""
    if not weak:
        return rng.integers(0, 2 ** 64, count, np.uint64)
    index = np.arange(1 << n)
    signs = (index[:, None] >> np.arange(n) & 1) - 0.5
    weights = rng.standard_normal((count, n)) * np.exp(1.5 * rng.standard_normal((count, n)))
    bits = signs @ weights.T + 0.5 * rng.standard_normal(count) > 0
    return (bits.astype(np.uint64) << index.astype(np.uint64)[:, None]).sum(0, dtype=np.uint64)


def random_network(widths=(60, 30), num_inputs=40, n=6, classes=10, frames=1, with_encoder=True, weak=False, seed=0,
                   depth=1):
    """A chain of layers; classes=None: no head."""
    rng, layers, units = np.random.default_rng(seed), [], num_inputs
    for width in widths:
        connections = np.stack([rng.choice(units, n, replace=False) for _ in range(width)])
        layers.append((connections, random_tables(rng, width, n, weak)))
        units = width
    encoder = None
    if with_encoder:
        thresholds = rng.uniform(0, 1, (frames, num_inputs))
        encoder = Encoder(num_inputs // depth, np.repeat(np.arange(num_inputs // depth), depth), thresholds)
    return LutNetwork.chain(num_inputs, layers, groups=None if classes is None else rng.permutation(units) % classes,
                            encoder=encoder, num_scores=classes, num_frames=frames)


def images(count, network, seed=1):
    """(count, num_features) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, network.num_features), np.uint8)
