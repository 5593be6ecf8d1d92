"""Executors: a network bound by MXNet, as a call that can be timed: forward, or forward and backward, to the end."""
import mxnet as mx

from .inference import Model


def executor_call(network):
    """The call for a network with symbol, args, auxs, data (numpy) and is_training. Data is copied in here, not by the
    call."""
    bind = bind_training if network.is_training else bind_inference
    return bind(network.symbol, network.args, network.auxs, network.data)


def bind_inference(symbol, args, auxs, data):
    """Call that runs the network forward and waits for its first output, which it returns."""
    executor = Model(symbol, args, auxs).bind(data.shape)
    executor.arg_dict["data"][:] = data

    def call():
        output = executor.forward(is_train=False)[0]
        output.wait_to_read()
        return output
    return call


def bind_training(symbol, args, auxs, data):
    """Call that runs forward and backward, with random gradients of the output, and returns the gradients by name."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=data.shape)
    executor.arg_dict["data"][:] = data
    for arrays, params in ((executor.arg_dict, args), (executor.aux_dict, auxs)):
        for name, value in params.items():
            arrays[name][:] = value
    gradient = mx.nd.random.normal(shape=executor.outputs[0].shape)

    def call():
        executor.forward(is_train=True)
        executor.backward([gradient])
        for array in executor.grad_arrays:
            array.wait_to_read()
        return executor.grad_dict
    return call
