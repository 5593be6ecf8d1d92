"""qnn info: what runs here, for bug reports."""
HELP = "versions, instruction sets, threads and tools, for bug reports"
EXAMPLES = """
qnn info
qnn info --json
QNN_ISA=avx2 QNN_NUM_THREADS=4 qnn info
"""


def add_arguments(parser):
    """Defines the arguments of `qnn info`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args):
    """Prints the report; returns 0."""
    import json

    from ..info import info, table
    report = info()
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0
