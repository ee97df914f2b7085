"""Upgrade: what may be a tunnel, and what stays a request (RFC 9110 7.8)."""

import json
import shutil
import subprocess

import pytest

import pace
from client import Client
from conftest import Rig
from harness import CHECK_OFF

CALM = {'health': CHECK_OFF, 'passive': 'off', 'failback': None}
SETTINGS = 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA'
# As java.net.http.HttpClient makes its first request on a connection without TLS.
JAVA = {'Connection': 'Upgrade, HTTP2-Settings', 'Upgrade': 'h2c', 'HTTP2-Settings': SETTINGS}
CURL = shutil.which('curl')


def tell(ex):
    """Tells what came; switches to whatever is asked for, as a server does that knows all of it."""
    said = {n: ex.request.all(n) for n in ('Upgrade', 'Connection', 'HTTP2-Settings')}
    if said['Upgrade']:
        ex.read_body()
        name = ex.request.get('Upgrade').split(',')[0]
        ex.send(f'HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: {name}\r\n\r\n'.encode())
        ex.send(ex.reader.exactly(4))
        ex.close()
    else:
        ex.answer(body=json.dumps([ex.request.method, said, ex.read_body().decode()]).encode())


@pytest.fixture(scope='module')
def port(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('upgrade'))
    try:
        yield rig.proxy([rig.backend('b1', tell)], pool=CALM).port
    finally:
        rig.close()


def plain(answer):
    """What came of a request of which no Upgrade was left."""
    assert answer.status == 200, answer
    method, said, body = json.loads(answer.text)
    assert said == {'Upgrade': [], 'Connection': [], 'HTTP2-Settings': []}, said
    return method, body


@pytest.mark.parametrize('fields', [
    JAVA,
    {**JAVA, 'Upgrade': 'H2C'},
    {**JAVA, 'Upgrade': '\th2c\t'},
    {**JAVA, 'Upgrade': 'h2c-16'},
    {**JAVA, 'Upgrade': 'h2'},
    {**JAVA, 'Upgrade': 'h3'},
    {'Connection': 'upgrade', 'Upgrade': 'HTTP/2.0'},
    {'Connection': 'upgrade', 'Upgrade': 'http/3'},
    {'Connection': 'upgrade', 'Upgrade': 'TLS/1.0'},
    {'Connection': 'upgrade', 'Upgrade': 'TLS/1.2, HTTP/1.1'},
    {'Connection': 'upgrade', 'Upgrade': 'tls'},
    {'Connection': 'keep-alive, Upgrade', 'Upgrade': ',h2c ,, HTTP/2.0,'},
    {'Connection': 'upgrade', 'Upgrade': 'websocket h2c'},
    {'Connection': 'upgrade', 'Upgrade': 'h2c;q=1'},
    {'HTTP2-Settings': SETTINGS},
    {'Upgrade': 'h2c', 'HTTP2-Settings': SETTINGS},
], ids=str)
def test_a_way_past_the_rules_is_not_offered(port, fields):
    with Client(port) as c:
        assert plain(c.request('GET', '/', fields)) == ('GET', '')
        assert plain(c.request('POST', '/', fields, b'a body')) == ('POST', 'a body')
        c.send_request('GET', '/', fields)  # it is an ordinary request, and others follow
        c.send_request('GET', '/')
        assert plain(c.answer()) == plain(c.answer()) == ('GET', '')


@pytest.mark.parametrize('lines,goes_on', [
    (['h2c, websocket'], 'websocket'),
    (['websocket,h2c'], 'websocket'),
    (['h2c', 'websocket'], 'websocket'),
    (['websocket', 'HTTP/2.0'], 'websocket'),
    (['TLS/1.0,\ttcp , h2c'], 'tcp'),
    (['h2c, WebSocket'], 'WebSocket'),
    (['echo/2, h3'], 'echo/2'),
    (['http', 'httpd'], 'httpd'),
    (['x;h2c', 'websocket'], 'websocket'),
], ids=str)
def test_other_protocols_become_tunnels(rig, lines, goes_on):
    backend = rig.backend('b1', tell)
    proxy = rig.proxy([backend], pool=CALM)
    fields = [('Connection', 'Upgrade, HTTP2-Settings'), ('HTTP2-Settings', SETTINGS)]
    with Client(proxy.port) as c:
        c.send_request('GET', '/', fields + [('Upgrade', line) for line in lines])
        answer = c.answer()
        assert (answer.status, answer.get('Upgrade')) == (101, goes_on)
        c.send(b'ping')
        assert c.reader.exactly(4) == b'ping' and c.at_end()
    request = backend.served()[0]
    assert request.all('Upgrade') == [goes_on] and request.all('Connection') == ['Upgrade']
    assert request.all('HTTP2-Settings') == []


@pytest.mark.parametrize('name', ['h2c', 'HTTP/2.0', 'TLS/1.2, HTTP/1.1', 'websocket, h2c'])
def test_a_server_cannot_switch_to_them_either(rig, name):
    def switch(ex):
        ex.send(f'HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: {name}\r\n\r\nstolen'.encode())
    proxy = rig.proxy([rig.backend('b1', switch)], pool=CALM)
    with Client(proxy.port) as c:
        answer = c.request('GET', '/', {'Connection': 'Upgrade', 'Upgrade': 'websocket'})
        assert answer.status == 502 and b'stolen' not in answer.body


def test_a_server_that_demands_an_upgrade_says_which(rig):
    def demand(ex):
        ex.answer(int(ex.request.target[1:]), fields=[('Connection', 'Upgrade'),
                                                      ('Upgrade', ex.request.get('X-Say'))])
    proxy = rig.proxy([rig.backend('b1', demand)], pool=CALM)
    with Client(proxy.port) as c:
        answer = c.request('GET', '/426', {'X-Say': 'websocket'})
        assert (answer.get('Upgrade'), answer.get('Connection')) == ('websocket', 'Upgrade')
        for target, said in (('/426', 'h2c'), ('/200', 'h2,h2c'), ('/200', 'websocket')):
            answer = c.request('GET', target, {'X-Say': said})
            assert answer.get('Upgrade') is None and answer.get('Connection') is None, target


@pytest.mark.skipif(not CURL, reason='needs curl')
def test_curls_offer_of_http_2_is_answered_in_http_1(port):
    done = subprocess.run([CURL, '-sS', '--http2', '--max-time', str(int(pace.upper(20))), '-w',
                           '\n%{http_version} %{response_code}', f'http://127.0.0.1:{port}/', '-d', 'a=b'],
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    said, end = done.stdout.decode().split('\n')
    assert end == '1.1 200' and json.loads(said) == [
        'POST', {'Upgrade': [], 'Connection': [], 'HTTP2-Settings': []}, 'a=b']
