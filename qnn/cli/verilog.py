"""qnn verilog: synthesizable Verilog of a binary or LUT network, verified against the packed model."""
import json
import sys

from .inputs import add_scaling

HELP = "write synthesizable Verilog of a 1-bit or LUT network, with testbench, report and verification"
EXAMPLES = """
qnn verilog out/lfc 0 -o out/rtl --target-fps 100000 --clock-mhz 200 --verify 1000
qnn verilog out/cnv 0 -o out/rtl --shape 3,32,32 --folding folding.json --device xc7z020
qnn verilog out/digits 20 -o out/rtl --host-layers --data digits --split all --verify 1797
qnn verilog out/plut 4 -o out/rtl --device xilinx --verify 10000 --synth
"""


def add_arguments(parser):
    parser.add_argument("prefix", metavar="PREFIX", help="reads PREFIX-symbol.json and PREFIX-EPOCH.params, trained or "
                                                         "converted")
    parser.add_argument("epoch", metavar="EPOCH", type=int)
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="folder of the design: new, or empty")
    parallel = parser.add_argument_group("parallelism").add_mutually_exclusive_group()
    parallel.add_argument("--folding", metavar="FILE", help='JSON {"layer": {"PE": 4, "SIMD": 8}, ...}')
    parallel.add_argument("--target-fps", type=float, metavar="F", help="the least parallel folding that makes F "
                                                                        "images a second at the clock")
    parser.add_argument("--clock-mhz", type=float, metavar="C", help="default: 100")
    parser.add_argument("--style", choices=("folded", "unrolled"),
                        help="units that are reused (default), or a circuit of constant weights for every layer; of "
                        "LUT networks: tables that the positions of an image share once, or at every position")
    parser.add_argument("--device", metavar="NAME", help="says which share of a device the design takes, xc7z020 "
                        "...; of LUT networks also generic (default) or xilinx: instances of LUT6")
    parser.add_argument("--shape", metavar="C,H,W", help="of one sample, for networks that convolve (default: of DATA)")
    parser.add_argument("--host-layers", action="store_true", default=None,
                        help="leave float layers in front and behind to the host")
    parser.add_argument("--input-bits", type=int, metavar="B",
                        help="bits of the data, where the first layer reads numbers "
                        "(act_bit=32, weight_bit=1; default: 1)")
    parser.add_argument("--input-signed", action="store_true", default=None, help="they are -2^(B-1) .. 2^(B-1) - 1")
    parser.add_argument("--input-scale", type=float, metavar="S",
                        help="data = S * code, a power of two (default: 1)")
    parser.add_argument("--argmax", action="store_true", default=None, help="the class leaves in place of the "
                                                                            "accumulators")
    tables = parser.add_argument_group("networks of look-up tables")
    tables.add_argument("--pipeline", type=int, metavar="L", help="levels of LUTs between two registers (default: 1; "
                                                                  "0: one register behind all)")
    tables.add_argument("--interface", choices=("axi4-stream", "binarybrain"), help="ports (default: axi4-stream)")
    tables.add_argument("--output", choices=("class", "scores", "bits"), help="what leaves (default: the class)")
    parser.add_argument("--verify", type=int, metavar="N", help="simulate N images with gaps, stalls and resets and "
                                                                "compare every beat; exit status 1 on a difference")
    parser.add_argument("--data", metavar="DATA", help="images for the golden vectors (mnist or cifar10 folder, npz "
                                                       "file, or the word digits; default: random codes)")
    parser.add_argument("--dataset", choices=("mnist", "cifar10", "npz"), help="what DATA is (default: detected)")
    parser.add_argument("--split", choices=("test", "train", "all"), default="test", help="which part of DATA")
    add_scaling(parser)
    parser.add_argument("--simulator", choices=("verilator", "iverilog"), help="default: Verilator where installed")
    parser.add_argument("--view", choices=("behavioural", "structural"),
                        help="text to simulate (default: behavioural); both compute the same, the structural one is "
                             "synthesized")
    parser.add_argument("--synth", action="store_true", help="count LUTs with yosys, beside the estimate")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args):
    import numpy as np
    from tqdm import tqdm

    from qnn import datasets
    from qnn.converter.verilog import family, simulate

    if args.verify is not None:
        if args.verify < 1:
            raise ValueError("--verify: N is a number above 0, got %d" % args.verify)
        if args.simulator or not simulate.has("verilator"):
            simulate.need(args.simulator or "iverilog")
    if args.synth:
        simulate.need("yosys")
    generator = family(args.prefix, args.epoch)
    options = {step: given(args, names) for step, names in generator.OPTIONS.items()}
    refuse_others(args, generator)
    images = args.verify or generator.VECTORS
    data = None
    if args.data:
        name = "digits" if args.data == "digits" else args.dataset or datasets.detect(args.data)
        splits = ("test", "train") if args.split == "all" else (args.split,)
        data = np.concatenate([datasets.load(name, args.data, split, scale=args.scale, mean=args.mean)[0]
                               for split in splits])[:images]
    if "shape" in generator.OPTIONS["load"]:
        options["load"]["shape"] = _shape(args.shape, data)
    network = generator.load(args.prefix, args.epoch, **options["load"])
    design = generator.generate(network, args.out, images=images, data=data, **options["generate"])
    results = []
    if args.verify:
        with tqdm(total=len(generator.STRESS), desc="simulate", unit="run", leave=False, disable=None) as progress:
            results = generator.verify(design, progress=progress, **options["verify"])
    if args.synth:
        generator.synthesize(design)
    print(json.dumps(design.report.to_dict()) if args.json else _text(design, results))
    failed = [result for result in results if not result["passed"]]
    for result in failed:
        print("\n".join(result["text"].strip().splitlines()[:12]), file=sys.stderr)
    return 1 if failed else 0


def given(args, names):
    """{name: value} of the options that stand on the command line."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def refuse_others(args, generator):
    """Raises ValueError for an option that another kind of network takes."""
    import importlib

    from qnn.converter import verilog
    families = [importlib.import_module(verilog.__name__ + "." + name) for name in verilog.FAMILIES]
    known = {name for module in families for names in module.OPTIONS.values() for name in names}
    wrong = sorted(set(given(args, known)) - {name for names in generator.OPTIONS.values() for name in names})
    if wrong:
        raise ValueError("--%s does not go with this kind of network; its options are %s" % (
            wrong[0].replace("_", "-"), ", ".join("--" + name.replace("_", "-") for names in generator.OPTIONS.values()
                                                  for name in names)))


def _shape(text, data):
    """(C, H, W) of --shape, or of the samples."""
    if text is None:
        return None if data is None else data.shape[1:]
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError("--shape: C,H,W are numbers above 0, got %r" % text)
    return shape


def _text(design, results):
    lines = [str(design.report), ""]
    for result in results:
        lines.append("%s, %s view, gap %d %%, stall %d %%, %d resets: %s" % (
            result["simulator"], result["view"], result["gap"], result["stall"], result.get("resets", 0),
            "%(images)d images, %(beats)d beats are equal, %(interval)d cycles an image, latency %(latency)d" % result
            if result["passed"] else "DIFFERENT"))
    return "\n".join(lines + ["written: %s" % design.folder])
