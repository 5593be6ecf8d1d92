"""Reference of the convolution that training runs on codes, and of its gradients, in float64 (exact for integers):

    y[n, f, q]  = sum over c, k of x[n, c, q stride + k dilate - pad] w[f, c, k]  + bias[f]
    dx[n, c, p] = sum over f, k of dy[n, f, q] w[f, c, k]                         where q stride + k dilate - pad = p
    dw[f, c, k] = sum over n, q of dy[n, f, q] x[n, c, q stride + k dilate - pad]
    dbias[f]    = sum over n, q of dy[n, f, q]

x: (N, C, H, W), w: (F, C, kh, kw), dy: the shape of y; outside of x there are zeros.
"""
import numpy as np

from . import reference


def _around(pad):
    return (0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2


def _taps(kernel, out, stride, dilate):
    """((i, j), what tap i, j sees of the padded data) for all taps."""
    for tap in np.ndindex(*kernel):
        yield tap, tuple(slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s in zip(tap, dilate, out, stride))


def conv2d(x, w, bias=None, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """y: (N, F, OH, OW) float64."""
    y = reference.convolution(np.pad(x, _around(pad)), w, stride, dilate)
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


def conv2d_grad_data(dy, w, size, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """dx: (N, C, *size) float64."""
    (h, width), (ph, pw), dy = size, pad, np.asarray(dy, np.float64)
    dx = np.zeros((len(dy), w.shape[1], h + 2 * ph, width + 2 * pw))
    for (i, j), (rows, columns) in _taps(w.shape[2:], dy.shape[2:], stride, dilate):
        dx[:, :, rows, columns] += np.einsum("nfhw,fc->nchw", dy, w[:, :, i, j], optimize=True)
    return dx[:, :, ph:ph + h, pw:pw + width]


def conv2d_grad_weight(x, dy, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0)):
    """dw: (F, C, *kernel) float64."""
    x, dy = np.pad(np.asarray(x, np.float64), _around(pad)), np.asarray(dy, np.float64)
    dw = np.zeros((dy.shape[1], x.shape[1]) + tuple(kernel))
    for (i, j), (rows, columns) in _taps(kernel, dy.shape[2:], stride, dilate):
        dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dy, x[:, :, rows, columns], optimize=True)
    return dw


def conv2d_grad_bias(dy):
    """dbias: (F,) float64."""
    return np.asarray(dy, np.float64).sum((0, 2, 3))
