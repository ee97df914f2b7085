"""A proxy that hands over to another process, again and again, and the processes that come of it."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import harness
import pace
from harness import wait_until

PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def orphans():
    """Processes whose parents have ended become children of this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Orphan:
    """As much of subprocess.Popen as a Proxy needs, for a process that another one has started."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # its parent is still there
                if not os.path.exists(f'/proc/{self.pid}'):
                    self.returncode = -1000  # and has it reaped, or it was never ours
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=60.0):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired('orphan', timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Upgraded:
    """A Proxy, or a Service, that runs from a program of its own, which can be replaced."""

    def __init__(self, rig, make):
        """make(): the proxy, which has not started."""
        self.folder = pathlib.Path(rig.folder) / 'bin'
        self.folder.mkdir()
        self.program = self.folder / 'ringproxy'
        self.install()
        self.proxy = make()
        self.proxy.argv[0] = str(self.program)
        self.admin, self.port = self.proxy.admin, self.proxy.port
        self.old = []

    def start(self):
        self.proxy.start()
        return self

    def install(self, text=None):
        """A new file takes the name of the program, as package managers do it: the ringproxy under test,
        or a script."""
        new = self.folder / 'new'
        if text is None:
            shutil.copy(harness.RINGPROXY, new)
        else:
            new.write_text(f'#!/bin/sh\n{text}\n')
            new.chmod(0o755)
        new.rename(self.program)

    def write(self, text):
        new = self.proxy.config.with_suffix('.new')
        new.write_text(text)
        new.replace(self.proxy.config)

    def took_over(self, pid):
        self.old.append(self.proxy.process)
        self.proxy.process = Orphan(pid)

    def ask(self, expect=200, query=''):
        status, _, text = self.admin.request('POST', f'/upgrade{query}')
        assert status == expect, (status, text)
        return json.loads(text)

    def upgrade(self, query=''):
        said = self.ask(200, query)
        self.took_over(said['pid'])
        return said['generation']

    def wait_old(self, expect=0, deadline=30.0):
        """Until all processes before this one have ended."""
        for p in self.old:
            assert p.wait(pace.upper(deadline)) == expect, self.proxy.err()[-3000:]
        self.old.clear()

    def lines(self, event):
        quoted = f'"{event}"' if ' ' in event else event
        return [line for line in self.proxy.err().splitlines() if f' event={quoted} ' in f'{line} ']

    def wait_line(self, event, n=1):
        return wait_until(lambda: len(self.lines(event)) >= n and self.lines(event),
                          f'{n} lines {event}')

    def generation(self):
        return self.admin.json('/status')['generation']
