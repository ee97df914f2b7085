"""HTTP/1.1 messages read strictly: whatever RFC 9112 does not plainly allow is `Bad`.

Both ends of the proxy are read by this one, so that nothing it writes is excused. It is written from
the grammar, and knows nothing of the proxy's own reader.
"""

import re

TCHAR = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
REQUEST_LINE = re.compile(rb'(%s+) ([\x21-\x7e]+) HTTP/1\.([01])' % TCHAR)
STATUS_LINE = re.compile(rb'HTTP/1\.1 ([1-5][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)')
FIELD_LINE = re.compile(rb'(%s+):[ \t]*((?:[\x21-\x7e\x80-\xff][\t \x21-\x7e\x80-\xff]*)?)' % TCHAR)
CHUNK_SIZE = re.compile(rb'[0-9A-Fa-f]{1,16}')
LENGTH = re.compile(rb'[0-9]{1,19}')


class Bad(Exception):
    """The bytes are no message."""


class More(Exception):
    """The message is not over."""


class Message:
    def __init__(self, line, fields):
        self.line, self.fields = line, fields
        self.body, self.trailers = b'', []
        self.status = self.method = self.target = None
        self.raw = None

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    @property
    def framing(self):
        if self.all('Transfer-Encoding'):
            return 'chunked'
        return 'length' if self.all('Content-Length') else 'none'

    def options(self):
        """What Connection says, in lower case."""
        return [o.strip().lower() for v in self.all('Connection') for o in v.split(',')]

    def __repr__(self):
        tail = f' {self.body[:60]!r}' if self.body else ''
        return f'<{self.line.decode("latin-1")} {self.fields}{tail} {self.trailers or ""}>'


class Scan:
    """A place in bytes that may still grow."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def line(self):
        end = self.data.find(b'\r\n', self.at)
        if end < 0:
            raise More
        out = bytes(self.data[self.at:end])
        if b'\n' in out or b'\r' in out:
            raise Bad(f'bare CR or LF: {out!r}')
        self.at = end + 2
        return out

    def exactly(self, n):
        if len(self.data) - self.at < n:
            raise More
        self.at += n
        return bytes(self.data[self.at - n:self.at])

    def fields(self):
        out = []
        while line := self.line():
            m = FIELD_LINE.fullmatch(line)
            if not m:
                raise Bad(f'not a field line: {line!r}')
            out.append((m[1].decode('latin-1'), m[2].rstrip(b' \t').decode('latin-1')))
        return out

    def chunked(self):
        body = bytearray()
        while True:
            size = self.line()
            if not CHUNK_SIZE.fullmatch(size):
                raise Bad(f'not a chunk size: {size!r}')
            if int(size, 16) == 0:
                return bytes(body), self.fields()
            body += self.exactly(int(size, 16))
            if self.exactly(2) != b'\r\n':
                raise Bad('no CRLF behind a chunk')


def _body(scan, m, none, to_end, ended):
    codings, lengths = m.all('Transfer-Encoding'), m.all('Content-Length')
    if codings and (lengths or [c.lower() for c in codings] != ['chunked']):
        raise Bad(f'framing: {m}')
    if len(lengths) > 1 or not all(LENGTH.fullmatch(v.encode('latin-1')) for v in lengths):
        raise Bad(f'framing: {m}')
    if none:
        return
    if codings:
        m.body, m.trailers = scan.chunked()
    elif lengths:
        m.body = scan.exactly(int(lengths[0]))
    elif to_end:
        if not ended:
            raise More
        m.body = scan.exactly(len(scan.data) - scan.at)


def request_head(data, old=False):
    """The head at the front of data, and where it ends. old: HTTP/1.0 is as good as 1.1."""
    scan = Scan(data)
    m = REQUEST_LINE.fullmatch(scan.line())
    if not m or (m[3] == b'0' and not old):
        raise Bad(f'not a request line: {bytes(data[:80])!r}')
    out = Message(m[0], scan.fields())
    out.method, out.target = m[1].decode(), m[2].decode()
    if len(out.all('Host')) != 1 and m[3] == b'1':
        raise Bad(f'not one Host: {out}')
    return out, scan


def request(data, old=False):
    """The request at the front of data, and how many bytes it has."""
    m, scan = request_head(data, old)
    _body(scan, m, False, False, False)
    m.raw = bytes(data[:scan.at])
    return m, scan.at


def answer(data, to_head=False, ended=False):
    """The same for an answer, 1xx or final. ended: nothing will follow data."""
    scan = Scan(data)
    m = STATUS_LINE.fullmatch(scan.line())
    if not m:
        raise Bad(f'not a status line: {bytes(data[:80])!r}')
    out = Message(m[0], scan.fields())
    out.status = int(m[1])
    bodiless = out.status < 200 or out.status in (204, 304)
    if (out.status < 200 or out.status == 204) and out.framing != 'none':
        raise Bad(f'framing where no body can be: {out}')
    _body(scan, out, bodiless or to_head, True, ended)
    out.raw = bytes(data[:scan.at])
    return out, scan.at


class Strict:
    """The client's end of one connection."""

    def __init__(self, sock):
        self.sock, self.data, self.ended, self.reset = sock, bytearray(), False, False

    def fill(self):
        try:
            more = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            more, self.reset = b'', True
        self.data += more
        self.ended = self.ended or not more

    def answer(self, to_head=False):
        """The next answer; None: the connection ends (in order or not) before it is complete."""
        while True:
            try:
                m, n = answer(self.data, to_head, self.ended and not self.reset)
            except More:
                if self.ended:
                    return None
                self.fill()
                continue
            del self.data[:n]
            return m

    def at_end(self):
        """True if it ends without another byte."""
        while not self.ended:
            self.fill()
        return not self.data
