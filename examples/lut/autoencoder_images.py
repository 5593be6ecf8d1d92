"""Draws digits beside what the autoencoder of tables makes of their 32 bits, and says how far they are apart.

    python examples/lut/train_mnist.py --network autoencoder --epochs 1 --data ../shared/data/mnist \\
        --model-prefix out/auto
    qnn convert out/auto 1 -o out/pauto --shape 1,28,28
    python examples/lut/autoencoder_images.py out/pauto 1 --data ../shared/data/mnist --out autoencoder.png

The checkpoint is a trained or a converted one. Beside the mean squared error of the test images stands that of the one
image that is nearest to all of them, their mean: what an autoencoder that knows nothing would give.
"""
import argparse

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import matplotlib
import numpy as np

from qnn import datasets

SHOWN = 10


def draw(images, decoded, path):
    """Writes a figure of two rows: the first digit of each class, and what came back. images, decoded: (10, 28, 28)."""
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, SHOWN, figsize=(SHOWN, 2.2), layout="constrained")
    for row, (title, pictures) in enumerate((("image", images), ("decoded", decoded))):
        for axis, picture in zip(axes[row], pictures):
            axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(title)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefix", help="checkpoint of the autoencoder: PREFIX-symbol.json, PREFIX-EPOCH.params")
    parser.add_argument("epoch", type=int)
    parser.add_argument("--data", required=True, metavar="PATH", help="folder of MNIST")
    parser.add_argument("--out", required=True, metavar="PNG")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N test images only")
    args = parser.parse_args()
    images, labels = datasets.load("mnist", args.data, "test", limit=args.limit, scale=1 / 255)
    decoded = qnn.load(args.prefix, args.epoch).predict(images, progress=True)
    if decoded.shape != images.shape:
        raise SystemExit("%s, epoch %d is no autoencoder of %s: it gives %s"
                         % (args.prefix, args.epoch, images.shape[1:], decoded.shape[1:]))
    error, blind = (float(((images - guess) ** 2).mean()) for guess in (decoded, images.mean(0)))
    first = [int(np.argmax(labels == digit)) for digit in range(SHOWN)]
    draw(images[first, 0], decoded[first, 0], args.out)
    print("mean squared error of %d images: %.4f; their mean image: %.4f" % (len(images), error, blind))


if __name__ == "__main__":
    main()
