"""What systemd is for a service, played by a test: it keeps listening sockets while the service starts
and ends, hands them over (LISTEN_FDS), and hears what the service says of itself (NOTIFY_SOCKET)."""

import fcntl
import os
import socket
import threading
import time

import harness
import pace

# How bash moves descriptors to where the service looks for them, with its own number as LISTEN_PID.
HIGH = 100


class Manager:
    """Sockets with names, and a log of notifications."""

    def __init__(self, folder):
        self.sockets = []  # (name, socket)
        self.heard = []    # (monotonic time, {key: value})
        self.news = threading.Condition()
        self.path = str(folder / 'notify')
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path)
        self.thread = threading.Thread(target=self._hear, daemon=True)
        self.thread.start()

    def _hear(self):
        while True:
            text = self.notify.recv(65536).decode()
            if text == 'end':
                return
            with self.news:
                self.heard.append((time.monotonic(), dict(line.split('=', 1) for line in text.splitlines())))
                self.news.notify_all()

    def close(self):
        self.notify.shutdown(socket.SHUT_WR)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b'end', self.path)
        self.thread.join(pace.upper(10))
        self.notify.close()
        for _, s in self.sockets:
            s.close()

    # sockets

    def add(self, name, s):
        self.sockets.append((name, s))
        return s

    def listen(self, name, port, host='127.0.0.1', shared=False):
        s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((host, port))
        s.listen(4096)
        return self.add(name, s)

    def listen_unix(self, name, path):
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen(4096)
        return self.add(name, s)

    # what was said

    def said(self, key, since=0):
        """The values of one key, in order."""
        with self.news:
            return [fields[key] for _, fields in self.heard[since:] if key in fields]

    def states(self, since=0):
        """READY, RELOADING and STOPPING in their order."""
        with self.news:
            return [k for _, fields in self.heard[since:] for k in fields
                    if k in ('READY', 'RELOADING', 'STOPPING')]

    def wait_for(self, condition, what, deadline=20.0):
        end = pace.Deadline(deadline)
        with self.news:
            while not condition():
                assert not end.passed(), f'waited for {what}; heard {self.heard[-10:]}'
                self.news.wait(0.1)


class Service(harness.Proxy):
    """A proxy that a Manager starts: with its sockets, and with signs of life if `watchdog` (seconds)."""

    def __init__(self, manager, folder, name, text, port, admin_port, watchdog=None):
        super().__init__(folder, name, text, port, admin_port)
        self.manager, self.watchdog = manager, watchdog

    def launch(self, argv, folder, out, err, **more):
        given, moves = [], ''
        for i, (_, s) in enumerate(self.manager.sockets):
            given.append(fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, HIGH))
            moves += f' {3 + i}<&{given[i]}-'
        environment = dict(os.environ, NOTIFY_SOCKET=self.manager.path)
        if self.manager.sockets:
            environment |= {'LISTEN_FDS': str(len(given)),
                            'LISTEN_FDNAMES': ':'.join(name for name, _ in self.manager.sockets)}
        if self.watchdog:
            environment['WATCHDOG_USEC'] = str(int(self.watchdog * 1e6))
        script = f'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"{moves}'
        super().launch(['bash', '-c', script, 'bash', *argv], folder, out, err, pass_fds=given,
                       env=environment, **more)
        for fd in given:
            os.close(fd)

    def start(self, ready=True):
        """Ready is what says so itself."""
        before = len(self.manager.said('READY'))
        super().start(ready=False)
        if ready:
            self.manager.wait_for(lambda: len(self.manager.said('READY')) > before or not self.running(),
                                  f'READY of {self.name}')
            assert self.running(), self.err()
        return self
