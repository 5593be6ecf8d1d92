"""A worker of tests/test_distributed.py: trains a small net of Q layers on its part of every batch, and writes losses
and some of the parameters to DIR/RANK.json: lines of two workers on one stdout may run into each other.

    distributed_worker.py DIR KV_STORE BATCH [RANK THAT DIES]
"""
import json
import os
import signal
import sys
from pathlib import Path

import qnn

# isort: split
import mxnet as mx
import numpy as np

STEPS, GLOBAL_BATCH = 12, 32


def network():
    """Without BatchNorm, whose statistics are those of a worker's own part."""
    net = qnn.sym.QConvolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, act_bit=32, no_offset=True,
                               scaling="layer", name="conv1")
    net = qnn.sym.QActivation(net)
    net = qnn.sym.QFullyConnected(net, num_hidden=16, no_offset=True, scaling="layer", name="fc1")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=4, name="fc2"), name="softmax")


def main(directory, kv_store, batch, dying=None):
    kv = mx.kv.create(kv_store)
    random = np.random.RandomState(0)
    images, labels = random.randn(STEPS, GLOBAL_BATCH, 2, 6, 6).astype(np.float32), random.randint(0, 4, (STEPS, 32))
    mine = slice(kv.rank * batch, (kv.rank + 1) * batch)
    module = mx.mod.Module(network())
    module.bind([("data", (batch, 2, 6, 6))], [("softmax_label", (batch,))])
    mx.random.seed(7)
    np.random.seed(7)
    module.init_params(mx.init.Xavier())
    module.init_optimizer(kvstore=kv, optimizer="sgd", optimizer_params={
        "learning_rate": 0.1, "momentum": 0.9, "rescale_grad": 1 / GLOBAL_BATCH})
    losses = []
    for step in range(STEPS):
        if kv.rank == dying and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        data = mx.io.DataBatch([mx.nd.array(images[step, mine])], [mx.nd.array(labels[step, mine])])
        module.forward_backward(data)
        module.update()
        scores = module.get_outputs()[0].asnumpy()
        losses.append(float(-np.log(scores[np.arange(batch), labels[step, mine]]).mean()))
    args, _ = module.get_params()
    result = {"losses": losses, "params": {name: value.asnumpy().ravel()[::7].tolist() for name, value in args.items()}}
    Path(directory, "%d.json" % kv.rank).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
