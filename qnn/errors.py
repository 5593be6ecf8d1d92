"""Errors: MXNet's error texts, reduced to the one sentence that says what is wrong.

MXNet puts the arguments, a C++ backtrace, a time stamp, a source line and the failed expression around its message.
"""
import re

_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+?:\d+: ")  # time stamp and source line
# The failed expression, where a sentence follows it.
_CHECK = re.compile(r"Check failed: .*?(?: \([^()]* vs\. [^()]*\) ?:|\bnullptr:) *(?=\S+ \S+ \S+ \S+)")
_KIND = re.compile(r"\b(?:MXNet|Type|Value|Index|Attribute|Runtime|Internal)Error: ")


def first_sentence(error):
    """The message inside an MXNet error (or inside the RuntimeError that simple_bind wraps around one), on one line.

    >>> first_sentence("MXNetError: Operator f: [09:00:55] a.c:7: Check failed: a == 2 (1 vs. 2) : it is 1, not 2")
    'Operator f: it is 1, not 2'
    """
    text = _KIND.split(str(error).strip())[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Traceback (most")]
    if not lines:
        return type(error).__name__
    return _CHECK.sub("", _PLACE.sub("", lines[0])).rstrip(" :")


def os_sentence(error):
    """'PATH: No such file or directory' of an OSError, without its number.

    >>> os_sentence(FileNotFoundError(2, "No such file or directory", "a.json"))
    'a.json: No such file or directory'
    """
    if error.filename is None or error.strerror is None:
        return str(error)
    return "%s: %s" % (error.filename, error.strerror)
