"""Benchmark of networks of look-up tables: images per second of training and of packed inference, as rows of a report
like that of benchmark.run.

    {"machine": {...}, "rows": [{"case": "train_images_per_s", "network", "threads", "value", "per_thread", ...},
                                {"case": "infer_images_per_s", "input": "packed bits" or "uint8", ...}]}
"""
import time

import mxnet as mx
import numpy as np

from . import backend, benchmark, benchmark_lut_inference
from .tables import text_table

BATCH, SHAPE = 64, (1, 28, 28)


def training_step(symbol, batch=BATCH):
    """A function that trains one mini-batch of random images, and waits: forward, backward, LutAdam."""
    random = np.random.RandomState(0)
    module = mx.mod.Module(symbol)
    module.bind([("data", (batch,) + SHAPE)], [("softmax_label", (batch,))])
    module.init_params()
    module.init_optimizer(kvstore=None, optimizer="lutadam", optimizer_params={"learning_rate": 0.001})
    data = mx.io.DataBatch([mx.nd.array(random.rand(batch, *SHAPE))], [mx.nd.array(random.randint(10, size=batch))])

    def step():
        module.forward_backward(data)
        module.update()
        mx.nd.waitall()
    return step


def train_row(name, symbol, num_threads, rounds):
    """Images per second of training, at the median of `rounds` steps in wall time."""
    step = training_step(symbol)
    for _ in range(3):
        step()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    value = BATCH / float(np.median(seconds))
    return {"case": "train_images_per_s", "network": name, "batch": BATCH, "threads": num_threads,
            "clock": "wall time", "value": round(value, 1), "per_thread": round(value / num_threads, 1)}


def run(networks, packed, num_threads, rounds, command=""):
    """The report. networks: {name: symbol to train}; packed: {name: LutNetwork to run}. MXNet's threads are fixed when
    it starts: see benchmark.environment()."""
    backend.set_threads(num_threads)
    rows = [train_row(name, symbol, num_threads, rounds) for name, symbol in networks.items()]
    rows += benchmark_lut_inference.rows(packed, num_threads, rounds)
    return {"machine": {**benchmark.machine(num_threads), "rounds": rounds, "clock": "of each row", "command": command},
            "rows": rows}


def describe(report):
    """The report as text for people."""
    lines = [[row["case"], row["network"], row.get("input", "float32"), str(row["threads"]), "%.0f" % row["value"],
              "%.0f" % row["per_thread"], row["clock"]] for row in report["rows"]]
    header = ["case", "network", "input", "threads", "images/s", "per thread", "clock"]
    return "\n".join([benchmark.title(report["machine"]), text_table(header, lines, right=(3, 4, 5))])
