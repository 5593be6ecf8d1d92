"""What train_cifar10.py and train_imagenet.py share: the flags of MXNet's image-classification scripts, and the fit.

Data are RecordIO files (im2rec); --benchmark 1 trains on random images instead. --load-epoch N goes on behind epoch N
with the optimizer's state. The schedule is fixed in advance and the last epoch counts: nothing is chosen by --data-val.
"""
import argparse
import json
import logging
import os
import sys
import time

import qnn  # before mxnet: makes it import on numpy 1.24 and newer

# isort: split
import mxnet as mx
import numpy as np
from qnn.model_zoo import get_symbol

from qnn.errors import first_sentence

NETWORKS = {  # --network: {--num-layers: name in the zoo}
    "resnet-binary": {18: "resnet18"}, "resnet": {18: "resnet18"}, "resnet-e": {18: "resnet_e18", 34: "resnet_e34"},
    "bi-realnet": {18: "bi_realnet18"}, "quicknet": {15: "quicknet_small"}, "vgg": {9: "binarynet_vgg"},
    "densenet-binary": {28: "binary_densenet28", 37: "binary_densenet37", 45: "binary_densenet45"},
    "meliusnet": {22: "meliusnet22", 29: "meliusnet29"}}


def parser(description, **defaults):
    """The argument parser; defaults: of the data set."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    net = result.add_argument_group("network")
    net.add_argument("--network", choices=sorted(NETWORKS), default="resnet-binary", help="resnet: 32/32 bits")
    net.add_argument("--num-layers", type=int, help="default: the smallest")
    net.add_argument("--act-bit", type=int, default=1, help="1 to 32")
    net.add_argument("--weight-bit", type=int, default=1, help="1 to 32")
    net.add_argument("--fp-stages", default="", help="stages of resnet-binary that stay float: 1,2")
    net.add_argument("--num-classes", type=int)
    net.add_argument("--image-shape", help="C,H,W")
    train = result.add_argument_group("training")
    train.add_argument("--gpus", default="", help="list of GPUs, such as 0,1; empty: CPU")
    train.add_argument("--kv-store", default="local", help="local, device, dist_sync, dist_async")
    train.add_argument("--num-epochs", type=int)
    train.add_argument("--batch-size", type=int, help="of all GPUs of one worker")
    train.add_argument("--lr", type=float)
    train.add_argument("--lr-factor", type=float, default=0.1, help="what --lr-step-epochs multiply the rate by")
    train.add_argument("--lr-step-epochs", help="epochs behind which it does: 50,80")
    train.add_argument("--optimizer", default="adam")
    train.add_argument("--mom", type=float, default=0.9, help="momentum of sgd and nag")
    train.add_argument("--wd", type=float, default=0.0, help="weight decay; 0 suits binary weights")
    train.add_argument("--model-prefix", help="checkpoints: PREFIX-symbol.json, PREFIX-EPOCH.params and .states")
    train.add_argument("--load-epoch", type=int, help="goes on behind this epoch's checkpoint")
    train.add_argument("--disp-batches", type=int, default=20)
    train.add_argument("--top-k", type=int, default=0, help="reports this accuracy, too")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--benchmark", type=int, default=0, help="1: random images")
    train.add_argument("--test-io", type=int, default=0, help="1: reads the data and does not train")
    data = result.add_argument_group("data")
    data.add_argument("--data-train", help="RecordIO file to train with")
    data.add_argument("--data-val", help="RecordIO file to watch")
    data.add_argument("--num-examples", type=int, help="images of --data-train")
    data.add_argument("--data-nthreads", type=int, default=4, help="threads that decode")
    data.add_argument("--rgb-mean", help="subtracted from pixels of 0..255")
    data.add_argument("--rgb-std", help="what they are divided by then")
    data.add_argument("--pad-size", type=int, help="pixels around the image before it is cropped")
    data.add_argument("--random-crop", type=int, help="1: crops anywhere, 0: in the middle")
    data.add_argument("--random-mirror", type=int, help="1: mirrors half of the images")
    data.add_argument("--min-random-area", type=float, help="least part of the image that a crop has; below 1, "
                      "crops are resized")
    data.add_argument("--resize-val", type=int, help="shorter side of the images of --data-val")
    result.set_defaults(**defaults)
    return result


def numbers(text, kind=float):
    """The numbers in "1,2"."""
    return [kind(part) for part in text.split(",") if part.strip()]


def network(args):
    """The symbol. Raises ValueError naming the flag."""
    depths = NETWORKS[args.network]
    layers = args.num_layers or min(depths)
    if layers not in depths:
        raise ValueError("--num-layers of %s is one of %s, got %d" % (args.network, sorted(depths), layers))
    bits = (32, 32) if args.network == "resnet" else (args.act_bit, args.weight_bit)
    options = dict(num_classes=args.num_classes, act_bit=bits[0], weight_bit=bits[1])
    height = numbers(args.image_shape, int)[1]
    if depths[layers] != "binarynet_vgg":
        options["image_size"] = height
    elif height != 32:
        raise ValueError("--network vgg takes images of 32 pixels, got --image-shape %s" % args.image_shape)
    if args.fp_stages:
        if depths[layers] != "resnet18":
            raise ValueError("--fp-stages is for resnet-binary, got --network %s" % args.network)
        options["fp_stages"] = tuple(numbers(args.fp_stages, int))
    return get_symbol(depths[layers], **options)


class RandomImages(mx.io.DataIter):
    """The same random batch, again and again: the speed of training without that of reading."""

    def __init__(self, args, shape, num_batches):
        super().__init__(args.batch_size)
        random = np.random.RandomState(args.seed)
        data = mx.nd.array(random.uniform(-1, 1, (args.batch_size,) + shape))
        label = mx.nd.array(random.randint(0, args.num_classes, args.batch_size))
        self.batch, self.num_batches, self.at = mx.io.DataBatch([data], [label], pad=0), num_batches, 0
        self.provide_data = [mx.io.DataDesc("data", data.shape)]
        self.provide_label = [mx.io.DataDesc("softmax_label", label.shape)]

    def next(self):
        if self.at == self.num_batches:
            raise StopIteration
        self.at += 1
        return self.batch

    def reset(self):
        self.at = 0


class EveryImageOnce(mx.io.DataIter):
    """ImageRecordIter, made anew for every epoch, its last batch cut short. By itself its second epoch begins behind
    the images that filled the last batch (with round_batch=False stale ones do), and Module.score counts those."""

    def __init__(self, **options):
        super().__init__(options["batch_size"])
        self.options = options
        self.reset()
        self.provide_data, self.provide_label = self.records.provide_data, self.records.provide_label

    def reset(self):
        self.records = mx.io.ImageRecordIter(round_batch=True, **self.options)

    def next(self):
        batch = self.records.next()
        if batch.pad:
            count = self.batch_size - batch.pad
            batch = mx.io.DataBatch([x[:count] for x in batch.data], [x[:count] for x in batch.label], pad=0)
        return batch


def batches_per_epoch(args, num_workers):
    """Batches of one worker."""
    return max(1, args.num_examples // args.batch_size // num_workers)


def iterators(args, kv):
    """(training batches, batches to watch or None). Each worker reads its own part of the records."""
    shape = tuple(numbers(args.image_shape, int))
    if args.benchmark:
        return RandomImages(args, shape, batches_per_epoch(args, kv.num_workers)), None
    for path in filter(None, (args.data_train, args.data_val)):
        if not os.path.exists(path):  # MXNet's own message has a stack trace in place of a sentence
            raise FileNotFoundError("%s: no such file" % path)
    if not args.data_train:
        raise ValueError("--data-train FILE has the images; --benchmark 1 trains on random ones")
    mean, std = numbers(args.rgb_mean), numbers(args.rgb_std)
    common = dict(data_shape=shape, batch_size=args.batch_size, preprocess_threads=args.data_nthreads,
                  num_parts=kv.num_workers, part_index=kv.rank, label_name="softmax_label", verbose=False,
                  **{"%s_%s" % (kind, c): value for kind, three in (("mean", mean), ("std", std))
                     for c, value in zip("rgb", three)})
    crop = dict(rand_crop=bool(args.random_crop))
    if args.min_random_area < 1:
        crop = dict(random_resized_crop=True, min_random_area=args.min_random_area, max_random_area=1.0,
                    min_aspect_ratio=0.75, max_aspect_ratio=4 / 3)
    train = mx.io.ImageRecordIter(path_imgrec=args.data_train, shuffle=True, seed=args.seed, pad=args.pad_size,
                                  fill_value=127, round_batch=True, rand_mirror=bool(args.random_mirror), **crop,
                                  **common)
    if kv.num_workers > 1:  # parts of a file differ in size, and a worker with more batches would wait for ever
        train = mx.io.ResizeIter(train, batches_per_epoch(args, kv.num_workers))
    if not args.data_val:
        return train, None
    resize = {"resize": args.resize_val} if args.resize_val else {}
    return train, EveryImageOnce(path_imgrec=args.data_val, shuffle=False, **resize, **common)


def learning_rate(args, begin_epoch, num_workers):
    """(rate to begin with, scheduler of the rest or None)."""
    batches = batches_per_epoch(args, num_workers)
    epochs = numbers(args.lr_step_epochs, int)
    lr = args.lr * args.lr_factor ** sum(epoch <= begin_epoch for epoch in epochs)
    steps = [batches * (epoch - begin_epoch) for epoch in epochs if epoch > begin_epoch]
    return lr, mx.lr_scheduler.MultiFactorScheduler(steps, args.lr_factor, base_lr=lr) if steps else None


def read_speed(args, batches):
    """Reads one epoch; returns images per second."""
    start, count = time.time(), 0
    for batch in batches:
        batch.data[0].wait_to_read()
        count += args.batch_size
    return count / (time.time() - start)


def fit(args):
    """Trains; returns a dict of what was reached."""
    symbol = network(args)
    kv = mx.kv.create(args.kv_store)
    logging.basicConfig(level=logging.INFO, format="%%(asctime)s worker %d %%(message)s" % kv.rank, datefmt="%H:%M:%S")
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    train, watched = iterators(args, kv)
    if args.test_io:
        return {"images_per_second": round(read_speed(args, train), 1)}
    begin, arg_params, aux_params, states = args.load_epoch or 0, None, None, None
    devices = [mx.gpu(number) for number in numbers(args.gpus, int)] or mx.cpu()
    if args.load_epoch is not None:
        if not args.model_prefix:
            raise ValueError("--load-epoch goes on with the checkpoint of --model-prefix PREFIX")
        _, arg_params, aux_params = mx.model.load_checkpoint(args.model_prefix, begin)
        states = "%s-%04d.states" % (args.model_prefix, begin)
    module = mx.mod.Module(symbol, context=devices)
    if states is not None and os.path.exists(states) and "dist" not in args.kv_store:
        module._preload_opt_states = states
    lr, scheduler = learning_rate(args, begin, kv.num_workers)
    options = {"learning_rate": lr, "wd": args.wd, "lr_scheduler": scheduler}
    if args.optimizer in ("sgd", "nag"):
        options["momentum"] = args.mom
    metrics = [mx.metric.Accuracy(), mx.metric.CrossEntropy()]
    if 1 < args.top_k < args.num_classes:
        metrics.append(mx.metric.TopKAccuracy(top_k=args.top_k))
    callbacks, curve = [], []
    if args.model_prefix and kv.rank == 0:
        os.makedirs(os.path.dirname(os.path.abspath(args.model_prefix)), exist_ok=True)
        has_states = "dist" not in args.kv_store  # the optimizer runs on the servers there
        callbacks.append(mx.callback.module_checkpoint(module, args.model_prefix, save_optimizer_states=has_states))
    start = time.time()
    module.fit(train, eval_data=watched, eval_metric=mx.metric.CompositeEvalMetric(metrics), kvstore=kv,
               optimizer=args.optimizer, optimizer_params=options, initializer=mx.init.Xavier(magnitude=2.0),
               arg_params=arg_params, aux_params=aux_params, begin_epoch=begin, num_epoch=args.num_epochs,
               batch_end_callback=mx.callback.Speedometer(args.batch_size, args.disp_batches),
               eval_end_callback=lambda param: curve.append(dict(param.eval_metric.get_name_value())),
               epoch_end_callback=callbacks or None)
    minutes = (time.time() - start) / 60
    seen = max(1, args.num_epochs - begin) * max(1, args.num_examples // kv.num_workers)
    return {"network": args.network, "epochs": args.num_epochs, "rank": kv.rank, "curve": curve,
            "minutes": round(minutes, 2), "images_per_second": round(seen / minutes / 60, 1), "qnn": qnn.__version__}


def main(args):
    """Trains and prints a line of JSON; a sentence and exit status 2 for wrong input."""
    try:
        print(json.dumps(fit(args)))
    except (ValueError, OSError, mx.MXNetError) as error:
        sentence = first_sentence(error) if isinstance(error, mx.MXNetError) else error
        print("%s: error: %s" % (os.path.basename(sys.argv[0]), sentence), file=sys.stderr)
        return 2
    return 0
