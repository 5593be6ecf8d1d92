"""Networks of look-up tables for 28x28 digits: BinaryBrain's samples, with its sizes. Data (N, 1, 28, 28) in 0..1.

    simple          2304 - 384 - 64 - 360 - 60 - 10 LUT6, 3,182 of them
    lut4            512 - 256 - 64 - 160 - 40 LUT4, then majorities of 4: 1,042 LUT4
    cnn             3x3 convolutions of 36, 36, 72, 72 channels, each a table layer and majorities of 6; a 4x4 one to 10
    stochastic_cnn  the same widths on probabilities: no BatchNorm, no binarization
    autoencoder     convolutions to 32 bits and back; output (N, 1, 28, 28)

`modulation` is the number of frames of bits that stand for a real number.
"""
import mxnet as mx

import qnn


def _classes(net, modulation):
    """Mean over the frames, softmax."""
    net = qnn.sym.BinaryToReal(mx.sym.Flatten(net), frame_integration=modulation, name="integrate")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def _modulated(modulation, is_flat):
    data = mx.sym.Variable("data")
    return qnn.sym.RealToBinary(mx.sym.Flatten(data) if is_flat else data, frame_modulation=modulation, name="modulate")


def simple(modulation=15):
    """MnistDifferentiableLutSimple: 3,182 LUT6."""
    net, units = _modulated(modulation, True), 784
    for number, nodes in enumerate((2304, 384, 64, 360, 60, 10), 1):
        net = qnn.sym.DifferentiableLut(net, num_nodes=nodes, in_units=units, name="lut%d" % number)
        units = nodes
    return _classes(net, modulation)


def lut4(modulation=15):
    """MnistDifferentiableLut4Simple: 1,042 LUT4."""
    net, units = _modulated(modulation, True), 784
    layers = ((512, "random"), (256, "serial"), (64, "serial"), (160, "random"), (40, "serial"))
    for number, (nodes, connection) in enumerate(layers, 1):
        net = qnn.sym.DifferentiableLut(net, num_nodes=nodes, in_units=units, n=4, connection=connection,
                                        name="lut%d" % number)
        units = nodes
    net = qnn.sym.AverageLut(net, num_nodes=10, in_units=units, n=4, binarize_input=False, name="average")
    return _classes(net, modulation)


def _block(nodes, outputs, units, name, has_majority=True, **options):
    """Function of a window: a table layer at random, then groups of 6 become one channel, by majority or mean."""
    def layer(x):
        x = qnn.sym.DifferentiableLut(x, num_nodes=nodes, in_units=units, name=name + "_lut", **options)
        return qnn.sym.AverageLut(x, num_nodes=outputs, in_units=nodes, binarize=has_majority,
                                  binarize_input=False, name=name + "_average")
    return layer


def _features(net, options, pool):
    """28x28 -> four 3x3 convolutions, two poolings -> 4x4x144."""
    channels = 1
    for number, (nodes, outputs) in enumerate(((216, 36), (432, 72), (432, 72), (864, 144)), 1):
        name = "conv%d" % number
        net = qnn.lut.Convolution2d(net, _block(nodes, outputs, 9 * channels, name, **options), (3, 3), name=name)
        net = pool(net, "pool%d" % (number // 2)) if number % 2 == 0 else net
        channels = outputs
    return net


def _max_pool(net, name):
    return mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name=name)


def cnn(modulation=7):
    """MnistDifferentiableLutCnn."""
    net = _features(_modulated(modulation, False), {}, _max_pool)

    def head(x):
        x = _block(768, 128, 16 * 144, "head1")(x)
        x = qnn.sym.DifferentiableLut(x, num_nodes=360, in_units=128, name="head2_lut")
        x = qnn.sym.DifferentiableLut(x, num_nodes=60, in_units=360, connection="serial", name="head3_lut")
        return qnn.sym.AverageLut(x, num_nodes=10, in_units=60, binarize_input=False, name="head4_average")
    return _classes(qnn.lut.Convolution2d(net, head, (4, 4), name="head"), modulation)


def stochastic_cnn(modulation=None):
    """MnistStochasticLutCnn: tables binarized in forward, signals probabilities. With modulation the same
    parameters run on bits, as hardware does, and means are majorities."""
    options = dict(binary=False, batch_norm=False, lut_binarize=True)
    net = _features(_modulated(modulation, False) if modulation else mx.sym.Variable("data"),
                    dict(options, has_majority=bool(modulation)),
                    lambda x, name: qnn.sym.StochasticMaxPooling(x, kernel=(2, 2), name=name))

    def head(x):
        units = 16 * 144
        for number, (nodes, connection) in enumerate(((128, "random"), (60, "random"), (10, "serial")), 1):
            x = qnn.sym.DifferentiableLut(x, num_nodes=nodes, in_units=units, connection=connection,
                                          name="head%d_lut" % number, **options)
            units = nodes
        return x
    net = qnn.lut.Convolution2d(net, head, (4, 4), name="head")
    if modulation:
        return _classes(net, modulation)
    return mx.sym.SoftmaxOutput(qnn.sym.Reduce(mx.sym.Flatten(net), num_nodes=10, name="reduce"), name="softmax")


def autoencoder(modulation=7):
    """MnistAeDifferentiableLutCnn: 1,152 - 192 - 32 bits in the middle. The output is the image, (N, 1, 28, 28)."""
    same = dict(kernel=(3, 3), pad=(1, 1))
    net, channels = _modulated(modulation, False), 1
    for number, (nodes, outputs) in enumerate(((192, 32), (192, 32), (384, 64), (384, 64)), 1):
        name = "encode%d" % number
        net = qnn.lut.Convolution2d(net, _block(nodes, outputs, 9 * channels, name), name=name, **same)
        net = _max_pool(net, "pool%d" % (number // 2)) if number % 2 == 0 else net
        channels = outputs
    units = 49 * 64
    for number, (nodes, connection) in enumerate(((1152, "random"), (192, "serial"), (32, "serial"),
                                                  (125, "random"), (1024, "random"), (49 * 64, "random")), 1):
        net = qnn.sym.DifferentiableLut(net, num_nodes=nodes, in_units=units, connection=connection,
                                        name="code%d" % number)
        units = nodes
    net, channels = mx.sym.Reshape(net, shape=(-1, 64, 7, 7)), 64
    for number, (nodes, outputs) in enumerate(((384, 64), (384, 64), (192, 32), (216, 36)), 1):
        if number in (1, 3):
            net = qnn.sym.UpSampling(net, scale=2, name="up%d" % (number // 2 + 1))
        name, options = "decode%d" % number, {} if number < 4 else dict(batch_norm=False)
        net = qnn.lut.Convolution2d(net, _block(nodes, outputs, 9 * channels, name, **options), name=name, **same)
        channels = outputs

    def pixel(x):
        options = dict(connection="serial", batch_norm=False)
        x = qnn.sym.DifferentiableLut(x, num_nodes=6, in_units=36, name="pixel1", **options)
        return qnn.sym.DifferentiableLut(x, num_nodes=1, in_units=6, name="pixel2", **options)
    net = qnn.lut.Convolution2d(net, pixel, (1, 1), name="pixel")
    net = qnn.sym.BinaryToReal(net, frame_integration=modulation, name="integrate")
    return mx.sym.LinearRegressionOutput(net, mx.sym.Variable("softmax_label"), name="image")


NETWORKS = {"simple": simple, "lut4": lut4, "cnn": cnn, "stochastic_cnn": stochastic_cnn, "autoencoder": autoencoder}
