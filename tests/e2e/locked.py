"""`ringproxy lock` for the end-to-end tests: a command under a lock, in the background or to its end."""

import os
import signal
import subprocess
import time

import harness
import pace
from harness import RINGPROXY, SANITIZER_REPORT, wait_until


def environment(url=None, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith('RINGPROXY_')} | more
    return env | ({'RINGPROXY_REDIS': url} if url else {})


class Locked:
    """`ringproxy lock ARGUMENTS` in the background; what it writes is in files. Nobody else's group."""

    count = 0

    def __init__(self, folder, url, *arguments, stdin=subprocess.DEVNULL, prefix=(), **env):
        Locked.count += 1
        self.out_path, self.err_path = (folder / f'lock-{Locked.count}.{end}' for end in ('out', 'err'))
        with open(self.out_path, 'wb') as out, open(self.err_path, 'wb') as err:
            self.process = subprocess.Popen(
                [*prefix, RINGPROXY, 'lock', *map(str, arguments)], stdin=stdin, stdout=out, stderr=err,
                cwd=folder, env=environment(url, **env), start_new_session=True)
        self.pid = self.process.pid

    def out(self):
        return self.out_path.read_text(errors='replace')

    def err(self):
        return self.err_path.read_text(errors='replace')

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, deadline=20.0):
        """The exit code."""
        try:
            code = self.process.wait(pace.upper(deadline))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'ringproxy lock did not end:\n{self.out()}\n{self.err()}') from None
        assert not SANITIZER_REPORT.search(self.err()), self.err()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()

    def says(self, text, deadline=15.0):
        """Waits for a text of its command, or of its own."""
        wait_until(lambda: text in self.out() + self.err() or not self.running(), f'"{text}"', deadline)
        assert text in self.out() + self.err(), (text, self.out(), self.err())
        return self

    def close(self):
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()


def alive(pid):
    """Whether it runs; a zombie does not."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
            return f.read().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(pid, what='the command'):
    wait_until(lambda: not alive(pid), f'{what} to be gone')


def key(name):
    return f'{{ringlock:{name}}}'


def holder(redis, name):
    """The HOST/PID that has it, None if it is free."""
    value = redis.call('GET', key(name))
    return value and value.decode().split(' ', 2)[2]


def epoch(redis, name):
    return int(redis.call('GET', key(name) + ':epoch') or 0)


def run(url, *arguments, stdin=b'', deadline=60, **env):
    """To its end: CompletedProcess with text."""
    done = subprocess.run([RINGPROXY, 'lock', *map(str, arguments)], input=stdin, capture_output=True,
                          check=False, timeout=pace.upper(deadline), env=environment(url, **env))
    done.stdout, done.stderr = (b.decode(errors='replace') for b in (done.stdout, done.stderr))
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def closed_port():
    return harness.free_port()


def now():
    """The clock that the stamps of commands have, too."""
    return time.monotonic()
