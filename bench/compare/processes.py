"""Processes on cores of their own, what they used, and that none of them is left behind.

SIGINT, SIGTERM and SIGHUP become the exception Interrupted, in the main thread, and never between the start
of a process and its entry in the list of those to be stopped.
"""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import tempfile
import time

from compare import programs

ENDINGS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PATIENCE = 10.0  # seconds that a process has to end


class Trouble(Exception):
    """What the user is to be told; `usage`: the command line was wrong."""

    def __init__(self, text, usage=False):
        super().__init__(text)
        self.usage = usage


class Interrupted(BaseException):
    def __init__(self, number):
        super().__init__(f'signal {number}')
        self.number = number


def _interrupt(number, _frame):
    raise Interrupted(number)


def catch_signals():
    for number in ENDINGS:
        signal.signal(number, _interrupt)


@contextlib.contextmanager
def undisturbed():
    """Signals wait until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- cores ------------------------------------------------------------------------------------

def siblings(core):
    """The core itself and those that are the same piece of hardware."""
    path = f'/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list'
    out = {core}
    try:
        with open(path, encoding='ascii') as f:
            text = f.read().strip()
    except OSError:  # some containers hide it
        return out
    for part in text.split(','):
        first, _, last = part.partition('-')
        out.update(range(int(first), int(last or first) + 1))
    return out


def choose_cores(allowed, siblings_of=siblings):
    """(of the proxy, of the load, of the backends): different hardware if there is enough of it,
    load and backends on one core if there are but two."""
    rest = sorted(allowed)
    if len(rest) < 2:
        raise Trouble('at least two cores are needed, one for the proxy and one for the load; '
                      f'this process may use {len(rest)}')
    proxy = rest.pop(0)
    apart = [c for c in rest if c not in siblings_of(proxy)] or rest
    load = apart[0]
    others = [c for c in apart if c not in siblings_of(load)]
    return proxy, load, others[0] if others else load


class CoreTimes:
    """What all processes together used of some cores, in seconds; resolution 10 ms. Time in
    interrupts is in it, as kernels without IRQ_TIME_ACCOUNTING charge that to processes too."""

    def __init__(self, cores):
        tick = 1 / os.sysconf('SC_CLK_TCK')
        self.busy, self.steal = {}, {}
        with open('/proc/stat', encoding='ascii') as f:
            for line in f:
                word, *numbers = line.split()
                if word.startswith('cpu') and word != 'cpu' and int(word[3:]) in cores:
                    user, nice, system, _, _, irq, softirq, steal = map(int, numbers[:8])
                    self.busy[int(word[3:])] = (user + nice + system + irq + softirq) * tick
                    self.steal[int(word[3:])] = steal * tick


# --- one process ------------------------------------------------------------------------------

def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_descriptor_limit():
    hard = descriptor_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_seconds(pids):
    """User and system time of the processes, all their threads, from their CPU clocks (ns)."""
    # the id that clock_getcpuclockid(3) makes of a process
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def waited_seconds(pids):
    """How long threads of the processes were ready to run while others had the core."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            total += int((task / 'schedstat').read_text(encoding='ascii').split()[1])
    return total * 1e-9


def resident_bytes(pids):
    """From smaps_rollup, which counts pages; the figure in `statm` may lag behind."""
    total = 0
    for pid in pids:
        with open(f'/proc/{pid}/smaps_rollup', encoding='ascii', errors='replace') as f:
            total += next(int(line.split()[1]) for line in f if line.startswith('Rss:'))
    return total * 1024


def session_members(session):
    """All processes of a session: a program and whatever it started."""
    out = []
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended just now
                with open(f'/proc/{entry}/stat', encoding='utf-8', errors='replace') as f:
                    state, _, _, sid = f.read().rpartition(')')[2].split()[:4]
                if int(sid) == session and state != 'Z':
                    out.append(int(entry))
    return out


class Child(programs.Program):
    """A program in a session of its own, pinned to a core, its output in a file."""

    def __init__(self, command, core, log, exit_code=None):
        self.name, self.exit_code, self.log = os.path.basename(command[0]), exit_code, log

        def prepare():
            os.sched_setaffinity(0, {core})
            raise_descriptor_limit()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)

        with open(log, 'ab') as out:
            self.launch(command, os.path.dirname(log), out, out, start_new_session=True,
                        preexec_fn=prepare)

    def running(self):
        # without waiting for it: as long as it is a zombie its number is nobody else's, so that end()
        # can signal its session
        return self.process.returncode is None and os.waitid(
            os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def pids(self):
        return session_members(self.pid)

    def said(self):
        """The end of its output."""
        return pathlib.Path(self.log).read_text(errors='replace').strip()[-600:]

    def wait(self, seconds):
        """Until it ends by itself."""
        if not self.ends_within(seconds):
            raise Trouble(f'{self.name} did not end within {seconds:.0f} s')

    def terminate(self):
        if self.running():
            self.process.terminate()

    def end(self):
        """After terminate(): it and all it started are gone when this returns. The exit code; None:
        it did not end by itself."""
        willing = self.ends_within(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self.process.wait()
        return code if willing else None

    def stop(self):
        self.terminate()
        code = self.end()
        if code is None:
            raise Trouble(f'{self.name} did not end within {PATIENCE:.0f} s of SIGTERM')
        if self.exit_code is not None and code != self.exit_code:
            raise Trouble(f'{self.name} ended with {code}: {self.said()}')


class Stage:
    """All that is started, and a folder for its files; nothing of either is left at the end."""

    def __init__(self):
        self.children = []
        self.folder = None
        self._ports = programs.Ports()
        self._count = 0

    def __enter__(self):
        with undisturbed():
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix='compare-'))
        return self

    def __exit__(self, *_):
        with undisturbed():
            for child in self.children:
                child.terminate()
            for child in self.children:
                child.end()
            shutil.rmtree(self.folder)

    def new_folder(self):
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        return folder

    def start(self, command, core, folder, exit_code=None):
        with undisturbed():
            child = Child(command, core, folder / 'output', exit_code)
            self.children.append(child)
        return child

    def stop(self, child):
        """Trouble if it did not end as it should; it is gone all the same."""
        with undisturbed():
            self.children.remove(child)
            child.stop()

    @contextlib.contextmanager
    def running(self, command, core, folder, exit_code=None):
        """A child for the length of a block."""
        child = self.start(command, core, folder, exit_code)
        try:
            yield child
        except Exception as e:
            with contextlib.suppress(Trouble):  # the first one is told
                self.stop(child)
            raise e
        self.stop(child)

    def free_port(self):
        """Not one of those that outgoing connections take."""
        port = self._ports.free()
        if port is None:
            raise Trouble('no free port found')
        return port
