"""How slow this machine is just now. Every deadline and every upper bound of time comes from here.

A test states a time that is ample on an idle machine; `upper()` makes it longer by what the sanitizers
cost, and by how slow the machine is. A lower bound (what must not happen sooner) stays as it is. Where
a test relies on a server being quicker than a configured timeout, the timeout itself is `stretched()`,
and what the test expects of it is computed from the stretched value.

How slow the machine is, a process of its own measures, once a second for as long as the tests run: the
wall-clock time of a fixed piece of work, against the CPU time that it took, and against what it takes
on an ordinary machine. The slowest of the last minute counts. All processes of a test run share that
one process; its figure is in the file that $PACE_FILE names.
"""

import collections
import math
import os
import subprocess
import sys
import tempfile
import time

# Sanitizers make a program slower on any machine.
SANITIZED = 3.0 if os.environ.get('E2E_SANITIZED') else 1.0

ROUNDS = 200_000
ORDINARY_S = 0.012  # of CPU time for so many rounds
WINDOW_S = 60.0
MOST = 12.0  # what hangs has to be told at some time
MOST_STRETCHED = 8.0  # beyond that the tests would take too long


def measure():
    """1.0 or less on an idle machine, 4.0 where four want each core."""
    wall, cpu = time.monotonic(), time.thread_time()
    n = 0
    for i in range(ROUNDS):
        n += i
    wall, cpu = time.monotonic() - wall, time.thread_time() - cpu
    return wall / max(min(cpu, ORDINARY_S), 1e-4)


def measured():
    """The worst of a few."""
    return max(measure() for _ in range(5))


def slowness():
    """How much longer than on an idle machine things took in the last minute, at least 1.0."""
    return min(max(told() or measure(), 1.0), MOST)


def told():
    """What the process that measures says, None if there is none."""
    try:
        with open(os.environ['PACE_FILE'], encoding='ascii') as f:
            return float(f.read())
    except (KeyError, FileNotFoundError):
        return None


def upper(seconds):
    """The upper bound, as of now, of what takes less than `seconds` on an idle machine."""
    return seconds * SANITIZED * slowness()


def stretched(seconds):
    """A time for a configuration, longer on a slow machine: whole milliseconds."""
    return round(seconds * min(slowness(), MOST_STRETCHED), 3)


def ms(seconds):
    """As a configuration has it: "1500ms"."""
    return f'{seconds * 1000:.0f}ms'


class Deadline:
    """Moves away if the machine gets slower while somebody waits."""

    def __init__(self, seconds):
        self.seconds, self.begin = seconds, time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.begin

    def passed(self):
        # the figure is asked for only when it matters
        return self.elapsed() > self.seconds and self.elapsed() > upper(self.seconds)


# --- the process that measures ------------------------------------------------------------------

class Meter:
    """Runs from here to stop(). Nothing, if one runs already."""

    def __init__(self):
        self.process = None
        if 'PACE_FILE' in os.environ:
            return
        handle, self.path = tempfile.mkstemp(prefix='ringproxy-pace-')
        os.write(handle, line(measured()))
        os.close(handle)
        os.environ['PACE_FILE'] = self.path
        self.process = subprocess.Popen([sys.executable, '-B', __file__, self.path],
                                        stdin=subprocess.PIPE)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None
            del os.environ['PACE_FILE']
            os.unlink(self.path)


def line(value):
    """Always of the same length, so that a reader never sees half of one."""
    return b'%15.3f\n' % value


def main(path):
    parent, samples = os.getppid(), collections.deque()
    with open(path, 'r+b', buffering=0) as f:
        while os.getppid() == parent:  # nobody is left behind by a test run that was killed
            samples.append((time.monotonic(), measure()))
            while samples[0][0] < time.monotonic() - WINDOW_S:
                samples.popleft()
            os.pwrite(f.fileno(), line(max(s for _, s in samples)), 0)
            time.sleep(1)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:  # for ./dev: a whole number by which other programs' patience is multiplied
        print(math.ceil(measured()))
