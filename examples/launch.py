"""Runs a distributed training on this machine: a scheduler, servers and workers of MXNet's parameter server.

    python examples/launch.py --workers 2 -- python examples/cifar10/train_cifar10.py --kv-store dist_sync ...

When one process fails or is killed, the others are stopped and the exit status is 1: they would wait for it forever.
On a cluster, start the same processes on several machines, with the variables that docs/distributed.md lists.
"""
import argparse
import os
import signal
import socket
import subprocess
import sys
import time


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, workers, servers):
    """{name: process} of all roles. Scheduler and servers are Python processes that import qnn: MXNet blocks in its
    import until the workers have ended."""
    common = {**os.environ, "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(free_port()),
              "DMLC_NUM_WORKER": str(workers), "DMLC_NUM_SERVER": str(servers)}
    common.setdefault("DMLC_INTERFACE", "lo")
    processes = {}
    for role, count in (("scheduler", 1), ("server", servers), ("worker", workers)):
        for number in range(count):
            words = command if role == "worker" else [sys.executable, "-c", "import qnn"]
            processes["%s %d" % (role, number)] = subprocess.Popen(words, env={**common, "DMLC_ROLE": role})
    return processes


def wait(processes):
    """Waits for the end of all; returns what went wrong first, as a sentence, or None."""
    while True:
        states = {name: process.poll() for name, process in processes.items()}
        for name, state in states.items():
            if state:
                reason = "exit status %d" % state if state > 0 else "signal %s" % signal.Signals(-state).name
                return "%s ended with %s" % (name, reason)
        if all(state == 0 for name, state in states.items() if name.startswith("worker")):
            return None
        time.sleep(0.2)


def stop(processes, patience):
    """Ends what still runs: after `patience` seconds politely, after 5 more by force."""
    deadline = time.monotonic() + patience
    for how, seconds in ((subprocess.Popen.terminate, 5), (subprocess.Popen.kill, 5)):
        while time.monotonic() < deadline and any(process.poll() is None for process in processes.values()):
            time.sleep(0.1)
        for process in processes.values():
            if process.poll() is None:
                how(process)
        deadline = time.monotonic() + seconds
    for process in processes.values():
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what every worker runs")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command or min(args.workers, args.servers) < 1:
        parser.error("a command is expected behind --, and at least one worker and one server")
    processes, failure = start(command, args.workers, args.servers), "interrupted"
    try:
        failure = wait(processes)
    except KeyboardInterrupt:
        pass
    finally:
        stop(processes, patience=0 if failure else 30)
    if failure:
        print("launch: %s; all other processes are stopped" % failure, file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
