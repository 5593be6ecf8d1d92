"""Evaluate: accuracy and speed of a model on labelled images: accuracy = correct / total, class = argmax of scores."""
import time

from . import backend


def evaluate(model, images, labels, batch_size=64, progress=False):
    """Counts the samples whose largest score is that of their label; a dict of plain numbers, for JSON.

    images: (N, ...) float32; labels: (N,) integers. images_per_second covers prediction alone, not the binding
    of the network.
    """
    if len(images) != len(labels):
        raise ValueError("evaluate: %d images, but %d labels" % (len(images), len(labels)))
    if not len(images):
        raise ValueError("evaluate: no images")
    classes = model.output_shape(images[:1].shape)[1:]
    if len(classes) != 1 or labels.max() >= classes[0] or labels.min() < 0:
        raise ValueError("evaluate: labels are %d..%d, the network's output has shape (N%s)"
                         % (labels.min(), labels.max(), "".join(", %d" % size for size in classes)))
    for size in {min(batch_size, len(images)), len(images) % batch_size or batch_size}:
        model.bind((size,) + images.shape[1:])
    begin = time.perf_counter()
    predicted = model.classes(images, batch_size, progress)
    seconds = time.perf_counter() - begin
    correct = int((predicted == labels).sum())
    return {"correct": correct, "total": len(labels), "accuracy": correct / len(labels),
            "images_per_second": len(labels) / seconds, "threads": backend.threads(), "isa": backend.isa()}
