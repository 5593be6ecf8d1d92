"""qnn.model_zoo: networks, one architecture per file, and pretrained ones with their weights.

    get_model_list()                                   names: architectures and pretrained networks
    get_model("lenet_mnist_binary", pretrained=True)   a qnn.inference.Model on packed bits, ready to predict
    get_model("resnet18", num_classes=10)              a gluon block to train
    get_symbol("resnet18", num_classes=10)             the same as a symbol with softmax, for Module
"""
from .architectures import get_symbol
from .pretrained import get_model, get_model_list

__all__ = ["get_model", "get_model_list", "get_symbol"]
