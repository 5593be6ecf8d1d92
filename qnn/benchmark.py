"""Benchmark: speed of qnn beside what users would pick instead, in one run on one machine, as data first.

    run(cases, ["mxnet"])  ->  {"machine": {...}, "rows": [{"case", "threads", "isa", "us", "roofline_share", "peers"}]}

    roofline_share = binary MACs / (rate of the popcount loop of the same run * threads * time)
    stream_share   = time of streaming the weights once / time                      (fully connected layers, one thread)
    vs_1x1         = time / (pairs * time of the layer with 1-bit data and weights)     (layers of several planes)
    peers          = {name: {"us", "ratio"}},  ratio = time of the peer / time of qnn
"""
import logging
import os
import platform

from . import backend, peers, roofline
from .info import versions
from .tables import text_table
from .timing import MIN_SECONDS, clock, measure

log = logging.getLogger(__name__)

ROUNDS = 9
OURS, ONE_BIT, LOOP, STREAM = "qnn", "qnn 1x1", "popcount loop", "popcount stream"


def run(cases, peer_names=(), num_threads=1, rounds=ROUNDS, command="", min_seconds=MIN_SECONDS):
    """Measures the cases one after the other, each with all its contenders in interleaved rounds.

    A peer whose package is missing is left out, and named in report["machine"]["missing"]. Sets the threads of qnn for
    the process; those of MXNet and OpenBLAS are fixed when they start, see environment(). Raises ValueError.
    """
    found = {name: peers.get(name) for name in peer_names}
    backend.set_threads(num_threads)
    rows, rates, missing = [], [], {}
    for case in cases:
        contenders = {OURS: case.run}
        for name, peer in found.items():
            try:
                contenders.update({} if name in missing else peer(case, num_threads))
            except ImportError as error:
                missing[name] = str(error)
                log.info("%s is left out: %s", name, error)
        row, rate = measure_case(case, contenders, num_threads, rounds, min_seconds)
        rows.append(row)
        rates.append(rate)
    rates = sorted(rate for rate in rates if rate)
    return {"machine": {**machine(num_threads, peer_names), "rounds": rounds, "clock": clock(num_threads)[1],
                        "popcount_gmacs": _rounded(rates[len(rates) // 2] / 1e9) if rates else None,
                        "missing": missing, "command": command},
            "rows": rows}


def measure_case(case, contenders, num_threads, rounds, min_seconds):
    """(row of the report, binary MACs per second of the popcount loop or None)."""
    names = [name for name in contenders if name != OURS]
    loop = roofline.popcount_loop() if case.macs else None
    stream = roofline.popcount_stream(case.num_bytes) if case.num_bytes and num_threads == 1 else None
    contenders = {**contenders, **({LOOP: loop[0]} if loop else {}), **({STREAM: stream} if stream else {}),
                  **({ONE_BIT: case.one_bit} if case.one_bit else {})}
    seconds = measure(contenders, rounds, num_threads, min_seconds)
    ours = seconds[OURS]
    rate = loop[1] / seconds[LOOP] if loop else None
    row = {"case": case.name, "threads": num_threads, "isa": backend.isa(), "us": _rounded(ours * 1e6),
           "roofline_share": _rounded(case.macs / (rate * num_threads * ours)) if rate else None,
           "peers": {name: {"us": _rounded(seconds[name] * 1e6), "ratio": _rounded(seconds[name] / ours)}
                     for name in names}}
    if stream:
        row["stream_share"] = _rounded(seconds[STREAM] / ours)
    if case.one_bit:
        row["vs_1x1"] = _rounded(ours / (case.pairs * seconds[ONE_BIT]))
    return row, rate


def _rounded(value):
    return float("%.4g" % value)


# ---- the machine ---------------------------------------------------------------------------------------------------


def machine(num_threads, peer_names=()):
    """What the figures depend on: CPU, cores, instruction set, threads, versions."""
    found = versions()
    if "openblas" in peer_names:
        try:
            found["openblas"] = peers.Openblas.find().version
        except ImportError:
            found["openblas"] = None
    if "onnxruntime" in peer_names:
        try:
            from .onnx_twin import packages
            found["onnxruntime"] = packages()[1].__version__
        except ImportError:
            found["onnxruntime"] = None
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "isa": backend.isa(), "threads": num_threads,
            "versions": found}


def cpu_model(path="/proc/cpuinfo"):
    """Name of the CPU, with family and model, as virtual machines often hide the name."""
    values = _cpuinfo(path)
    name = values.get("model name") or platform.processor() or platform.machine()
    numbers = ["%s %s" % (key, values[key]) for key in ("cpu family", "model") if key in values]
    return "%s (%s)" % (name, ", ".join(numbers)) if numbers else name


def _cpuinfo(path):
    """Values of the first core; the first of equal keys counts."""
    values: dict = {}
    try:
        with open(path) as file:
            for line in file:
                key, _, value = line.partition(":")
                values.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    return values


def environment(num_threads, peer_names, cpuinfo="/proc/cpuinfo"):
    """{variable: value} that libraries read when they are loaded: threads, and the kernels of an OpenBLAS that does not
    know this CPU (which then takes those of a much older one). What the user has set for the latter stays."""
    wanted = {"OMP_NUM_THREADS": str(num_threads), "OPENBLAS_NUM_THREADS": str(num_threads)}
    is_avx512 = "avx512f" in _cpuinfo(cpuinfo).get("flags", "").split()
    if "openblas" in peer_names and is_avx512 and "OPENBLAS_CORETYPE" not in os.environ:
        wanted["OPENBLAS_CORETYPE"] = "SKYLAKEX"
    return wanted


# ---- tables --------------------------------------------------------------------------------------------------------


def describe(report):
    """The report as text for people."""
    about, rows = report["machine"], report["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["peers"]))
    has_stream, has_planes = (any(key in row for row in rows) for key in ("stream_share", "vs_1x1"))
    header = ["case", "qnn us", "roofline"] + ["stream"] * has_stream + ["vs 1x1"] * has_planes
    header += [text for name in names for text in (name + " us", "ratio")]
    lines = []
    for row in rows:
        line = [row["case"], "%.2f" % row["us"], _percent(row["roofline_share"])]
        line += [_percent(row.get("stream_share"))] * has_stream
        line += ["%.3f" % row["vs_1x1"] if "vs_1x1" in row else ""] * has_planes
        for name in names:
            peer = row["peers"].get(name)
            line += ["%.2f" % peer["us"], "%.2f" % peer["ratio"]] if peer else ["", ""]
        lines.append(line)
    loop = "popcount loop %.0f GMAC/s, " % about["popcount_gmacs"] if about["popcount_gmacs"] else ""
    text = [title(about), text_table(header, lines, right=range(1, len(header))),
            "%s%s, medians of %d rounds" % (loop, about["clock"], about["rounds"])]
    text += ["%s is left out: %s" % item for item in about["missing"].items()]
    return "\n".join(text)


def title(about):
    """The machine in one line."""
    known = ", ".join("%s %s" % item for item in about["versions"].items() if item[1])
    threads = "%d thread%s" % (about["threads"], "s" * (about["threads"] > 1))
    return "%s, %s, %s; %s" % (about["cpu"], about["isa"], threads, known)


def _percent(share):
    return "" if share is None else "%.1f %%" % (100 * share)
