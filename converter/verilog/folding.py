"""Folding: how many neurons (PE) and inputs (SIMD) of a layer work in parallel, and the cycles that follow.

    SF = ceil(K/SIMD), NF = ceil(N/PE);  cycles of an image = max(SF * NF * pixels, cycles of the sliding window)

A folding is {layer: {"PE": p, "SIMD": s}}, in JSON as well. PE divides N and SIMD divides K, unless the layer says
"pad": true: then the last fold is padded with lanes that count nothing. "style": "unrolled" builds one circuit from
constant weights, a result every cycle. Source: FINN (arXiv:1612.07119, section 4.2).
"""
import json
import math
from dataclasses import dataclass

from .layers import Matrix

STYLES = ("folded", "unrolled")


@dataclass(frozen=True)
class Fold:
    """Parallelism of one Matrix layer."""

    pe: int
    simd: int
    style: str = "folded"

    def to_dict(self, layer):
        """As a folding file has it for `layer`."""
        style = {} if self.style == "folded" else {"style": self.style}
        pad = {"pad": True} if layer.n % self.pe or layer.k % self.simd else {}
        return {"PE": self.pe, "SIMD": self.simd, **pad, **style}


def divisors(number):
    """
    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [d for d in range(1, number + 1) if number % d == 0]


def steps(layer, fold):
    """(SF, NF)."""
    return -(-layer.k // fold.simd), -(-layer.n // fold.pe)


def window_lanes(channels, lanes):
    """Lanes of the sliding window in front of a unit of `lanes` inputs: as many where they divide, else all."""
    return lanes if channels % lanes == 0 else channels


def window_cycles(window, lanes):
    """Cycles that a sliding window takes for an image: one beat a cycle in, one out."""
    beats = window.channels // lanes
    return max(window.pixels * window.taps * beats, window.height * window.width * beats)


def matrix_cycles(layer, fold):
    """Cycles of an image in the unit itself: SF * NF a pixel."""
    sf, nf = steps(layer, fold)
    return sf * nf * layer.pixels


def cycles(layer, fold, lanes_in=1):
    """Cycles of an image in a layer; `lanes_in`: of the stream that enters a Pool (fold is None)."""
    if not isinstance(layer, Matrix):
        return window_cycles(layer.window, window_lanes(layer.window.channels, lanes_in))
    own = matrix_cycles(layer, fold)
    if layer.window is None:
        return own
    return max(own, window_cycles(layer.window, window_lanes(layer.window.channels, fold.simd)))


def matrices(network):
    """{name: layer} of the layers that a folding is about."""
    return {layer.name: layer for layer in network.layers if isinstance(layer, Matrix)}


def propose(network, target_fps=None, clock_mhz=100.0, style="folded"):
    """The folding of least parallelism at which every layer makes `target_fps` images a second at the clock.

    Without a target: one in 1,000 cycles a layer, or what is possible. style "unrolled": one circuit for every layer.
    Raises ValueError where a layer cannot be so fast even when it is fully parallel, naming it and what it can do.
    """
    if style not in STYLES:
        raise ValueError("verilog: style is folded or unrolled, got %r" % (style,))
    if style == "unrolled":
        return {name: Fold(layer.n, layer.k, style) for name, layer in matrices(network).items()}
    if clock_mhz <= 0 or (target_fps is not None and target_fps <= 0):
        raise ValueError("verilog: clock_mhz and target_fps are numbers above 0, got %r and %r"
                         % (clock_mhz, target_fps))
    folds = {}
    for name, layer in matrices(network).items():
        options = [Fold(pe, simd) for pe in divisors(layer.n) for simd in divisors(layer.k)]
        taken = {fold: cycles(layer, fold) for fold in options}
        fastest = min(taken.values())
        limit = max(1000, fastest) if target_fps is None else int(clock_mhz * 1e6 / target_fps)
        if fastest > limit:
            raise ValueError("verilog: layer '%s' takes %d cycles an image at its most parallel, %.0f images/s at %g "
                             "MHz: target_fps=%g cannot be reached; lower it or raise --clock-mhz"
                             % (name, fastest, clock_mhz * 1e6 / fastest, clock_mhz, target_fps))
        fitting = [fold for fold in options if taken[fold] <= limit]
        # fewest lanes; then the squarest, because every PE pays for an accumulator and every lane for memory width
        folds[name] = min(fitting, key=lambda f: (f.pe * f.simd, abs(math.log2(f.simd / f.pe) - 2), f.pe))
    return folds


def read_folding(source, network):
    """{layer: Fold} from a dict or the path of a JSON file. Raises OSError; ValueError naming layer and numbers."""
    document = source
    if not isinstance(source, dict):
        with open(source, encoding="utf-8") as file:
            try:
                document = json.load(file)
            except ValueError as error:
                raise ValueError("%s: not a folding: broken JSON (%s)" % (source, error)) from None
    where = "folding" if isinstance(source, dict) else str(source)
    layers = matrices(network)
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise ValueError('%s: a folding is {"layer": {"PE": 4, "SIMD": 8}, ...}' % where)
    unknown = sorted(set(document) - set(layers))
    if unknown:
        raise ValueError("%s: no layer '%s' in the network; it has %s" % (where, unknown[0], ", ".join(layers)))
    missing = [name for name in layers if name not in document]
    if missing:
        raise ValueError("%s: layer '%s' is missing" % (where, missing[0]))
    return {name: _fold(where, layer, document[name]) for name, layer in layers.items()}


def _fold(where, layer, entry):
    unknown = sorted(set(entry) - {"PE", "SIMD", "pad", "style"})
    if unknown:
        raise ValueError("%s: layer '%s' has %r; known: PE, SIMD, pad, style" % (where, layer.name, unknown[0]))
    style = entry.get("style", "folded")
    if style not in STYLES:
        raise ValueError("%s: layer '%s': style is folded or unrolled, got %r" % (where, layer.name, style))
    if style == "unrolled":
        return Fold(layer.n, layer.k, style)
    for key, size, what in (("PE", layer.n, "outputs"), ("SIMD", layer.k, "inputs")):
        value = entry.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= size:
            raise ValueError("%s: layer '%s': %s is 1..%d, got %r" % (where, layer.name, key, size, value))
        if size % value and not entry.get("pad", False):
            near = sorted(divisors(size), key=lambda d, v=value: (abs(d - v), d))[:3]
            raise ValueError('%s: layer \'%s\': %s=%d does not divide its %d %s; near are %s, or say "pad": true'
                             % (where, layer.name, key, value, size, what, ", ".join(map(str, sorted(near)))))
    return Fold(entry["PE"], entry["SIMD"])
