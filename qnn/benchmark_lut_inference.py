"""Benchmark of packed LUT networks: images per second, from packed bits and from bytes.

    rows(networks, num_threads, rounds)   ->   [{"case": "infer_images_per_s", "network", "input", "value", ...}]
"""
import numpy as np

from . import backend, backend_lut_network
from .lut_network import Encoder, LutNetwork
from .reference_lut_network import pack_bits
from .timing import clock, measure

IMAGES = 8192


def random_network(widths=(2304, 384, 64, 360, 60, 10), num_inputs=784, num_frames=1, n=6, seed=0):
    """A network of random tables with the sizes of BinaryBrain's simple sample: 3,182 LUT6, each input as often as any
    other. Tables do not matter to the speed, their number does."""
    rng, layers, units = np.random.default_rng(seed), [], num_inputs
    for width in widths:
        deck = np.concatenate([rng.permutation(units) for _ in range(-(-width * n // units) + 1)])
        connections = deck[:width * n].reshape(width, n)
        layers.append((connections, rng.integers(0, 2 ** 64, width, np.uint64)))
        units = width
    return LutNetwork.chain(num_inputs, layers, groups=np.arange(units) % 10,
                            encoder=Encoder.uniform(num_inputs, num_frames))


def rows(networks, num_threads=1, rounds=9, num_images=IMAGES):
    """Rows of a report. networks: {name: LutNetwork with an encoder}. Classes are computed, of num_images at once; one
    thread is measured in CPU time, several in wall time."""
    backend.set_threads(num_threads)
    found = []
    for name, network in networks.items():
        images = np.random.default_rng(0).integers(0, 256, (num_images, network.num_features), np.uint8)
        given = {"bits": pack_bits(network.encode(images)).reshape(num_images, -1), "bytes": images}
        calls = {kind: _call(network, kind, x) for kind, x in given.items()}
        seconds = measure(calls, rounds, num_threads)
        for kind, text in (("bits", "packed bits"), ("bytes", "uint8")):
            value = num_images / seconds[kind]
            found.append({"case": "infer_images_per_s", "network": name, "input": text, "nodes": network.num_nodes,
                          "frames": network.num_frames, "batch": num_images, "threads": num_threads,
                          "isa": backend.isa(), "clock": clock(num_threads)[1], "value": round(value, 1),
                          "per_thread": round(value / num_threads, 1)})
    return found


def _call(network, kind, x):
    """The classes of x; by numpy without the native module."""
    if not backend.is_native:
        return lambda: backend_lut_network.run(network, **{kind: x}, want=("classes",))
    return backend_lut_network.call(network, kind, x, None, np.empty(len(x), np.int32))
