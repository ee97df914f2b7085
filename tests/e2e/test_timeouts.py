"""Which silence has which timeout: tunnels, gaps behind the head, event streams."""

import contextlib
import select
import threading
import time

import pytest

import pace
from client import Client
from harness import CHECK_OFF, wait_until
from test_http import UPGRADE

CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': {'failures': 1}}
LONG = '10m'


def silent_for(clients, seconds):
    """Nothing came, and nobody closed."""
    return not select.select([c.sock for c in clients], [], [], seconds)[0]


def ended_after(client, least, most, begun):
    """The connection ended without another byte, so long after `begun`."""
    assert client.at_end()
    assert least * 0.9 - 0.02 <= time.monotonic() - begun <= most + pace.upper(1.0)


def upgrade(ex):
    ex.send(b'HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')
    ex.wait_peer_closed()


@pytest.fixture
def opened(rig):
    """Opens a tunnel of either mode through a proxy with these timeouts of the listener."""
    def start(mode, stack, **timeouts):
        server = rig.backend('b1', upgrade) if mode == 'http' else rig.tcp('b1')
        proxy = rig.proxy([server], pool=CALM, start=False,
                          listener={'mode': mode, 'key': 'source_ip', 'timeouts': timeouts})
        port, proxy.port = proxy.port, None
        proxy.start()
        c = stack.enter_context(Client(port))
        if mode == 'http':
            c.send_request('GET', '/', UPGRADE)
            assert c.head().status == 101
        else:
            assert c.reader.exactly(3) == b'b1\n'
        return proxy, c
    return start


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_a_silent_tunnel_ends_by_tunnel_and_not_by_idle(opened, mode):
    idle = pace.stretched(0.3)
    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        proxy, c = opened(mode, stack, idle=pace.ms(idle), request=pace.ms(idle),
                          tunnel=pace.ms(4 * idle))
        open_since = time.monotonic()
        assert silent_for([c], 2 * idle)
        ended_after(c, 4 * idle - (open_since - begun), 4 * idle + open_since - begun, begun)
        wait_until(lambda: proxy.server('b1')['active'] == 0, 'it to be gone')
        assert proxy.server('b1')['errors'] == 0


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_a_tunnel_may_be_silent_for_long_by_default(opened, mode):
    idle = pace.stretched(0.3)
    with contextlib.ExitStack() as stack:
        _, c = opened(mode, stack, idle=pace.ms(idle), request=pace.ms(idle))
        assert silent_for([c], 3 * idle)
        if mode == 'tcp':
            c.send(b'still there')
            assert c.reader.exactly(11) == b'still there'


def test_keep_alive_ends_by_idle_and_not_by_tunnel(rig):
    idle = pace.stretched(0.3)
    proxy = rig.proxy([rig.backend('b1')], pool=CALM,
                      listener={'timeouts': {'idle': pace.ms(idle), 'tunnel': LONG}})
    with Client(proxy.port) as c:
        begun = time.monotonic()
        assert c.request('GET', '/').status == 200
        ended_after(c, idle, idle + time.monotonic() - begun, begun)


def begin_and_hang(ex):
    """The target is the Content-Type and how the body is framed."""
    kind, _, framing = ex.request.target[1:].replace('%20', ' ').replace('%3b', ';').partition('|')
    head = f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n'
    head += {'chunked': 'Transfer-Encoding: chunked\r\n', 'length': 'Content-Length: 100\r\n',
             'close': ''}[framing]
    ex.send(head.encode() + b'\r\n' + (b'1\r\nx\r\n' if framing == 'chunked' else b'x'))
    ex.hang()
    ex.close()


EVENTS = ['text/event-stream|chunked', 'text/event-stream|close', 'text/event-stream|length',
          'Text/EVENT-stream|chunked', 'text/event-stream%3bcharset=utf-8|chunked',
          'text/event-stream%20%3b%20charset=utf-8|close']
OTHERS = ['text/plain|chunked', 'text/plain|length', 'text/plain|close', 'text/event-streams|chunked',
          'text/plain%3bx=text/event-stream|chunked', 'application/json|close']


def test_gaps_of_event_streams_are_tunnels_and_others_bodys(rig):
    gap = pace.stretched(0.7)
    backend = rig.backend('b1', begin_and_hang)
    proxy = rig.proxy([backend], pool={**CALM, 'timeouts': {'response': LONG, 'body': pace.ms(gap)}},
                      listener={'timeouts': {'tunnel': pace.ms(4 * gap)}})
    with contextlib.ExitStack() as stack:
        clients, begun = {}, time.monotonic()
        for target in EVENTS + OTHERS:
            clients[target] = c = stack.enter_context(Client(proxy.port))
            c.send_request('GET', '/' + target)
        for target, c in clients.items():
            assert c.head().status == 200
            c.reader.exactly(1 if target.endswith('length') else len(b'1\r\nx\r\n'))
        heard = time.monotonic()
        for target in OTHERS:
            ended_after(clients[target], gap, gap + heard - begun, begun)
        assert silent_for([clients[t] for t in EVENTS], gap / 2)
        for target in EVENTS:
            ended_after(clients[target], 4 * gap, 4 * gap + heard - begun, begun)
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'all to be gone')
    s = proxy.server('b1')
    assert (s['errors'], s['state']) == (len(EVENTS + OTHERS), 'up')
    assert s['suspicion']['suspected'] == 0


def test_body_bounds_the_gap_and_response_the_head(rig):
    """Either may be the longer one."""
    quick, both = pace.stretched(0.4), threading.Event()

    def handler(ex):
        if ex.request.target == '/gap':
            ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx')
        ex.backend.gate.wait(2 * quick)
        if ex.request.target == '/gap':
            ex.send(b'y')
            ex.request.body = b''
        else:
            ex.answer()
        both.set()

    backend = rig.backend('b1', handler)
    one = rig.proxy([backend], pool={'retries': 0, 'health': CHECK_OFF, 'timeouts': {
        'response': pace.ms(quick), 'body': LONG}})
    other = rig.proxy([backend], pool={'retries': 0, 'health': CHECK_OFF, 'timeouts': {
        'response': LONG, 'body': pace.ms(quick)}})
    with Client(one.port) as gap, Client(one.port) as head, \
            Client(other.port) as other_gap, Client(other.port) as other_head:
        for c in (gap, other_gap):
            c.send_request('GET', '/gap')
        for c in (head, other_head):
            c.send_request('GET', '/head')
        assert gap.answer().body == b'xy'
        assert head.answer().status == 504
        assert other_gap.head().status == 200 and other_gap.reader.exactly(1) == b'x'
        assert other_gap.at_end()
        assert other_head.answer().status == 200
