"""Folding: proposals reach their target with little hardware, files are read strictly, cycles follow SF * NF."""
import json

import numpy as np
import pytest
from qnn.converter.verilog.folding import Fold, cycles, matrices, propose, read_folding
from qnn.converter.verilog.layers import Matrix, Network, Pool, Window


def network():
    window = Window(4, 8, 8, (3, 3), pad=(1, 1), out_height=8, out_width=8)
    draw = np.random.RandomState(0)
    return Network([Matrix("conv", draw.rand(16, 36) < 0.5, np.zeros((16, 1), np.int64), window),
                    Pool("pool", Window(16, 8, 8, (2, 2), (2, 2), out_height=4, out_width=4), np.zeros(16, bool)),
                    Matrix("fc", draw.rand(10, 256) < 0.5)], (8, 8, 4))


def test_cycles_follow_the_fold_formula():
    conv, pool, fc = network().layers
    assert cycles(conv, Fold(16, 36)) == 64 * 9  # the window gives one tap a cycle
    assert cycles(conv, Fold(4, 4)) == 64 * 9 * 4
    assert cycles(conv, Fold(5, 7)) == 64 * 6 * 4
    assert cycles(fc, Fold(5, 16)) == 16 * 2
    assert cycles(pool, None, 4) == 16 * 4 * 4 and cycles(pool, None, 5) == 16 * 4


@pytest.mark.parametrize("fps", [1000, 20000, 100000])
def test_proposal_reaches_the_target_and_wastes_nothing(fps):
    net = network()
    folds = propose(net, fps, 100.0)
    for name, fold in folds.items():
        layer = next(one for one in net.layers if one.name == name)
        assert layer.n % fold.pe == 0 and layer.k % fold.simd == 0
        assert cycles(layer, fold) <= 1e8 / fps
        for smaller in (Fold(pe, simd) for pe in (fold.pe, fold.pe // 2) for simd in (fold.simd, fold.simd // 2)):
            if 0 < smaller.pe * smaller.simd < fold.pe * fold.simd and layer.n % smaller.pe == 0 \
                    and layer.k % smaller.simd == 0:
                assert cycles(layer, smaller) > 1e8 / fps


def test_target_out_of_reach_is_named():
    with pytest.raises(ValueError, match="layer 'conv' takes 576 cycles .* 173611 images/s at 100 MHz"):
        propose(network(), 1e6, 100.0)


def test_file(tmp_path):
    document = {"conv": {"PE": 4, "SIMD": 12}, "fc": {"PE": 3, "SIMD": 100, "pad": True}}
    (tmp_path / "f.json").write_text(json.dumps(document))
    folds = read_folding(tmp_path / "f.json", network())
    assert folds == {"conv": Fold(4, 12), "fc": Fold(3, 100)}
    assert {name: folds[name].to_dict(layer) for name, layer in matrices(network()).items()} == document
    assert read_folding({**document, "fc": {"style": "unrolled"}}, network())["fc"] == Fold(10, 256, "unrolled")


@pytest.mark.parametrize("edit, sentence", [
    ({"fc": {"PE": 3, "SIMD": 16}}, "layer 'fc': PE=3 does not divide its 10 outputs; near are 1, 2, 5"),
    ({"fc": {"PE": 5, "SIMD": 100}}, "SIMD=100 does not divide its 256 inputs; near are 32, 64, 128"),
    ({"fc": {"PE": 11, "SIMD": 16}}, "PE is 1..10, got 11"), ({"fc": {"PE": 1}}, "SIMD is 1..256, got None"),
    ({"fc": {"PE": True, "SIMD": 1}}, "PE is 1..10, got True"), ({"fc": {"pe": 1}}, "has 'pe'; known"),
    ({"fd": {"PE": 1, "SIMD": 1}}, "no layer 'fd' in the network; it has conv, fc"),
    ({"fc": {"style": "flat"}}, "style is folded or unrolled"), ({"fc": 3}, "a folding is")])
def test_wrong_file(edit, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_folding({"conv": {"PE": 4, "SIMD": 4}, "fc": {"PE": 5, "SIMD": 16}, **edit}, network())


def test_missing_layer_and_broken_json(tmp_path):
    with pytest.raises(ValueError, match="layer 'fc' is missing"):
        read_folding({"conv": {"PE": 4, "SIMD": 4}}, network())
    (tmp_path / "f.json").write_text("{")
    with pytest.raises(ValueError, match="f.json: not a folding: broken JSON"):
        read_folding(tmp_path / "f.json", network())
