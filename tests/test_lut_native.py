"""Table layers in C: every instruction set against reference_lut.py; the reference against finite differences."""
import numpy as np
import pytest
from native_cases import ISAS

from qnn import backend, reference_lut

MODES = ("real", "smooth", "hard")


@pytest.fixture
def select():
    chosen, threads = backend.isa(), backend.threads()
    yield backend.select_isa
    backend.select_isa(chosen)
    backend.set_threads(threads)


def case(frames, in_nodes, num_nodes, n, seed=0):
    """x on both sides of 0.5, of 0 and of 1, with NaN and the ties themselves; tables partly outside 0..1."""
    random = np.random.RandomState(seed)
    x = (random.rand(frames, in_nodes) * 1.4 - 0.2).astype(np.float32)
    x.ravel()[::17], x.ravel()[5::29], x.ravel()[3::31], x.ravel()[7::37] = 0.5, np.nan, 0.0, 1.0
    connections = random.randint(in_nodes, size=(num_nodes, n))
    weight = (random.rand(num_nodes, 2 ** n) * 1.2 - 0.1).astype(np.float32)
    return x, connections, weight, random.randn(frames, num_nodes).astype(np.float32)


# ---- the reference itself --------------------------------------------------------------------------------------------


def plain_sum(x, table):
    """The definition as it is written."""
    n = x.shape[-1]
    def product(i):
        return np.prod([x[..., j] if i >> j & 1 else 1 - x[..., j] for j in range(n)], 0)
    return sum(table[i] * product(i) for i in range(2 ** n))


@pytest.mark.parametrize("n", range(2, 7))
def test_the_tree_is_the_sum(n):
    random = np.random.RandomState(n)
    x, table = random.rand(40, n), random.rand(2 ** n)
    np.testing.assert_allclose(reference_lut.multilinear(x, table), plain_sum(x, table), rtol=1e-12)


def numeric(function, at, step=1e-5):
    """Central differences of a scalar function of a float64 array."""
    grad = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][i] += step
        moved[1][i] -= step
        grad[i] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return grad


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_reference_gradients_are_the_numeric_ones(n, batch_norm):
    """In the smooth case: real inputs, outputs inside (0, 1), a variance above the floor."""
    random = np.random.RandomState(n)
    x, weight = random.rand(7, 8) * 0.8 + 0.1, random.rand(3, 2 ** n) * 0.8 + 0.1
    connections = np.stack([random.permutation(8)[:n] for _ in range(3)])
    dy = random.randn(7, 3)

    def loss(x, weight):
        y = reference_lut.multilinear(x[:, connections], weight[None])
        if batch_norm:
            y = (y - y.mean(0)) / np.sqrt(y.var(0)) * 0.05 + 0.5
        return (y * dy).sum()
    options = dict(mode="real", batch_norm=batch_norm, gamma=0.05)
    dx, dweight = reference_lut.lut_backward(x, connections, weight, dy, **options)
    np.testing.assert_allclose(dx, numeric(lambda v: loss(v, weight), x), atol=2e-5)
    np.testing.assert_allclose(dweight, numeric(lambda v: loss(x, v), weight), atol=2e-5)


def test_gradient_stops_where_the_output_is_clipped():
    x, connections, weight, dy = case(50, 9, 4, 3)
    for gamma, is_dead in ((0.3, False), (1e6, True)):  # y2 far outside of (0, 1)
        dx, dweight = reference_lut.lut_backward(x, connections, weight, dy, gamma=gamma)
        assert (np.abs(dweight).max() < 1e-6) == is_dead and (np.abs(dx).max() < 1e-6) == is_dead


# ---- C against the reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", range(2, 7))
@pytest.mark.parametrize("isa", ISAS)
def test_forward_bits_are_exact(isa, n, mode, select):
    select(isa)
    for frames in (1, 2, 15, 16, 17, 63, 64, 65, 131):
        x, connections, weight, _ = case(frames, 37, 35, n, frames)
        for lut_binarize in (False, True):
            options = dict(mode=mode, lut_binarize=lut_binarize)
            y, stats = backend.lut_forward(x, connections, weight, **options)
            inputs = reference_lut.lut_input(x, mode)[:, connections]
            y1 = reference_lut.multilinear(inputs, reference_lut.used_table(weight, lut_binarize)[None])
            np.testing.assert_allclose(stats, reference_lut.lut_statistics(y1), atol=2e-7)
            fixed = dict(options, mean=stats[0].copy(), var=stats[1].copy())
            np.testing.assert_array_equal(y, reference_lut.lut_forward(x, connections, weight, **fixed))
            np.testing.assert_array_equal(y, backend.lut_forward(x, connections, weight, **fixed)[0])
            for batch_norm in (False, True):
                fixed.update(batch_norm=batch_norm, binarize=False)
                np.testing.assert_array_equal(backend.lut_forward(x, connections, weight, **fixed)[0],
                                              reference_lut.lut_forward(x, connections, weight, **fixed))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", range(2, 7))
@pytest.mark.parametrize("isa", ISAS)
def test_backward_equals_the_reference(isa, n, mode, select):
    select(isa)
    for frames, options in ((1, dict(batch_norm=False)), (67, dict()), (150, dict(lut_binarize=True)),
                            (33, dict(clip_weight=False, batch_norm=False)), (40, dict(is_training=False))):
        x, connections, weight, dy = case(frames, 33, 34, n, frames)
        is_training = options.pop("is_training", True)
        batch_norm = options.get("batch_norm", True)
        stats = backend.lut_forward(x, connections, weight, mode, **options)[1]
        got = backend.lut_backward(x, connections, weight, dy, mode, stats=stats, is_training=is_training, **options)
        given = {} if is_training or not batch_norm else dict(mean=stats[0], var=stats[1])
        wanted = reference_lut.lut_backward(x, connections, weight, dy, mode, **options, **given)
        for mine, theirs in zip(got, wanted):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5 * max(1, np.abs(theirs).max()))
        none, dweight = backend.lut_backward(x, connections, weight, dy, mode, stats=stats, is_training=is_training,
                                             has_dx=False, **options)
        assert none is None
        np.testing.assert_array_equal(dweight, got[1])


@pytest.mark.parametrize("mode", MODES)
def test_all_instruction_sets_and_layouts_give_the_same_bits(mode, select):
    x, connections, weight, dy = case(6 * 35, 40, 50, 6)
    results = []
    for isa in ISAS:
        select(isa)
        y, stats = backend.lut_forward(x, connections, weight, mode, binarize=False)
        results.append((y, stats) + backend.lut_backward(x, connections, weight, dy, mode, stats=stats))
        planes = np.ascontiguousarray(x.reshape(6, 35, 40).transpose(0, 2, 1)).reshape(6, 40, 5, 7)
        spread, same = backend.lut_forward(planes, connections, weight, mode, binarize=False)
        np.testing.assert_array_equal(spread.reshape(6, 50, 35).transpose(0, 2, 1).reshape(-1, 50), y)
        np.testing.assert_array_equal(same, stats)
        grads = np.ascontiguousarray(dy.reshape(6, 35, 50).transpose(0, 2, 1)).reshape(6, 50, 5, 7)
        dx, dweight = backend.lut_backward(planes, connections, weight, grads, mode, stats=stats)
        np.testing.assert_array_equal(dx.reshape(6, 40, 35).transpose(0, 2, 1).reshape(-1, 40), results[-1][2])
        np.testing.assert_array_equal(dweight, results[-1][3])
    for other in results[1:]:
        for mine, theirs in zip(results[0], other):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_threads_change_no_output(mode, select):
    x, connections, weight, dy = case(1000, 40, 60, 4)
    results = []
    for threads in (1, 2, 3):
        backend.set_threads(threads)
        y, stats = backend.lut_forward(x, connections, weight, mode)
        results.append((y, backend.lut_backward(x, connections, weight, dy, mode, stats=stats)))
    for y, (dx, dweight) in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_allclose(dx, results[0][1][0], atol=1e-5)
        np.testing.assert_allclose(dweight, results[0][1][1], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", range(2, 7))
def test_tables_are_what_inference_computes(n, mode):
    """On tables that are undecided: entries a few roundings around the threshold."""
    random = np.random.RandomState(n)
    weight = (0.5 + random.randint(-3, 4, size=(300, 2 ** n)) * 2.0 ** -24).astype(np.float32)
    mean, var = weight.mean(1), (random.rand(300) * 1e-4).astype(np.float32)
    connections = np.tile(np.arange(n), (300, 1))
    x = reference_lut.corners(n).astype(np.float32)
    for batch_norm in (False, True):
        options = dict(mode=mode, batch_norm=batch_norm, mean=mean, var=var)
        tables = backend.lut_tables(weight, **options)
        np.testing.assert_array_equal(tables, reference_lut.lut_tables(weight, **options))
        y = backend.lut_forward(x, connections, weight, **options)[0]
        np.testing.assert_array_equal(y, reference_lut.table_forward(x, connections, tables))
        assert 0.02 < y.mean() < 0.98


def test_pack_and_unpack_tables():
    bits = np.random.RandomState(0).randint(2, size=(9, 64))
    np.testing.assert_array_equal(reference_lut.unpack_tables(reference_lut.pack_tables(bits), 6), bits)
    assert reference_lut.pack_tables([[1, 0, 0, 1]]).tolist() == [9]
    assert reference_lut.average_tables(2, 1).tolist() == [8]  # a tie of two is 0
    assert reference_lut.max_tables(2, 1).tolist() == [14]


def test_bad_arguments_are_named():
    x, connections, weight, dy = case(5, 9, 4, 3)
    with pytest.raises(ValueError, match="connections must be 0..8, got"):
        backend.lut_forward(x, np.full_like(connections, 9), weight)
    with pytest.raises(ValueError, match="4, 8, 16, 32 or 64 entries"):
        backend.lut_forward(x, connections, weight[:, :2])
    with pytest.raises(ValueError, match="mode is real, smooth, hard, got 'soft'"):
        backend.lut_tables(weight, "soft")
    with pytest.raises(ValueError, match="shape of dy"):
        backend.lut_backward(x, connections, weight, dy[:4])
