"""Arguments of the commands that run networks on images: what becomes of a pixel."""
INPUTS = """mnist is 0..1 (pixel / 255), digits 0..1 (pixel / 16), cifar10 and npz of bytes 0..255; with --scale or
--mean: (pixel - mean) * scale, pixel in 0..255"""


def add_scaling(parser):
    """Defines --scale and --mean, which datasets.load takes."""
    inputs = parser.add_argument_group("input of the network", INPUTS)
    inputs.add_argument("--scale", metavar="F", type=float, help="factor of every pixel")
    inputs.add_argument("--mean", metavar="F", type=float, nargs="+", help="subtracted first: one, or per channel")
