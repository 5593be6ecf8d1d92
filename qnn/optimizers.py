"""Optimizers for quantized weights, by name in Module.fit and gluon.Trainer like MXNet's own.

    latent:  W <- clip(W + glorot_scale * step, -clip, clip)            step: what another optimizer adds to W
    bop:     m <- (1 - gamma)*m + gamma*g;   w <- -w where m*w > tau    w in {-1, +1}: no latent weights

    module.fit(..., optimizer="latent", optimizer_params={"optimizer": "adam", "learning_rate": 0.003})
    mx.gluon.Trainer(net.collect_params(), "bop", {"weights": qnn.latent.quantized_weights(net)})

Other parameters (biases, BatchNorm, float layers) are updated by the inner optimizer as it is.
"""
import logging
import math

import mxnet as mx

from .latent import quantized_weights, select


def glorot_scale(shape):
    """sqrt((fan_in + fan_out) / 1.5): the inverse of Glorot's range for a weight (out, in, *kernel); W_LR_scale of
    BinaryConnect (arXiv:1511.00363).

    >>> round(glorot_scale((1024, 784)), 3)
    34.718
    """
    if len(shape) < 2:
        raise ValueError("glorot_scale: a weight (out, in, *kernel) is expected, got shape %s" % (tuple(shape),))
    taps = math.prod(shape[2:])
    return math.sqrt((shape[0] + shape[1]) * taps / 1.5)


def clip_weights(weight, clip=1.0):
    """Clips an NDArray to -clip..clip in place, and returns it. Raises ValueError."""
    if not clip > 0:
        raise ValueError("clip_weights: clip is a number above 0, got %r" % (clip,))
    return mx.nd.clip(weight, -clip, clip, out=weight)


class _ForWeights(mx.optimizer.Optimizer):
    """Treats some weights in its own way (`update_weight`), and leaves the others to the inner optimizer.

    weights: their names, or a regular expression for whole names; None: those that the Q layers of the symbol quantize,
    which Module hands over. Learning rate, schedule, weight decay, multipliers and counts are kept here; the inner
    optimizer is told the result before each step.
    """

    def __init__(self, optimizer="adam", weights=None, sym=None, param_idx2name=None, param_dict=None, rescale_grad=1.0,
                 learning_rate=None, lr_scheduler=None, wd=0.0, begin_num_update=0, multi_precision=False,
                 **inner_options):
        super().__init__(rescale_grad=rescale_grad, param_idx2name=param_idx2name, wd=wd, learning_rate=learning_rate,
                         lr_scheduler=lr_scheduler, sym=sym, begin_num_update=begin_num_update,
                         multi_precision=multi_precision, param_dict=param_dict)
        self.inner = mx.optimizer.create(optimizer, begin_num_update=begin_num_update, **inner_options)
        if learning_rate is None and lr_scheduler is None:
            self.lr = self.inner.lr
        self.weights = quantized_weights(sym) if weights is None and sym is not None else weights
        self._selected = None

    def is_selected(self, index):
        """True if the parameter of this index (or name: kvstores say that) is one of the weights. Raises ValueError
        where none is."""
        names = {**self.idx2name, **{i: parameter.name for i, parameter in self.param_dict.items()}}
        if self._selected is None:
            if self.weights is None:
                raise ValueError("optimizer %s: weights tells which parameters it is for; "
                                 "weights=qnn.latent.quantized_weights(net) for those of Q layers" % self.name)
            self._selected = set(select(self.weights, names.values()))
            if not self._selected:
                raise ValueError("optimizer %s: weights=%r is none of the parameters: %s"
                                 % (self.name, self.weights, ", ".join(sorted(names.values()))))
        return names.get(index, index) in self._selected

    @property
    def name(self):
        return type(self).__name__.lower()

    def _set_current_context(self, device_id):
        super()._set_current_context(device_id)
        self.inner._set_current_context(device_id)

    def create_state(self, index, weight):
        return self.inner.create_state(index, weight)

    def update(self, index, weight, grad, state):
        """One step on `weight` in place."""
        self._update_count(index)
        self.inner.rescale_grad = self.rescale_grad
        self.inner.lr, self.inner.wd = self._get_lr(index), self._get_wd(index)
        if self.is_selected(index):
            self.update_weight(index, weight, grad, state)
        else:
            self.inner.update(index, weight, grad, state)

    def update_weight(self, index, weight, grad, state):
        raise NotImplementedError


@mx.optimizer.register
class Latent(_ForWeights):
    """Scaled steps and clipping for latent weights: W <- clip(W + scale * step, -clip, clip).

    optimizer: the name of MXNet's optimizer that makes the step, whose further arguments are taken too (momentum,
    beta1 ...); it must be linear in its learning rate, which is what `scale` multiplies, as all but ftrl and adadelta
    are. clip: limit of the weights; None warns, as beyond the window of the straight-through estimator no gradient
    brings a weight back. scale: "glorot" (see glorot_scale), a number, or None for 1. weights: see the module.
    Weight decay on such weights pulls them to zero, where signs flip without a reason: it warns once.
    Source: BinaryConnect (arXiv:1511.00363), BNN-PYNQ.
    """

    def __init__(self, optimizer="adam", clip=1.0, scale="glorot", weights=None, **options):
        super().__init__(optimizer, weights, **options)
        if clip is not None and not clip > 0:
            raise ValueError("optimizer latent: clip is a number above 0 or None, got %r" % (clip,))
        if scale not in ("glorot", None) and not (isinstance(scale, (int, float)) and scale > 0):
            raise ValueError('optimizer latent: scale is "glorot", a number above 0 or None, got %r' % (scale,))
        self.clip, self.scale, self._warned = clip, scale, set()
        if clip is None:
            self._warn("clip=None: a latent weight beyond the window of its quantizer gets no gradient any more")

    def _warn(self, sentence):
        if sentence not in self._warned:
            self._warned.add(sentence)
            logging.getLogger(__name__).warning("optimizer latent: %s", sentence)

    def update_weight(self, index, weight, grad, state):
        if self.inner.wd:
            self._warn("weight decay pulls latent weights to zero, where their signs flip without a reason: use wd=0")
        self.inner.lr *= glorot_scale(weight.shape) if self.scale == "glorot" else self.scale or 1.0
        self.inner.update(index, weight, grad, state)
        if self.clip is not None:
            clip_weights(weight, self.clip)


@mx.optimizer.register
class Bop(_ForWeights):
    """Binary optimizer: no latent weights: a weight flips when the moving average of its gradient insists.

    gamma: adaptivity rate 0..1, a number, or a function of the number of updates (an lr_scheduler); tau: threshold >= 0
    on m*w. Weights become their signs when the optimizer first sees them. optimizer, learning_rate, wd: for all other
    parameters. The gradient is divided by the batch size first (rescale_grad), on which tau depends.
    Source: Helwegen et al., arXiv:1906.02107.
    """

    def __init__(self, optimizer="adam", gamma=1e-4, tau=1e-8, weights=None, **options):
        super().__init__(optimizer, weights, **options)
        if not callable(gamma) and not 0 < gamma <= 1:
            raise ValueError("optimizer bop: gamma is a number in 0..1 above 0, got %r" % (gamma,))
        if not tau >= 0:
            raise ValueError("optimizer bop: tau is a number from 0 on, got %r" % (tau,))
        self.gamma, self.tau = gamma, tau

    def create_state(self, index, weight):
        if not self.is_selected(index):
            return super().create_state(index, weight)
        weight[:] = 1 - 2 * (weight < 0)
        return mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype)

    def update_weight(self, index, weight, grad, state):
        gamma = self.gamma(self.num_update) if callable(self.gamma) else self.gamma
        state[:] = (1 - gamma) * state + (gamma * self.rescale_grad) * grad
        weight *= 1 - 2 * (state * weight > self.tau)
