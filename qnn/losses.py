"""Losses: hinge and squared hinge over all classes, for symbols and for gluon; t is +1 for the label's class, -1 else.

    loss = mean over classes of max(0, margin - t*y)        hinge
    loss = mean over classes of max(0, margin - t*y)^2      squared hinge: what BinaryNet and BNN-PYNQ train with

An output operator gives the scores y forward, and the loss's gradient backward, as SoftmaxOutput does:

    net = qnn.sym.SquaredHingeOutput(net, num_classes=10, name="softmax")       reads the label softmax_label
    module.fit(..., eval_metric=["acc", qnn.losses.squared_hinge_metric()])
"""
import mxnet as mx
import numpy as np
from mxnet.gluon.loss import Loss


def hinge(scores, labels, margin=1.0):
    """Mean of max(0, margin - t*y) over samples and classes. scores: (N, C) floats; labels: (N,) class numbers."""
    return float(np.maximum(0, margin - _targets(scores, labels) * scores).mean())


def squared_hinge(scores, labels, margin=1.0):
    """Mean of max(0, margin - t*y)^2 over samples and classes.

    >>> squared_hinge(np.array([[0.5, -3.0]]), np.array([0]))
    0.125
    """
    return float(np.square(np.maximum(0, margin - _targets(scores, labels) * scores)).mean())


def cross_entropy(scores, labels):
    """Mean of -log(scores[label]). scores: (N, C) probabilities, as SoftmaxOutput gives them; labels: (N,)."""
    picked = np.asarray(scores)[np.arange(len(labels)), np.asarray(labels, np.int64)]
    return float(-np.log(np.maximum(picked, np.float32(1e-12))).mean())


def _targets(scores, labels):
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError("hinge: scores are (N, C) and labels (N,), got %s and %s" % (scores.shape, labels.shape))
    return np.where(np.arange(scores.shape[1]) == labels[:, None], 1, -1).astype(scores.dtype)


def hinge_metric(margin=1.0, name="hinge"):
    """Hinge loss as an mx.metric."""
    return mx.metric.CustomMetric(lambda labels, scores: hinge(scores, labels, margin), name=name)


def squared_hinge_metric(margin=1.0, name="squared_hinge"):
    """Squared hinge loss as an mx.metric."""
    return mx.metric.CustomMetric(lambda labels, scores: squared_hinge(scores, labels, margin), name=name)


def HingeOutput(data, label=None, num_classes=0, margin=1.0, grad_scale=1.0, name=None, attr=None):
    """Output of a classifier trained with the hinge loss: forward the scores, backward the gradient of the loss.

    data: symbol (N, num_classes); label: symbol (N,) of class numbers, by default a variable NAME_label. The gradient
    is that of grad_scale * sum over samples of the loss above; Module divides by the batch size, as for SoftmaxOutput.
    MXNet's SVMOutput does it, with the coefficient grad_scale / num_classes. Raises ValueError.
    """
    return _output("HingeOutput", True, data, label, num_classes, margin, grad_scale, name, attr)


def SquaredHingeOutput(data, label=None, num_classes=0, margin=1.0, grad_scale=1.0, name=None, attr=None):
    """Output of a classifier trained with the squared hinge loss; arguments as of HingeOutput.

    Source: BinaryNet (arXiv:1602.02830), BNN-PYNQ.
    """
    return _output("SquaredHingeOutput", False, data, label, num_classes, margin, grad_scale, name, attr)


def _output(op, use_linear, data, label, num_classes, margin, grad_scale, name, attr):
    if isinstance(num_classes, bool) or int(num_classes) != num_classes or num_classes < 1:
        raise ValueError("%s: num_classes is the number of scores of a sample, got %r" % (op, num_classes))
    if not margin > 0:
        raise ValueError("%s: margin is a number above 0, got %r" % (op, margin))
    inputs = {} if label is None else {"label": label}
    return mx.sym.SVMOutput(data, margin=float(margin), regularization_coefficient=grad_scale / num_classes,
                            use_linear=use_linear, name=name, attr=attr, **inputs)


class HingeLoss(Loss):
    """Hinge loss for gluon: scores (N, C), class numbers (N,) -> loss per sample (N,); formulas above.

    power: 1, or 2 for the squared hinge. weight, batch_axis: as gluon's losses have them. gluon.loss.HingeLoss, unlike
    this one, wants +1 and -1 of the shape of the scores.
    """

    power = 1

    def __init__(self, margin=1.0, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        if not margin > 0:
            raise ValueError("%s: margin is a number above 0, got %r" % (type(self).__name__, margin))
        self._margin = margin

    def hybrid_forward(self, F, scores, label, sample_weight=None):
        classes = F.contrib.arange_like(scores, axis=1)
        targets = F.broadcast_equal(F.expand_dims(label, 1), F.expand_dims(classes, 0)) * 2 - 1
        loss = F.relu(self._margin - targets * scores)
        loss = F.square(loss) if self.power == 2 else loss
        if self._weight is not None:
            loss = loss * self._weight
        if sample_weight is not None:
            loss = F.broadcast_mul(loss, sample_weight)
        return F.mean(loss, axis=self._batch_axis, exclude=True)


class SquaredHingeLoss(HingeLoss):
    """Squared hinge loss for gluon; see HingeLoss."""

    power = 2
