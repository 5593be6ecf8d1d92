"""LUT layers: a network of images, which has a copy of the tables at every position, becomes its layers on one window.

    whole[k, p] reads signal s[k, p, j] = signals[c, p] for all positions p   ->   node k reads channel c

LutNetwork.plan says which windows there are; they are laid out again, and what comes out is compared with the network.
"""
from dataclasses import dataclass

import numpy as np

from qnn.lut_network import Encoder, LutNetwork

from .lut_signals import Signals

WINDOWS = ("windows", "pool", "flatten")  # steps that look at more than one position


@dataclass
class ImageLayer:
    """Nodes on one window of an image (channels, height, width); name: of its first step that is no Flatten; trained:
    nodes of tables, which pooling has none of."""

    name: str
    in_shape: tuple
    kernel: tuple
    stride: tuple
    pad: tuple
    signals: Signals
    out_shape: tuple = ()
    trained: int = 0

    @property
    def network(self):
        """The LutNetwork whose input (c kernel_h + i) kernel_w + j is tap (i, j) of channel c; outputs: channels."""
        return LutNetwork(self.signals.num_inputs, self.signals.layers, self.signals.signals.reshape(-1))

    @property
    def places(self):
        """Positions of the image and of its border: a cycle each."""
        return tuple(size + 2 * pad for size, pad in zip(self.in_shape[1:], self.pad))

    @property
    def is_pixel(self):
        """True where a window is one pixel, and every pixel has one."""
        return (self.kernel, self.stride, self.pad) == ((1, 1), (1, 1), (0, 0))

    @property
    def is_whole(self):
        """True where the one window is the image."""
        return self.kernel == self.in_shape[1:] and self.pad == (0, 0)


def image_layers(network):
    """[ImageLayer] of a LutNetwork with a plan. Raises ValueError naming the layer that no stream of windows is, or
    where the network is not the one of its plan."""
    try:
        return _image_layers(network)
    except (TypeError, IndexError, KeyError, AttributeError):  # the plan, which comes from a file
        raise ValueError(UNLIKE % "the whole") from None


def _image_layers(network):
    whole, layers, steps = Signals(network.plan["shape"]), [], network.plan["steps"]
    for number, (name, method, *arguments) in enumerate(steps):
        arguments = [tuple(a) if isinstance(a, list) else a for a in arguments]
        refuse(name, method, arguments)
        whole.layer = name
        if method == "tables":
            arguments = shared_tables(whole, network.layers[len(whole.layers):], name)
        before = image_shape(whole)
        kernel, stride, pad = geometry(method, arguments, before)
        if not layers or (kernel, stride, pad) != ((1, 1), (1, 1), (0, 0)):
            first = next((later for later, what, *_ in steps[number:] if what != "flatten"), "counts")
            layers.append(ImageLayer(first, before, kernel, stride, pad, Signals(before[:1] + kernel)))
        one = layers[-1].signals
        getattr(one, method)(*on_one(method, arguments))
        getattr(whole, method)(*arguments)
        layers[-1].out_shape = image_shape(whole)
        layers[-1].trained += len(arguments[1]) if method == "tables" else 0
    check(network, whole)
    return layers


def image_shape(signals):
    """(channels, height, width); a vector is an image of one pixel."""
    return (signals.signals.shape + (1, 1))[:3]


def geometry(method, arguments, shape):
    """(kernel, stride, pad) of a step."""
    if method == "flatten":
        return tuple(shape[1:]), (1, 1), (0, 0)
    if method in WINDOWS:
        return tuple(arguments[0]), tuple(arguments[1]), tuple(arguments[2])
    return (1, 1), (1, 1), (0, 0)


def on_one(method, arguments):
    """Arguments of a step on one window."""
    return [arguments[0], (1, 1)] if method in ("windows", "pool") else arguments


def refuse(name, method, arguments):
    """Raises ValueError for steps whose windows do not stream."""
    if method == "windows" and any(arguments[2]) and arguments[3] != "constant":
        raise ValueError("verilog: '%s' has border=%s; windows that stream have 0 bits around the image (border="
                         "constant). --style unrolled writes every position out" % (name, arguments[3]))
    if method not in WINDOWS + ("tables", "shuffle"):
        raise ValueError("verilog: '%s' (%s) moves pixels, which no window does; --style unrolled writes every "
                         "position out" % (name, method))


def shared_tables(signals, layers, name):
    """[connections (nodes, n) to channels, tables (nodes,)] of the first of `layers`, laid out on `signals`. Raises
    ValueError where its positions differ."""
    channels = signals.signals.reshape(len(signals.signals), -1).astype(np.int32)
    places = channels.shape[1]
    if not layers or len(layers[0]) % places:
        raise ValueError(UNLIKE % name)
    layer, number = layers[0], {row.tobytes(): c for c, row in enumerate(channels)}
    n = int(layer.arities[0])
    rows = layer.connections.reshape(-1, places, layer.connections.shape[1])[:, :, :n].swapaxes(1, 2)
    tables = layer.tables.reshape(-1, places)
    found = np.array([[number.get(row.tobytes(), -1) for row in node] for node in rows]).reshape(len(rows), n)
    if (found < 0).any() or (tables != tables[:, :1]).any():
        raise ValueError(UNLIKE % name)
    return [found, tables[:, 0]]


UNLIKE = ("verilog: '%s' of the network is not the layer of its plan, whose positions share tables: convert the "
          "training graph again, or take --style unrolled")


def check(network, whole):
    """Raises ValueError where what the plan lays out is not the network."""
    is_same = len(whole.layers) == len(network.layers) and np.array_equal(whole.signals.reshape(-1), network.outputs)
    if not is_same or any(not np.array_equal(made.connections, layer.connections)
                          or not np.array_equal(made.tables, layer.tables)
                          for made, layer in zip(whole.layers, network.layers)):
        raise ValueError(UNLIKE % "the whole")


def pixel_encoder(network):
    """The Encoder of one pixel's bytes, whose bits are the channels of the plan; None without an encoder. Raises
    ValueError where pixels have thresholds of their own."""
    encoder = network.encoder
    if encoder is None:
        return None
    channels, places = network.plan["shape"][0], int(np.prod(network.plan["shape"][1:]))
    features = encoder.features.reshape(channels, places)
    thresholds = encoder.thresholds.reshape(-1, channels, places)
    first = features[:, :1]
    if (features != first + np.arange(places)).any() or (first % places).any() or (
            thresholds != thresholds[:, :, :1]).any():
        raise ValueError("verilog: pixels have thresholds of their own, which no stream of pixels has; --style "
                         "unrolled writes every position out")
    return Encoder(encoder.num_features // places, first[:, 0] // places, thresholds[:, :, 0], encoder.unit)
