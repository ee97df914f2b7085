"""What is bounded stays bounded: descriptors, connections, the load of a backend, memory."""

import os
import pathlib
import random
import re
import signal
import threading
import time
import zlib

import pytest

import pace
from chaos import descriptors, megabytes, sanitizer_options
from client import Broken, Client, get
from harness import CHECK_OFF, route, wait_until
from test_http import SMALL_BUFFER, Writer, endless

KEYS = [f'key{i:04}' for i in range(1000)]
BY_KEY = {'key': 'header:X-Key'}
CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off'}


def connections(proxy):
    return proxy.admin.json('/status')['listeners'][0]['connections']


def refusals(proxy):
    """The lines about it: [(reason, count)]"""
    return [(reason, int(count)) for reason, count in re.findall(
        r'event="connections refused" listener=web reason="?([^"=]+?)"? count=(\d+)', proxy.err())]


def refused(proxy):
    return proxy.admin.metric('ringproxy_requests_total', listener='web', code='503')


def stopped(proxy):
    """All of its threads."""
    states = [(t / 'stat').read_text().rpartition(')')[2].split()[0]
              for t in pathlib.Path(f'/proc/{proxy.pid}/task').iterdir()]
    return set(states) == {'T'}


def check_refused(answer):
    assert answer.status == 503 and answer.get('Connection').lower() == 'close', answer


# --- connections of clients -------------------------------------------------------------------

def test_few_descriptors_shed_new_clients_and_recover(rig):
    proxy = rig.proxy([rig.backend('b1')], pool={'health': CHECK_OFF}, top={'workers': 1},
                      start=False)
    proxy.argv = ['prlimit', '--nofile=100:100', *proxy.argv]
    proxy.start()
    wait_until(lambda: connections(proxy) == 0, 'no connection')
    since = time.monotonic()
    for _ in range(3):  # once it has recovered it can take as many again
        before = refused(proxy)
        clients = [Client(proxy.port) for _ in range(100)]
        try:
            assert clients[0].request('GET', '/').text == 'b1'
            wait_until(lambda: connections(proxy) + refused(proxy) - before == 100,
                       'all to be taken or refused')
            taken = connections(proxy)
            assert 30 <= taken < 80, taken
            for c in clients[taken:]:  # they come to be accepted in order
                check_refused(c.answer())
                assert c.at_end()
            for c in clients[:taken]:  # each is served, though connections to backends are few
                assert c.request('GET', '/').text == 'b1'
            assert descriptors(proxy) < 100
        finally:
            for c in clients:
                c.close()
        wait_until(lambda: connections(proxy) == 0, 'all to be gone')
        assert get(proxy.port).text == 'b1'
    told = refusals(proxy)  # the first at once, then a line a second
    assert 1 <= len(told) <= time.monotonic() - since + 1, told
    assert told[0][1] == 1 and {reason for reason, _ in told} == {'out of descriptors'}
    assert 'backend down' not in proxy.err() and 'accept failed' not in proxy.err()
    assert proxy.server('b1')['errors'] == 0


def test_client_takes_the_descriptor_of_one_that_has_just_left(rig):
    """Even if the proxy hears of both at the same time."""
    proxy = rig.proxy([rig.backend('b1')], pool={'health': CHECK_OFF}, top={'workers': 1},
                      start=False)
    proxy.argv = ['prlimit', '--nofile=100:100', *proxy.argv]
    proxy.start()
    wait_until(lambda: connections(proxy) == 0, 'no connection')
    clients = []
    try:
        while refused(proxy) == 0:
            if len(clients) == 1:  # from now on there is a connection to the backend, too
                assert clients[0].request('GET', '/').text == 'b1'
            clients.append(Client(proxy.port))
            wait_until(lambda: connections(proxy) + refused(proxy) >= len(clients), 'it to be seen')
        clients.pop().close()  # the one that was refused
        # The kernel has forgotten that the listener was ready, and tells first of those that leave.
        assert clients[-1].request('GET', '/').text == 'b1'
        proxy.signal(signal.SIGSTOP)
        wait_until(lambda: stopped(proxy), 'the proxy to stand still')
        for c in clients[:20]:
            c.close()
        # One less: the last descriptor is the connection's to the backend, in use or not.
        clients[:20] = [Client(proxy.port) for _ in range(19)]
        proxy.signal(signal.SIGCONT)
        for c in clients[:19]:
            assert c.request('GET', '/').text == 'b1'
        assert refused(proxy) == 1 and connections(proxy) == len(clients)
    finally:
        proxy.signal(signal.SIGCONT)
        for c in clients:
            c.close()


def test_kept_connections_give_way_when_descriptors_are_few(rig):
    """Those to one backend, unused now, are no reason to refuse what another is to serve."""
    gauge = Gauge()
    servers = [rig.backend(n, gauged(gauge)) for n in ('b1', 'b2')]
    proxy = rig.proxy(servers, pool={'health': CHECK_OFF}, top={'workers': 1}, listener=BY_KEY,
                      start=False)
    proxy.argv = ['prlimit', '--nofile=100:100', *proxy.argv]
    proxy.start()
    home = route(proxy.config, KEYS)
    clients = [Client(proxy.port) for _ in range(25)]
    try:
        for n, server in enumerate(servers, 1):
            key = next(k for k in KEYS if home[k] == server.name)
            for i, c in enumerate(clients):
                c.send_request('GET', f'/{n}-{i}', {'X-Key': key})
            wait_until(lambda: gauge.arrived() == 25 * n, f'all to arrive at {server.name}')
            server.gate.set()
            for c in clients:
                assert c.answer().text == server.name
        assert refusals(proxy) == []
    finally:
        for c in clients:
            c.close()


def test_max_connections_of_a_listener_over_two_workers(rig):
    """Counted over all workers; those refused hear it whatever they were about to send."""
    proxy = rig.proxy([rig.backend('b1')], pool={'health': CHECK_OFF},
                      listener={'max_connections': 10})
    wait_until(lambda: connections(proxy) == 0, 'no connection')
    since = time.monotonic()
    inside = [Client(proxy.port) for _ in range(10)]
    try:
        for c in inside:
            assert c.request('GET', '/').status == 200
        for i in range(60):
            with Client(proxy.port) as c:
                if i % 3:
                    c.send_request('GET', '/')
                check_refused(c.answer())
                assert c.at_end()
        for c in inside:
            assert c.request('GET', '/').status == 200
        assert refused(proxy) == 60
        told = refusals(proxy)
        # of each worker one line a second
        assert 1 <= len(told) <= 2 * (time.monotonic() - since + 1), told
        assert {reason for reason, _ in told} == {'max_connections'}
        assert sum(count for _, count in told) <= 60
    finally:
        for c in inside:
            c.close()
    wait_until(lambda: connections(proxy) == 0, 'all to be gone')
    assert get(proxy.port).text == 'b1'


@pytest.mark.parametrize('size', [100, 50_000, 500_000])
def test_refused_client_hears_it_although_it_sends_a_body(rig, size):
    proxy = rig.proxy([rig.backend('b1')], pool={'health': CHECK_OFF},
                      listener={'max_connections': 1})
    wait_until(lambda: connections(proxy) == 0, 'no connection')
    with Client(proxy.port) as inside:
        assert inside.request('GET', '/').status == 200
        for _ in range(30):
            with Client(proxy.port) as c:
                try:
                    c.send_request('PUT', '/', body=b'x' * size)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # refused before all was sent; the answer is there all the same
                check_refused(c.answer())


# --- requests at a backend --------------------------------------------------------------------

class Gauge:
    """How many requests are at each backend now. It is left before the answer is sent, so what it
    says is never above what the proxy counts."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now, self.most, self.requests = {}, {}, {}
        self.who = {}  # request's target -> who had it

    def enter(self, name, target):
        with self.lock:
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
            self.requests[name] = self.requests.get(name, 0) + 1
            self.who[target] = name

    def leave(self, name):
        with self.lock:
            self.now[name] -= 1

    def arrived(self):
        with self.lock:
            return sum(self.requests.values())


def gauged(gauge, delay=None):
    """A handler that hangs until its backend is let go, then takes `delay()` seconds."""
    def handler(ex):
        ex.read_body()
        gauge.enter(ex.backend.name, ex.request.target)
        ex.backend.gate.wait(pace.upper(60))
        if delay:
            time.sleep(delay())
        gauge.leave(ex.backend.name)
        ex.answer()
    return handler


def limited(rig, gauge, limit, delay=None, pool=None):
    servers = [rig.backend(n, gauged(gauge, delay)) for n in ('b1', 'b2', 'b3')]
    entries = [{'name': s.name, 'address': s.address, 'max_connections': limit} for s in servers]
    standby = rig.backend('s1', gauged(gauge))
    return servers, standby, rig.proxy(entries, [standby], listener=BY_KEY,
                                       pool={**CALM, **(pool or {})})


def in_threads(n, work):
    """work(i) in n threads at once; a failure in one of them is raised."""
    failures = []

    def run(i):
        try:
            work(i)
        except BaseException as e:  # passed on below
            failures.append(e)
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(pace.upper(120))
        assert not t.is_alive(), 'a client hangs'
    if failures:
        raise failures[0]


def test_full_backend_passes_each_key_to_its_own_next_owner(rig):
    gauge = Gauge()
    servers, standby, proxy = limited(rig, gauge, 40)
    home = route(proxy.config, KEYS)
    keys = [k for k in KEYS if home[k] == 'b1'][:70]
    # nobody promoted the standby, so it is as if it were not there
    second = route(proxy.config, keys, '--down', 'b1', '--down', 's1')
    assert {'b2', 'b3'} == set(second.values())
    clients = []
    try:
        for n, key in enumerate(keys, 1):
            clients.append(Client(proxy.port))
            clients[-1].send_request('GET', f'/{key}', {'X-Key': key})
            wait_until(lambda: gauge.arrived() == n, f'request {n} to arrive')
            assert gauge.who[f'/{key}'] == ('b1' if n <= 40 else second[key]), n
        for s in servers:
            s.gate.set()
        for c in clients:
            assert c.answer().status == 200
    finally:
        for c in clients:
            c.close()
    assert not standby.served()
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'room again')
    for key in keys:
        assert get(proxy.port, fields={'X-Key': key}).text == 'b1'


@pytest.mark.threads
def test_max_connections_of_a_backend_is_never_exceeded(rig):
    """40 clients at once of two workers, room for 12: the backends count."""
    gauge, statuses = Gauge(), []
    servers, standby, proxy = limited(rig, gauge, 4, lambda: 0.003)
    for s in servers:
        s.gate.set()

    def work(i):
        mine = []
        with Client(proxy.port) as c:
            for n in range(25):
                mine.append(c.request('GET', f'/{i}/{n}', {'X-Key': KEYS[i % 7]}).status)
        statuses.extend(mine)
    in_threads(40, work)
    assert set(statuses) == {200, 503} and statuses.count(200) == gauge.arrived()
    assert gauge.most == {'b1': 4, 'b2': 4, 'b3': 4}
    assert not standby.served()
    assert proxy.admin.metric('ringproxy_retries_total', pool='p') == 0
    for s in servers:
        wait_until(lambda: proxy.server(s.name)['active'] == 0, f'{s.name} to be free')
        assert proxy.server(s.name)['errors'] == 0


def test_when_down_fail_refuses_what_a_full_backend_cannot_take(rig):
    gauge = Gauge()
    servers, standby, proxy = limited(rig, gauge, 1, pool={'when_down': 'fail'})
    home = route(proxy.config, KEYS)
    of = {n: next(k for k in KEYS if home[k] == n) for n in ('b1', 'b2')}
    with Client(proxy.port) as c:
        c.send_request('GET', '/first', {'X-Key': of['b1']})
        wait_until(lambda: gauge.arrived() == 1, 'the first to arrive')
        assert get(proxy.port, fields={'X-Key': of['b1']}).status == 503
        servers[1].gate.set()
        assert get(proxy.port, fields={'X-Key': of['b2']}).text == 'b2'
        servers[0].gate.set()
        assert c.answer().text == 'b1'
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'room again')
    assert get(proxy.port, fields={'X-Key': of['b1']}).text == 'b1'
    assert not standby.served() and not servers[2].served()


# --- bounded loads ----------------------------------------------------------------------------

FACTOR, BACKENDS, AT_ONCE = 1.25, 8, 200


def skewed(n, seed):
    """Keys as they come in life: the n-th most wanted a n-th as often as the first."""
    return random.Random(seed).choices(KEYS, [1 / (i + 1) for i in range(len(KEYS))], k=n)


def displacement(homes, who, cap):
    """How many did not go to their own backend, and how many could not under that cap."""
    wanted = {b: list(homes).count(b) for b in set(homes)}
    moved = sum(h != w for h, w in zip(homes, who))
    return moved, sum(max(0, n - cap) for n in wanted.values()), max(wanted.values())


def tell(what, most, average, moved, least, n, wanted):
    print(f'max_load {FACTOR}, {what}: busiest {most / average:.2f} x average (unbounded it would '
          f'be {wanted * BACKENDS / n:.2f}), {moved / n:.1%} displaced, at least '
          f'{least / n:.1%} had to be')


def test_max_load_bounds_the_busiest_of_200_at_once(rig):
    gauge, rng = Gauge(), random.Random(5)
    names = [f'b{i}' for i in range(1, BACKENDS + 1)]
    servers = [rig.backend(n, gauged(gauge, lambda: rng.uniform(0.01, 0.04))) for n in names]
    proxy = rig.proxy(servers, listener=BY_KEY, pool={**CALM, 'ring': {'max_load': FACTOR}})
    home = route(proxy.config, KEYS)
    cap = -(-125 * AT_ONCE // (100 * BACKENDS))  # ceil

    # slow backends: all are there at once, then counted
    first = skewed(AT_ONCE, 1)
    clients = []
    try:
        for i, key in enumerate(first):
            clients.append(Client(proxy.port))
            clients[-1].send_request('GET', f'/{i}', {'X-Key': key})
        wait_until(lambda: gauge.arrived() == AT_ONCE, 'all to arrive')
        assert sum(gauge.now.values()) == AT_ONCE and max(gauge.now.values()) <= cap, gauge.now
        who = [gauge.who[f'/{i}'] for i in range(AT_ONCE)]
        moved, least, wanted = displacement([home[k] for k in first], who, cap)
        tell('all at once', max(gauge.now.values()), AT_ONCE / BACKENDS, moved, least, AT_ONCE,
             wanted)
        assert wanted > cap and least <= moved < AT_ONCE // 2
        for s in servers:
            s.gate.set()
        for c in clients:
            assert c.answer().status == 200
    finally:
        for c in clients:
            c.close()

    # 200 clients, one request after the other
    each, done = 25, Gauge()
    wait_until(lambda: all(proxy.server(n)['active'] == 0 for n in names), 'all to be free')
    for s in servers:
        s.handler = gauged(done, lambda: rng.uniform(0.01, 0.04))
    keys = [skewed(each, 100 + i) for i in range(AT_ONCE)]

    def work(i):
        with Client(proxy.port) as c:
            for n, key in enumerate(keys[i]):
                assert c.request('GET', f'/{i}/{n}', {'X-Key': key}).status == 200
    in_threads(AT_ONCE, work)
    total = each * AT_ONCE
    assert done.arrived() == total
    assert max(done.most.values()) <= cap, done.most
    homes = [home[k] for part in keys for k in part]
    who = [done.who[f'/{i}/{n}'] for i in range(AT_ONCE) for n in range(each)]
    moved, least, wanted = displacement(homes, who, FACTOR * total / BACKENDS)
    tell(f'{total} requests of {AT_ONCE} clients', max(done.requests.values()), total / BACKENDS,
         moved, least, total, wanted)
    assert least <= moved < total // 2
    # without pressure everyone is at home; a client has its answer before the proxy has counted it out
    def nobody_is_active():
        return all(s['active'] == 0 for s in proxy.admin.json('/status')['pools'][0]['backends'])
    for key in KEYS[:100]:
        wait_until(nobody_is_active, 'all to be done')
        assert get(proxy.port, fields={'X-Key': key}).text == home[key]


# --- memory -----------------------------------------------------------------------------------

MIB = 1 << 20
BLOCK = random.Random(7).randbytes(MIB)
BIG_MIB, ROOM_MIB = (64, 12) if pace.SANITIZED > 1 else (256, 4)


def checksum(blocks):
    total = 0
    for _ in range(blocks):
        total = zlib.crc32(BLOCK, total)
    return total


def sink(ex):
    """Reads a body, after a while, and says what it got."""
    ex.hang()
    total, left = 0, int(ex.request.get('Content-Length'))
    reader = ex.reader
    while left:
        if not reader.data:
            assert reader.fill()
        total = zlib.crc32(reader.data, total)
        left -= len(reader.data)
        reader.data.clear()
    ex.request.body = b''
    ex.answer(body=str(total).encode())


def source(writers, ready):
    def handler(ex):
        n = int(ex.request.target[1:])
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % (n * MIB))
        writers.append(Writer(ex.sock, BLOCK, n))
        ready.release()
        writers[-1].join()
    return handler


@pytest.fixture
def lean(monkeypatch):
    """Freed memory that a sanitizer keeps back is not the proxy's."""
    env = dict(os.environ)
    sanitizer_options(env)
    monkeypatch.setenv('ASAN_OPTIONS', env['ASAN_OPTIONS'])


def check_growth(proxy, transfer):
    for _ in range(3):
        transfer(8)
    before = megabytes(proxy, 'VmHWM')
    transfer(BIG_MIB)
    after = megabytes(proxy, 'VmHWM')
    print(f'{BIG_MIB} MiB through a connection: most memory {before:.1f} MiB before, '
          f'{after:.1f} then')
    assert after - before < ROOM_MIB


def test_big_download_of_a_slow_reader_takes_no_more_memory(rig, lean):
    writers, ready = [], threading.Semaphore(0)
    proxy = rig.proxy([rig.backend('b1', source(writers, ready))], pool={'health': CHECK_OFF},
                      top={'workers': 1})

    def transfer(n):
        total, left = 0, n * MIB
        with Client(proxy.port, receive_buffer=SMALL_BUFFER) as c:
            c.send_request('GET', f'/{n}')
            assert ready.acquire(timeout=pace.upper(20))
            assert c.head().status == 200
            writers[-1].wait_stalled()  # or has sent all
            while left:
                if not c.reader.data:
                    assert c.reader.fill()
                total = zlib.crc32(c.reader.data, total)
                left -= len(c.reader.data)
                c.reader.data.clear()
        assert total == checksum(n)
    check_growth(proxy, transfer)


def test_big_upload_to_a_slow_reader_takes_no_more_memory(rig, lean):
    backend = rig.backend('b1', sink, receive_buffer=SMALL_BUFFER)
    proxy = rig.proxy([backend], pool={'health': CHECK_OFF}, top={'workers': 1})

    def transfer(n):
        backend.gate.clear()
        with Client(proxy.port) as c:
            c.send(b'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % (n * MIB))
            writer = Writer(c.sock, BLOCK, n)
            backend.wait_blocked()
            writer.wait_stalled()
            backend.gate.set()
            assert c.answer().text == str(checksum(n))
            writer.join()
    check_growth(proxy, transfer)


# --- time -------------------------------------------------------------------------------------

@pytest.mark.parametrize('pipelined', [False, True])
def test_client_that_never_reads_is_closed_after_idle(rig, pipelined):
    """Be it in the middle of an answer or behind many that are whole."""
    size = 1_000_000 if pipelined else endless()

    def handler(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % size)
        try:
            for _ in range(size // 1_000_000):
                ex.send(b'x' * 1_000_000)
            ex.send(b'x' * (size % 1_000_000))
        except OSError:
            ex.close()
    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend], pool=CALM, top={'workers': 1},
                      listener={'timeouts': {'idle': '1500ms'}})
    with Client(proxy.port, receive_buffer=4096) as c:
        since = time.monotonic()
        c.send(b'GET / HTTP/1.1\r\nHost: t\r\n\r\n' * (100 if pipelined else 1))
        wait_until(lambda: backend.served(), 'the request to arrive')
        wait_until(lambda: connections(proxy) == 0, 'the client to be closed')
        assert time.monotonic() - since > 1.4
        with pytest.raises((Broken, ConnectionResetError)):  # what it got does not look whole
            for _ in range(100):
                c.answer()
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'the backend to be free')
    assert len(backend.served()) < 100
    assert proxy.server('b1')['errors'] == 0
