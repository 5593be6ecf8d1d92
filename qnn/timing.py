"""Timing: seconds of one call, so that contenders of one run can be compared: after a warm-up, every round runs each
contender once, and the median over the rounds counts. A turn begins with a call that is not timed, because caches hold
the weights of the contender before.

    measure({"ours": f, "theirs": g}, rounds=9, num_threads=1)   ->   {"ours": 6.1e-05, "theirs": 1.2e-03}

One thread is measured in CPU time of the process, which other programs on the machine hardly lengthen, as the mean of a
turn. Several threads are measured in wall time: one that another program has put off for a time slice holds up all of
them, a hundred times as long as a call may be, so that a turn counts by its fastest call.
"""
import math
import statistics
import time

MIN_SECONDS = 0.005  # a turn of a contender repeats its call for this long: clocks and caches settle


def clock(num_threads):
    """(function that reads seconds, what it counts) for contenders that run `num_threads` threads."""
    return (time.process_time, "CPU time") if num_threads == 1 else (time.perf_counter, "wall time, fastest of a turn")


def measure(contenders, rounds, num_threads=1, min_seconds=MIN_SECONDS):
    """{name: median seconds of a call} of {name: function without arguments}, in interleaved rounds."""
    if int(rounds) != rounds or rounds < 1:
        raise ValueError("benchmark: rounds is a number above 0, got %r" % (rounds,))
    now, _ = clock(num_threads)
    turn = _mean if num_threads == 1 else _fastest
    repeats = {name: _repeats(call, now, min_seconds) for name, call in contenders.items()}
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            seconds[name].append(turn(call, repeats[name], now))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _fastest(call, repeats, now):
    return min(_mean(call, 1, now) for _ in range(repeats))


def _mean(call, repeats, now):
    begin = now()
    for _ in range(repeats):
        call()
    return (now() - begin) / repeats


def _repeats(call, now, min_seconds):
    """Warms a contender up and returns how many calls fill min_seconds."""
    call()
    repeats = 1
    while True:
        seconds = max(_mean(call, repeats, now), 1e-9)
        if seconds * repeats >= min_seconds:
            return max(1, math.ceil(min_seconds / seconds))
        repeats = min(2 * repeats, math.ceil(1.2 * min_seconds / seconds)) if repeats > 8 else 2 * repeats
