"""Trains BinaryBrain's convolutional network of look-up tables on CIFAR-10.

    python examples/lut/train_cifar10.py --epochs 8 --lr 0.0001 --data ../shared/data/cifar10 \\
        --model-prefix out/lut-cifar10

An image is 940,000 tables a frame, and 7 frames are an image: with one frame (--modulation 1) an epoch takes a seventh
of the time. The last 5,000 training images are the validation set; the test set is looked at once, at the end.
Checkpoints, with the optimizer's state, are written after every epoch; --load-epoch N goes on from there.
"""
from qnn.model_zoo import lut_cifar10
from table_training import main, modulated

if __name__ == "__main__":
    main(__doc__, {"cnn": modulated(lut_cifar10.cnn)}, "cnn", "cifar10")
