"""Verify: the packed model against the training graph it came from, on real data: the same outputs, the same
classes."""
import time

import numpy as np

from qnn.inference import Model, load

from .convert import load_source


def verify(prefix, epoch, out, images, source="mxnet", batch_size=64, progress=False, network=None):
    """Runs both models on `images` and compares their first outputs.

    images: (N, ...) float32. Returns {"images", "different_classes", "different_outputs", "max_difference"}: number of
    images, of images with another argmax, of outputs that are not the same float32, and the largest difference of two,
    None where it is no finite number (JSON has none other);
    and {"seconds_trained", "seconds_packed", "speedup"}: time of prediction in this run, after one batch to warm up.
    """
    import mxnet as mx
    packed = load(out, epoch)
    graph, args, auxs = load_source(prefix, epoch, source, network)
    trained = Model(mx.sym.load_json(graph.to_json()), args, auxs, data=packed.data, labels=packed.labels)
    expected, seconds_trained = _timed(trained, images, batch_size, progress)
    got, seconds_packed = _timed(packed, images, batch_size, progress)
    return {**compare(expected, got), "seconds_trained": round(seconds_trained, 4),
            "seconds_packed": round(seconds_packed, 4), "speedup": round(seconds_trained / seconds_packed, 2)}


def _timed(model, images, batch_size, progress):
    model.predict(images[:batch_size], batch_size)
    start = time.perf_counter()
    return model.predict(images, batch_size, progress), time.perf_counter() - start


def compare(expected, got):
    """The comparison itself, of two (N, ...) arrays of scores."""
    rows = expected.reshape(len(expected), -1), got.reshape(len(got), -1)
    is_different = ~((rows[0] == rows[1]) | (np.isnan(rows[0]) & np.isnan(rows[1])))
    differences = np.abs(rows[0][is_different].astype(np.float64) - rows[1][is_different])
    largest = float(differences.max(initial=0.0))
    return {"images": len(expected), "different_classes": int((rows[0].argmax(1) != rows[1].argmax(1)).sum()),
            "different_outputs": int(is_different.sum()), "max_difference": largest if np.isfinite(largest) else None}
