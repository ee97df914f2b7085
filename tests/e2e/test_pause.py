"""The proxy is stopped for longer than any of its deadlines (SIGSTOP; a snapshot of the virtual machine
and a stalled core are alike to it) while bytes come: nothing is cut, and nobody is blamed."""

import contextlib
import hashlib
import pathlib
import signal
import threading
import time

import pytest

import pace
from client import Client, Reader, get
from harness import CHECK_OFF, route, wait_until
from scripted import Deaf
from test_http import UPGRADE, payload
from test_proxy_protocol import greeting, v1, v2
from test_sni import hello, keyless

# One failure of live traffic would mark a server down.
TOUCHY = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': {'failures': 1}}
MIB = 1 << 20


def is_stopped(proxy):
    """All of its threads are."""
    tasks = pathlib.Path(f'/proc/{proxy.process.pid}/task').iterdir()
    return all((t / 'stat').read_text().rpartition(')')[2].split()[0] == 'T' for t in tasks)


@contextlib.contextmanager
def pause(proxy, seconds):
    """The proxy is stopped within, and for so long at least."""
    begun = time.monotonic()
    proxy.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(proxy), 'the proxy to be stopped')
        yield
        wait_until(lambda: time.monotonic() - begun > seconds, 'the time to pass')
    finally:
        proxy.signal(signal.SIGCONT)


class World:
    """A proxy with one worker whose deadlines are all `patience`, and a server that does as the target
    says."""

    def __init__(self, rig):
        self.patience = pace.stretched(0.5)
        self.gates, self.done = {}, {}
        self.backend = rig.backend('b1', self.handle)
        t = pace.ms(self.patience)
        self.proxy = rig.proxy(
            [self.backend], top={'workers': 1},
            pool={**TOUCHY, 'timeouts': {'response': t, 'body': t, 'idle': t, 'connect': t}},
            listener={'timeouts': {'request': t, 'idle': t, 'tunnel': t}})

    def go(self, target):
        """The server goes on with this request, and has done so when this returns."""
        self.gates[target].set()
        assert self.done[target].wait(pace.upper(20))

    def client(self, target, method='GET', body=None, fields=()):
        self.gates[target], self.done[target] = threading.Event(), threading.Event()
        c = Client(self.proxy.port)
        c.send_request(method, target, fields, body)
        return c

    def handle(self, ex):
        target = ex.request.target
        if target.startswith('/body'):
            kind = b'text/event-stream' if 'events' in target else b'text/plain'
            ex.send(b'HTTP/1.1 200 OK\r\nContent-Type: %s\r\n'
                    b'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n' % kind)
        elif target == '/chat':
            ex.send(b'HTTP/1.1 101 Go\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
        elif target == '/large':
            ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % (16 * MIB))
            ex.send(bytes(16 * MIB))
        if target in self.gates:
            assert self.gates[target].wait(pace.upper(60))
        if target.startswith('/body'):
            ex.send(b'4\r\nhalf\r\n0\r\n\r\n')
        elif target == '/chat':
            ex.send(b'from the server')
            self.done[target].set()
            ex.send(ex.reader.exactly(len(b'from the client')))
            ex.close()
        elif target != '/large':
            ex.answer(body=hashlib.sha256(ex.read_body()).hexdigest().encode())
        if target in self.done:
            self.done[target].set()


@pytest.fixture
def w(rig):
    world = World(rig)
    yield world
    for gate in world.gates.values():
        gate.set()


# Each is told twice to go on: when the proxy is stopped, and when it runs again.

def an_answer(w):
    with w.client('/answer') as c:
        yield
        w.go('/answer')
        yield
        assert c.answer().status == 200


def an_answer_that_comes_only_afterwards(w):
    with w.client('/afterwards') as c:
        yield
        yield
        w.go('/afterwards')
        assert c.answer().status == 200


def the_rest_of_an_answer(w):
    with w.client('/body') as c:
        assert c.head().status == 200
        yield
        w.go('/body')
        yield
        assert c.reader.chunked()[0] == b'halfhalf'


def the_rest_of_an_event_stream(w):
    with w.client('/body/events') as c:
        assert c.head().status == 200
        yield
        w.go('/body/events')
        yield
        assert c.reader.chunked()[0] == b'halfhalf'


def the_rest_of_a_head(w):
    with Client(w.proxy.port) as c:
        c.send(b'GET /plain HTTP/1.1\r\nHo')
        yield
        c.send(b'st: t\r\n\r\n')
        yield
        assert c.answer().status == 200


def the_rest_of_a_body(w):
    with Client(w.proxy.port) as c:
        c.send(b'POST /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf')
        yield
        c.send(b'half')
        yield
        assert c.answer().text == hashlib.sha256(b'halfhalf').hexdigest()


def a_body_that_does_not_fit_the_kernel(w):
    body = payload(12 * MIB)
    with Client(w.proxy.port) as c:
        c.send(b'POST /plain HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % len(body))
        yield
        writer = threading.Thread(target=c.send, args=(body,), daemon=True)
        writer.start()
        yield
        assert c.answer().text == hashlib.sha256(body).hexdigest()
        writer.join()


def the_first_request_of_a_silent_connection(w):
    with Client(w.proxy.port) as c:
        yield
        c.send_request('GET', '/plain')
        yield
        assert c.answer().status == 200


def the_next_request_of_an_idle_connection(w):
    with Client(w.proxy.port) as c:
        assert c.request('GET', '/plain').status == 200
        yield
        c.send_request('POST', '/plain', body=b'x')
        yield
        assert c.answer().text == hashlib.sha256(b'x').hexdigest()


def both_ways_of_a_tunnel(w):
    with w.client('/chat', fields=UPGRADE) as c:
        assert c.head().status == 101
        yield
        w.go('/chat')
        c.send(b'from the client')
        yield
        assert c.reader.rest() == b'from the server' + b'from the client'


def a_client_that_reads_only_then(w):
    with Client(w.proxy.port, receive_buffer=65536) as c:
        c.send_request('GET', '/large')
        yield
        assert c.head().status == 200
        yield
        assert c.reader.exactly(16 * MIB) == bytes(16 * MIB)


ALL = [an_answer, an_answer_that_comes_only_afterwards, the_rest_of_an_answer,
       the_rest_of_an_event_stream, the_rest_of_a_head, the_rest_of_a_body,
       a_body_that_does_not_fit_the_kernel, the_first_request_of_a_silent_connection,
       the_next_request_of_an_idle_connection, both_ways_of_a_tunnel,
       a_client_that_reads_only_then]


def went_on(each):
    """{name: what went wrong}"""
    wrong = {}
    for name, scenario in each.items():
        try:
            next(scenario, None)
        except (AssertionError, OSError) as e:
            wrong[name] = repr(e)
    return wrong


def test_nothing_is_cut_by_a_pause(w):
    each = {scenario.__name__: scenario(w) for scenario in ALL}
    assert not went_on(each)
    assert get(w.proxy.port, '/plain').status == 200  # and so has all that was sent before been read
    with pause(w.proxy, 1.9 * w.patience):
        assert not went_on(each)
    assert not went_on(each)
    s = w.proxy.server('b1')
    assert (s['errors'], s['state']) == (0, 'up')
    assert w.proxy.admin.metric('ringproxy_retries_total', pool='p') == 0
    for code in ('408', '502', '503', '504'):
        assert w.proxy.admin.metric('ringproxy_requests_total', code=code) == 0


def test_real_slowness_after_a_pause_ends(w):
    with w.client('/answer') as answer, w.client('/chat', fields=UPGRADE) as chat, \
            Client(w.proxy.port) as silent:
        assert chat.head().status == 101
        assert get(w.proxy.port, '/plain').status == 200
        with pause(w.proxy, 1.9 * w.patience):
            pass
        since = time.monotonic()
        assert answer.answer().status == 504
        assert silent.at_end()
        assert chat.at_end()
        assert time.monotonic() - since < 2 * w.patience + pace.upper(2)
        assert w.proxy.server('b1')['errors'] == 1


def test_pauses_one_after_another_add_up_to_nothing(w):
    with w.client('/answer') as c:
        for _ in range(2):
            assert get(w.proxy.port, '/plain').status == 200
            with pause(w.proxy, 1.1 * w.patience):
                pass
        w.go('/answer')
        assert c.answer().status == 200
    assert w.proxy.server('b1')['errors'] == 0


def test_the_next_server_has_the_time_that_was_left(rig):
    """The first one resets the connection during the pause; the second takes half of its time."""
    patience = pace.stretched(0.6)
    gate = threading.Event()

    def first(ex):
        gate.wait(pace.upper(30))
        ex.reset()

    def second(ex):
        ex.backend.gate.wait(patience / 2)
        ex.answer()

    servers = [rig.backend(n) for n in ('b1', 'b2')]
    proxy = rig.proxy(servers, listener={'key': 'header:X-Key'},
                      pool={**TOUCHY, 'timeouts': {'response': pace.ms(patience)}})
    home = route(proxy.config, [f'k{i}' for i in range(50)])
    key = next(k for k, server in home.items() if server == 'b1')
    servers[0].handler, servers[1].handler = first, second
    with Client(proxy.port) as c:
        c.send_request('GET', '/', {'X-Key': key})
        wait_until(servers[0].served, 'the request to arrive')
        with pause(proxy, 2 * patience):
            gate.set()
        assert c.answer().text == 'b2'
    assert proxy.server('b2')['errors'] == 0


def test_a_connection_that_is_made_during_a_pause_was_made_in_time(rig):
    """The server's queue is full at first; its kernel answers when the proxy's asks again."""
    patience = pace.stretched(0.5)
    deaf = rig.deaf('b1')
    proxy = rig.proxy([deaf], top={'workers': 1},
                      pool={**TOUCHY, 'retries': 0, 'timeouts': {'connect': pace.ms(patience)}})
    with Client(proxy.port, timeout=60) as c:
        c.send_request('GET', '/')
        wait_until(lambda: proxy.server('b1')['active'] == 1, 'it to connect')
        with pause(proxy, patience + 0.2):
            ours = connected_to(deaf, proxy)
        reader = Reader(ours)
        assert reader.line() == b'GET / HTTP/1.1'
        ours.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        assert c.answer().status == 200
        ours.close()
    assert proxy.server('b1')['errors'] == 0


def connected_to(deaf: Deaf, proxy):
    """Empties the queue, and returns the connection that then comes: the proxy's."""
    deaf.listener.listen(64)
    fillers = {s.getsockname() for s in deaf.fillers}
    deaf.listener.settimeout(pace.upper(30))
    while True:
        sock, peer = deaf.listener.accept()
        sock.settimeout(pace.upper(20))
        if peer not in fillers:
            return sock
        deaf.fillers.append(sock)


def test_streams_and_what_precedes_them_are_not_cut_by_a_pause(rig):
    patience = pace.stretched(0.6)
    t = pace.ms(patience)
    proxy = rig.proxy([rig.tcp(n) for n in ('b1', 'b2')], pool=TOUCHY, top={'workers': 1},
                      listener={'mode': 'tcp', 'key': 'sni', 'proxy_protocol': 'accept',
                                'timeouts': {'request': t, 'idle': t, 'tunnel': t}}, start=False)
    port, proxy.port = proxy.port, None  # a look whether it listens would be a connection
    proxy.start()
    head, name = v2('198.51.100.7'), hello('a.example')
    before = {'silent': b'', 'half a head': head[:9], 'half a line': v1('198.51.100.7')[:9],
              'no hello': head, 'half a hello': head + name[:30], 'a stream': head + name}
    after = {'silent': head + name, 'half a head': head[9:] + name,
             'half a line': v1('198.51.100.7')[9:] + name, 'no hello': name,
             'half a hello': name[30:], 'a stream': b'more'}
    with contextlib.ExitStack() as stack:
        clients = {}
        for kind, data in before.items():
            clients[kind] = stack.enter_context(Client(port))
            clients[kind].send(data)
        who = greeting(clients['a stream'].reader)  # and so has all that was sent before been read
        assert clients['a stream'].reader.exactly(len(name)) == name
        with pause(proxy, 1.5 * patience):
            for kind, data in after.items():
                clients[kind].send(data)
        assert clients['a stream'].reader.exactly(4) == b'more'
        for kind in list(after)[:-1]:
            assert greeting(clients[kind].reader) == who, kind
            assert clients[kind].reader.exactly(len(name)) == name, kind
    assert keyless(proxy) == 0
    assert proxy.server(who)['errors'] == 0
