"""Fields that have a meaning for the proxy: TE, trailers, white space, the host and its port."""

import json

import pytest

from client import Client
from conftest import Rig
from harness import CHECK_OFF, route

CALM = {'health': CHECK_OFF, 'passive': 'off', 'failback': None}
CHUNKED = 'Transfer-Encoding: chunked\r\n'


def tell(ex):
    """Its name, what it was asked for, and what came; trailers if the request's TE wants them. To
    /say it sends the bytes of the body."""
    body, r = ex.read_body(), ex.request
    if r.target == '/say':
        ex.send(body)
        return
    text = json.dumps([ex.backend.name, r.target, body.decode(), r.trailers, r.all('Host'),
                       r.all('X-Forwarded-Host'), r.all('TE'), r.all('Connection')]).encode()
    if r.get('TE') == 'trailers':
        ex.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n%x\r\n%s\r\n'
                b'0\r\nX-Sum: 42\r\n\r\n' % (len(text), text))
    else:
        ex.answer(body=text)


class Field:
    def __init__(self, rig):
        backends = [rig.backend(n, tell) for n in ('b1', 'b2', 'b3')]
        self.by_host = rig.proxy(backends, pool=CALM, listener={'key': 'host'})
        self.by_uri = rig.proxy(backends, pool=CALM, listener={'key': 'uri'})


@pytest.fixture(scope='module')
def field(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('fields'))
    try:
        yield Field(rig)
    finally:
        rig.close()


def ask(proxy, data):
    """The one answer to these bytes, and what the backend told."""
    with Client(proxy.port) as c:
        c.send(data.encode('latin-1'))
        answer = c.answer()
        return answer, json.loads(answer.text) if answer.status == 200 else None


# --- TE ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('lines', ['TE: trailers\r\nConnection: TE\r\n', 'TE: trailers\r\n',
                                   'te: gzip;q=0.5,\tTrailers;q=1 , x\r\nConnection: close, te\r\n',
                                   'TE: deflate\r\nTE: trailers\r\n'])
def test_who_wants_trailers_gets_them(field, lines):
    answer, said = ask(field.by_host, f'GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n')
    assert said[6:] == [['trailers'], ['TE']] and answer.trailers == [('X-Sum', '42')]


# --- white space ------------------------------------------------------------------------------

OWS = ['{}\t', '\t{}\t', ' \t {} \t ', '{}\t \t\t']


@pytest.mark.parametrize('ows', OWS)
def test_white_space_may_be_tabs(field, ows):
    length, coding = ows.format('5'), ows.format('chunked')
    both_ways = [f'Content-Length:{length}\r\n\r\nhello',
                 f'Transfer-Encoding:{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n']
    for rest in both_ways:
        host = ows.format('h')
        _, said = ask(field.by_host, f'POST / HTTP/1.1\r\nHost:{host}\r\n{rest}')
        assert said[2] == 'hello' and said[4] == ['h'], rest
        data = f'HTTP/1.1 200 OK\r\n{rest}'  # and answers
        with Client(field.by_host.port) as c:
            c.send(f'POST /say HTTP/1.1\r\nHost: h\r\nContent-Length:{len(data)}\r\n\r\n{data}'.encode())
            assert c.answer().body == b'hello', rest


# --- trailers ---------------------------------------------------------------------------------

USELESS = ['Content-Type: a/b', 'content-encoding: gzip', 'Content-Range: bytes 0-1/2', 'Date: x',
           'Cache-Control: no-store', 'Expect: 100-continue', 'If-None-Match: x', 'Trailer: X-Sum', 'Age: 1']


def test_useless_trailers_are_dropped(field):
    for line in USELESS:
        body = f'5\r\nhello\r\n0\r\nX-Sum: 1\r\n{line}\r\nY: 2\r\n\r\n'
        _, said = ask(field.by_host, f'POST / HTTP/1.1\r\nHost: h\r\n{CHUNKED}\r\n{body}')
        assert said[2:4] == ['hello', [['X-Sum', '1'], ['Y', '2']]], line
        data = f'HTTP/1.1 200 OK\r\n{CHUNKED}\r\n{body}'
        with Client(field.by_host.port) as c:
            c.send(f'POST /say HTTP/1.1\r\nHost: h\r\nContent-Length: {len(data)}\r\n\r\n{data}'.encode())
            answer = c.answer()
            assert answer.body == b'hello' and answer.trailers == [('X-Sum', '1'), ('Y', '2')], line
            # the connection goes on behind them
            assert c.request('GET', '/').status == 200


# --- host, target and key -----------------------------------------------------------------------

@pytest.mark.parametrize('target,host', [
    ('http://h:80/a', 'h'), ('http://h/a', 'h:80'), ('HTTP://H:80/a', 'h'), ('http://h:/a', 'h:80'),
    ('http://h:080/a', 'h'), ('https://h:443/a', 'h'), ('https://h/a', 'H:443'),
    ('http://[::1]:80/a', '[::1]'), ('http://h:8080/a', 'h:08080')])
def test_the_default_port_may_be_said_or_not(field, target, host):
    _, said = ask(field.by_host, f'GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n')
    assert said[1] == '/a' and said[4] == said[5] == [host]
    name = host.lower().rsplit(':', 1)[0] if ']' not in host else host
    assert said[0] == route(field.by_host.config, [name])[name]


def test_a_final_dot_is_the_same_host(field):
    names = [f'host-{n}.example' for n in range(20)]
    owners = route(field.by_host.config, names)
    assert set(owners.values()) == {'b1', 'b2', 'b3'}
    for name in names:
        for host in (f'{name}.', f'{name.upper()}.', f'{name}.:80'):
            _, said = ask(field.by_host, f'GET / HTTP/1.1\r\nHost: {host}\r\n\r\n')
            assert said[0] == owners[name] and said[4] == [host]
        _, said = ask(field.by_host, f'GET http://{name}.:80/ HTTP/1.1\r\nHost: {name}.\r\n\r\n')
        assert said[0] == owners[name]


def test_the_uri_of_a_target_without_a_path_begins_with_a_slash(field):
    queries = [f'q={n}' for n in range(20)]
    owners = route(field.by_uri.config, [f'/?{q}' for q in queries])
    for q in queries:
        for line in (f'GET http://h?{q} HTTP/1.1\r\nHost: h', f'GET /?{q} HTTP/1.1\r\nHost: h',
                     f'GET http://h:80?{q} HTTP/1.1\r\nHost: h', f'GET http://h?{q} HTTP/1.0'):
            _, said = ask(field.by_uri, f'{line}\r\n\r\n')
            assert (said[0], said[1]) == (owners[f'/?{q}'], f'/?{q}'), line
