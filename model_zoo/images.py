"""Images: PNG and JPEG files as the data of a pretrained network.

    decode (grey where the network has one channel) -> resize, so that the shorter side fits -> cut out the middle
    -> pixels 0..255 as the data set has them: mnist / 255, digits / 255, else (pixel - mean) * scale

The shorter side becomes that of the data; 224-pixel networks take the middle of 256 pixels, as they are tested on
ImageNet.
"""
import numpy as np

from qnn.datasets import normalize
from qnn.errors import first_sentence
from qnn.files import FileFormatError

UNIT = ("mnist", "digits")  # data sets whose images are 0..1


def load_image(path, row, invert=False):
    """(1, C, H, W) float32 of the file at `path`, for the index row of a network. invert: 255 - pixel, for dark digits
    on white paper. Raises OSError, FileFormatError naming the file."""
    import mxnet as mx
    channels, height, width = row["data_shape"]
    with open(path, "rb") as file:
        content = file.read()
    try:
        image = mx.image.imdecode(content, flag=int(channels == 3))
    except (mx.MXNetError, ValueError, TypeError) as error:
        raise FileFormatError("%s: neither PNG nor JPEG: %s" % (path, first_sentence(error))) from None
    image = _fit(image, height, width)
    pixels = image.asnumpy().transpose(2, 0, 1)[None].astype(np.float32)
    pixels = 255 - pixels if invert else pixels
    if row.get("scale") is None and row.get("mean") is None:
        return pixels / np.float32(255) if row["dataset"] in UNIT else pixels
    return normalize(pixels, row.get("scale"), row.get("mean"))


def _fit(image, height, width):
    """Resized and cut to (height, width); as it is where it has that size."""
    import mxnet as mx
    if image.shape[:2] == (height, width):
        return image
    shorter = 256 if min(height, width) == 224 else min(height, width)
    is_smaller = min(image.shape[:2]) > shorter
    image = mx.image.resize_short(image, shorter, interp=3 if is_smaller else 2)  # areas, or cubic
    top, left = max(0, (image.shape[0] - height) // 2), max(0, (image.shape[1] - width) // 2)
    image = image[top:top + height, left:left + width]
    return image if image.shape[:2] == (height, width) else mx.image.imresize(image, width, height)
