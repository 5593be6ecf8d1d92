"""The `qnn` command: one file per subcommand, each with HELP, EXAMPLES, add_arguments(parser) and run(args) -> int.

Exit status: 0 success, 1 a check failed, 2 wrong usage or an input that cannot be used, 130 interrupted. Results go to
stdout, progress and errors to stderr. MXNet is imported only after the arguments are understood.
"""
import argparse
import importlib
import os
import sys
import traceback

import qnn

COMMANDS = ("info", "swap", "convert", "verilog", "evaluate", "summary", "plot", "benchmark", "demo", "zoo")

OK, FAILED, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

EPILOG = """Start with `qnn demo`; `qnn COMMAND --help` shows examples.
exit status: 0 success, 1 a check failed, 2 wrong usage or unusable input"""


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, but no "(default: None)", and leaves examples as they are typed."""

    def _get_help_string(self, action):
        if action.default in (None, False) or action.default is argparse.SUPPRESS:
            return action.help
        return super()._get_help_string(action)

    def add_argument(self, action):
        """Leaves room for the names of commands, whose indent argparse before 3.12 does not count."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment


def command_module(name):
    """The module qnn.cli.<name>."""
    return importlib.import_module("qnn.cli." + name)


def parser():
    """The argument parser of the whole command."""
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
    top = argparse.ArgumentParser(prog="qnn", parents=[debug], epilog=EPILOG, formatter_class=_Formatter,
                                  description="Binary and quantized neural networks for Apache MXNet.")
    top.add_argument("--version", action="version", version="qnn " + qnn.__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = command_module(name)
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP[:1].upper() + module.HELP[1:] + ".",
                                  epilog="examples:\n" + _indented(module.EXAMPLES), parents=[debug],
                                  formatter_class=_Formatter)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def _indented(examples):
    lines = examples.strip().splitlines() if isinstance(examples, str) else examples
    return "\n".join("  " + line.strip() for line in lines)


def main(argv=None):
    """Runs `qnn` with `argv` (sys.argv[1:] by default) and returns the exit status."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as stop:  # --help and --version: 0, usage errors: 2, already reported
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        return _run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout)
        return BROKEN_PIPE
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        if getattr(args, "debug", False):
            traceback.print_exc()
        print("qnn %s: error: %s" % (args.command, sentence), file=sys.stderr)
        return USAGE


def _run(args):
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # a log line for every bind says that oneDNN is in use
    qnn.start()
    status = args.run(args)
    sys.stdout.flush()  # a broken pipe must show here, not when the interpreter shuts down
    return OK if status is None else int(status)


def _sentence(error):
    """What an error says, for errors that the user can do something about; None for defects of the program."""
    from qnn.errors import first_sentence, os_sentence
    mxnet = sys.modules.get("mxnet.base")
    if mxnet is not None and any(isinstance(e, mxnet.MXNetError) for e in (error, error.__context__)):
        return first_sentence(error)  # simple_bind hides the MXNetError in a RuntimeError
    if isinstance(error, OSError):
        return os_sentence(error)
    if isinstance(error, (ValueError, ImportError)):
        return " ".join(str(error).split())
    return None


def _silence(stream):
    """Lets the interpreter flush `stream` at exit without a second BrokenPipeError."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # a stream without a descriptor, as in a test
        pass
