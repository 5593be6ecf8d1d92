"""Trains a network of the zoo on CIFAR-10, with the flags of MXNet's image-classification scripts.

    python examples/cifar10/train_cifar10.py --data-dir cifar10 --model-prefix out/resnet18
    python examples/cifar10/train_cifar10.py --data-dir cifar10 --model-prefix out/resnet18 --load-epoch 40
    qnn convert out/resnet18 120 && qnn evaluate out/binarized_resnet18 120 --dataset cifar10 --data cifar10 \\
        --mean 125.3 123 113.9 --scale 0.016

The folder has cifar10_train.rec and cifar10_val.rec. Images are normalised, padded by 4 pixels, cropped and mirrored.
The validation file is the test set: it is watched, and nothing is chosen by it.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from image_classification import main, parser  # noqa: E402

DEFAULTS = dict(num_classes=10, num_examples=50000, image_shape="3,32,32", batch_size=128, num_epochs=120, lr=0.005,
                lr_step_epochs="80,105", rgb_mean="125.3,123,113.9", rgb_std="62.5,62.5,62.5", pad_size=4,
                random_crop=1, random_mirror=1, min_random_area=1.0)

if __name__ == "__main__":
    flags = parser(__doc__.splitlines()[0], **DEFAULTS)
    flags.add_argument("--data-dir", help="folder of cifar10_train.rec and cifar10_val.rec")
    args = flags.parse_args()
    if args.data_dir:
        args.data_train = args.data_train or str(Path(args.data_dir) / "cifar10_train.rec")
        args.data_val = args.data_val or str(Path(args.data_dir) / "cifar10_val.rec")
    sys.exit(main(args))
