"""Wirings: cards are dealt evenly, seeds differ, shapes are kept; bad ones are named."""
import numpy as np
import pytest

from qnn.lut import connections


@pytest.mark.parametrize("in_units, num_nodes, n", [(784, 2304, 6), (6, 5, 6), (7, 100, 6), (13, 3, 2), (64, 1, 4)])
def test_random_deals_cards(in_units, num_nodes, n):
    dealt = connections.random(in_units, num_nodes, n, seed=3)
    assert dealt.shape == (num_nodes, n)
    assert all(len(set(row)) == n for row in dealt)
    counts = np.bincount(dealt.ravel(), minlength=in_units)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(dealt, connections.random(in_units, num_nodes, n, seed=3))
    assert num_nodes * n < 10 or (dealt != connections.random(in_units, num_nodes, n, seed=4)).any()


def test_serial_is_a_tree():
    np.testing.assert_array_equal(connections.serial(6, 2, 3), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(connections.serial(4, 2, 3), [[0, 1, 2], [3, 0, 1]])


def test_depthwise_stays_in_its_channel():
    wired = connections.depthwise((3, 4, 5), (3, 2, 2), 6, seed=0)
    assert wired.shape == (12, 6)
    np.testing.assert_array_equal(wired // 20, np.repeat(np.arange(3), 4)[:, None].repeat(6, 1))
    assert (wired[:4] % 20 != wired[4:8] % 20).any()


def test_pointwise_stays_in_its_pixel():
    wired = connections.pointwise((8, 2, 3), (5, 2, 3), 4, seed=0)
    assert wired.shape == (30, 4)
    np.testing.assert_array_equal(wired % 6, np.tile(np.arange(6), 5)[:, None].repeat(4, 1))


@pytest.mark.parametrize("call, sentence", [
    (lambda: connections.random(5, 3, 6, 0), "a node of 6 different inputs cannot be wired to 5"),
    (lambda: connections.connect("gauss", 9, 3, 2), "connection is one of random, serial"),
    (lambda: connections.connect("depthwise", 9, 3, 2), "depthwise needs in_shape and out_shape"),
    (lambda: connections.check([[0, 1], [2, 9]], 9, 2, 2), "input 1 of node 1 is wired to 9, inputs are 0..8"),
    (lambda: connections.check([[0, 1.5]], 9, 1, 2), "wired to 1.5"),
    (lambda: connections.check([[0, 1]], 9, 2, 2), r"shape \(num_nodes, n\) = \(2, 2\)"),
])
def test_bad_wirings_are_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
