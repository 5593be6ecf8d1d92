"""qnn benchmark: speed of kernels, layers and networks beside other libraries, measured in one run."""
import json
import os
import sys

HELP = "speed of kernels, layers and networks beside other libraries"
EXAMPLES = """
qnn benchmark gemm --peer openblas
qnn benchmark conv --peer mxnet,onnxruntime --json
qnn benchmark conv --isa avx2 --only 64@56
qnn benchmark conv --act-bit 2 --weight-code ternary --peer onnxruntime
qnn benchmark model --network resnet18 --peer mxnet,onnxruntime
qnn benchmark model --network out/net:20 --shape 3,32,32 --batch-size 64
qnn benchmark lut --threads 2 --json
"""
KINDS = ("conv", "fc", "gemm", "lut", "model", "train")
DEFAULTS = {"act_bit": 1, "weight_bit": 1, "weight_code": "bipolar"}
NETWORKS = {"resnet18": ((3, 224, 224), 1), "lenet": ((1, 28, 28), 256)}  # shape of an image, images of a batch


def add_arguments(parser):
    """Defines the arguments of `qnn benchmark`."""
    parser.add_argument("kind", metavar="KIND", help="gemm, conv, fc: layers of ResNet-18 and of BMXNet's paper; "
                        "model: --network; train: forward and backward; lut: networks of look-up tables")
    parser.add_argument("--peer", metavar="NAMES", help="comma-separated: mxnet, onnxruntime (float32 and "
                        "int8), openblas (the matrix product alone), naive (it in three loops of C); model and train "
                        "always have mxnet")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU time is taken for 1, else wall time")
    parser.add_argument("--isa", metavar="NAME", help="instruction set of qnn; qnn info lists them")
    parser.add_argument("--rounds", metavar="N", type=int, default=9, help="every contender runs once a round")
    parser.add_argument("--only", metavar="TEXT", help="only the cases whose name contains TEXT")
    parser.add_argument("--act-bit", metavar="N", type=int, default=1, help="bits of data, 1..8 (conv)")
    parser.add_argument("--weight-bit", metavar="N", type=int, default=1, help="bits of weights, 1..8 (conv)")
    parser.add_argument("--act-code", metavar="NAME", help="bipolar (signs, residual binarization), unsigned (default "
                        "for several bits) or signed")
    parser.add_argument("--weight-code", metavar="NAME", default="bipolar", help="bipolar or ternary")
    parser.add_argument("--network", metavar="NET", help="resnet18 or lenet, with random weights; or PREFIX:EPOCH of a "
                        "trained or BMXNet checkpoint, beside its float twin")
    parser.add_argument("--shape", metavar="C,H,W", help="shape of an image, for PREFIX:EPOCH")
    parser.add_argument("--batch-size", metavar="N", type=int, help="images at once (default: 1; lenet: 256)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args):
    """Prints the report; returns 0."""
    from qnn import backend, benchmark, peers

    names = [name for name in (args.peer or "").split(",") if name]
    for name in names:
        peers.get(name)
    check(args)
    if args.kind in ("model", "train") and "mxnet" not in names:
        names.insert(0, "mxnet")
    wanted = benchmark.environment(args.threads, names)
    if (names or args.kind == "lut") and any(os.environ.get(name) != value for name, value in wanted.items()):
        return run_again(args, wanted)
    if args.isa:
        backend.select_isa(args.isa, "--isa")
    if args.kind == "lut":
        return run_lut(args)
    chosen = cases(args)
    report = benchmark.run(chosen, names, args.threads, args.rounds, " ".join(["qnn"] + command_line(args)))
    if not report["rows"]:
        raise ValueError("--only %s is in the name of no case of %s" % (args.only, args.kind))
    for sentence in remarks(args, names, report["machine"]["missing"]):
        print("qnn benchmark: " + sentence, file=sys.stderr)
    print(json.dumps(report, indent=2) if args.json else benchmark.describe(report))
    return 0


def run_lut(args):
    """Prints the report of networks of look-up tables; returns 0."""
    from qnn import benchmark_lut
    from qnn.benchmark_lut_inference import random_network
    from qnn.model_zoo import lut_mnist
    packed = {"simple x%d" % frames: random_network(num_frames=frames) for frames in (1, 15)}
    report = benchmark_lut.run({"simple x15": lut_mnist.simple()}, packed, args.threads, args.rounds,
                               " ".join(["qnn"] + command_line(args)))
    print(json.dumps(report, indent=2) if args.json else benchmark_lut.describe(report))
    return 0


def remarks(args, names, missing):
    """What a reader of the figures should know besides them."""
    found = ["%s is left out: %s" % item for item in missing.items()]
    if args.threads > 1 and names and args.kind not in ("model", "train"):  # those two run all in MXNet's own pool
        found.append("every library has threads of its own, which take the cores from one another: for the speed of "
                     "%d threads, run without --peer, and beside it once per peer" % args.threads)
    return found


def check(args):
    """Raises ValueError for values that no measurement can be made with."""
    if args.kind not in KINDS:
        raise ValueError('unknown benchmark "%s"; known: %s' % (args.kind, ", ".join(KINDS)))
    if (args.kind == "model") != bool(args.network):
        raise ValueError("benchmark: --network NET goes with model, and model with --network NET")
    is_one_bit = (args.act_bit, args.weight_bit, args.act_code, args.weight_code) == (1, 1, None, "bipolar")
    if args.kind != "conv" and not is_one_bit:
        raise ValueError("benchmark: bits and codes go with conv, got %s" % args.kind)
    for option in ("act_bit", "weight_bit"):
        if not 1 <= getattr(args, option) <= 8:
            raise ValueError("--%s is a number from 1 to 8, got %d" % (option.replace("_", "-"), getattr(args, option)))
    if args.act_code not in (None, "bipolar", "unsigned", "signed"):
        raise ValueError("--act-code is bipolar, unsigned or signed, got %r" % args.act_code)
    if args.weight_code not in ("bipolar", "ternary") or (args.weight_code == "ternary" and args.weight_bit != 1):
        raise ValueError("--weight-code is bipolar, or ternary without --weight-bit, got %r with --weight-bit %d"
                         % (args.weight_code, args.weight_bit))
    for option in ("threads", "rounds", "batch_size"):
        value = getattr(args, option)
        if value is not None and not 1 <= value <= 1024:
            raise ValueError("--%s is a number from 1 to 1024, got %d" % (option.replace("_", "-"), value))


def command_line(args):
    """Arguments that say what `args` says."""
    words = ["benchmark", args.kind]
    for option in ("peer", "isa", "only", "act_bit", "weight_bit", "act_code", "weight_code", "network", "shape",
                   "batch_size"):
        if getattr(args, option) not in (None, DEFAULTS.get(option)):
            words += ["--" + option.replace("_", "-"), str(getattr(args, option))]
    words += ["--threads", str(args.threads), "--rounds", str(args.rounds)]
    return words + ["--json"] * args.json + ["--debug"] * getattr(args, "debug", False)


def run_again(args, variables):
    """The command in a new process with `variables` in its environment: this one has loaded the libraries that read
    them."""
    import subprocess
    code = "import sys; sys.path[:] = %r; sys.argv[0] = 'qnn'; from qnn.cli import main; sys.exit(main())" % sys.path
    sys.stdout.flush()
    return subprocess.call([sys.executable, "-c", code] + command_line(args), env={**os.environ, **variables})


def cases(args):
    """The cases to measure, made one after the other."""
    if args.kind == "model":
        return [network_case(args)]
    from qnn import benchmark_cases
    codes = benchmark_cases.Codes(args.act_bit, args.weight_bit, args.act_code,
                                  "masked" if args.weight_code == "ternary" else "bipolar")
    return benchmark_cases.select(args.kind, args.only, codes)


def network_case(args):
    """The case of --network."""
    from qnn import benchmark_models
    if args.network not in NETWORKS:
        return checkpoint_case(args)
    from qnn.model_zoo import lenet, resnet
    shape, batch = NETWORKS[args.network]
    shape = (args.batch_size or batch,) + shape
    binary, plain = ((lenet.binary_lenet(), lenet.lenet()) if args.network == "lenet"
                     else (resnet.resnet18(), benchmark_models.gluon_resnet18()))
    networks = [benchmark_models.random_network(symbol, shape) for symbol in (binary, plain)]
    return benchmark_models.model_case(args.network, *networks, shape)


def checkpoint_case(args):
    """The case of --network PREFIX:EPOCH."""
    import mxnet as mx

    from qnn import benchmark_models, checkpoint
    from qnn.converter.convert import load_source
    from qnn.graph import Graph
    prefix, _, epoch = args.network.rpartition(":")
    if not prefix or not epoch.isdigit():
        raise ValueError("--network is %s or PREFIX:EPOCH, got %r" % (", ".join(sorted(NETWORKS)), args.network))
    shape = image_shape(args.shape)
    symbol_path = checkpoint.paths(prefix, int(epoch))[0]
    nodes = Graph.load(symbol_path).nodes()
    operators = {node.op for node in nodes}
    if any(node.op.startswith("_qnn_") and "__qnn_layer__" not in node.attrs for node in nodes):
        raise ValueError("%s is packed already and has no float twin; name the checkpoint it was made of" % prefix)
    source = "bmxnet" if operators & set(checkpoint.BMXNET_OPERATORS) else "mxnet"
    graph, params, auxs = load_source(prefix, int(epoch), source)
    binary = (mx.sym.load_json(graph.to_json()), params, auxs)
    twin = (benchmark_models.float_twin(graph), params, auxs)
    return benchmark_models.model_case(os.path.basename(prefix), binary, twin, (args.batch_size or 1,) + shape)


def image_shape(text):
    """--shape as numbers."""
    try:
        shape = tuple(int(part) for part in (text or "").split(","))
    except ValueError:
        raise ValueError("--shape is C,H,W of an image, 3,32,32 for instance, got %r" % (text or "nothing")) from None
    if min(shape) < 1:
        raise ValueError("--shape has numbers above 0, got %r" % text)
    return shape
