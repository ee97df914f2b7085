"""Programs that run for a while: where they are, ports for them, their start and their end, and the beginning
of every configuration of nginx. bench/compare and the end-to-end tests (tests/e2e/harness.py) both start
programs with it.
"""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import threading
import time

NGINX_FOLDERS = ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')


def find(name):
    """The path of an installed program; None: there is none. Servers are often in folders that the PATH of an
    ordinary user lacks."""
    return shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin')


# --- ports ------------------------------------------------------------------------------------

def port_range():
    """(first, behind the last): ports that the kernel does not give to outgoing connections."""
    with open('/proc/sys/net/ipv4/ip_local_port_range', encoding='ascii') as f:
        top = min(int(f.read().split()[0]), 65536)
    return (10240, top) if top > 20000 else (20000, 65536)


def is_free(port):
    """No address of this machine has it."""
    with socket.socket() as s:
        try:
            s.bind(('0.0.0.0', port))
        except OSError:
            return False
    return True


class Ports:
    """Gives each free port once. `part` of `parts` processes that ask at the same time: each has ports of its
    own to choose from."""

    def __init__(self, part=0, parts=1):
        self.part, self.parts = part, parts
        self._random = random.Random(os.getpid() * 7919 + time.time_ns())
        self._lock = threading.Lock()
        self._given = set()

    def free(self):
        """A TCP port; None: none was found."""
        low, high = port_range()
        for _ in range(1000):
            port = self._random.randrange(low + self.part, high, self.parts)
            with self._lock:
                if port in self._given:
                    continue
                self._given.add(port)
            if is_free(port):
                return port
        return None


# --- one process ------------------------------------------------------------------------------

class Program:
    """A process in the background, with its output in files; `process` is None before the start and after
    kill()."""

    process = None

    def launch(self, argv, folder, out, err, **more):
        """out, err: open files; more: of subprocess.Popen."""
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                                        **more)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def ends_within(self, seconds):
        end = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def kill(self):
        """kill -9, and gone when this returns."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


# --- nginx ------------------------------------------------------------------------------------

def nginx_command(program, folder, config):
    """Without -e an nginx complains that it may not write into /var/log."""
    return [program, '-p', str(folder), '-e', f'{folder}/error.log', '-c', str(config)]


def nginx_main(folder, level):
    """The beginning of a configuration: in the foreground, with its files in the folder. level: of the errors
    that are logged."""
    return f'''daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log {level};
'''


def nginx_paths(folder):
    """For the section `http`: an nginx makes these folders when it starts, used or not."""
    return ''.join(f'    {kind}_temp_path {pathlib.Path(folder, kind)};\n' for kind in NGINX_FOLDERS)
