"""qnn summary: what every layer of a checkpoint costs."""
import json

HELP = "parameters, multiply-accumulates and bytes of every layer"
EXAMPLES = """
qnn summary out/lenet 20 --shape 1,1,28,28
qnn summary out/binarized_lenet 20 --shape 1,1,28,28 --json
"""


def add_arguments(parser):
    """Defines the arguments of `qnn summary`."""
    parser.add_argument("prefix", metavar="PREFIX", help="reads PREFIX-symbol.json and PREFIX-EPOCH.params")
    parser.add_argument("epoch", metavar="EPOCH", type=int)
    parser.add_argument("--shape", metavar="N,C,H,W", help="shape of the input (default: what the symbol file says)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    """Prints the summary; returns 0."""
    from qnn import checkpoint
    from qnn.summary import profile

    shape = _shape(args.shape)
    symbol, arg_params, aux_params, data, _ = checkpoint.read(args.prefix, args.epoch)
    result = profile(symbol, None if shape is None else {data: shape}, {**arg_params, **aux_params})
    print(json.dumps(result.to_dict()) if args.json else result)
    return 0


def _shape(text):
    try:
        return None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("--shape is N,C,H,W, got %r" % text) from None
