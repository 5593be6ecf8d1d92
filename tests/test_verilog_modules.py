"""Verilog modules: each between golden beats of numpy, with gaps, stalls, resets and ragged sizes, in Icarus."""
import numpy as np
import pytest
from hardware import STRESS, needs, parameters, run_module
from qnn.converter.verilog import simulate
from qnn.converter.verilog.folding import Fold, steps, window_lanes
from qnn.converter.verilog.layers import Matrix, Pool, Window
from qnn.converter.verilog.structure import Verbatim, acc_bits, mvtu, ring_rows, starts, sum_bits

from qnn import reference, reference_planes

pytestmark = pytest.mark.verilog


def random(seed=0):
    return np.random.RandomState(seed)


# ---- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 3, 16])
def test_fifo(tmp_path, depth):
    codes = random().randint(0, 256, (50, 3))
    run_module(tmp_path, "qnn_fifo " + parameters(WIDTH=8, DEPTH=depth), codes, codes, (1, 1), (8, 8))


@pytest.mark.parametrize("lanes_in, lanes_out, items, lane_bits", [
    (1, 1, 5, 1), (2, 8, 16, 1), (8, 2, 16, 3), (4, 4, 10, 1), (6, 4, 13, 1), (4, 6, 13, 2), (5, 7, 11, 1),
    (7, 5, 3, 1), (16, 4, 18, 1), (4, 16, 18, 1), (3, 49, 49, 1), (1, 10, 10, 1), (9, 9, 4, 2)])
def test_width(tmp_path, lanes_in, lanes_out, items, lane_bits):
    """Lanes beyond the items come in as ones, and must go out as zeros."""
    codes = random(items).randint(0, 2 ** lane_bits, (40, items))
    count = -(-items // lanes_in) * lanes_in
    dirty = np.full((40, count), 2 ** lane_bits - 1)
    dirty[:, :items] = codes
    module = "qnn_width " + parameters(LANE_BITS=lane_bits, IN=lanes_in, OUT=lanes_out, ITEMS=items)
    run_module(tmp_path, module, dirty, codes, (lanes_in, lanes_out), (lane_bits, lane_bits))


@pytest.mark.parametrize("n, lanes", [(10, 1), (10, 4), (7, 7), (2, 1), (16, 16), (11, 3)])
def test_argmax(tmp_path, n, lanes):
    values = random(n).randint(-128, 128, (200, n))
    values[::5] = values[::5, :1]  # all equal: the first wins
    values[1::5, ::2] = values[1::5].max(1, keepdims=True)
    bits = max(1, int(n - 1).bit_length())
    run_module(tmp_path, "qnn_argmax " + parameters(N=n, LANES=lanes, BITS=8, OUT_BITS=bits), values,
               values.argmax(1)[:, None], (lanes, 1), (8, bits))


# ---- matrix-vector-threshold unit ------------------------------------------------------------------------------------


TERNARY = 0
KINDS = {  # bits and code of the data, largest magnitude of the weights
    "bits": (1, "bipolar", 1), "masked": (1, "bipolar", 1), "codes": (8, "unsigned", 1), "signed": (4, "signed", 1),
    "bipolar 2": (2, "bipolar", 1), "unsigned 2": (2, "unsigned", 1), "signed 2": (2, "signed", 1),
    "masked 2": (2, "bipolar", 1), "ternary": (1, "bipolar", TERNARY), "ternary 2": (2, "signed", TERNARY),
    "masked ternary": (1, "bipolar", TERNARY), "weights 3": (2, "unsigned", 3), "weights 7": (1, "bipolar", 7)}


def matrix(kind, k, n, levels, seed=0):
    draw = random(seed)
    weight = draw.rand(n, k) < 0.5
    window = None
    if kind.startswith("masked"):
        window = Window(k, 1, 1, (1, 1), pad=(1, 1), pad_value=0, out_height=1, out_width=1)
    bits, code, largest = KINDS[kind]
    magnitude = draw.randint(0, largest + 1, (n, k)) if largest != 1 else None
    magnitude = np.where(draw.rand(n, k) < 0.6, 1, 0) if largest == TERNARY else magnitude
    limit = k * (2 ** bits - 1) * (1 if magnitude is None else max(1, largest))
    thresholds = None
    if levels:
        thresholds = np.sort(draw.randint(-limit // 6 - 1, limit // 6 + 2, (n, levels)), axis=1)
        thresholds[0], thresholds[-1] = -limit, limit + 1  # always, never
        if n > 2:
            thresholds[1] = 0
    return Matrix("unit", weight, thresholds, window, bits, code, magnitude)


def inputs_of(layer, count, seed=1):
    """(codes as the unit reads them, dot products)."""
    draw = random(seed)
    codes = draw.randint(0, 2 ** layer.code_bits, (count, layer.k))
    codes[0], codes[1] = 0, 2 ** layer.code_bits - 1
    values = reference_planes.from_unsigned(codes, layer.code_bits, layer.code)
    if layer.kind == "masked":
        inside = draw.rand(count, layer.k) < 0.7
        return (inside << layer.code_bits) + codes, (values * inside) @ layer.values.T
    return codes, values @ layer.values.T


MVTUS = [
    ("bits", 64, 16, 8, 4, 1), ("bits", 64, 16, 64, 16, 1), ("bits", 65, 17, 13, 17, 1), ("bits", 65, 17, 8, 4, 1),
    ("bits", 1, 1, 1, 1, 1), ("bits", 7, 5, 1, 1, 1), ("bits", 63, 3, 63, 2, 1), ("bits", 100, 10, 49, 3, 0),
    ("bits", 30, 8, 10, 4, 3), ("bits", 127, 6, 31, 6, 0), ("bits", 2, 2, 2, 1, 2),
    ("masked", 36, 8, 9, 4, 1), ("masked", 35, 7, 8, 3, 1), ("masked", 20, 4, 20, 4, 0), ("masked", 9, 2, 1, 1, 3),
    ("codes", 27, 8, 27, 4, 1), ("codes", 27, 7, 3, 2, 0), ("codes", 10, 4, 4, 4, 3), ("signed", 12, 5, 5, 2, 1),
    ("signed", 9, 3, 9, 1, 0), ("bipolar 2", 31, 7, 8, 3, 3), ("bipolar 2", 13, 3, 5, 2, 0),
    ("unsigned 2", 29, 5, 6, 2, 3), ("signed 2", 37, 5, 7, 3, 3), ("signed 2", 11, 3, 11, 2, 0),
    ("masked 2", 23, 5, 5, 2, 3), ("masked 2", 7, 3, 7, 3, 0), ("ternary", 41, 7, 9, 3, 1),
    ("ternary 2", 19, 5, 4, 3, 3), ("masked ternary", 17, 3, 5, 2, 0), ("weights 3", 13, 5, 5, 2, 1),
    ("weights 7", 15, 3, 4, 2, 0)]
STRUCTURAL = [("bits", 65, 17, 8, 4, 1), ("bits", 30, 8, 10, 4, 3), ("masked", 35, 7, 8, 3, 1),
              ("bipolar 2", 31, 7, 8, 3, 3), ("masked ternary", 17, 3, 5, 2, 0)]  # test_verilog_proofs.py has the rest


@pytest.mark.parametrize("kind, k, n, simd, pe, levels, view", [(*unit, "behavioural") for unit in MVTUS] +
                         [(*unit, "structural") for unit in STRUCTURAL])
def test_mvtu(tmp_path, kind, k, n, simd, pe, levels, view):
    layer, fold = matrix(kind, k, n, levels), Fold(pe, simd)
    codes, dot = inputs_of(layer, 60)
    if levels:
        out, out_bits = (dot[..., None] >= layer.thresholds).sum(-1), int(levels).bit_length()
    else:
        out, out_bits = layer.leaving(dot), acc_bits(layer, fold)
    params, memories = mvtu(layer, fold, "unit")
    results = run_module(tmp_path, "qnn_mvtu " + parameters(**params), codes, _padded(layer, fold, out, codes),
                         (simd, pe), (params["CODE_BITS"], out_bits), memories, None,
                         [simulate.BEHAVIOURAL] if view == "behavioural" else [])
    sf, nf = steps(layer, fold)
    assert results[0]["interval"] == sf * nf
    assert results[0]["latency"] == sf * nf + 3


def _padded(layer, fold, out, codes):
    """Neurons that fill up the last fold: 0 with thresholds; without, all weights are +1."""
    missing = -layer.n % fold.pe
    if layer.levels or not missing:
        return out
    filling, largest = codes.sum(1), 1 if layer.magnitude is None else 2 ** (layer.weight_bits - 1) - 1
    if layer.kind == "masked":
        top = 2 ** layer.code_bits - 1
        filling = np.where(codes > top, 2 * (codes & top) - top, 0).sum(1)
    return np.concatenate([out] + [largest * filling[:, None]] * missing, axis=1)


def test_thresholds_agree_with_the_reference_of_the_packed_operators():
    """Matrix against reference.dot_bits, flips, always and never included; `starts` counts the same in matches."""
    from qnn.converter.verilog.packed import rising

    from qnn.thresholds import ALWAYS, NEVER
    draw, k = random(3), 21
    weight = draw.rand(40, k) < 0.5
    threshold = draw.randint(-k - 1, k + 3, 40)
    threshold[:4] = ALWAYS, ALWAYS, NEVER, NEVER
    flip = np.arange(40) % 2 == 1
    codes = draw.randint(0, 2, (300, 1, 1, k))
    dot = (codes[:, 0, 0] * 2 - 1) @ np.where(weight, 1, -1).T
    expected = reference.dot_bits(dot[:, :, None, None], threshold, flip)[:, :, 0, 0]
    layer = Matrix("m", *rising(weight, threshold.astype(np.int64)[None], flip, k))
    np.testing.assert_array_equal(layer(codes)[:, 0, 0], expected)
    matches = (k + layer.dot(codes)[:, 0]) // 2
    np.testing.assert_array_equal(matches >= starts(layer)[:, 0], expected)
    assert starts(layer).min() >= 0 and starts(layer).max() <= k + 1


# ---- windows ---------------------------------------------------------------------------------------------------------


WINDOWS = [
    dict(channels=4, height=6, width=5, kernel=(3, 3)), dict(channels=4, height=6, width=5, kernel=(3, 3), pad=(1, 1)),
    dict(channels=3, height=5, width=7, kernel=(3, 2), stride=(2, 1), pad=(1, 0)),
    dict(channels=2, height=8, width=8, kernel=(2, 2), stride=(2, 2)),
    dict(channels=1, height=9, width=9, kernel=(3, 3), dilate=(2, 2), pad=(2, 2)),
    dict(channels=6, height=7, width=7, kernel=(1, 1), stride=(2, 2)),
    dict(channels=2, height=4, width=4, kernel=(2, 2), stride=(3, 3)),
    dict(channels=5, height=1, width=6, kernel=(1, 3)), dict(channels=2, height=3, width=3, kernel=(3, 3), pad=(1, 1)),
    dict(channels=2, height=10, width=4, kernel=(5, 1), stride=(4, 1), pad=(2, 0))]


def window(pad_value=1, **geometry):
    base = Window(**geometry)
    size = [(length + 2 * p - (k - 1) * d - 1) // s + 1 for length, p, k, d, s in zip(
        (base.height, base.width), base.pad, base.kernel, base.dilate, base.stride)]
    return Window(**geometry, pad_value=pad_value, out_height=size[0], out_width=size[1])


def window_module(w, lanes, lane_bits, **options):
    sizes = {"%s_%s" % (key.upper(), axis): value for key in ("kernel", "stride", "dilate", "pad")
             for axis, value in zip("HW", getattr(w, key))}
    return "qnn_window " + parameters(
        LANES=lanes, LANE_BITS=lane_bits, BEATS=w.channels // lanes, HEIGHT=w.height, WIDTH=w.width,
        OUT_HEIGHT=w.out_height, OUT_WIDTH=w.out_width, ROWS=ring_rows(w), **sizes, **options)


@pytest.mark.parametrize("geometry", WINDOWS, ids=lambda g: "%(height)dx%(width)d-%(kernel)s" % g)
@pytest.mark.parametrize("pad_value", [1, -1, 0])
def test_window(tmp_path, geometry, pad_value):
    w = window(pad_value, **geometry)
    lanes = window_lanes(w.channels, 2)
    image = random().randint(0, 2, (7, w.height, w.width, w.channels))
    if pad_value:
        taps, bits = w.taps_of(image, int(pad_value > 0)), 1
        pad = Verbatim("%d'b%s" % (lanes, ("1" if pad_value > 0 else "0") * lanes))
        options = dict(PAD=pad)
    else:
        taps, bits, options = w.taps_of(image + 2, 0), 2, dict(HAS_MASK=1)
    results = run_module(tmp_path, window_module(w, lanes, 1, **options), image.reshape(7, -1), taps.reshape(7, -1),
                         (lanes, lanes), (1, bits))
    beats_out = w.pixels * w.taps * (w.channels // lanes)
    assert results[0]["interval"] <= 1.02 * max(beats_out, w.height * w.width * (w.channels // lanes)) + 1


@pytest.mark.parametrize("geometry", [WINDOWS[3], WINDOWS[0], dict(channels=6, height=6, width=6, kernel=(3, 3),
                                                                   stride=(2, 2), pad=(1, 1))], ids=str)
@pytest.mark.parametrize("lane_bits, convention", [(1, "valid"), (1, "full"), (3, "valid")])
def test_max_pool(tmp_path, geometry, lane_bits, convention):
    w = window(**geometry)
    if convention == "full":
        size = [reference.pool_positions(length, k, s, p, "full") for length, k, s, p in zip(
            (w.height, w.width), w.kernel, w.stride, w.pad)]
        w = Window(**geometry, out_height=size[0], out_width=size[1])
    layer = Pool("pool", w, random(1).rand(w.channels) < 0.5, lane_bits)
    lanes = window_lanes(w.channels, 2)
    image = random().randint(0, 2 ** lane_bits, (7, w.height, w.width, w.channels))
    if lane_bits == 1:
        words = reference.max_pool_bits(reference.pack_rows(image - 0.5), w.kernel, w.stride, w.pad, convention)
        expected = (reference.unpack_rows(words, w.channels) > 0) ^ layer.flip
        np.testing.assert_array_equal(layer(image), expected)
    text = POOL % {"window": window_module(w, lanes, lane_bits, BEATS_OUTER=1), "bits": lanes * lane_bits,
                   "pool": "qnn_max_pool " + parameters(
                       LANES=lanes, LANE_BITS=lane_bits, BEATS=w.channels // lanes, TAPS=w.taps,
                       FLIP=Verbatim("%d'b%s" % (w.channels, "".join(str(int(b)) for b in layer.flip[::-1]))))}
    (tmp_path / "pool.v").write_text(text)
    run_module(tmp_path, "pool", image.reshape(7, -1), layer(image).reshape(7, -1), (lanes, lanes),
               (lane_bits, lane_bits), sources=["pool.v"])


POOL = """
module pool(input aclk, input aresetn, input [%(bits)d-1:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready,
            output [%(bits)d-1:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready);
  wire [%(bits)d-1:0] data; wire valid, ready;
  %(window)s w(aclk, aresetn, s_axis_tdata, s_axis_tvalid, s_axis_tready, data, valid, ready);
  %(pool)s p(aclk, aresetn, data, valid, ready, m_axis_tdata, m_axis_tvalid, m_axis_tready);
endmodule
"""


# ---- the testbench itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("defect", ["data", "missing", "extra"])
def test_testbench_finds_a_wrong_beat(tmp_path, defect):
    codes = random().randint(0, 256, (20, 3))
    expected = {"data": codes ^ (np.arange(60).reshape(20, 3) == 41), "missing": np.concatenate([codes, codes], 1),
                "extra": codes[:, :2]}[defect]
    with pytest.raises(AssertionError, match="FAIL"):
        run_module(tmp_path, "qnn_fifo " + parameters(WIDTH=8, DEPTH=4), codes, expected, (1, 1), (8, 8),
                   stress=STRESS[:1], interval=1)


def test_missing_simulator_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(simulate.SimulationError, match="verilator is not installed: apt-get install verilator"):
        simulate.need("verilator")


def test_sum_of_lanes_fits():
    layer = matrix("masked", 20, 4, 1)
    assert sum_bits(layer, Fold(4, 20)) == 7
    needs("iverilog")
