"""qnn swap: replaces the layers of a symbol file by quantized ones."""
import json

HELP = "replace the layers of a float network by quantized ones"
EXAMPLES = """
qnn swap resnet18-symbol.json -o resnet18q-symbol.json
qnn swap vgg-symbol.json -o vggq-symbol.json --skip first last 1x1 'features_dense*'
qnn swap net-symbol.json -o netq-symbol.json --act-bit 4 --weight-bit 2 --skip first
qnn swap net-symbol.json -o netq-symbol.json --act-quantizer 'isometric(levels=2)' --weight-quantizer twn
"""


def add_arguments(parser):
    """Defines the arguments of `qnn swap`."""
    parser.add_argument("symbol", metavar="NET-symbol.json", help="the float network; its parameters fit the new one")
    parser.add_argument("-o", "--out", metavar="OUT-symbol.json", required=True, help="where the new network goes")
    parser.add_argument("--act-bit", type=int, default=1, metavar="N", help="bits of the data, 1..32")
    parser.add_argument("--weight-bit", type=int, default=1, metavar="N", help="bits of the weights, 1..32")
    parser.add_argument("--skip", nargs="*", default=["first", "last"], metavar="LAYER",
                        help="layers to keep: first, last, depthwise, 1x1, or names with wildcards; none: --skip alone")
    parser.add_argument("--only", nargs="+", metavar="LAYER", help="replace these alone; words as for --skip")
    parser.add_argument("--relu", choices=("drop", "keep"), default="drop",
                        help="drop: 1-bit layers read what a ReLU before them reads (one bit of a ReLU is always +1)")
    parser.add_argument("--pad-value", type=int, choices=(-1, 0, 1), default=1, help="padding of 1-bit data")
    parser.add_argument("--scaling", choices=("none", "layer", "filter", "xnor"), default="none",
                        help="output times mean|weight|; xnor: per filter, and times the mean|data| of windows")
    parser.add_argument("--act-quantizer", metavar="Q", help="in place of --act-bit: 'isometric(levels=2)', ...")
    parser.add_argument("--weight-quantizer", metavar="Q", help="in place of --weight-bit: twn, ttq, ...")
    parser.add_argument("--no-offset", action="store_true", help="1-bit layers give -K..K instead of 0..K")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args):
    """Writes the new symbol, prints the report; returns 0."""
    from qnn.files import write_atomically
    from qnn.graph import Graph
    from qnn.swap import swap

    symbol, report = swap(Graph.load(args.symbol), args.act_bit, args.weight_bit, args.skip, args.only, args.relu,
                          pad_value=args.pad_value, scaling=args.scaling, no_offset=args.no_offset,
                          act_quantizer=args.act_quantizer, weight_quantizer=args.weight_quantizer)
    write_atomically({args.out: symbol.tojson().encode("utf-8")})
    print(json.dumps({**report.to_dict(), "file": args.out}) if args.json else "%s\nwritten: %s" % (report, args.out))
    return 0
