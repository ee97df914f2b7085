"""What a backend may answer, and what the client gets for it.

Sections are of RFC 9112 unless they begin with 9110. Before each case the proxy holds an idle
connection to the backend; behind it a marker request shows that nothing was left over, and whether
that connection was used again."""

import dataclasses

from .recorder import CLOSE, RESET, TUNNEL, WAIT

HOST = b'Host: t\r\n'
GET = b'GET /case HTTP/1.1\r\n' + HOST + b'\r\n'
HEAD = b'HEAD /case HTTP/1.1\r\n' + HOST + b'\r\n'
OLD = b'GET /case HTTP/1.0\r\n' + HOST + b'\r\n'
OLD_KEEP = b'GET /case HTTP/1.0\r\n' + HOST + b'Connection: keep-alive\r\n\r\n'
POST = b'POST /case HTTP/1.1\r\n' + HOST + b'Content-Length: 2\r\n\r\nhi'
UPGRADE = b'GET /case HTTP/1.1\r\n' + HOST + b'Upgrade: x\r\nConnection: Upgrade\r\n\r\n'
OK = b'HTTP/1.1 200 OK\r\n'
LENGTH_2 = OK + b'Content-Length: 2\r\n'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'
ANSWER_MAX = 65536
CUT = 'cut'  # a head comes, but never a complete answer
TO_END = OK + b'Connection: close\r\n\r\n'


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    section: str
    steps: tuple  # of the backend: see recorder
    got: object  # the final status, CUT, or a set of what may be
    body: bytes = b''
    request: bytes = GET
    interim: tuple = ()  # 1xx before it
    fields: object = None  # all but those the proxy writes itself; None: not looked at
    framing: object = None  # as the client has it: none | length | chunked
    trailers: tuple = ()
    end: str = 'keep'  # the client's connection: keep | close | reset | tunnel
    pool: str = 'kept'  # the backend's: kept | closed
    later: bytes = b''  # what the backend says once the client has its answer
    asked: int = 1  # how often the backend got the request
    proxy: str = 'main'
    xfail: str = ''


CASES = []


def good(name, section, steps, got=200, body=b'', **more):
    steps = (steps,) if isinstance(steps, bytes) else steps
    CASES.append(Case(name, section, steps, got, body, **more))


def broken(name, section, *steps, **more):
    body = b'' if more.get('request') == HEAD else b'502 Bad Gateway\n'
    CASES.append(Case(name, section, steps, 502, body, pool='closed', **more))


def cut(name, section, *steps, end='close', **more):
    CASES.append(Case(name, section, steps, CUT, end=end, pool='closed', **more))


# --- the status line ----------------------------------------------------------------------------

for name, line in {
        'ended by LF': b'HTTP/1.1 200 OK\n', 'ended by CR': b'HTTP/1.1 200 OK\r',
        'ended by CR CR LF': b'HTTP/1.1 200 OK\r\r\n', 'two spaces': b'HTTP/1.1  200 OK\r\n',
        'tab': b'HTTP/1.1\t200 OK\r\n', 'no space': b'HTTP/1.1200 OK\r\n', 'no status': b'HTTP/1.1\r\n',
        'no status but a space': b'HTTP/1.1 \r\n', 'two digits': b'HTTP/1.1 20 OK\r\n', 'four digits':
        b'HTTP/1.1 2000 OK\r\n', 'one digit': b'HTTP/1.1 2\r\n', 'letters': b'HTTP/1.1 2xx OK\r\n',
        'no space behind the status': b'HTTP/1.1 200OK\r\n', 'plus sign': b'HTTP/1.1 +20 OK\r\n',
        'minus sign': b'HTTP/1.1 -20 OK\r\n', 'fraction': b'HTTP/1.1 20.0 OK\r\n', 'hexadecimal':
        b'HTTP/1.1 0xC OK\r\n', 'status 000': b'HTTP/1.1 000 OK\r\n', 'status 099':
        b'HTTP/1.1 099 OK\r\n', 'status 600': b'HTTP/1.1 600 OK\r\n', 'status 999':
        b'HTTP/1.1 999 OK\r\n', 'version 2.0': b'HTTP/2.0 200 OK\r\n', 'version 2': b'HTTP/2 200 OK\r\n',
        'version 0.9': b'HTTP/0.9 200 OK\r\n', 'version 1.10': b'HTTP/1.10 200 OK\r\n', 'version 11.1':
        b'HTTP/11.1 200 OK\r\n', 'version 1': b'HTTP/1 200 OK\r\n', 'lower case': b'http/1.1 200 OK\r\n',
        'ICY': b'ICY 200 OK\r\n', 'leading space': b' HTTP/1.1 200 OK\r\n', 'leading empty line':
        b'\r\nHTTP/1.1 200 OK\r\n', 'leading LF': b'\nHTTP/1.1 200 OK\r\n', 'leading NUL':
        b'\0HTTP/1.1 200 OK\r\n', 'NUL in the reason': b'HTTP/1.1 200 O\0K\r\n', 'control in the reason':
        b'HTTP/1.1 200 O\x1bK\r\n', 'a request line': b'GET / HTTP/1.1\r\n', 'no line': b'',
        'HTML': b'<html>hello</html>\r\n', 'a banner': b'SSH-2.0-x\r\n', 'a TLS alert':
        b'\x15\x03\x01\x00\x02\x02\x46\r\n', 'bare CR in the reason': b'HTTP/1.1 200 O\rK\r\n',
}.items():
    broken(f'line: {name}', '4', line + b'Content-Length: 2\r\n\r\nhi', CLOSE)
for status in (200, 201, 299, 302, 399, 404, 418, 499, 500, 503, 599):
    good(f'line: status {status} passes', '9110 15', b'HTTP/1.1 %d Why\r\nContent-Length: 2\r\n\r\nhi'
         % status, status, b'hi')
good('line: no reason', '4', b'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi', 200, b'hi')
good('line: no reason and no space', '4', b'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi', 200, b'hi')
good('line: reason above ASCII', '4', b'HTTP/1.1 200 \xc3\xa9\t"x"\r\nContent-Length: 2\r\n\r\nhi', 200,
     b'hi')
good('line: version 1.2 is read as 1.1', '9110 2.5', b'HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi', 200,
     b'hi')

# --- fields -------------------------------------------------------------------------------------

for name, lines in {
        'space before the colon': b'X : y\r\n', 'empty name': b': y\r\n', 'no colon': b'X\r\n',
        'illegal name': b'X(: y\r\n', 'space in the name': b'X Y: z\r\n', 'ended by LF': b'X: y\n',
        'ended by CR': b'X: y\rZ: y\r\n', 'ended by CR CR LF': b'X: y\r\r\n', 'folded': b'X: y\r\n z\r\n',
        'folded with a tab': b'X: y\r\n\tz\r\n', 'first folded': b' X: y\r\n', 'NUL': b'X: \0\r\n',
        'control': b'X: a\x01b\r\n', 'DEL': b'X: \x7f\r\n', 'above ASCII in the name': b'\xe9: y\r\n',
        'too many': b'X: y\r\n' * 129, 'too many options': b'Connection: ' + b'a,' * 65 + b'a\r\n',
        'too large': b'X: ' + b'y' * ANSWER_MAX + b'\r\n', 'too large together':
        (b'X: ' + b'y' * 1000 + b'\r\n') * 70,
}.items():
    broken(f'field: {name}', '5', OK + lines + b'Content-Length: 2\r\n\r\nhi', CLOSE)
broken('field: blank line is LF', '2.2', LENGTH_2 + b'\nhi', CLOSE)
broken('field: all lines end by LF', '2.2', b'HTTP/1.1 200 OK\nContent-Length: 2\n\nhi', CLOSE)
broken('field: an endless head', '9110 5.4', OK + b'X: ' + b'y' * 300000, CLOSE)
good('field: white space and order stay right', '5', OK + b'X:\t1 \r\nx: 2\r\nSet-Cookie: a=b, c\r\n'
     b'Y:\r\nSet-Cookie: d=\xe9\r\nContent-Length: 2\r\n\r\nhi', 200, b'hi',
     fields=(('X', '1'), ('x', '2'), ('Set-Cookie', 'a=b, c'), ('Y', ''), ('Set-Cookie', 'd=\xe9')))
good('field: 60 KiB of them', '9110 5.4', OK + (b'X: ' + b'y' * 1000 + b'\r\n') * 60 +
     b'Content-Length: 2\r\n\r\nhi', 200, b'hi', fields=(('X', 'y' * 1000),) * 60)
good('field: what Connection names is dropped', '9110 7.6.1',
     OK + b'Connection: x-a, keep-alive\r\nX-A: 1\r\nX-B: 2\r\nKeep-Alive: x\r\nProxy-Connection: x\r\n'
     b'TE: x\r\nUpgrade: x\r\nServer: s\r\nContent-Length: 2\r\n\r\nhi', 200, b'hi',
     fields=(('X-B', '2'), ('Server', 's')))
good('field: Connection names the length, which frames all the same', '9110 7.6.1',
     LENGTH_2 + b'Connection: content-length\r\n\r\nhi', 200, b'hi', framing='length')
good('field: Connection names the coding, which frames all the same', '9110 7.6.1',
     OK + b'Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n', 200,
     b'hi', framing='chunked')

# --- framing ------------------------------------------------------------------------------------

for name, lines in {
        'both': b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n',
        'both, the other way': b'Transfer-Encoding: chunked\r\nContent-Length: 2\r\n',
        'differing lengths': b'Content-Length: 2\r\nContent-Length: 3\r\n',
        'repeated length': b'Content-Length: 2\r\nContent-Length: 2\r\n',
        'list of lengths': b'Content-Length: 2, 2\r\n', 'empty length': b'Content-Length:\r\n',
        'signed length': b'Content-Length: +2\r\n', 'negative length': b'Content-Length: -2\r\n',
        'hexadecimal length': b'Content-Length: 0x2\r\n', 'length not a number': b'Content-Length: x\r\n',
        'length beyond 63 bits': b'Content-Length: 9223372036854775808\r\n',
        'length beyond 64 bits': b'Content-Length: 18446744073709551618\r\n',
        'length and space before the colon': b'Content-Length : 2\r\n',
        'unknown coding': b'Transfer-Encoding: gzip\r\n', 'identity': b'Transfer-Encoding: identity\r\n',
        'gzip, chunked': b'Transfer-Encoding: gzip, chunked\r\n',
        'chunked, gzip': b'Transfer-Encoding: chunked, gzip\r\n',
        'chunked twice': b'Transfer-Encoding: chunked, chunked\r\n',
        'chunked on two lines': b'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n',
        'chunked with a parameter': b'Transfer-Encoding: chunked;q=1\r\n',
        'chunked behind a vertical tab': b'Transfer-Encoding: \x0bchunked\r\n',
        'empty coding': b'Transfer-Encoding:\r\n',
}.items():
    broken(f'framing: {name}', '6.1, 6.3', OK + lines + b'\r\n2\r\nhi\r\n0\r\n\r\n', CLOSE)
    if 'both' in name or 'differing' in name:
        broken(f'framing: {name}, to HEAD', '6.1, 6.3', OK + lines + b'\r\n', CLOSE, request=HEAD)
broken('framing: chunked in HTTP/1.0', '6.1',
       b'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n', CLOSE)
good('framing: by length', '6.2', LENGTH_2 + b'\r\nhi', 200, b'hi', framing='length')
good('framing: tabs around the length', '9110 5.6.3', OK + b'Content-Length:\t2\t\r\n\r\nhi', 200, b'hi',
     framing='length')
good('framing: tabs around the coding', '9110 5.6.3', OK + b'Transfer-Encoding:\tchunked\t\r\n\r\n'
     b'2\r\nhi\r\n0\r\n\r\n', 200, b'hi', framing='chunked')
good('framing: length 0', '6.2', OK + b'Content-Length: 0\r\n\r\n', framing='length')
good('framing: chunked', '7.1', CHUNKED + b'1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n', 200, b'hi',
     framing='chunked')
good('framing: to the end', '6.3', (TO_END + b'hi', CLOSE), 200, b'hi', framing='chunked', pool='closed')
good('framing: to the end, nothing there', '6.3', (TO_END, CLOSE), 200, b'', framing='chunked',
     pool='closed')
good('framing: to the end, without saying so', '6.3', (OK + b'\r\nhi', CLOSE), 200, b'hi',
     framing='chunked', pool='closed')
good('framing: HTTP/1.0 to the end', '6.3', (b'HTTP/1.0 200 OK\r\n\r\nhi', CLOSE), 200, b'hi',
     framing='chunked', pool='closed')
good('framing: HTTP/1.0 by length is not kept', '9.3', (b'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi',),
     200, b'hi', framing='length', pool='closed')
good('framing: HTTP/1.0 that keeps', '9.3', b'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n'
     b'Content-Length: 2\r\n\r\nhi', 200, b'hi')
good('framing: Connection: close by length', '9.6', (LENGTH_2 + b'Connection: close\r\n\r\nhi',), 200, b'hi',
     framing='length', pool='closed')
good('framing: trailers pass', '7.1.2', CHUNKED + b'2\r\nhi\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n', 200, b'hi',
     trailers=(('X-Sum', '1'), ('Y', '2')))
for name in ('Content-Type: a/b', 'Content-Encoding: gzip', 'Cache-Control: no-store', 'Date: x', 'Trailer: X'):
    good(f'framing: trailer {name} is dropped', '9110 6.5.1',
         CHUNKED + b'2\r\nhi\r\n0\r\nX-Sum: 1\r\n' + name.encode() + b'\r\nY: 2\r\n\r\n', 200, b'hi',
         trailers=(('X-Sum', '1'), ('Y', '2')))
good('framing: answer in pieces', '6', (OK[:9], WAIT, OK[9:] + b'Content-Le', WAIT,
                                        b'ngth: 4\r\n\r\nab', WAIT, b'cd'), 200, b'abcd')
good('framing: chunks in pieces', '7.1', (CHUNKED + b'2', WAIT, b'\r', WAIT, b'\nh', WAIT, b'i\r\n0', WAIT,
                                          b'\r\n', WAIT, b'X: y\r\n', WAIT, b'\r\n'), 200, b'hi',
     trailers=(('X', 'y'),))

for name, chunks in {
        'signed size': b'+2\r\nhi\r\n0\r\n\r\n', 'negative size': b'-2\r\nhi\r\n0\r\n\r\n',
        'hexadecimal prefix': b'0x2\r\nhi\r\n0\r\n\r\n', 'space': b'2 \r\nhi\r\n0\r\n\r\n',
        'size ended by LF': b'2\nhi\r\n0\r\n\r\n', 'data ended by LF': b'2\r\nhi\n0\r\n\r\n',
        'data too long': b'2\r\nhi!\r\n0\r\n\r\n', 'no size': b'\r\nhi\r\n0\r\n\r\n', 'not a size':
        b'x\r\nhi\r\n0\r\n\r\n', 'beyond 63 bits': b'8000000000000000\r\nhi\r\n0\r\n\r\n',
        'beyond 64 bits': b'10000000000000002\r\nhi\r\n0\r\n\r\n', 'long extension':
        b'2;' + b'a' * 300 + b'\r\nhi\r\n0\r\n\r\n', 'end by LF': b'0\r\n\n', 'end by CR': b'0\r\n\rX',
        'trailer with a length': b'0\r\nContent-Length: 2\r\n\r\n',
        'trailer with a coding': b'0\r\nTransfer-Encoding: chunked\r\n\r\n',
        'trailer with a cookie': b'0\r\nSet-Cookie: a=b\r\n\r\n',
        'trailer folded': b'0\r\nX: y\r\n z\r\n\r\n', 'trailer with a NUL': b'0\r\nX: \0\r\n\r\n',
        'trailers too large': b'0\r\nX: ' + b'y' * ANSWER_MAX + b'\r\n\r\n',
}.items():
    if len(chunks) < 1000:
        broken(f'chunk: {name}', '7.1', CHUNKED + chunks, CLOSE)
    cut(f'chunk: {name}, once the head is out', '7.1', CHUNKED + b'5\r\nhello\r\n', WAIT, chunks, CLOSE)

# --- cut answers --------------------------------------------------------------------------------

broken('cut: nothing, closed', '8', CLOSE, asked=2)
broken('cut: nothing, reset', '8', RESET, asked=2)
broken('cut: nothing to a POST, closed', '8', CLOSE, request=POST, asked=1)
broken('cut: in the line', '8', b'HTTP/1.1 200', CLOSE)
broken('cut: in the head', '8', OK + b'X: y', CLOSE)
broken('cut: before the last LF', '8', LENGTH_2 + b'\r', CLOSE)
broken('cut: in the head, reset', '8', OK + b'X: y', RESET)
for name, begin in {
        'by length': OK + b'Content-Length: 10\r\n\r\nhello', 'by length, no body yet':
        OK + b'Content-Length: 10\r\n\r\n', 'chunked': CHUNKED + b'5\r\nhello\r\n', 'chunked, no body yet':
        CHUNKED, 'chunked, in a size': CHUNKED + b'5\r\nhello\r\n1', 'chunked, in a chunk': CHUNKED +
        b'5\r\nhel', 'chunked, before the end': CHUNKED + b'5\r\nhello\r\n0\r\n', 'chunked, in the trailers':
        CHUNKED + b'5\r\nhello\r\n0\r\nX: y\r\n',
}.items():
    cut(f'cut: {name}, closed', '8', begin, WAIT, CLOSE)
    cut(f'cut: {name}, reset', '8', begin, WAIT, RESET)
    cut(f'cut: {name}, closed, HTTP/1.0', '8', begin, WAIT, CLOSE, request=OLD, end='reset'
        if 'chunked' in name else 'close')
cut('cut: to the end, reset', '8', TO_END + b'hello', WAIT, RESET)
cut('cut: to the end, reset, HTTP/1.0', '8', TO_END + b'hello', WAIT, RESET, request=OLD, end='reset')
cut('cut: to the end, HTTP/1.0 on both sides, reset', '8', b'HTTP/1.0 200 OK\r\n\r\nhello', WAIT, RESET,
    request=OLD, end='reset')

# --- bytes behind an answer ---------------------------------------------------------------------

STOLEN = b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen'
good('behind: garbage', '6.3', LENGTH_2 + b'\r\nhi!', 200, b'hi', pool='closed')
good('behind: another answer', '9.2', LENGTH_2 + b'\r\nhi' + STOLEN, 200, b'hi', pool='closed')
good('behind: another answer, chunked', '9.2', CHUNKED + b'2\r\nhi\r\n0\r\n\r\n' + STOLEN, 200, b'hi',
     pool='closed')
good('behind: an empty line', '6.3', LENGTH_2 + b'\r\nhi\r\n', 200, b'hi', pool='closed')
good('behind: a 100', '9.2', LENGTH_2 + b'\r\nhi' + b'HTTP/1.1 100 Continue\r\n\r\n', 200, b'hi',
     pool='closed')
good('behind: another answer behind 204', '6.3', b'HTTP/1.1 204 No\r\n\r\n' + STOLEN, 204, pool='closed')
good('behind: another answer behind 304', '6.3', b'HTTP/1.1 304 No\r\n\r\n' + STOLEN, 304, pool='closed')
good('behind: another answer behind HEAD', '9.2', LENGTH_2 + b'\r\n' + STOLEN, 200, request=HEAD,
     pool='closed')
for name, later in {'another answer': STOLEN, 'garbage': b'\0', 'a line end': b'\r\n'}.items():
    good(f'behind: {name}, later', '9.2', LENGTH_2 + b'\r\nhi', 200, b'hi', later=later, pool='closed')

# --- no body ------------------------------------------------------------------------------------

good('bodiless: 204', '6.3', b'HTTP/1.1 204 No\r\nX: y\r\n\r\n', 204, fields=(('X', 'y'),), framing='none')
good('bodiless: 204 with a length', '9110 8.6', b'HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n', 204,
     framing='none')
good('bodiless: 204 with a length and a body', '6.3', b'HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi', 204,
     framing='none', pool='closed')
good('bodiless: 204 chunked', '6.1', b'HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n', 204,
     framing='none', pool='any')
good('bodiless: 204 with chunks', '6.3',
     b'HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n', 204, framing='none',
     pool='closed')
good('bodiless: 304 keeps its length', '9110 8.6', b'HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n', 304,
     framing='length')
good('bodiless: 304 with a body', '6.3', b'HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\nhi', 304,
     pool='closed')
good('bodiless: 304 chunked', '6.1', b'HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n', 304,
     pool='any')
good('bodiless: HEAD keeps its length', '9110 9.3.2', OK + b'Content-Length: 5000\r\n\r\n', request=HEAD,
     framing='length')
good('bodiless: HEAD chunked', '6.1', CHUNKED, request=HEAD, pool='any')
good('bodiless: HEAD without framing', '6.3', OK + b'\r\n', request=HEAD, pool='any')
good('bodiless: HEAD with a body', '6.3', LENGTH_2 + b'\r\nhi', request=HEAD, pool='closed')
good('bodiless: HEAD with chunks', '6.3', CHUNKED + b'2\r\nhi\r\n0\r\n\r\n', request=HEAD, pool='closed')
good('bodiless: 205 by length 0', '9110 15.3.6', b'HTTP/1.1 205 R\r\nContent-Length: 0\r\n\r\n', 205)

# --- 1xx ----------------------------------------------------------------------------------------

EARLY = b'HTTP/1.1 103 Early\r\nLink: x\r\n\r\n'
good('interim: 100 unasked', '9110 15.2', b'HTTP/1.1 100 C\r\n\r\n' + LENGTH_2 + b'\r\nhi', 200, b'hi',
     interim=(100,))
good('interim: 103', '9110 15.2', EARLY + LENGTH_2 + b'\r\nhi', 200, b'hi', interim=(103,))
good('interim: 102, 103, 199', '9110 15.2', b'HTTP/1.1 102 P\r\n\r\n' + EARLY + b'HTTP/1.1 199 X\r\n\r\n' +
     LENGTH_2 + b'\r\nhi', 200, b'hi', interim=(102, 103, 199))
good('interim: no second 100', '9110 15.2.1', b'HTTP/1.1 100 C\r\n\r\n' * 2 + LENGTH_2 + b'\r\nhi', 200,
     b'hi', interim=(100,))
good('interim: not to HTTP/1.0', '9110 15.2', EARLY + LENGTH_2 + b'\r\nhi', 200, b'hi', request=OLD,
     end='close')
good('interim: with a length, which means nothing', '6.3',
     b'HTTP/1.1 103 E\r\nContent-Length: 2\r\n\r\n' + LENGTH_2 + b'\r\nhi', 200, b'hi', interim=(103,))
good('interim: with a coding, which means nothing', '6.1',
     b'HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n' + LENGTH_2 + b'\r\nhi', 200, b'hi',
     interim=(103,))
good('interim: in pieces', '9110 15.2', (EARLY[:7], WAIT, EARLY[7:], WAIT, LENGTH_2, WAIT, b'\r\nhi'), 200,
     b'hi', interim=(103,))
good('interim: 17 of them', '9110 15.2', EARLY * 17 + LENGTH_2 + b'\r\nhi', 200, b'hi', interim=(103,) * 17)
good('interim: 1000 of them', '9110 15.2', EARLY * 1000 + LENGTH_2 + b'\r\nhi', 200, b'hi',
     interim=(103,) * 1000)
broken('interim: a flood', '9110 15.2', EARLY * 1001 + LENGTH_2 + b'\r\nhi', CLOSE, interim=(103,) * 1000)
broken('interim: an endless flood', '9110 15.2', EARLY * 3000, CLOSE, interim=(103,) * 1000)
broken('interim: nothing behind it', '8', EARLY, CLOSE, interim=(103,))
broken('interim: broken', '5', b'HTTP/1.1 103 E\r\nX : y\r\n\r\n' + LENGTH_2 + b'\r\nhi', CLOSE)
broken('interim: 101 unasked', '9110 15.2.2', b'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n' +
       STOLEN, CLOSE)
broken('interim: 101 unasked, bare', '9110 15.2.2', b'HTTP/1.1 101 S\r\n\r\n', CLOSE)
broken('interim: 101 to HTTP/1.0', '9110 7.8', b'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
       CLOSE, request=OLD_KEEP, end='close')
good('interim: 101 as asked', '9110 7.8', (b'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
                                           TUNNEL), 101, request=UPGRADE, end='tunnel', pool='closed')
good('interim: 103 before 101', '9110 7.8', (EARLY + b'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n'
                                             b'\r\n', TUNNEL), 101, request=UPGRADE, end='tunnel',
     interim=(103,), pool='closed')
for name, said in {'h2c': b'h2c', 'HTTP/2.0': b'HTTP/2.0', 'TLS': b'TLS/1.2, HTTP/1.1', 'h2c beside it': b'x, h2c',
                   'nothing': b''}.items():
    broken(f'interim: 101 to {name}', '9110 7.8', b'HTTP/1.1 101 S\r\nUpgrade: ' + said +
           b'\r\nConnection: Upgrade\r\n\r\n', CLOSE, request=UPGRADE)
good('interim: an upgrade not granted', '9110 7.8', LENGTH_2 + b'\r\nhi', 200, b'hi', request=UPGRADE)
broken('interim: an upgrade that breaks', '9110 7.8', b'HTTP/1.1 101\r\nX : y\r\n\r\n', CLOSE, request=UPGRADE)

# --- to HTTP/1.0 --------------------------------------------------------------------------------

good('old: by length', '9.3', LENGTH_2 + b'\r\nhi', 200, b'hi', request=OLD, framing='length', end='close')
good('old: by length, kept', '9.3', LENGTH_2 + b'\r\nhi', 200, b'hi', request=OLD_KEEP, framing='length')
good('old: chunked is taken apart', '7.1', CHUNKED + b'1\r\nh\r\n1\r\ni\r\n0\r\nX: y\r\n\r\n', 200, b'hi',
     request=OLD, framing='none', end='close')
good('old: chunked ends a kept connection', '7.1', CHUNKED + b'2\r\nhi\r\n0\r\n\r\n', 200, b'hi',
     request=OLD_KEEP, framing='none', end='close')
good('old: to the end', '6.3', (TO_END + b'hi', CLOSE), 200, b'hi', request=OLD, framing='none', end='close',
     pool='closed')
good('old: 204 kept', '9.3', b'HTTP/1.1 204 No\r\n\r\n', 204, request=OLD_KEEP)

# --- in time ------------------------------------------------------------------------------------

good('time: no answer', '9110 15.6.5', (WAIT, CLOSE), 504, b'504 Gateway Timeout\n', proxy='quick',
     pool='closed')
good('time: a line that stops', '9110 15.6.5', (b'HTTP/1.1 2', WAIT, CLOSE), 504, b'504 Gateway Timeout\n',
     proxy='quick', pool='closed')
good('time: a head that stops', '9110 15.6.5', (OK + b'X: y\r\n', WAIT, CLOSE), 504,
     b'504 Gateway Timeout\n', proxy='quick', pool='closed')
good('time: nothing behind a 103', '9110 15.6.5', (EARLY, WAIT, CLOSE), 504, b'504 Gateway Timeout\n',
     interim=(103,), proxy='quick', pool='closed')
cut('time: a body that stops', '8', OK + b'Content-Length: 10\r\n\r\nhello', WAIT, CLOSE, proxy='quick')
cut('time: chunks that stop', '8', CHUNKED + b'5\r\nhello\r\n', WAIT, CLOSE, proxy='quick')
cut('time: chunks that stop, HTTP/1.0', '8', CHUNKED + b'5\r\nhello\r\n', WAIT, CLOSE, proxy='quick',
    request=OLD, end='reset')
