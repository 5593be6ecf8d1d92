"""Trains a network of the zoo on ImageNet, with the flags of MXNet's image-classification scripts.

    python examples/imagenet/train_imagenet.py --data-train train.rec --data-val val.rec --gpus 0,1 --kv-store device \\
        --network resnet-binary --num-layers 18 --model-prefix out/resnet18
    python examples/imagenet/train_imagenet.py --benchmark 1 --num-examples 320        speed, on random images

RecordIO files are made by MXNet's im2rec, with a shorter side of 256 or more. Crops have 8 % to 100 % of an image.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from image_classification import main, parser  # noqa: E402

DEFAULTS = dict(num_classes=1000, num_examples=1281167, image_shape="3,224,224", batch_size=32, num_epochs=40, lr=0.002,
                lr_step_epochs="25,35", rgb_mean="123.68,116.779,103.939", rgb_std="58.4,57.1,57.4", pad_size=0,
                random_crop=1, random_mirror=1, min_random_area=0.08, resize_val=256, top_k=5)

if __name__ == "__main__":
    sys.exit(main(parser(__doc__.splitlines()[0], **DEFAULTS).parse_args()))
