"""Idle connections to backends: how many are kept, which go, and how they end."""

import contextlib
import threading
import time

import pytest

import pace
from client import Client, get
from harness import CHECK_OFF, route, wait_until

KEYS = [f'key{i:04}' for i in range(400)]
BY_KEY = {'key': 'header:X-Key'}
ONE = {'workers': 1}
MANY = 150


class Crowd:
    """A handler: it answers once so many requests are there at a time."""

    def __init__(self, n, fields=()):
        self.n, self.fields = n, fields
        self.barrier = threading.Barrier(n)

    def __call__(self, ex):
        self.barrier.wait(pace.upper(30))
        ex.answer(fields=self.fields)


def ask_at_once(clients, fields=()):
    """One request of each client."""
    for c in clients:
        c.send_request('GET', '/', fields)
    for c in clients:
        assert c.answer().status == 200


@contextlib.contextmanager
def clients_of(proxy, n):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(proxy.port)) for _ in range(n)]


def idle(proxy, backend='b1'):
    return proxy.admin.metric('ringproxy_backend_idle_connections', pool='p', backend=backend)


def waiting(port):
    """Connections to the port in TIME_WAIT."""
    with open('/proc/net/tcp', encoding='ascii') as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(r[3] == '06' and f'{port:04X}' in (r[1].split(':')[1], r[2].split(':')[1])
               for r in rows)


# --- as many as are needed ----------------------------------------------------------------------

def test_as_many_are_kept_as_are_in_use_at_once(rig):
    backend = rig.backend('b1', Crowd(MANY))
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF}, top=ONE)
    with clients_of(proxy, MANY) as clients:
        for _ in range(3):
            ask_at_once(clients)
        wait_until(lambda: idle(proxy) == MANY, 'all to be idle')
    assert backend.connections == MANY


def test_max_idle_connections_is_a_cap(rig):
    backend = rig.backend('b1', Crowd(20))
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF, 'max_idle_connections': 5}, top=ONE)
    with clients_of(proxy, 20) as clients:
        for made in (20, 20 + 15):
            ask_at_once(clients)
            wait_until(lambda: idle(proxy) == 5, 'the cap to be kept')
            wait_until(lambda: len(backend.socks) == 5, 'the rest to be closed')
            assert backend.connections == made


def test_what_a_burst_left_goes_long_before_its_idle_timeout(rig):
    backend = rig.backend('b1', Crowd(40))
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF}, top=ONE)
    with clients_of(proxy, 40) as clients:
        ask_at_once(clients)
        since = time.monotonic()
    wait_until(lambda: len(backend.socks) < 40, 'the first to go')
    assert time.monotonic() - since > 4.5  # not at once: there may be another burst
    wait_until(lambda: len(backend.socks) <= 2, 'all but two to go')
    assert waiting(backend.port) == 0


def test_a_burst_leaves_nothing_in_time_wait(rig):
    backend = rig.backend('b1', Crowd(MANY))
    proxy = rig.proxy([backend], top=ONE,
                      pool={'health': CHECK_OFF, 'timeouts': {'idle': '300ms'}})
    with clients_of(proxy, MANY) as clients:
        ask_at_once(clients)
    wait_until(lambda: len(backend.socks) == 0, 'all to be closed')
    assert backend.connections == MANY
    assert waiting(backend.port) == 0


# --- what the backend says ----------------------------------------------------------------------

def test_a_connection_is_closed_a_second_before_its_backend_does(rig):
    ended = []

    def handler(ex):
        answered = time.monotonic()
        ex.answer(fields=[('Keep-Alive', 'timeout=2, max=100')])
        if ex.connection == 0 and ex.number == 1:
            ex.wait_peer_closed()
            ended.append(time.monotonic() - answered)
    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF}, top=ONE)
    with Client(proxy.port) as c:
        for _ in range(2):
            answer = c.request('POST', '/', body=b'x')
            assert answer.status == 200 and answer.get('Keep-Alive') is None
        wait_until(lambda: ended, 'the connection to be closed')
        assert ended[0] >= 0.95
        assert backend.connections == 1
        assert c.request('POST', '/', body=b'x').status == 200
    assert backend.connections == 2


@pytest.mark.parametrize('value, connections', [
    ('timeout=0', 3), ('timeout=5, max=0', 3), ('timeout=5, timeout=0', 3),
    ('timeout=60, max=1', 1), ('timeout=-1', 1), ('timeout=99999999999999999999', 1),
    ('"', 1)])
def test_keep_alive_of_an_answer(rig, value, connections):
    backend = rig.backend('b1', lambda ex: ex.answer(fields=[('Keep-Alive', value)]))
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF}, top=ONE)
    with Client(proxy.port) as c:
        for _ in range(3):
            assert c.request('GET', '/').text == 'b1'
    assert backend.connections == connections


# --- few descriptors ----------------------------------------------------------------------------

def start_with_few_descriptors(rig, n, workers):
    servers = [rig.backend(f'b{i}', Crowd(10)) for i in range(1, n + 1)]
    proxy = rig.proxy(servers, pool={'health': CHECK_OFF}, top={'workers': workers},
                      listener=BY_KEY, start=False)
    proxy.argv = ['prlimit', '--nofile=100:100', *proxy.argv]
    proxy.start()
    home = route(proxy.config, KEYS)
    return proxy, servers, {s: next(k for k in KEYS if home[k] == s.name) for s in servers}


def test_few_descriptors_are_shared_between_backends_and_new_clients(rig):
    """Eight backends with ten connections each would be more than there are."""
    proxy, servers, keys = start_with_few_descriptors(rig, 8, 1)
    with clients_of(proxy, 10) as clients:
        for _ in range(2):
            for s in servers:
                ask_at_once(clients, {'X-Key': keys[s]})
        assert min(len(s.socks) for s in servers) >= 1
        for s in servers:
            s.handler = None
        with clients_of(proxy, 30) as more:
            for i, c in enumerate(more):
                assert c.request('GET', '/', {'X-Key': keys[servers[i % 8]]}).status == 200
    assert 'out of descriptors' not in proxy.err()


def test_what_one_worker_keeps_is_not_lost_for_the_others(rig):
    """Whichever worker has the idle connections: soon there is room for as many clients as without
    them."""
    proxy, servers, keys = start_with_few_descriptors(rig, 5, 2)
    with clients_of(proxy, 10) as clients:
        for s in servers:
            ask_at_once(clients, {'X-Key': keys[s]})
    for s in servers:
        s.handler = None

    def all_are_served():
        with clients_of(proxy, 35) as clients:
            return all(c.request('GET', '/', {'X-Key': KEYS[0]}).status == 200 for c in clients)
    wait_until(all_are_served, 'room for 35 clients')
    assert get(proxy.port, fields={'X-Key': KEYS[0]}).status == 200
