"""Backends that do as they are told: raw sockets, one thread a connection."""

import pathlib
import socket
import struct
import threading

import pace
from client import Broken, Reader
from harness import free_port


def reset(sock):
    """Closes it with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


class Request:
    def __init__(self, method, target, version, fields):
        self.method, self.target, self.version, self.fields = method, target, version, fields
        self.body = None
        self.trailers = []
        self.chunks = None

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return ', '.join(values) if values else None

    def __repr__(self):
        return f'<{self.method} {self.target} {self.fields}>'


class Exchange:
    """One request and what a handler makes of it."""

    def __init__(self, backend, sock, reader, request, number, connection):
        self.backend, self.sock, self.reader, self.request = backend, sock, reader, request
        self.number = number  # of this request on its connection, from 0
        self.connection = connection  # of this connection at its backend, from 0
        self.closed = False

    def read_body(self):
        r = self.request
        if r.body is None:
            if r.get('Transfer-Encoding'):
                r.body, r.chunks, r.trailers = self.reader.chunked()
            else:
                r.body = self.reader.exactly(int(r.get('Content-Length') or 0))
        return r.body

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, status=200, body=None, fields=(), reason='Said'):
        self.read_body()
        body = self.backend.name.encode() if body is None else body
        lines = [f'HTTP/1.1 {status} {reason}', f'X-Backend: {self.backend.name}']
        lines += [f'{n}: {v}' for n, v in fields]
        if status not in (204, 304):
            lines.append(f'Content-Length: {len(body)}')
        head = ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')
        bodiless = self.request.method == 'HEAD' or status in (204, 304)
        self.send(head + (b'' if bodiless else body))

    def close(self):
        self.closed = True
        self.sock.close()

    def reset(self):
        self.closed = True
        reset(self.sock)

    def hang(self):
        """Until the backend is let go or stopped, or the proxy has closed the connection."""
        self.backend.blocked.release()
        self.backend.gate.wait(pace.upper(120))

    def wait_peer_closed(self):
        """Until the proxy has closed this connection."""
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        self.close()


class Backend:
    """Listens on loopback, or on the unix socket `path`; `handler(exchange)` answers. Checks (`GET
    /healthz`) are answered apart from it and are not among `requests`."""

    def __init__(self, name, handler=None, port=None, start=True, receive_buffer=None,
                 host='127.0.0.1', path=None):
        self.name, self.handler, self.receive_buffer = name, handler, receive_buffer
        self.host, self.path = host, path
        self.port = None if path else port or free_port()
        self.health_status = 200
        self.bad_checks = 0  # so many of the next checks are answered 503, whatever the status
        self.reset_on_accept = False
        self.requests, self.checks = [], []
        self.connections = 0  # those that brought a request, checks not counted
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.blocked = threading.Semaphore(0)  # released once by each handler that hangs
        self.errors = []
        self.listener, self.threads, self.socks = None, [], set()
        if start:
            self.start()

    @property
    def address(self):
        if self.path:
            return f'unix:{self.path}'
        return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'

    def _new_listener(self):
        if self.path:
            return socket.socket(socket.AF_UNIX)
        s = socket.socket(socket.AF_INET6 if ':' in self.host else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return s

    def start(self):
        self.gate.clear()
        self.listener = self._new_listener()
        if self.receive_buffer:  # before listen(), so that the connections inherit it
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.path:
            pathlib.Path(self.path).unlink(missing_ok=True)
        self.listener.bind(str(self.path) if self.path else (self.host, self.port))
        self.listener.listen(256)
        self._spawn(self._accept, self.listener)
        return self

    def _spawn(self, target, *arguments):
        t = threading.Thread(target=target, args=arguments, daemon=True)
        self.threads.append(t)
        t.start()

    def wait_blocked(self, n=1):
        """Until n handlers hang."""
        for _ in range(n):
            assert self.blocked.acquire(timeout=pace.upper(20)), f'{self.name}: no request hangs'

    def stop(self):
        """Like a process that dies: listener and connections closed."""
        self.gate.set()
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        with self.lock:
            socks = list(self.socks)
        for s in socks:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for t in self.threads:
            t.join(pace.upper(20))
            assert not t.is_alive(), f'{self.name}: a thread hangs'
        self.threads.clear()
        assert not self.errors, self.errors

    def served(self):
        """Requests so far, without checks."""
        with self.lock:
            return list(self.requests)

    def targets(self):
        return [r.target for r in self.served()]

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if self.reset_on_accept:
                reset(sock)
                continue
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.socks.add(sock)
            self._spawn(self._serve, sock)

    def _serve(self, sock):
        try:
            self._connection(sock)
        except (OSError, Broken):
            pass  # the proxy closed, or the test did
        except Exception as e:  # a fault of the test itself must not pass unseen
            self.errors.append(repr(e))
            raise
        finally:
            with self.lock:
                self.socks.discard(sock)
            sock.close()

    def _status_of_check(self):
        with self.lock:
            if self.bad_checks:
                self.bad_checks -= 1
                return 503
        return self.health_status

    def _connection(self, sock):
        reader, number, connection = Reader(sock), 0, None
        while True:
            try:
                line = reader.line().decode('latin-1')
            except Broken:
                return
            method, target, version = line.split(' ')
            request = Request(method, target, version, reader.fields())
            check = target == '/healthz' and request.get('User-Agent', ) is not None and \
                request.get('User-Agent').startswith('ringproxy/')
            with self.lock:
                (self.checks if check else self.requests).append(request)
                if connection is None and not check:
                    connection = self.connections
                    self.connections += 1
            ex = Exchange(self, sock, reader, request, number, connection)
            if check:
                ex.answer(self._status_of_check(), b'checked')
            elif self.handler:
                self.handler(ex)
            else:
                ex.answer()
            if ex.closed or (request.get('Connection') or '').lower() == 'close':
                return
            number += 1


class TcpBackend(Backend):
    """Of no protocol: `handler(backend, sock)` has each connection, checks too. Without one it greets
    with a line of its name and then echoes to the end."""

    def greet_and_echo(self, sock):
        sock.sendall(self.name.encode() + b'\n')
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def _connection(self, sock):
        with self.lock:
            self.connections += 1
        if self.handler:
            self.handler(self, sock)
        else:
            self.greet_and_echo(sock)


class Deaf:
    """An address that completes no handshake: its queue is full and nobody accepts."""

    def __init__(self, name, port=None):
        self.name, self.port = name, port or free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', self.port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(('127.0.0.1', self.port))
            self.fillers.append(s)

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def stop(self):
        for s in self.fillers:
            s.close()
        self.listener.close()
