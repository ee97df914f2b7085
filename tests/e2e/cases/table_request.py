"""What a client may send, what of it may reach a backend, and what the client gets for it.

Sections are of RFC 9112 unless they begin with 9110. Each case is sent whole, in small pieces, and
between two good requests on one connection."""

import dataclasses

HOST = b'Host: t\r\n'
GET = b'GET / HTTP/1.1\r\n' + HOST
POST = b'POST / HTTP/1.1\r\n' + HOST
CHUNKED = POST + b'Transfer-Encoding: chunked\r\n\r\n'
END = b'\r\n'
HEAD_MAX = 16384
FIELDS_MAX = 128


@dataclasses.dataclass(frozen=True)
class Seen:
    """A request as the backend must have it. fields: all but those the proxy writes itself."""
    method: str
    target: str = '/'
    fields: tuple = (('Host', 't'),)
    body: bytes = b''
    framing: str = 'none'  # none | length | chunked
    trailers: tuple = ()
    host: str = 't'  # what X-Forwarded-Host says; None: no such line
    forwarded: tuple = ()  # X-Forwarded-For before the client itself
    via: tuple = ()  # before the proxy's own
    upgrade: tuple = ()
    te: bool = False  # TE: trailers


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    section: str
    send: bytes
    got: tuple = ()  # statuses, in order
    seen: tuple = ()
    end: str = 'close'  # what becomes of the connection: close | keep | tunnel
    cut: bool = False  # a backend may have been sent the begin of a request, never its end
    fin: bool = False  # the client ends its side behind `send`
    proxy: str = 'main'  # which proxy: main, or quick (short timeouts)
    xfail: str = ''  # why ringproxy does not do this yet


CASES = []


def refuse(name, section, send, status=400, **more):
    CASES.append(Case(name, section, send, (status,), **more))


def refuse_body(name, section, send, status=400, **more):
    refuse(name, section, CHUNKED + send, status, cut=True, **more)


def passes(name, section, send, *seen, end='keep', got=None, **more):
    CASES.append(Case(name, section, send, got or (200,) * len(seen), seen, end, **more))


def ends(name, section, send, **more):
    """The connection ends without a word."""
    CASES.append(Case(name, section, send, (), fin=True, cut=True, **more))


def fields(*more, host='t'):
    return (('Host', host),) + more


def get(target='/', *more, **other):
    return Seen('GET', target, fields(*more), **other)


def post(body=b'', framing='length', *more, **other):
    return Seen('POST', '/', fields(*more), body, framing, **other)


# --- both Content-Length and Transfer-Encoding --------------------------------------------------

SMUGGLED = b'0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n'
for name, lines in {
        'length, then chunked': b'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n',
        'chunked, then length': b'Transfer-Encoding: chunked\r\nContent-Length: 6\r\n',
        'lower case': b'content-length: 6\r\ntransfer-encoding: chunked\r\n',
        'upper case': b'TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: 6\r\n',
        'mixed case': b'CoNtEnT-lEnGtH: 6\r\ntRaNsFeR-eNcOdInG: cHuNkEd\r\n',
        'length 0 and chunked': b'Content-Length: 0\r\nTransfer-Encoding: chunked\r\n',
        'chunked and length 0': b'Transfer-Encoding: chunked\r\nContent-Length: 0\r\n',
        'others between them': b'Content-Length: 6\r\nX: y\r\nTransfer-Encoding: chunked\r\n',
        'length, chunked, length':
        b'Content-Length: 6\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n',
        'length and identity': b'Content-Length: 6\r\nTransfer-Encoding: identity\r\n',
        'length and gzip, chunked': b'Content-Length: 6\r\nTransfer-Encoding: gzip, chunked\r\n',
        'length and an empty coding': b'Content-Length: 6\r\nTransfer-Encoding:\r\n',
        'length that Connection names':
        b'Connection: content-length\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n',
        'coding that Connection names':
        b'Connection: transfer-encoding\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n',
}.items():
    refuse(f'both: {name}', '6.1, 6.3', POST + lines + END + SMUGGLED)
refuse('both: in a GET', '6.1', GET + b'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n' +
       SMUGGLED)
refuse('both: in HTTP/1.0', '6.1', b'POST / HTTP/1.0\r\n' + HOST +
       b'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n' + SMUGGLED)

# --- Content-Length -----------------------------------------------------------------------------

for name, value in {
        'differing': b'5\r\nContent-Length: 6', 'differing, the shorter last':
        b'6\r\nContent-Length: 5', 'differing, apart': b'5\r\nX: y\r\ncontent-length: 6',
        'repeated': b'5\r\nContent-Length: 5', 'repeated 0': b'0\r\nContent-Length: 0',
        'three times': b'5\r\nContent-Length: 5\r\nContent-Length: 5',
        'one of two empty': b'5\r\nContent-Length:',
        'plus sign': b'+5', 'minus sign': b'-5', 'minus zero': b'-0', 'hexadecimal': b'0x5',
        'hexadecimal digit': b'a', 'octal prefix': b'0o5', 'list': b'5, 6', 'list of the same':
        b'5, 5', 'list without a space': b'5,5', 'trailing comma': b'5,', 'leading comma': b',5',
        'two numbers': b'5 5', 'two numbers, tab': b'5\t5', 'folded behind a tab': b'5\t\r\n\t6', 'fraction': b'5.0', 'exponent': b'5e0',
        'underscore': b'1_0', 'quoted': b'"5"', 'parameter': b'5;q=1', 'unit': b'5 bytes',
        'beyond 63 bits': b'9223372036854775808', 'beyond 64 bits': b'18446744073709551616',
        '2^64 + 5': b'18446744073709551621', 'number and a letter': b'5x',
        'a hundred digits': b'9' * 100, 'superscript': b'\xb2', 'other digits':
        '\uff15'.encode(), 'vertical tab': b'\x0b5', 'vertical tab behind': b'5\x0b',
        'form feed': b'\x0c5', 'NUL behind': b'5\0', 'NUL before': b'\x005', 'no-break space':
        b'\xa05', 'folded': b'5\r\n 6', 'folded at once': b'\r\n 5', 'bare CR': b'5\r6',
        'bare LF': b'5\nX: y', 'not a number': b'five',
}.items():
    refuse(f'length: {name}', '6.2, 6.3', POST + b'Content-Length: ' + value + b'\r\n\r\nhello')
refuse('length: empty', '6.3', POST + b'Content-Length:\r\n\r\n')
refuse('length: white space alone', '6.3', POST + b'Content-Length: \t \r\n\r\n')
refuse('length: space before the colon', '5.1', POST + b'Content-Length : 5\r\n\r\nhello')
refuse('length: tab before the colon', '5.1', POST + b'Content-Length\t: 5\r\n\r\nhello')
refuse('length: no colon', '5.1', POST + b'Content-Length 5\r\n\r\nhello')
refuse('length: in HTTP/1.0 differing', '6.3', b'POST / HTTP/1.0\r\n' +
       b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello')
passes('length: 5', '6.2', POST + b'Content-Length: 5\r\n\r\nhello', post(b'hello'))
passes('length: 0', '6.2', POST + b'Content-Length: 0\r\n\r\n', post())
passes('length: leading zeros', '6.2', POST + b'Content-Length: 0005\r\n\r\nhello', post(b'hello'))
passes('length: white space around', '9110 5.5', POST + b'Content-Length:\t 5  \r\n\r\nhello',
       post(b'hello'))
passes('length: a tab behind', '9110 5.5', POST + b'Content-Length: 5\t\r\n\r\nhello', post(b'hello'))
passes('length: tabs and spaces behind', '9110 5.6.3', POST + b'Content-Length:\t5 \t \t\r\nX: y\t\r\n\r\nhello',
       post(b'hello', 'length', ('X', 'y')))
passes('length: odd case', '9110 5.1', POST + b'cONTENT-lENGTH:5\r\n\r\nhello', post(b'hello'))
passes('length: of a GET', '9110 9.3.1', GET + b'Content-Length: 5\r\n\r\nhello',
       get(body=b'hello', framing='length'))
passes('length: none in a POST', '6.3', POST + END, post(framing='none'))
passes('length: with an underscore is another field', '9110 5.1', POST + b'Content_Length: 5\r\n\r\n',
       post(b'', 'none', ('Content_Length', '5')))
passes('length: a request within the body is body', '6.2',
       POST + b'Content-Length: 38\r\n\r\n' + b'GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n',
       post(b'GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n'))
ends('length: body cut', '8', POST + b'Content-Length: 10\r\n\r\nhello')
ends('length: the largest there is, and a cut', '8',
     POST + b'Content-Length: 9223372036854775807\r\n\r\nhello')

# --- Transfer-Encoding --------------------------------------------------------------------------

for name, value, status in [
        ('gzip', b'gzip', 501), ('identity', b'identity', 501), ('unknown', b'x', 501),
        ('gzip before chunked', b'gzip, chunked', 501),
        ('identity before chunked', b'identity, chunked', 501),
        ('identity line before chunked', b'identity\r\nTransfer-Encoding: chunked', 501),
        ('trailers', b'trailers', 501), ('xchunked', b'xchunked', 501), ('chunke', b'chunke', 501),
        ('chunkedd', b'chunkedd', 501), ('chunked-', b'chunked-', 501),
        ('not ending in chunked', b'chunked, gzip', 400),
        ('identity behind chunked', b'chunked, identity', 400),
        ('identity line behind chunked', b'chunked\r\nTransfer-Encoding: identity', 400),
        ('chunked twice', b'chunked, chunked', 400),
        ('chunked on two lines', b'chunked\r\nTransfer-Encoding: chunked', 400),
        ('parameter', b'chunked;q=1', 400), ('parameter and space', b'chunked ; q=1', 400),
        ('quoted', b'"chunked"', 400), ('in single quotes', b"'chunked'", 501),
        ('in parentheses', b'(chunked)', 400), ('trailing comma', b'chunked,', 400),
        ('leading comma', b',chunked', 400), ('comma alone', b',', 400), ('empty', b'', 400),
        ('two words', b'chunked identity', 400), ('vertical tab before', b'\x0bchunked', 400),
        ('vertical tab behind', b'chunked\x0b', 400), ('form feed', b'\x0cchunked', 400),
        ('NUL behind', b'chunked\0', 400), ('NUL before', b'\0chunked', 400),
        ('backspace', b'chunked\x08', 400), ('no-break space', b'\xa0chunked', 400),
        ('line separator', b'\xe2\x80\xa8chunked', 400),
        ('dotless', 'chun\u212aed'.encode(), 400),
        ('folded', b'\r\n chunked', 400), ('folded behind', b'chunked\r\n , identity', 400),
        ('folded with a tab', b'\r\n\tchunked', 400), ('bare LF before', b'\nchunked', 400),
        ('bare CR before', b'\rchunked', 400), ('bare CR behind', b'chunked\rX: y', 400),
        ('bare LF behind', b'chunked\nX: y', 400), ('slash', b'chunked/1', 400),
]:
    refuse(f'coding: {name}', '6.1, 7', POST + b'Transfer-Encoding: ' + value + b'\r\n\r\n' +
           SMUGGLED, status)
for name, lines in {
        'space before the colon': b'Transfer-Encoding : chunked\r\n',
        'tab before the colon': b'Transfer-Encoding\t: chunked\r\n',
        'vertical tab before the colon': b'Transfer-Encoding\x0b: chunked\r\n',
        'NUL in the name': b'Transfer-\0Encoding: chunked\r\n',
        'NUL before the name': b'\0Transfer-Encoding: chunked\r\n',
        'line end before the colon': b'Transfer-Encoding\r\n: chunked\r\n',
        'space in the name': b'Transfer Encoding: chunked\r\n',
        'folded into another field': b'X: y\r\n Transfer-Encoding: chunked\r\n',
        'behind a bare LF': b'X: y\nTransfer-Encoding: chunked\r\n',
        'behind a bare CR': b'X: y\rTransfer-Encoding: chunked\r\n',
        'behind CR CR LF': b'X: y\r\r\nTransfer-Encoding: chunked\r\n',
        'behind LF CR': b'X: y\n\rTransfer-Encoding: chunked\r\n',
        'behind a NUL': b'X: y\0Transfer-Encoding: chunked\r\n',
        'quoted name': b'"Transfer-Encoding": chunked\r\n',
        'semicolon for the colon': b'Transfer-Encoding; chunked\r\n',
        'equals for the colon': b'Transfer-Encoding= chunked\r\n',
}.items():
    refuse(f'coding: {name}', '5.1, 5.2', POST + lines + b'Content-Length: 5\r\n\r\nhello')
refuse('coding: in HTTP/1.0', '6.1', b'POST / HTTP/1.0\r\n' + HOST +
       b'Transfer-Encoding: chunked\r\n\r\n' + SMUGGLED)
refuse('coding: in HTTP/1.0 with keep-alive', '6.1', b'POST / HTTP/1.0\r\nConnection: keep-alive\r\n' +
       b'Transfer-Encoding: chunked\r\n\r\n' + SMUGGLED)
for name, line in {
        'chunked': b'Transfer-Encoding: chunked', 'upper case': b'TRANSFER-ENCODING: CHUNKED',
        'mixed case': b'tRANSFER-eNCODING: cHuNkEd', 'no space': b'Transfer-Encoding:chunked',
        'white space around': b'Transfer-Encoding: \t chunked \t ',
}.items():
    passes(f'coding: {name}', '7', POST + line + b'\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
           post(b'hello', 'chunked'))
passes('coding: of a GET', '9110 9.3.1', GET + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
       get(framing='chunked'))
passes('coding: that Connection names frames all the same', '9110 7.6.1',
       POST + b'Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
       post(b'hi', 'chunked'))
passes('length: that Connection names frames all the same', '9110 7.6.1',
       POST + b'Connection: content-length\r\nContent-Length: 2\r\n\r\nhi', post(b'hi'))
passes('coding: with an underscore is another field', '9110 5.1',
       POST + b'Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi',
       post(b'hi', 'length', ('Transfer_Encoding', 'chunked')))
passes('coding: X-Transfer-Encoding is another field', '9110 5.1',
       POST + b'X-Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi',
       post(b'hi', 'length', ('X-Transfer-Encoding', 'chunked')))
passes('coding: Transfer-Encodings is another field', '9110 5.1',
       POST + b'Transfer-Encodings: chunked\r\nContent-Length: 2\r\n\r\nhi',
       post(b'hi', 'length', ('Transfer-Encodings', 'chunked')))
passes('coding: Content-Encoding frames nothing', '9110 8.4',
       POST + b'Content-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi',
       post(b'hi', 'length', ('Content-Encoding', 'chunked')))

# --- chunks -------------------------------------------------------------------------------------

HELLO = b'hello\r\n0\r\n\r\n'
for name, chunks in {
        'plus sign': b'+5\r\n' + HELLO, 'minus sign': b'-5\r\n' + HELLO,
        'minus zero': b'-0\r\n\r\n', 'leading space': b' 5\r\n' + HELLO,
        'leading tab': b'\t5\r\n' + HELLO, 'trailing space': b'5 \r\n' + HELLO,
        'trailing tab': b'5\t\r\n' + HELLO, 'space before an extension': b'5 ;a\r\n' + HELLO,
        'two numbers': b'5 5\r\n' + HELLO, 'hexadecimal prefix': b'0x5\r\n' + HELLO,
        'upper hexadecimal prefix': b'0X5\r\n' + HELLO, 'suffix': b'5h\r\n' + HELLO,
        'no digit': b'g\r\n' + HELLO, 'underscore': b'1_0\r\n' + b'x' * 16 + b'\r\n0\r\n\r\n',
        'list': b'5,5\r\n' + HELLO, 'fraction': b'5.0\r\n' + HELLO, 'quoted': b'"5"\r\n' + HELLO,
        'empty line': b'\r\n' + HELLO, 'extension alone': b';a=b\r\n' + HELLO,
        'NUL before': b'\x005\r\n' + HELLO, 'NUL behind': b'5\0\r\n' + HELLO,
        'vertical tab': b'\x0b5\r\n' + HELLO, 'other digits': '\uff15\r\n'.encode() + HELLO,
        'beyond 63 bits': b'8000000000000000\r\n' + HELLO,
        'all 64 bits': b'ffffffffffffffff\r\n' + HELLO,
        'beyond 64 bits': b'10000000000000005\r\n' + HELLO,
        '17 digits': b'00000000000000005\r\n' + HELLO,
        'a thousand zeros': b'0' * 1000 + b'5\r\n' + HELLO,
}.items():
    refuse_body(f'chunk size: {name}', '7.1', chunks)
for name, chunks in {
        'size ended by LF': b'5\nhello\r\n0\r\n\r\n', 'size ended by CR': b'5\rhello\r\n0\r\n\r\n',
        'size ended by CR CR LF': b'5\r\r\nhello\r\n0\r\n\r\n',
        'data ended by LF': b'5\r\nhello\n0\r\n\r\n', 'data ended by CR': b'5\r\nhello\r0\r\n\r\n',
        'data ended by nothing': b'5\r\nhello0\r\n\r\n', 'data too long': b'5\r\nhello!\r\n0\r\n\r\n',
        'data too short': b'5\r\nhell\r\n0\r\n\r\n', 'data behind a blank': b'5\r\nhello\r\n\r\n0\r\n\r\n',
        'last size ended by LF': b'0\n\r\n', 'end is LF': b'0\r\n\n', 'end is CR': b'0\r\n\rX',
        'end is CR CR LF': b'0\r\n\r\r\n', 'space at the end': b'0\r\n \r\n',
        'last size with a space': b'0 \r\n\r\n', 'all by LF': b'5\nhello\n0\n\n',
        'LF in an extension': b'5;a\nb\r\nhello\r\n0\r\n\r\n',
        'CR in an extension': b'5;a\rb\r\nhello\r\n0\r\n\r\n',
        'NUL in an extension': b'5;\0\r\nhello\r\n0\r\n\r\n',
        'control in an extension': b'5;a=\x7f\r\nhello\r\n0\r\n\r\n',
        'endless extension': b'5;' + b'a' * 10000 + b'\r\nhello\r\n0\r\n\r\n',
        'extension of 300 bytes': b'5;a="' + b'b' * 300 + b'"\r\nhello\r\n0\r\n\r\n',
        'second one bad': b'5\r\nhello\r\nx\r\n',
}.items():
    refuse_body(f'chunk: {name}', '7.1, 7.1.1', chunks)
for name, chunks, body in [
        ('lower digit', b'a\r\n0123456789\r\n0\r\n\r\n', b'0123456789'),
        ('upper digit', b'A\r\n0123456789\r\n0\r\n\r\n', b'0123456789'),
        ('leading zeros', b'005\r\n' + HELLO, b'hello'),
        ('16 digits', b'0000000000000005\r\n' + HELLO, b'hello'),
        ('several', b'1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n', b'hello'),
        ('zeros last', b'5\r\nhello\r\n0000\r\n\r\n', b'hello'),
        ('extension', b'5;a=b\r\n' + HELLO, b'hello'),
        ('extension without a value', b'5;a\r\n' + HELLO, b'hello'),
        ('quoted extension', b'5;a="b;c"\r\n' + HELLO, b'hello'),
        ('extension that looks like a size', b'5;0\r\n' + HELLO, b'hello'),
        ('extension of the last', b'5\r\nhello\r\n0;a=b\r\n\r\n', b'hello'),
        ('line ends within', b'4\r\n\r\n\r\n\r\n0\r\n\r\n', b'\r\n\r\n'),
        ('the end within', b'5\r\n0\r\n\r\n\r\n0\r\n\r\n', b'0\r\n\r\n'),
        ('none', b'0\r\n\r\n', b''),
]:
    passes(f'chunks: {name}', '7.1', CHUNKED + chunks, post(body, 'chunked'))
ends('chunks: cut in a size', '8', CHUNKED + b'5')
ends('chunks: cut in the data', '8', CHUNKED + b'5\r\nhel')
ends('chunks: cut before the last', '8', CHUNKED + b'5\r\nhello\r\n')
ends('chunks: cut before the end', '8', CHUNKED + b'5\r\nhello\r\n0\r\n')
ends('chunks: cut in the trailers', '8', CHUNKED + b'5\r\nhello\r\n0\r\nX: y\r\n')
ends('chunks: the largest size, and a cut', '7.1', CHUNKED + b'7fffffffffffffff\r\nhello')

# --- trailers -----------------------------------------------------------------------------------

for name in ('Content-Length: 5', 'Transfer-Encoding: chunked', 'content-length: 0', 'Host: evil',
             'Connection: close', 'TE: trailers', 'Upgrade: x', 'Keep-Alive: x', 'Proxy-Connection: x',
             'Cookie: a=b', 'Authorization: x', 'X-Forwarded-For: 1.2.3.4', 'X-Forwarded-Host: evil',
             'X-Forwarded-Proto: https', 'Forwarded: for=1.2.3.4', 'Max-Forwards: 1',
             'Proxy-Authorization: x', 'Set-Cookie: a=b'):
    refuse_body(f'trailer: {name}', '9110 6.5.1', b'5\r\nhello\r\n0\r\n' + name.encode() + b'\r\n\r\n')
for name, lines in {
        'space before the colon': b'X : y\r\n', 'folded': b'X: y\r\n z\r\n', 'first folded':
        b' X: y\r\n', 'bare LF': b'X: y\n', 'bare CR': b'X: y\rZ: y\r\n', 'NUL': b'X: \0\r\n',
        'no colon': b'X\r\n', 'empty name': b': y\r\n', 'illegal name': b'X@: y\r\n',
        'control': b'X: a\x1bb\r\n', 'a request': b'GET /smuggled HTTP/1.1\r\nHost: t\r\n',
}.items():
    refuse_body(f'trailer: {name}', '7.1.2, 5', b'0\r\n' + lines + b'\r\n')
refuse_body('trailer: too large', '9110 6.5', b'0\r\nX: ' + b'y' * HEAD_MAX + b'\r\n\r\n', 431)
refuse_body('trailer: too many', '9110 6.5', b'0\r\n' + b'X: y\r\n' * (FIELDS_MAX + 1) + b'\r\n', 431)
passes('trailers: passed on', '7.1.2', CHUNKED + b'0\r\nX-Sum: 1 \r\nY:\r\nx-sum: 2\r\n\r\n',
       post(b'', 'chunked', trailers=(('X-Sum', '1'), ('Y', ''), ('x-sum', '2'))))
for name in ('Content-Type: a/b', 'Content-Encoding: gzip', 'Content-Range: bytes 0-1/2', 'Trailer: X',
             'Cache-Control: no-store', 'Expect: 100-continue', 'If-Match: x', 'Date: x', 'Vary: *'):
    passes(f'trailers: {name} is dropped', '9110 6.5.1', CHUNKED + b'5\r\nhello\r\n0\r\nX-Sum: 1\r\n' +
           name.encode() + b'\r\nY: 2\r\n\r\n',
           post(b'hello', 'chunked', trailers=(('X-Sum', '1'), ('Y', '2'))))
passes('trailers: announced', '9110 6.6.2', POST + b'Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n' +
       b'0\r\nX: y\r\n\r\n', post(b'', 'chunked', ('Trailer', 'X'), trailers=(('X', 'y'),)))

# --- the request line ---------------------------------------------------------------------------

for name, line in {
        'ended by LF': b'GET / HTTP/1.1\n', 'ended by CR': b'GET / HTTP/1.1\r',
        'ended by CR CR LF': b'GET / HTTP/1.1\r\r\n', 'ended by LF CR': b'GET / HTTP/1.1\n\r',
        'leading space': b' GET / HTTP/1.1\r\n', 'leading tab': b'\tGET / HTTP/1.1\r\n',
        'leading LF': b'\nGET / HTTP/1.1\r\n', 'leading CR': b'\rGET / HTTP/1.1\r\n',
        'leading NUL': b'\0GET / HTTP/1.1\r\n', 'byte order mark': b'\xef\xbb\xbfGET / HTTP/1.1\r\n',
        'two empty lines first': b'\r\n\r\nGET / HTTP/1.1\r\n', 'tabs': b'GET\t/\tHTTP/1.1\r\n',
        'tab before the target': b'GET\t/ HTTP/1.1\r\n', 'tab before the version':
        b'GET /\tHTTP/1.1\r\n', 'two spaces before the target': b'GET  / HTTP/1.1\r\n',
        'two spaces before the version': b'GET /  HTTP/1.1\r\n', 'trailing space':
        b'GET / HTTP/1.1 \r\n', 'trailing word': b'GET / HTTP/1.1 x\r\n', 'vertical tab':
        b'GET\x0b/\x0bHTTP/1.1\r\n', 'no target': b'GET HTTP/1.1\r\n', 'empty target':
        b'GET  HTTP/1.1\r\n', 'a method alone': b'GET\r\n', 'no method': b' / HTTP/1.1\r\n',
        'a bare CR in the target': b'GET /\rx HTTP/1.1\r\n', 'a bare LF in the target':
        b'GET /\nx HTTP/1.1\r\n', 'a space in the target': b'GET /a b HTTP/1.1\r\n',
        'a field line': b'Host: t\r\n', 'a status line': b'HTTP/1.1 200 OK\r\n',
}.items():
    refuse(f'line: {name}', '2.2, 3', line + HOST + END)
refuse('line: a TLS hello', '2.2', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\x5a' * 32)
refuse('line: a PROXY head', '2.2', b'PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n' + GET + END)
passes('line: one empty line first', '2.2', b'\r\n' + GET + END, get())

for name, version, status in [
        ('2.0', b'HTTP/2.0', 505), ('3.0', b'HTTP/3.0', 505), ('0.9', b'HTTP/0.9', 505),
        ('9.9', b'HTTP/9.9', 505), ('2', b'HTTP/2', 400), ('1', b'HTTP/1', 400),
        ('1.', b'HTTP/1.', 400), ('1.10', b'HTTP/1.10', 400), ('11.1', b'HTTP/11.1', 400),
        ('01.1', b'HTTP/01.1', 400), ('1.01', b'HTTP/1.01', 400), ('1,1', b'HTTP/1,1', 400),
        ('lower case', b'http/1.1', 400), ('mixed case', b'Http/1.1', 400),
        ('minus', b'HTTP/-1.1', 400), ('other name', b'HTTQ/1.1', 400), ('name alone', b'HTTP', 400),
        ('ICAP', b'ICAP/1.0', 400), ('a space within', b'HTTP /1.1', 400),
        ('a space behind the slash', b'HTTP/ 1.1', 400), ('NUL behind', b'HTTP/1.1\0', 400),
        ('letters', b'HTTP/a.b', 400),
]:
    refuse(f'version: {name}', '2.3, 3', b'GET / ' + version + b'\r\n' + HOST + END, status)
refuse('version: HTTP/0.9, no version', '3', b'GET /\r\n')
refuse('version: HTTP/0.9, a space', '3', b'GET / \r\n')
refuse('version: HTTP/0.9, bare LF', '3', b'GET /\n')
refuse('version: the preface of HTTP/2', '2.3', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
passes('version: 1.2 is read as 1.1', '9110 2.5', b'GET / HTTP/1.2\r\n' + HOST + END, get())
passes('version: 1.9 is read as 1.1', '9110 2.5', b'GET / HTTP/1.9\r\n' + HOST + END, get())
passes('version: 1.0', '9.3', b'GET / HTTP/1.0\r\n' + HOST + END, get(), end='close')

for name, method in {
        'colon': b'GE:T', 'parenthesis': b'G(T', 'at': b'G@T', 'slash': b'G/T', 'NUL': b'G\0T',
        'control': b'G\x01T', 'DEL': b'G\x7fT', 'above ASCII': b'G\xc3\x89T', 'quoted': b'"GET"',
        'comma': b'GET,POST', 'braces': b'{GET}', 'question mark': b'GET?', 'brackets': b'[GET]',
}.items():
    refuse(f'method: {name}', '9110 9.1, 5.6.2', method + b' / HTTP/1.1\r\n' + HOST + END)
for method in ('get', 'Get', 'PATCH', 'DELETE', 'PUT', 'OPTIONS', 'TRACE', 'M-SEARCH', 'PROPFIND',
               "X!#$%&'*+.^_`|~9", 'connect', 'PRI'):
    passes(f'method: {method} passes', '9110 9.1', method.encode() + b' / HTTP/1.1\r\n' + HOST + END,
           Seen(method))
passes('method: HEAD', '9110 9.3.2', b'HEAD / HTTP/1.1\r\n' + HOST + END, Seen('HEAD'))
passes('method: HEAD, then GET', '9110 9.3.2', b'HEAD /a HTTP/1.1\r\n' + HOST + END + GET + END,
       Seen('HEAD', '/a'), get())
refuse('method: CONNECT', '9110 9.3.6', b'CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n', 405)
refuse('method: CONNECT with a path', '9110 9.3.6', b'CONNECT / HTTP/1.1\r\n' + HOST + END, 405)
refuse('method: CONNECT in HTTP/1.0', '9110 9.3.6', b'CONNECT t:443 HTTP/1.0\r\n\r\n', 405)
refuse('method: CONNECT and bytes for a tunnel', '9110 9.3.6',
       b'CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n', 405)
refuse('method: endless', '9110 15.5.15', b'G' * (HEAD_MAX + 100), 414)

# --- targets ------------------------------------------------------------------------------------

for name, target in {
        'relative': b'foo', 'query alone': b'?a', 'dot': b'.', 'fragment': b'/a#b',
        'fragment alone': b'#', 'asterisk': b'*', 'asterisk and more': b'*/x', 'NUL': b'/\0',
        'DEL': b'/\x7f', 'above ASCII': b'/\xc3\xa9', 'control': b'/\x01', 'backslash first': b'\\a',
        'authority': b't:80', 'authority alone': b't', 'ftp': b'ftp://t/', 'no authority':
        b'http:///a', 'scheme alone': b'http:', 'one slash': b'http:/t/', 'nothing behind':
        b'http://', 'port alone': b'http://:80/', 'user': b'http://u@t/', 'user and password':
        b'http://u:p@t/', 'bad port': b'http://t:x/', 'port too large': b'http://t:65536/',
        'backslash in the authority': b'http://t\\a/', 'bad encoding in the authority': b'http://t%/',
        'bracket open': b'http://[::1/', 'javascript': b'javascript:x', 'Host is another':
        b'http://other/', 'Host is another by its port': b'http://t:81/', 'Host is another by its scheme':
        b'https://t:80/', 'Host is another by a dot': b'http://t./', 'Host is a part': b'http://t.example/',
         'comma in front': b',/', 'fragment in absolute-form': b'http://t/#a',
        'quote first': b'"/"',
}.items():
    refuse(f'target: {name}', '3.2', b'GET ' + target + b' HTTP/1.1\r\n' + HOST + END)
refuse('target: asterisk and more, OPTIONS', '3.2.4', b'OPTIONS *x HTTP/1.1\r\n' + HOST + END)
refuse('target: absolute without Host', '3.2', b'GET http://t/ HTTP/1.1\r\n\r\n')
refuse('target: too long', '9110 15.5.15', b'GET /' + b'a' * HEAD_MAX + b' HTTP/1.1\r\n' + HOST + END,
       414)
refuse('target: endless', '9110 15.5.15', b'GET /' + b'a' * 100000, 414)
for name, target, seen in [
        ('query', b'/a?b=c&d', '/a?b=c&d'), ('two slashes', b'//a//b', '//a//b'),
        ('dots', b'/a/../b/./c', '/a/../b/./c'), ('encoded', b'/%2e%2E/%00%0d%0a', '/%2e%2E/%00%0d%0a'),
        ('bad encoding', b'/%zz%', '/%zz%'), ('odd characters', b'/"<>\\^`{|}[]', '/"<>\\^`{|}[]'),
        ('a target within', b'/http://other/', '/http://other/'),
        ('semicolons', b'/a;b=c', '/a;b=c'), ('absolute-form', b'http://t/a?b', '/a?b'),
        ('absolute-form, upper case', b'HTTP://T/a', '/a'), ('absolute-form, https', b'https://t/', '/'),
        ('absolute-form, no path', b'http://t', '/'), ('absolute-form, query alone', b'http://t?q', '/?q'),
        ('8 KiB', b'/' + b'a' * 8191, '/' + 'a' * 8191),
]:
    passes(f'target: {name} passes', '3.2', b'GET ' + target + b' HTTP/1.1\r\n' + HOST + END,
           Seen('GET', seen, host='T' if b'//T/' in target else 't'))
passes('target: asterisk, OPTIONS', '3.2.4', b'OPTIONS * HTTP/1.1\r\n' + HOST + END,
       Seen('OPTIONS', '*'))
passes('target: absolute-form without a path, OPTIONS', '3.2.4',
       b'OPTIONS http://t HTTP/1.1\r\n' + HOST + END, Seen('OPTIONS', '*'))
for name, target, host in [
        ('said in the target', b'http://t:80/a', b't'), ('said in Host', b'http://t/a', b't:80'),
        ('said in the target, https', b'https://t:443/a', b't'), ('said in Host, https', b'HTTPS://T/a', b't:443'),
        ('empty', b'http://t:/a', b't'), ('of IPv6', b'http://[::1]:80/a', b'[::1]')]:
    passes(f'target: the default port, {name}', '9110 4.2.3', b'GET ' + target + b' HTTP/1.1\r\nHost: ' + host +
           b'\r\n\r\n', Seen('GET', '/a', (('Host', host.decode()),), host=host.decode()))
passes('target: absolute-form gives the Host of HTTP/1.0', '3.2.2', b'GET http://a.b:81/c HTTP/1.0\r\n\r\n',
       Seen('GET', '/c', (('Host', 'a.b:81'),), host='a.b:81'), end='close')

# --- Host ---------------------------------------------------------------------------------------

for name, lines in {
        'missing': b'', 'missing, others there': b'X-Host: t\r\n', 'repeated': b'Host: t\r\nHost: u\r\n',
        'repeated, the same': b'Host: t\r\nHost: t\r\n', 'repeated, case': b'Host: t\r\nX: y\r\nhOST: t\r\n',
        'empty': b'Host:\r\n', 'white space alone': b'Host:  \r\n', 'empty, then one':
        b'Host:\r\nHost: t\r\n', 'space before the colon': b'Host : t\r\n', 'space first':
        b' Host: t\r\n', 'folded': b'Host: t\r\n .evil\r\n', 'folded at once': b'Host:\r\n t\r\n',
        'NUL': b'Host: t\0\r\n', 'tab within': b'Host: t\tu\r\n', 'bare CR': b'Host: t\ru\r\n',
        'bare LF': b'Host: t\nX: y\r\n', 'without a colon': b'Host t\r\n',
}.items():
    refuse(f'host: {name}', '3.2', b'GET / HTTP/1.1\r\n' + lines + END)
for name, value in {
        'space': b'a b', 'path': b'a/b', 'user': b'u@a', 'query': b'a?b', 'fragment': b'a#b',
        'backslash': b'a\\b', 'quotes': b'"a"', 'angle': b'<a>', 'list': b'a, b', 'URI': b'http://a',
        'port not a number': b'a:x', 'port negative': b'a:-1', 'port too large': b'a:65536',
        'port endless': b'a:' + b'1' * 30, 'two ports': b'a:1:2', 'port alone': b':80',
        'bad encoding': b'a%', 'bad encoding, letters': b'a%zz', 'v6 without brackets': b'::1',
        'bracket open': b'[::1', 'bracket closed': b'::1]', 'brackets empty': b'[]',
        'v4 in brackets': b'[1.2.3.4]', 'zone': b'[fe80::1%eth0]', 'behind the bracket': b'[::1]a',
        'above ASCII': b'\xc3\xa9', 'braces': b'{a}', 'pipe': b'a|b', 'caret': b'a^b',
}.items():
    refuse(f'host: {name}', '3.2, 9110 7.2', b'GET / HTTP/1.1\r\nHost: ' + value + b'\r\n\r\n')
refuse('host: repeated in HTTP/1.0', '3.2', b'GET / HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n')
refuse('host: malformed in HTTP/1.0', '3.2', b'GET / HTTP/1.0\r\nHost: a/b\r\n\r\n')
for value in ('a:80', 'a:', 'A.Example', '1.2.3.4', '[::1]', '[::1]:80', '[v1.a:b]', 'a.', 'a_b',
              'a%41', "a!$&'()*+,;=~b", 'xn--9ca', 'a' * 300):
    passes(f'host: {value[:20]} passes', '3.2, 9110 7.2',
           b'GET / HTTP/1.1\r\nHost: ' + value.encode() + b'\r\n\r\n',
           Seen('GET', '/', fields(host=value), host=value))
passes('host: none in HTTP/1.0', '3.2', b'GET / HTTP/1.0\r\n\r\n', Seen('GET', '/', (), host=None),
       end='close')

# --- field lines --------------------------------------------------------------------------------

for name, line in {
        'space before the colon': b'X : y\r\n', 'tab before the colon': b'X\t: y\r\n',
        'space in the name': b'X Y: z\r\n', 'empty name': b': y\r\n', 'no colon': b'X\r\n',
        'no colon, a value': b'X y\r\n', 'colon alone': b':\r\n', 'ended by LF': b'X: y\n',
        'ended by CR': b'X: y\rZ: y\r\n', 'ended by CR CR LF': b'X: y\r\r\n', 'ended by LF CR':
        b'X: y\n\r', 'ended by LF, empty': b'X:\n', 'ended by CR CR LF, empty': b'X:\r\r\n',
        'folded with a space': b'X: y\r\n z\r\n', 'folded with a tab': b'X: y\r\n\tz\r\n',
        'folded, nothing in it': b'X: y\r\n \r\n', 'folded behind nothing': b'X:\r\n y\r\n',
        'folded, a field in it': b'X: y\r\n Z: y\r\n', 'folded with a bare LF': b'X: y\n z\r\n',
        'NUL in the value': b'X: a\0b\r\n', 'NUL first in the value': b'X: \0\r\n', 'NUL in the name':
        b'X\0: y\r\n', 'control in the value': b'X: \x01\r\n', 'vertical tab in the value':
        b'X: a\x0bb\r\n', 'form feed in the value': b'X: a\x0cb\r\n', 'escape in the value':
        b'X: \x1b[0m\r\n', 'backspace in the value': b'X: a\x08\r\n', 'DEL in the value': b'X: \x7f\r\n',
        'DEL in the name': b'X\x7f: y\r\n', 'above ASCII in the name': b'X\xe9: y\r\n',
}.items():
    refuse(f'field: {name}', '2.2, 5, 9110 5.5', GET + line + END)
for char in b'()<>@,;\\"/[]?={} ':
    refuse(f'field: {chr(char)!r} in the name', '9110 5.1, 5.6.2', GET + b'X%cY: z\r\n\r\n' % char)
refuse('field: first line folded', '5.2', b'GET / HTTP/1.1\r\n X: y\r\n' + HOST + END)
refuse('field: blank line is LF', '2.2', GET + b'X: y\r\n\n')
refuse('field: blank line is CR', '2.2', GET + b'X: y\r\n\rX')
refuse('field: blank line is CR CR LF', '2.2', GET + b'X: y\r\n\r\r\n')
refuse('field: blank line has a space', '5.2', GET + b'X: y\r\n \r\n\r\n')
refuse('field: all lines end by LF', '2.2', b'GET / HTTP/1.1\nHost: t\n\n')
for name, line, value in [
        ('empty', b'X:\r\n', ''), ('white space alone', b'X: \t \r\n', ''), ('no space', b'X:y\r\n', 'y'),
        ('white space around', b'X: \t y \t\r\n', 'y'), ('white space within', b'X: a \t b\r\n', 'a \t b'),
        ('colons', b'X: :a::\r\n', ':a::'), ('above ASCII', b'X: \xc3\xa9\xff\r\n', '\xc3\xa9\xff'),
        ('quotes', b'X: "a, b" (c)\r\n', '"a, b" (c)'), ('commas', b'X: ,,a,\r\n', ',,a,'),
]:
    passes(f'field: {name} passes', '5.1, 9110 5.5', GET + line + END, get('/', ('X', value)))
passes('field: every tchar in a name', '9110 5.6.2', GET + b"!#$%&'*+-.^_`|~0aZ: y\r\n\r\n",
       get('/', ("!#$%&'*+-.^_`|~0aZ", 'y')))
passes('field: repeated lines keep their order', '9110 5.3', GET + b'X: 1\r\nY: 2\r\nx: 3\r\nX: 1\r\n\r\n',
       get('/', ('X', '1'), ('Y', '2'), ('x', '3'), ('X', '1')))
passes('field: as many as there may be', '9110 5.4', GET + b'X: y\r\n' * (FIELDS_MAX - 1) + END,
       get('/', *(('X', 'y'),) * (FIELDS_MAX - 1)))
refuse('field: one too many', '9110 5.4, 6585 5', GET + b'X: y\r\n' * FIELDS_MAX + END, 431)
FITS = HEAD_MAX - len(GET + b'X: \r\n\r\n')
passes('field: as large as it may be', '9110 5.4', GET + b'X: ' + b'y' * FITS + b'\r\n\r\n',
       get('/', ('X', 'y' * FITS)))
refuse('field: a byte too large', '9110 5.4, 6585 5', GET + b'X: ' + b'y' * (FITS + 1) + b'\r\n\r\n', 431)
refuse('field: a name too large', '9110 5.4, 6585 5', GET + b'X' * HEAD_MAX + b': y\r\n\r\n', 431)
refuse('field: too large together', '9110 5.4, 6585 5', GET + (b'X: ' + b'y' * 500 + b'\r\n') * 40 + END,
       431)
refuse('field: endless', '9110 5.4, 6585 5', GET + b'X: ' + b'y' * 200000, 431)

# --- Connection, hop-by-hop, Expect, Upgrade ----------------------------------------------------

passes('connection: close', '9.6', GET + b'Connection: close\r\n\r\n', get(), end='close')
passes('connection: Close among others', '9.6', GET + b'Connection: x, CLOSE\r\n\r\n', get(), end='close')
passes('connection: close on the second line', '9.6', GET + b'Connection: x\r\nConnection: close\r\n\r\n',
       get(), end='close')
passes('connection: close beats keep-alive', '9.3', GET + b'Connection: keep-alive, close\r\n\r\n', get(),
       end='close')
passes('connection: keep-alive', '9.3', GET + b'Connection: keep-alive\r\n\r\n', get())
passes('connection: HTTP/1.0 keep-alive', '9.3',
       b'GET / HTTP/1.0\r\n' + HOST + b'Connection: keep-alive\r\n\r\n', get())
passes('connection: HTTP/1.0 keep-alive and close', '9.3',
       b'GET / HTTP/1.0\r\n' + HOST + b'Connection: close, keep-alive\r\n\r\n', get(), end='close')
passes('connection: HTTP/1.0 other option', '9.3',
       b'GET / HTTP/1.0\r\n' + HOST + b'Connection: x\r\n\r\n', get(), end='close')
passes('connection: HTTP/1.0 with a body', '6.2', b'POST / HTTP/1.0\r\n' + HOST +
       b'Content-Length: 2\r\n\r\nhi', post(b'hi'), end='close')
passes('connection: Proxy-Connection means nothing', 'C.2.2', GET + b'Proxy-Connection: close\r\n\r\n',
       get())
passes('connection: what it names goes no further', '9110 7.6.1',
       GET + b'X-A: 1\r\nConnection: x-a, X-B\r\nX-B: 2\r\nX-C: 3\r\nx-A: 4\r\n\r\n',
       get('/', ('X-C', '3')))
passes('connection: names on two lines', '9110 7.6.1',
       GET + b'Connection: X-A\r\nX-A: 1\r\nConnection: X-B\r\nX-B: 2\r\n\r\n', get())
passes('connection: names a cookie', '9110 7.6.1', GET + b'Cookie: a=b\r\nConnection: cookie\r\n\r\n', get())
passes('connection: names Host, which stays', '9110 7.6.1', GET + b'Connection: Host\r\n\r\n', get())
passes('connection: names X-Forwarded-For, which stays', '9110 7.6.1',
       GET + b'X-Forwarded-For: 1.2.3.4\r\nConnection: x-forwarded-for\r\n\r\n', get(forwarded=('1.2.3.4',)))
passes('connection: names Via', '9110 7.6.1', GET + b'Via: 1.1 x\r\nConnection: via\r\n\r\n', get())
passes('connection: names itself', '9110 7.6.1', GET + b'Connection: connection\r\n\r\n', get())
passes('connection: empty elements', '9110 5.6.1', GET + b'Connection: , ,\r\n\r\n', get())
passes('connection: empty', '9110 5.6.1', GET + b'Connection:\r\n\r\n', get())
refuse('connection: too many names', '9110 7.6.1', GET + b'Connection: ' + b'a,' * 65 + b'a\r\n\r\n', 431)
passes('hop-by-hop: fields by themselves', '9110 7.6.1',
       GET + b'Keep-Alive: x\r\nTE: gzip\r\nProxy-Connection: x\r\nUpgrade: x\r\nHTTP2-Settings: x\r\n'
       b'X: y\r\n\r\n', get('/', ('X', 'y')))
for name, lines in {
        'as it should be': b'TE: trailers\r\nConnection: TE\r\n', 'alone': b'TE: trailers\r\n',
        'among codings': b'te: gzip;q=0.5,\tTrailers\r\nTE: deflate\r\n', 'beside another': b'Connection: te, x\r\n'
        b'TE: trailers\r\nX: y\r\n'}.items():
    passes(f'hop-by-hop: TE says trailers, {name}', '9110 10.1.4', GET + lines + END, get(te=True))
passes('hop-by-hop: TE says trailers in HTTP/1.0', '9110 6.5.1', b'GET / HTTP/1.0\r\n' + HOST +
       b'TE: trailers\r\nConnection: TE\r\n\r\n', get(), end='close')
passes('hop-by-hop: TE that Connection names', '9110 10.1.4', GET + b'TE: gzip\r\nConnection: te\r\n\r\n',
       get())
passes('forwarded: fields are appended or replaced', '9110 7.6.3',
       GET + b'X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\nX-Forwarded-Proto: https\r\n'
       b'X-Forwarded-Host: evil\r\nVia: 1.0 a\r\nVia: 1.1 b\r\n\r\n',
       get(forwarded=('1.1.1.1, 2.2.2.2', '3.3.3.3'), via=('1.0 a', '1.1 b')))
passes('hop-by-hop: Max-Forwards is counted down', '9110 7.6.2',
       b'OPTIONS / HTTP/1.1\r\n' + HOST + b'Max-Forwards: 5\r\n\r\n',
       Seen('OPTIONS', '/', fields(('Max-Forwards', '4'))))
passes('hop-by-hop: Max-Forwards of a GET means nothing', '9110 7.6.2', GET + b'Max-Forwards: 0\r\n\r\n',
       get('/', ('Max-Forwards', '0')))
passes('expect: 100-continue, the body follows at once', '9110 10.1.1',
       POST + b'Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello',
       post(b'hello', 'length', ('Expect', '100-continue')), got=('100?', 200))
passes('expect: 100-continue without a body', '9110 10.1.1', GET + b'Expect: 100-continue\r\n\r\n',
       get('/', ('Expect', '100-continue')))
passes('expect: something else is for the server', '9110 10.1.1', GET + b'Expect: x=y\r\n\r\n',
       get('/', ('Expect', 'x=y')))
passes('expect: ignored in HTTP/1.0', '9110 10.1.1', b'POST / HTTP/1.0\r\n' + HOST +
       b'Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi', post(b'hi'), end='close')
passes('upgrade: asked for, not granted', '9110 7.8', GET + b'Upgrade: x\r\nConnection: upgrade\r\n\r\n',
       get(upgrade=('x',)))
passes('upgrade: without Connection', '9110 7.8', GET + b'Upgrade: websocket\r\n\r\n', get())
passes('upgrade: Connection without Upgrade', '9110 7.8', GET + b'Connection: Upgrade\r\n\r\n', get())
passes('upgrade: in HTTP/1.0', '9110 7.8', b'GET / HTTP/1.0\r\n' + HOST +
       b'Upgrade: x\r\nConnection: upgrade\r\n\r\n', get(), end='close')
passes('upgrade: granted', '9110 7.8', b'GET /upgrade HTTP/1.1\r\n' + HOST +
       b'Upgrade: x\r\nConnection: Upgrade\r\n\r\n', get('/upgrade', upgrade=('x',)), got=(101,),
       end='tunnel')
passes('upgrade: to HTTP/2 is dropped', '9110 7.8, 9113 3.1', GET + b'Upgrade: h2c\r\n'
       b'HTTP2-Settings: AAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n', get())

# --- one after another --------------------------------------------------------------------------

passes('pipeline: two', '9.3.2', GET + END + b'GET /2 HTTP/1.1\r\n' + HOST + END, get(), get('/2'))
passes('pipeline: bodies of each kind', '9.3.2',
       POST + b'Content-Length: 5\r\n\r\nhello' + CHUNKED + b'2\r\nhi\r\n0\r\n\r\n' + GET + END,
       post(b'hello'), post(b'hi', 'chunked'), get())
passes('pipeline: an empty line between', '2.2', GET + END + END + GET + END, get(), get())
passes('pipeline: nothing behind a close', '9.6', GET + b'Connection: close\r\n\r\n' + GET + END, get(),
       end='close')
passes('pipeline: a bad one second', '9.3.2', GET + END + b'GET /x\r\n', get(), got=(200, 400), end='close')
passes('pipeline: bytes behind a length are a request', '6.2',
       POST + b'Content-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n', post(b'abc'), got=(200, 400), end='close')
passes('pipeline: half-closed behind them', '9.6', GET + END + GET + END, get(), get(), end='close', fin=True)
ends('pipeline: half-closed in a line', '9.6', b'GET / HT')
ends('pipeline: half-closed in a head', '9.6', GET)
ends('pipeline: half-closed before the last LF', '9.6', GET + b'\r')
ends('pipeline: half-closed with an empty line', '9.6', b'\r\n')

# --- in time ------------------------------------------------------------------------------------

refuse('time: a line', '9110 15.5.9', b'GET / HT', 408, proxy='quick')
refuse('time: a head', '9110 15.5.9', GET + b'X: y', 408, proxy='quick')
refuse('time: a body', '9110 15.5.9', POST + b'Content-Length: 10\r\n\r\nhello', 408, proxy='quick',
       cut=True)
refuse('time: a chunk', '9110 15.5.9', CHUNKED + b'5\r\nhel', 408, proxy='quick', cut=True)
refuse('time: trailers', '9110 15.5.9', CHUNKED + b'0\r\nX: y\r\n', 408, proxy='quick', cut=True)
CASES.append(Case('time: nothing at all', '9.5', b'', proxy='quick'))
