"""Lower: a LUT network with encoder and head becomes nodes only: bits of bytes in, bits of the class out.

    logic = lower(network)      LutNetwork without encoder and head, cleaned; its node count is the LUT count

What hardware needs: one kind of thing, whose cost is its number, cleaned and compared as a whole.
"""
import numpy as np

from qnn import backend_lut_network
from qnn.reference_lut_network import pack_bits

from .clean import clean
from .lower_encoder import encoder_network
from .lower_head import Builder
from .netlist import Netlist

OUTPUTS = ("class", "scores", "bits")


def lower(network, output=None, with_encoder=True, samples=None):
    """The network as nodes only. Returns (LutNetwork, report).

    output: "class", index of the first largest score, lowest bit first; "scores", the digits of all counts, each as
    wide as the widest; "bits", the outputs themselves. Default: class with a head, else bits. with_encoder: inputs are
    the bits of num_features bytes, bit j of byte i is input 8 i + j; else the bits of the network. samples: (N,
    num_features) bytes on which both are compared. Raises ValueError for more than one frame.
    """
    output = output or ("bits" if network.groups is None else "class")
    if output not in OUTPUTS:
        raise ValueError("lower: output is %s, got %r" % (", ".join(OUTPUTS), output))
    if network.num_frames > 1:
        raise ValueError("lower: the network has %d frames a sample; lower it frame by frame" % network.num_frames)
    with_encoder = with_encoder and network.encoder is not None
    netlist = with_bytes(network) if with_encoder else Netlist.of(network)
    outputs, builder = netlist.outputs, Builder(netlist)
    if output != "bits":
        groups = np.arange(len(outputs)) if network.groups is None else network.groups
        scores = [builder.count([outputs[i] for i in np.flatnonzero(groups == s)]) for s in range(network.num_scores)]
        width = max(map(len, scores))
        netlist.outputs = builder.largest(scores) if output == "class" else [
            signal for digits in scores for signal in digits + [builder.zero] * (width - len(digits))]
    plain = netlist.to_network(_shell(network))
    bits = None
    if samples is not None:
        bits = byte_bits(samples) if with_encoder else network.encode(samples)[:, 0]
    logic, report = clean(plain, samples=bits)
    check_output(network, logic, output, with_encoder, bits, samples)
    return logic, report


def _shell(network):
    """A network whose encoder and head Netlist.to_network takes over: none."""
    return type(network)(network.num_inputs, network.layers)


def with_bytes(network):
    """The netlist on the bits of bytes: encoder nodes first."""
    encoder, core = Netlist.of(encoder_network(network.encoder)), Netlist.of(network)
    offset = encoder.num_inputs + len(encoder.functions) - core.num_inputs

    def of_core(signal):
        return encoder.outputs[signal] if signal < core.num_inputs else signal + offset

    nodes = [(tuple(map(of_core, inputs)), table) for inputs, table in core.functions]
    return Netlist(encoder.num_inputs, encoder.functions + nodes, list(map(of_core, core.outputs)))


def byte_bits(samples):
    """(N, ...) uint8 -> (N, 8 * features) bool, lowest bit of the first byte first."""
    rows = np.ascontiguousarray(samples, np.uint8).reshape(len(samples), -1)
    return np.unpackbits(rows, axis=1, bitorder="little").astype(bool)


def check_output(network, logic, output, with_encoder, bits, samples, num_vectors=4096):
    """Compares the lowered network with the packed runtime, on random inputs and on the samples."""
    rng = np.random.default_rng(1)
    shape = num_vectors, network.num_features
    images = rng.integers(0, 256, shape, np.uint8) if with_encoder else None
    found = byte_bits(images) if with_encoder else rng.integers(0, 2, (num_vectors, network.num_inputs)).astype(bool)
    compare(network, logic, output, found, images)
    if bits is not None:
        compare(network, logic, output, bits, np.ascontiguousarray(samples).reshape(len(bits), -1) if with_encoder
                else None)


def compare(network, logic, output, bits, images):
    """Raises AssertionError if the lowered network differs."""
    given = {"bits": pack_bits(bits)} if images is None else {"bytes": images}
    scores, classes = backend_lut_network.run(network, **given)
    found = outputs_of(logic, bits)
    if output == "class":
        assert (decode(found) == classes).all()
    elif output == "scores":
        assert (decode(found.reshape(len(bits), network.num_scores, -1)) == scores).all()
    else:
        plain = type(network)(network.num_inputs, network.layers, network.outputs, None, network.encoder)
        assert (found == backend_lut_network.run(plain, **given)[0]).all()


def outputs_of(logic, bits):
    """(N, num_inputs) bool -> (N, outputs) 0 or 1 of a lowered network."""
    return backend_lut_network.run(logic, bits=pack_bits(bits), want=("scores",))[0]


def decode(digits):
    """Numbers of binary digits, lowest first, along the last axis."""
    return (digits.astype(np.int64) << np.arange(digits.shape[-1])).sum(-1)
