"""A backend that notes every request it was sent, read strictly, in the order they came.

One thread looks after all connections. Before a request to BARRIER is answered, everything that has
arrived anywhere was read: who has that answer knows that the log is complete up to it.
"""

import selectors
import socket
import struct
import threading

import pace
from harness import free_port

from . import wire

BARRIER = '/marker'
CLOSE, RESET, WAIT, TUNNEL = 'close', 'reset', 'wait', 'tunnel'


class Entry:
    """kind: `whole`, `cut` (the connection ended within it), or `bad` (no request at all)."""

    def __init__(self, kind, connection, message, raw, why=''):
        self.kind, self.connection, self.message = kind, connection, message
        self.raw, self.why = raw, why

    def __repr__(self):
        return f'<{self.kind} on {self.connection}: {self.message or self.raw[:200]!r} {self.why}>'


class Peer:
    def __init__(self, sock, number):
        self.sock, self.number, self.data = sock, number, bytearray()
        self.steps = []  # what is left to do
        self.waiting = self.opaque = self.continued = self.answered_early = self.deaf = False


def echo(message):
    """The answer to a request that no script is for: says what was asked, whatever it was."""
    body = f'{message.method} {message.target} {len(message.body)}'.encode()
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body)
    return [head + (b'' if message.method == 'HEAD' else body)]


class Recorder:
    """`script(message)` gives the steps that answer a request: bytes, CLOSE, RESET, WAIT (until
    go_on()), TUNNEL (bytes are sent back from here on); None: echo. `early(head)` may answer before
    the body is there. old: requests in HTTP/1.0 are taken, too."""

    def __init__(self, name='b1', old=False):
        self.name, self.port, self.old = name, free_port(), old
        self.script = self.early = lambda message: None
        self.entries, self.errors, self.peers = [], [], {}
        self.lock = threading.Lock()
        self.connections = 0
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', self.port))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.wake, self.woken = socket.socketpair()
        self.woken.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.calls, self.stopping = [], False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    # from the test's thread

    def take(self):
        """The log since the last time."""
        with self.lock:
            out, self.entries = self.entries, []
            return out

    def _call(self, what):
        """Runs what() in the recorder's thread, to its end."""
        done = threading.Event()
        with self.lock:
            self.calls.append((what, done))
        self.wake.send(b'!')
        assert done.wait(20), 'the recorder hangs'

    def go_on(self):
        self._call(self._go_on)

    def say_on_idle(self, data):
        """Bytes that nobody asked for on all connections; how many there were."""
        said = []

        def say():
            for peer in list(self.peers.values()):
                said.append(peer.number)
                self._send(peer, data)
        self._call(say)
        return len(said)

    def open_numbers(self):
        """The connections that are open now."""
        out = set()
        self._call(lambda: out.update(p.number for p in self.peers.values()))
        return out

    def stop(self):
        if self.thread.is_alive():
            self.stopping = True
            self.wake.send(b'!')
            self.thread.join(20)
            assert not self.thread.is_alive(), 'the recorder hangs'
        assert not self.errors, self.errors

    # in its own

    def _run(self):
        try:
            while not self.stopping:
                self._turn(None, [])
        except Exception as e:  # a fault of the test itself must not pass unseen
            self.errors.append(repr(e))
            raise
        finally:
            for peer in list(self.peers.values()):
                peer.sock.close()
            self.listener.close()

    def _turn(self, timeout, held):
        """Reads what there is. Requests to BARRIER are put into `held`; at the end of a turn all
        else that has arrived is read, and then they are answered."""
        events = self.selector.select(timeout)
        for key, _ in events:
            if key.fileobj is self.listener:
                self._accept()
            elif key.fileobj is self.woken:
                self._woken()
            elif key.data.sock.fileno() >= 0:
                self._read(key.data, held)
        if timeout == 0:
            return bool(events)
        while held:
            while self._turn(0, held):
                pass
            self._answer_held(held)
        return True

    def _answer_held(self, held):
        todo, held[:] = list(held), []
        for peer, message in todo:
            self._note('whole', peer, message, message.raw)
            self._do(peer, echo(message))
            self._parse(peer, held)

    def _accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock, self.connections)
        self.connections += 1
        self.peers[sock] = peer
        self.selector.register(sock, selectors.EVENT_READ, peer)

    def _woken(self):
        self.woken.recv(1000)
        with self.lock:
            calls, self.calls = self.calls, []
        for what, done in calls:
            what()
            done.set()

    def _note(self, *of):
        with self.lock:
            self.entries.append(Entry(of[0], of[1].number, *of[2:]))

    def _read(self, peer, held):
        try:
            data = peer.sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data:
            self._ended(peer)
        elif peer.opaque:
            self._send(peer, data)
        elif not peer.deaf:
            peer.data += data
            self._parse(peer, held)

    def _ended(self, peer):
        if peer.data and not peer.answered_early:
            self._note('cut', peer, None, bytes(peer.data))
        self._drop(peer)

    def _drop(self, peer):
        self.selector.unregister(peer.sock)
        del self.peers[peer.sock]
        peer.sock.close()

    def _parse(self, peer, held):
        """Takes the next request if it is whole; one at a time, like a server that does not read
        ahead. What is left behind it is looked at when it is answered."""
        if peer.steps or not peer.data or peer.sock.fileno() < 0:
            return
        try:
            self._before_body(peer)
            if peer.answered_early or peer.sock.fileno() < 0:
                return
            message, n = wire.request(peer.data, self.old)
        except wire.More:
            return
        except wire.Bad as e:
            self._note('bad', peer, None, bytes(peer.data), str(e))
            peer.deaf = True
            self._do(peer, [b'HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
                            CLOSE])
            return
        del peer.data[:n]
        peer.continued = False
        if message.target.startswith(BARRIER):
            held.append((peer, message))
            return
        self._note('whole', peer, message, message.raw)
        steps = self.script(message)
        self._do(peer, list(steps) if steps is not None else echo(message))
        self._parse(peer, held)

    def _before_body(self, peer):
        head, scan = wire.request_head(peer.data, self.old)
        steps = self.early(head)
        if steps is not None:
            self._note('whole', peer, head, bytes(peer.data))
            peer.answered_early = True
            self._do(peer, list(steps))
        elif '100-continue' in [v.lower() for v in head.all('Expect')] and not peer.continued and \
                head.framing != 'none' and len(peer.data) == scan.at:
            peer.continued = True
            self._send(peer, b'HTTP/1.1 100 Continue\r\n\r\n')

    def _send(self, peer, data):
        """All of it; what is sent here always fits the kernel's buffers or is taken soon."""
        try:
            peer.sock.setblocking(True)
            peer.sock.settimeout(pace.upper(20))
            peer.sock.sendall(data)
            peer.sock.setblocking(False)
        except OSError:
            pass  # the proxy has closed: reading tells

    def _do(self, peer, steps):
        peer.steps += steps
        while peer.steps and not peer.waiting and peer.sock.fileno() >= 0:
            step = peer.steps.pop(0)
            if step == CLOSE:
                self._drop(peer)
            elif step == RESET:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                self._drop(peer)
            elif step == WAIT:
                peer.waiting = True
                peer.steps.insert(0, b'')
            elif step == TUNNEL:
                peer.opaque = True
            else:
                self._send(peer, step)

    def _go_on(self):
        for peer in list(self.peers.values()):
            if peer.waiting:
                peer.waiting = False
                self._do(peer, [])
