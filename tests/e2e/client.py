"""HTTP clients that show every byte, and a steady load that remembers who answered what."""

import socket
import threading
import time

import pace

TIMEOUT = 20.0


class Broken(AssertionError):
    """The connection ended inside an answer, or what came is no answer."""


class Answer:
    def __init__(self, version, status, reason, fields):
        self.version, self.status, self.reason, self.fields = version, status, reason, fields
        self.body = b''
        self.trailers = []
        self.chunks = None  # sizes, if it came chunked

    def get(self, name):
        """The values of all lines of that name, joined; None if there is none."""
        values = self.all(name)
        return ', '.join(values) if values else None

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f'<{self.version} {self.status} {self.fields} {self.body[:80]!r}>'


class Reader:
    """Buffered reading of a socket, in lines and counts."""

    def __init__(self, sock):
        self.sock, self.data = sock, bytearray()

    def fill(self):
        """False at the end of the stream."""
        more = self.sock.recv(65536)
        self.data += more
        return bool(more)

    def line(self):
        while (end := self.data.find(b'\r\n')) < 0:
            if not self.fill():
                raise Broken(f'closed inside a line: {bytes(self.data)!r}')
        out = bytes(self.data[:end])
        del self.data[:end + 2]
        return out

    def exactly(self, n):
        while len(self.data) < n:
            if not self.fill():
                raise Broken(f'closed with {len(self.data)} of {n} bytes')
        out = bytes(self.data[:n])
        del self.data[:n]
        return out

    def rest(self):
        while self.fill():
            pass
        out = bytes(self.data)
        self.data.clear()
        return out

    def fields(self):
        out = []
        while line := self.line():
            name, colon, value = line.partition(b':')
            if not colon:
                raise Broken(f'not a field line: {line!r}')
            out.append((name.decode('latin-1'), value.strip(b' \t').decode('latin-1')))
        return out

    def chunked(self):
        """body, sizes, trailers"""
        body, sizes = bytearray(), []
        while size := int(self.line().split(b';')[0], 16):
            body += self.exactly(size)
            sizes.append(size)
            if self.exactly(2) != b'\r\n':
                raise Broken('no CRLF behind a chunk')
        return bytes(body), sizes, self.fields()


def head_bytes(method, target, fields, version='HTTP/1.1'):
    lines = [f'{method} {target} {version}'] + [f'{n}: {v}' for n, v in fields]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


class Client:
    """One connection."""

    def __init__(self, port, host='127.0.0.1', source=None, timeout=TIMEOUT, receive_buffer=None):
        """`port` is a port, or the path of a unix socket."""
        unix = not isinstance(port, int)
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self.sock = socket.socket(socket.AF_UNIX if unix else family)
        self.sock.settimeout(pace.upper(timeout))
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(str(port) if unix else (host, port))
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_request(self, method='GET', target='/', fields=(), body=None, version='HTTP/1.1',
                     host='test.example'):
        fields = list(fields.items() if isinstance(fields, dict) else fields)
        if host is not None:
            fields.insert(0, ('Host', host))
        if body is not None and not any(n.lower() == 'transfer-encoding' for n, _ in fields):
            fields.append(('Content-Length', len(body)))
        self.send(head_bytes(method, target, fields, version) + (body or b''))

    def request(self, method='GET', target='/', fields=(), body=None, version='HTTP/1.1',
                host='test.example'):
        self.send_request(method, target, fields, body, version, host)
        return self.answer(method)

    def head(self):
        """The next head, 1xx or final, as an Answer without its body."""
        line = self.reader.line().decode('latin-1')
        version, _, rest = line.partition(' ')
        status, _, reason = rest.partition(' ')
        if not version.startswith('HTTP/1.') or not status.isdigit() or len(status) != 3:
            raise Broken(f'not a status line: {line!r}')
        return Answer(version, int(status), reason, self.reader.fields())

    def answer(self, method='GET', interim=None):
        """The next final answer; 1xx ones before it go to the list `interim`."""
        answer = self.head()
        while 100 <= answer.status < 200 and answer.status != 101:
            if interim is not None:
                interim.append(answer)
            answer = self.head()
        self.read_body(answer, method)
        return answer

    def read_body(self, answer, method='GET'):
        if method == 'HEAD' or answer.status in (101, 204, 304):
            return
        coding, length = answer.get('Transfer-Encoding'), answer.get('Content-Length')
        if coding:
            if coding.lower() != 'chunked' or length:
                raise Broken(f'framing: {answer}')
            answer.body, answer.chunks, answer.trailers = self.reader.chunked()
        elif length is not None:
            answer.body = self.reader.exactly(int(length))
        else:
            answer.body = self.reader.rest()

    def at_end(self):
        """True if the peer closes (or has closed) without another byte."""
        try:
            return not self.reader.data and not self.sock.recv(1)
        except ConnectionResetError:
            return True


def get(port, target='/', fields=(), **more):
    """One GET on a connection of its own."""
    with Client(port) as c:
        return c.request('GET', target, fields, **more)


def raw(port, data, half_close=False, timeout=TIMEOUT):
    """Sends bytes, reads to the end of the connection."""
    with Client(port, timeout=timeout) as c:
        try:
            c.send(data)
            if half_close:
                c.sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent; the answer is there all the same
        out = bytearray()
        try:
            while more := c.sock.recv(65536):
                out += more
        except ConnectionResetError:
            pass
        return bytes(out)


def pipelined(port, keys, header='X-Key', batch=50):
    """{key: body} over one connection, `batch` requests at a time."""
    out = {}
    with Client(port) as c:
        for at in range(0, len(keys), batch):
            part = keys[at:at + batch]
            c.send(b''.join(f'GET / HTTP/1.1\r\nHost: t\r\n{header}: {k}\r\n\r\n'.encode()
                            for k in part))
            for k in part:
                answer = c.answer()
                assert answer.status == 200, (k, answer)
                out[k] = answer.text
    return out


class Result:
    __slots__ = ('key', 'start', 'end', 'status', 'who', 'error')

    def __init__(self, key, start):
        self.key, self.start, self.end = key, start, None
        self.status = self.who = self.error = None

    @property
    def good(self):
        return self.error is None and self.status == 200

    def __repr__(self):
        return (f'<{self.key} {self.status} {self.who} {self.error} '
                f'{(self.end or self.start) - self.start:.3f}s>')


class Load:
    """Keep-alive clients that GET their keys in turn, for ever, a steady number a second.

    A client never tries again: whatever goes wrong is in the results."""

    def __init__(self, port, keys, threads=6, pace=0.015, header='X-Key'):
        self.port, self.pace, self.header = port, pace, header
        self.results = [[] for _ in range(threads)]
        self.rounds = [0] * threads
        self.stopping = threading.Event()
        self.failures = []
        self.threads = [threading.Thread(target=self._run, args=(i, keys[i::threads]), daemon=True)
                        for i in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(pace.upper(60))
            assert not t.is_alive(), 'a load client hangs'
        assert not self.failures, self.failures

    def _run(self, i, keys):
        client = None
        try:
            while not self.stopping.is_set():
                for key in keys:
                    if self.stopping.wait(self.pace):
                        break
                    client = self._one(client, key, self.results[i])
                self.rounds[i] += 1
        except BaseException as e:  # a fault of the test itself must not pass unseen
            self.failures.append(repr(e))
            raise
        finally:
            if client:
                client.close()

    def _one(self, client, key, results):
        result = Result(key, time.monotonic())
        try:
            if client is None:
                client = Client(self.port)
            answer = client.request('GET', f'/{key}', {self.header: key})
            result.status, result.who = answer.status, answer.text
            if (answer.get('Connection') or '').lower() == 'close':
                client.close()
                client = None
        except (OSError, Broken) as e:
            result.error = repr(e)
            if client:
                client.close()
            client = None
        result.end = time.monotonic()
        results.append(result)
        return client

    def all(self, since=0.0, until=None):
        """Results of requests begun since, and ended before until."""
        return [r for part in self.results for r in list(part)
                if r.start >= since and (until is None or r.end <= until)]

    def bad(self, since=0.0):
        return [r for r in self.all(since) if not r.good]

    def wait_rounds(self, n=2):
        """Until each client went through all its keys n times from now on; the time it began at."""
        from harness import wait_until
        since = time.monotonic()
        goal = [r + n + 1 for r in self.rounds]
        wait_until(lambda: self.failures or all(r >= g for r, g in zip(self.rounds, goal)),
                   f'{n} rounds of load', 60)
        assert not self.failures, self.failures
        return since

    def served(self, since=0.0, until=None):
        """{key: set of servers that answered}"""
        out = {}
        for r in self.all(since, until):
            out.setdefault(r.key, set()).add(r.who)
        return out
