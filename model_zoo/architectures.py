"""Architectures: the registry of this package's networks: name -> (function, arguments, shape of its data)."""
from typing import Any, NamedTuple

import mxnet as mx

from qnn import demo

from . import cnv, densenet, lenet, lut_cifar10, lut_compact, lut_mnist, meliusnet, mlp, quicknet, resnet, resnet_e, vgg

IMAGENET = (3, 224, 224)
INITIAL = {"gamma": "ones", "beta": "zeros", "bias": "zeros", "mean": "zeros", "var": "ones"}  # by the end of a name


class Architecture(NamedTuple):
    """function(**arguments) gives a symbol; data_shape: (C, H, W) without arguments that change it."""

    function: Any
    arguments: dict
    data_shape: tuple


ARCHITECTURES = {
    "binary_densenet28": Architecture(densenet.binary_densenet, {"num_layers": 28}, IMAGENET),
    "binary_densenet37": Architecture(densenet.binary_densenet, {"num_layers": 37}, IMAGENET),
    "binary_densenet45": Architecture(densenet.binary_densenet, {"num_layers": 45}, IMAGENET),
    "binarynet_vgg": Architecture(vgg.binarynet_vgg, {}, (3, 32, 32)),
    "bi_realnet18": Architecture(resnet_e.bi_realnet18, {}, IMAGENET),
    "cnv": Architecture(cnv.cnv, {}, (3, 32, 32)),
    "digits": Architecture(demo.network, {"is_binary": True}, (1, 8, 8)),
    "lenet": Architecture(lenet.lenet, {}, (1, 28, 28)),
    "binary_lenet": Architecture(lenet.binary_lenet, {}, (1, 28, 28)),
    "lfc": Architecture(mlp.lfc, {}, (1, 28, 28)),
    "lut_cifar10_cnn": Architecture(lut_cifar10.cnn, {}, (3, 32, 32)),
    "lut_cnn": Architecture(lut_mnist.cnn, {}, (1, 28, 28)),
    "lut_compact": Architecture(lut_compact.compact, {"connection": "random"}, (1, 28, 28)),
    "lut_simple": Architecture(lut_mnist.simple, {}, (1, 28, 28)),
    "mlp": Architecture(mlp.mlp, {}, (1, 28, 28)),
    "residual_mlp": Architecture(mlp.residual_mlp, {}, (1, 28, 28)),
    "sfc": Architecture(mlp.sfc, {}, (1, 28, 28)),
    "meliusnet22": Architecture(meliusnet.meliusnet, {"num_layers": 22}, IMAGENET),
    "meliusnet29": Architecture(meliusnet.meliusnet, {"num_layers": 29}, IMAGENET),
    "quicknet_small": Architecture(quicknet.quicknet_small, {}, IMAGENET),
    "resnet18": Architecture(resnet.resnet18, {}, IMAGENET),
    "resnet_e18": Architecture(resnet_e.resnet_e, {"num_layers": 18}, IMAGENET),
    "resnet_e34": Architecture(resnet_e.resnet_e, {"num_layers": 34}, IMAGENET),
}


def get_symbol(name, **arguments):
    """The symbol of an architecture: data -> softmax. arguments: num_classes, act_bit, weight_bit, image_size ..., as
    its function has them; 32/32 bits is the float network. Raises ValueError, listing the known, for other names and
    arguments.
    """
    if name not in ARCHITECTURES:
        raise ValueError("unknown architecture %r; known: %s" % (name, ", ".join(sorted(ARCHITECTURES))))
    function, own, _ = ARCHITECTURES[name]
    known = [key for key in function.__code__.co_varnames[:function.__code__.co_argcount] if key != "num_layers"]
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError("%s: unknown argument %r; known: %s" % (name, unknown[0], ", ".join(known)))
    return function(**{**own, **arguments})


def get_block(name, **arguments):
    """The architecture as a gluon block without its loss: data -> scores, for gluon's losses."""
    symbol = get_symbol(name, **arguments)
    scores = symbol.get_children()[0]  # what the loss, the last node of every network here, reads
    block, attrs = mx.gluon.SymbolBlock(scores, mx.sym.Variable("data", dtype="float32")), symbol.attr_dict()
    for key, parameter in block.collect_params().items():  # gluon does not look at names, nor at variables' attributes
        own = attrs.get(key, {})
        parameter.init = own.get("__init__", INITIAL.get(key.rpartition("_")[2]))
        parameter.lr_mult, parameter.wd_mult = (float(own.get("__%s__" % kind, 1)) for kind in ("lr_mult", "wd_mult"))
    return block
