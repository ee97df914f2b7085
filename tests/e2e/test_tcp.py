"""mode: tcp. Bytes both ways, ends and resets passed on as they are, tries, standbys, limits."""

import fcntl
import hashlib
import os
import select
import signal
import socket
import termios
import threading
import time

import pytest

import pace
from chaos import descriptors, megabytes
from client import Client, Reader, get
from harness import CHECK_OFF, free_port, route, wait_until
from scripted import reset
from test_http import SMALL_BUFFER, endless

TCP = {'mode': 'tcp', 'key': 'source_ip'}
CHECKED = {'health': {'check': 'tcp', 'path': None}}
CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off'}
SOURCES = [f'127.0.{a}.{b}' for a in range(4) for b in range(1, 51)]


class Conn(Client):
    """One connection through the proxy; `who` is the name its server greeted with."""

    def __init__(self, port, source=None, greeted=True, **more):
        super().__init__(port, source=source, **more)
        self.who = self.reader.line_feed().split()[-1].decode() if greeted else None

    def echo(self, data=b'x'):
        self.send(data)
        return self.reader.exactly(len(data))

    def alive(self):
        return self.echo(b'still there?') == b'still there?'

    def wait_closed(self):
        """True if it ended with a reset, False if in order; what came before is thrown away."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False


def line_feed(self):
    while (end := self.data.find(b'\n')) < 0:
        assert self.fill(), f'closed inside a line: {bytes(self.data)!r}'
    out = bytes(self.data[:end])
    del self.data[:end + 1]
    return out


Reader.line_feed = line_feed


def tcp_proxy(rig, backends, standbys=(), pool=None, listener=None, limit=None, **more):
    proxy = rig.proxy(backends, standbys, pool={**CHECKED, **(pool or {})},
                      listener={**TCP, **(listener or {})}, start=False, **more)
    if limit:
        proxy.argv = ['prlimit', f'--nofile={limit}:{limit}', *proxy.argv]
    port, proxy.port = proxy.port, None  # a look whether it listens would be a connection to a server
    proxy.start()
    proxy.port = port
    return proxy


def listener_of(proxy):
    return proxy.admin.json('/status')['listeners'][0]


def source_of(proxy, name, *down):
    """A source address whose connections go to this server."""
    arguments = [a for d in down for a in ('--down', d)]
    return next(k for k, who in route(proxy.config, SOURCES, *arguments).items() if who == name)


# --- bytes ------------------------------------------------------------------------------------

def test_bytes_pass_both_ways_as_they_are(rig):
    proxy = tcp_proxy(rig, [rig.tcp('b1')])
    with Conn(proxy.port) as c:
        for data in (b'\0', b'GET / HTTP/1.1\r\n\r\n', bytes(range(256)) * 20):
            assert c.echo(data) == data
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()


def test_client_that_speaks_with_the_first_packet_is_heard(rig):
    """What it sent before the server was connected to, and its end, come first."""
    def read_all(backend, sock):
        data = Reader(sock).rest()
        sock.sendall(b'%d bytes' % len(data))

    proxy = tcp_proxy(rig, [rig.tcp('b1', read_all)], pool=CALM)
    for size in (1, 5000, 300_000):
        with Conn(proxy.port, greeted=False) as c:
            c.send(b'x' * size)
            c.sock.shutdown(socket.SHUT_WR)
            assert c.reader.rest() == b'%d bytes' % size


def test_half_close_of_the_client_keeps_the_way_back_open(rig):
    half_closed, go_on = threading.Event(), threading.Event()

    def handler(backend, sock):
        assert Reader(sock).rest() == b'question'
        half_closed.set()
        assert go_on.wait(pace.upper(20))
        for _ in range(50):
            sock.sendall(b'answer' * 1000)

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM)
    with Conn(proxy.port, greeted=False) as c:
        c.send(b'question')
        c.sock.shutdown(socket.SHUT_WR)
        assert half_closed.wait(pace.upper(20))
        go_on.set()
        assert c.reader.rest() == b'answer' * 50_000


def test_half_close_of_the_server_keeps_the_way_there_open(rig):
    got = []

    def handler(backend, sock):
        sock.sendall(b'hello')
        sock.shutdown(socket.SHUT_WR)
        got.append(Reader(sock).rest())

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM)
    with Conn(proxy.port, greeted=False) as c:
        assert c.reader.rest() == b'hello'
        for _ in range(50):
            c.send(b'more' * 1000)
        c.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: got, 'the server to have read to the end')
    assert got == [b'more' * 50_000]


def test_reset_of_the_client_is_passed_on_as_a_reset(rig):
    ends = []

    def handler(backend, sock):
        sock.sendall(b'b1\n')
        try:
            while sock.recv(100):
                pass
            ends.append('fin')
        except ConnectionResetError:
            ends.append('reset')

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM)
    c = Conn(proxy.port)
    c.send(b'x')
    reset(c.sock)
    wait_until(lambda: ends, 'the end')
    with Conn(proxy.port) as c:
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()
    assert ends == ['reset', 'fin']
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')


def test_reset_of_the_server_is_passed_on_as_a_reset(rig):
    """Behind the bytes that came before it, and it takes no server down: what the client sent may
    have been the cause."""
    def handler(backend, sock):
        sock.sendall(b'b1\n')
        assert sock.recv(100) == b'go'
        reset(sock)

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool={'health': CHECK_OFF})
    for _ in range(20):
        with Conn(proxy.port) as c:
            c.send(b'go')
            assert c.wait_closed()
    assert proxy.server('b1')['state'] == 'up' and proxy.server('b1')['errors'] == 20


@pytest.mark.threads
@pytest.mark.parametrize('why', ['the server is full', 'it has half-closed'])
def test_reset_of_a_client_that_is_not_read_from_is_passed_on_too(rig, why):
    """Nobody is told of it then, so the proxy looks."""
    seen, ends = threading.Event(), []

    def handler(backend, sock):
        sock.sendall(b'b1\n')
        if why == 'it has half-closed':
            assert sock.recv(1) == b''
        seen.set()
        poller = select.poll()
        poller.register(sock, select.POLLERR)
        ends.append(poller.poll(1000 * pace.upper(30)))

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM)
    c = Conn(proxy.port)
    if why == 'it has half-closed':
        c.sock.shutdown(socket.SHUT_WR)
        assert seen.wait(pace.upper(20))
    else:
        c.sock.settimeout(pace.stretched(1.0))
        with pytest.raises(TimeoutError):
            while True:
                c.sock.sendall(bytes(1 << 20))
    reset(c.sock)
    wait_until(lambda: ends, 'the server to be told')
    assert ends[0], 'it was not'
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'it to be gone')
    assert proxy.server('b1')['errors'] == 0


def test_server_that_answers_and_closes_is_heard_to_the_end(rig):
    """Though it resets what comes for it after that, and the client reads late."""
    size, closed = MIB, threading.Event()

    def handler(backend, sock):
        sock.sendall(b'b1\n' + blob('all', size))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) == bytes(4), 'it to be taken')
        sock.close()
        closed.set()

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool={'health': CHECK_OFF})
    with Conn(proxy.port, receive_buffer=SMALL_BUFFER) as c:
        assert closed.wait(pace.upper(20))
        for _ in range(20):  # the first is answered by a reset, the next cannot be written
            c.send(b'late')
            time.sleep(0.1)  # past a look for resets
        assert c.reader.rest() == blob('all', size)
        with pytest.raises(OSError):  # and is told in the end that nobody takes what it says
            deadline = pace.Deadline(20)
            while not deadline.passed():
                c.send(b'and later')
                time.sleep(0.02)
        wait_until(lambda: listener_of(proxy)['connections'] == 0, 'it to be gone')
    assert proxy.server('b1')['errors'] == 0


@pytest.mark.parametrize('who', ['client', 'server'])
def test_urgent_data_ends_nothing(rig, who):
    """The byte itself is lost, as documented; those around it come, also in bulk with a FIN behind."""
    data, got, gate = blob('urgent', 24 * MIB), [], threading.Event()

    def write(sock):
        sock.sendall(data[:-MIB])
        sock.send(b'!', socket.MSG_OOB)
        sock.sendall(data[-MIB:])
        sock.shutdown(socket.SHUT_WR)

        gate.set()

    def read(sock):
        h, n = hashlib.sha256(), 0
        while part := sock.recv(1 << 18):
            h.update(part)
            n += len(part)
            if n > len(data) - 4 * MIB:
                assert gate.wait(pace.upper(60))  # the rest is on its way, its end too
        got.append(h.hexdigest())

    def handler(backend, sock):
        if who == 'server':
            write(sock)
        else:
            read(sock)
        Reader(sock).rest()

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM)
    with Conn(proxy.port, greeted=False, timeout=60) as c:
        writer = threading.Thread(target=write, args=(c.sock,))
        if who == 'server':
            wait_until(lambda: proxy.server('b1')['active'] == 1, 'the server to write')
            read(c.sock)
        else:
            writer.start()
            wait_until(lambda: got, 'all to be read', 60)
            writer.join()
    assert got == [hashlib.sha256(data).hexdigest()]


def test_reset_of_the_server_in_bulk_is_counted(rig):
    def handler(backend, sock):
        sock.sendall(b'b1\n' + bytes(8 * MIB))
        reset(sock)

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool={'health': CHECK_OFF})
    for _ in range(5):
        with Conn(proxy.port) as c:
            assert c.wait_closed()
    assert proxy.server('b1')['state'] == 'up' and proxy.server('b1')['errors'] == 5


def blob(seed, size):
    """Repeatable and not compressible into a pattern that a mistake could hide in."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


MIB = 1 << 20


def pipes(proxy):
    """Descriptors that are pipes: bytes in bulk pass through them."""
    n = 0
    for fd in os.listdir(f'/proc/{proxy.pid}/fd'):
        try:
            n += os.readlink(f'/proc/{proxy.pid}/fd/{fd}').startswith('pipe:')
        except FileNotFoundError:
            pass
    return n


@pytest.mark.parametrize('workers', [1, 2])
def test_64_mib_each_way_at_once_come_whole(rig, workers):
    """As bulk: both directions of several connections, each byte accounted for."""
    sums = {}

    def handler(backend, sock):
        n = int(Reader(sock).exactly(2))
        sock.sendall(b'%02d' % n)
        writer = threading.Thread(target=lambda: (sock.sendall(blob(n, 16 * MIB)),
                                                  sock.shutdown(socket.SHUT_WR)))
        writer.start()
        h = hashlib.sha256()
        while data := sock.recv(1 << 18):
            h.update(data)
        writer.join()
        sums[n] = h.hexdigest()

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM, top={'workers': workers})
    before = pipes(proxy)
    back, failures = {}, []

    def run(n):
        try:
            with Conn(proxy.port, greeted=False, timeout=120) as c:
                c.send(b'%02d' % n)
                assert int(c.reader.exactly(2)) == n
                h = hashlib.sha256(c.reader.data)

                def read():
                    while data := c.sock.recv(1 << 18):
                        h.update(data)
                reader = threading.Thread(target=read)
                reader.start()
                c.send(blob(n + 100, 16 * MIB))
                c.sock.shutdown(socket.SHUT_WR)
                reader.join()
                back[n] = h.hexdigest()
        except BaseException as e:
            failures.append(repr(e))
            raise

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    wait_until(lambda: len(sums) == 4, 'the servers to have read to the end')
    for n in range(4):
        assert back[n] == hashlib.sha256(blob(n, 16 * MIB)).hexdigest()
        assert sums[n] == hashlib.sha256(blob(n + 100, 16 * MIB)).hexdigest()
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')
    assert before < pipes(proxy) <= before + 2 * 4 * workers  # a few are kept for the next


def test_bulk_is_copied_when_descriptors_are_short(rig):
    """And none is lost: the next ones find all of them again."""
    def handler(backend, sock):
        n = int(Reader(sock).exactly(3))
        sock.sendall(blob(n, 2 * MIB))

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM, top={'workers': 1}, limit=80)
    for _ in range(3):
        conns = [Conn(proxy.port, greeted=False, receive_buffer=SMALL_BUFFER, timeout=120)
                 for _ in range(24)]
        try:
            for n, c in enumerate(conns):
                c.send(b'%03d' % n)
            for n, c in enumerate(conns):
                assert c.reader.rest() == blob(n, 2 * MIB)
        finally:
            for c in conns:
                c.close()
        wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')
    assert 'refused' not in proxy.err()


def test_few_descriptors_shed_new_streams_and_those_inside_have_their_servers(rig):
    """All but a small share of what the limit leaves goes to streams, two descriptors each."""
    limit = 200
    proxy = tcp_proxy(rig, [rig.serve('b1', '--mode', 'echo')], pool=CALM,
                      top={'workers': 1}, limit=limit)
    room = limit - descriptors(proxy) - limit // 8
    for _ in range(3):
        before = listener_of(proxy)['requests']
        conns = [Conn(proxy.port, greeted=False) for _ in range(limit)]
        inside, ended = [], 0
        try:
            for c in conns:
                try:
                    assert c.echo() == b'x'
                    inside.append(c)
                except (AssertionError, OSError):
                    ended += 1
            assert ended == limit - len(inside) > 0
            assert conns[:len(inside)] == inside, 'they are taken in order, as long as there is room'
            assert room * 15 // 16 // 2 - 2 <= len(inside) <= room // 2 + 1, (len(inside), room)
            assert listener_of(proxy)['requests'] - before == len(inside)
            assert all(c.alive() for c in inside)
        finally:
            for c in conns:
                c.close()
        wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')
    assert proxy.says('out of descriptors') and 'accept failed' not in proxy.err()
    assert proxy.server('b1')['errors'] == 0 and proxy.server('b1')['active'] == 0


@pytest.mark.parametrize('who', ['client', 'server'])
def test_slow_reader_holds_the_other_side_back(rig, who):
    """What waits for it in the proxy stays small, and in the end all of it comes."""
    size, written, gate, got = endless() // MIB * MIB, [], threading.Event(), []

    def write(sock):
        data = blob('flood', MIB)
        for _ in range(size // MIB):
            sock.sendall(data)
            written.append(len(data))
        sock.shutdown(socket.SHUT_WR)

    def read(sock):
        h, n = hashlib.sha256(), 0
        while data := sock.recv(1 << 18):
            h.update(data)
            n += len(data)
        got.append((n, h.hexdigest()))

    def handler(backend, sock):
        if who == 'client':
            write(sock)
        else:
            gate.wait(pace.upper(60))
            read(sock)

    small = SMALL_BUFFER if who == 'server' else None
    proxy = tcp_proxy(rig, [rig.tcp('b1', handler, receive_buffer=small)], pool=CALM)
    before = megabytes(proxy)
    with Conn(proxy.port, greeted=False, timeout=120,
              receive_buffer=SMALL_BUFFER if who == 'client' else None) as c:
        writer = threading.Thread(target=write, args=(c.sock,))
        if who == 'server':
            writer.start()
        stalled(written)
        assert sum(written) <= size - 40_000_000, 'it was not held back'
        assert megabytes(proxy) < before + 10 * pace.SANITIZED
        gate.set()
        if who == 'client':
            read(c.sock)
        else:
            writer.join()
            wait_until(lambda: got, 'the server to have read to the end', 60)
    h = hashlib.sha256()
    for _ in range(size // MIB):
        h.update(blob('flood', MIB))
    assert got == [(size, h.hexdigest())]


def stalled(written):
    """Until a writer has not come on for a second."""
    since, patience = [0, time.monotonic()], pace.stretched(pace.SANITIZED)

    def stands():
        if sum(written) != since[0] or sum(written) == 0:
            since[:] = sum(written), time.monotonic()
        return time.monotonic() - since[1] > patience
    wait_until(stands, 'the writer to be held back', 60)


# --- tries ------------------------------------------------------------------------------------

@pytest.mark.parametrize('key', ['source_ip', None])
def test_refused_connection_goes_to_the_next_owner(rig, key):
    servers = [rig.tcp(n) for n in ('b1', 'b2', 'b3')]
    proxy = tcp_proxy(rig, servers, pool=CALM, listener={'key': key})
    servers[0].stop()
    home, without = (route(proxy.config, SOURCES, *more) for more in ((), ('--down', 'b1')))
    for source in SOURCES[:60]:
        with Conn(proxy.port, source) as c:
            if key:
                assert c.who == without[source], (source, home[source])
            assert c.who != 'b1' and c.alive()
    failed = proxy.server('b1')['errors']
    assert failed == proxy.server('b1')['requests'] > 0
    assert proxy.admin.metric('ringproxy_retries_total', pool='p') == failed
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == (0 if key else 60)


def test_what_the_client_sends_waits_for_the_server_that_answers(rig):
    """The first is deaf, so connecting takes its whole time; all that came meanwhile goes to the
    next one."""
    def handler(backend, sock):
        sock.sendall(hashlib.sha256(Reader(sock).rest()).hexdigest().encode())

    deaf, patience = rig.deaf('b1'), pace.stretched(0.5)
    proxy = tcp_proxy(rig, [deaf, rig.tcp('b2', handler)],
                      pool={**CALM, 'timeouts': {'connect': pace.ms(patience)}})
    source = source_of(proxy, 'b1')
    data = blob('early', 3 * MIB)
    begun = time.monotonic()
    with Conn(proxy.port, source, greeted=False) as c:
        c.send(data)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.reader.rest().decode() == hashlib.sha256(data).hexdigest()
    assert time.monotonic() - begun >= patience
    assert proxy.server('b1')['errors'] == 1


def test_reset_before_a_byte_passed_goes_to_the_next_owner(rig):
    """A server that accepts and resets, as one behind a gateway that is gone."""
    servers = [rig.tcp('b1'), rig.tcp('b2')]
    servers[0].reset_on_accept = True
    proxy = tcp_proxy(rig, servers, pool=CALM)
    source = source_of(proxy, 'b1')
    for _ in range(20):
        with Conn(proxy.port, source) as c:
            assert c.who == 'b2' and c.alive()
    assert proxy.server('b1')['errors'] == 20


def test_such_resets_take_the_server_down(rig):
    servers = [rig.tcp('b1'), rig.tcp('b2')]
    servers[0].reset_on_accept = True
    proxy = tcp_proxy(rig, servers, pool={'health': {**CHECK_OFF, 'interval': '1m'},
                                          'passive': {'failures': 3}})
    source = source_of(proxy, 'b1')
    for _ in range(3):
        with Conn(proxy.port, source) as c:
            assert c.who == 'b2'
    proxy.wait_state('b1', 'down')


def test_nobody_left_closes_the_connection(rig):
    proxy = tcp_proxy(rig, [{'name': n, 'address': f'127.0.0.1:{free_port()}'}
                            for n in ('b1', 'b2')], pool={**CALM, 'retries': 1})
    for _ in range(5):
        with Conn(proxy.port, greeted=False) as c:
            assert c.at_end()
    assert proxy.server('b1')['errors'] + proxy.server('b2')['errors'] == 10


def test_retries_are_counted(rig):
    dead = [{'name': f'b{i}', 'address': f'127.0.0.1:{free_port()}'} for i in range(1, 6)]
    for retries, status in ((0, 1), (3, 4)):
        proxy = tcp_proxy(rig, dead, pool={**CALM, 'retries': retries})
        with Conn(proxy.port, greeted=False) as c:
            assert c.at_end()
        assert sum(proxy.server(d['name'])['errors'] for d in dead) == status


def test_client_that_goes_while_connecting_leaves_nothing_behind(rig):
    proxy = tcp_proxy(rig, [rig.deaf('b1'), rig.deaf('b2')],
                      pool={**CALM, 'timeouts': {'connect': '300ms'}})
    for i in range(20):
        c = Conn(proxy.port, greeted=False)
        if i % 2:
            c.send(b'x')
        if i % 3:
            reset(c.sock)
        c.close()
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')
    wait_until(lambda: proxy.server('b1')['active'] + proxy.server('b2')['active'] == 0, 'the same')


# --- keys -------------------------------------------------------------------------------------

def test_source_ip_goes_where_route_says(rig):
    proxy = tcp_proxy(rig, [rig.tcp(f'b{i}') for i in range(1, 6)], pool=CALM)
    home = route(proxy.config, SOURCES)
    assert len(set(home.values())) == 5
    for source in SOURCES[::3]:
        with Conn(proxy.port, source) as c:
            assert c.who == home[source]
            told = proxy.admin.json(f'/route?pool=p&key={source}')
            assert told['server'] == told['home'] == c.who
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 0


def test_v4_mapped_address_is_the_same_key_as_v4(rig):
    port, admin = free_port(), free_port()
    servers = [rig.tcp(f'b{i}') for i in range(1, 6)]
    text = rig.text(servers, pool=CALM, listener={**TCP, 'listen': f'[::]:{port}'}, admin=admin)
    proxy = rig.proxy_of(text, port, admin)
    home = route(proxy.config, [*SOURCES[:20], '::1'])
    for source in SOURCES[:20]:
        with Conn(proxy.port, source) as c:
            assert c.who == home[source]
    with Conn(proxy.port, host='::1') as c:
        assert c.who == home['::1']


def test_both_modes_share_a_pool(rig):
    """And what the one sees of a server counts for the other."""
    port, tcp_port, admin = free_port(), free_port(), free_port()
    servers = [rig.backend('b1'), rig.backend('b2')]
    text = rig.text(servers, pool={'passive': {'failures': 2}, 'health': CHECK_OFF}, port=port,
                    admin=admin)
    text = text.replace('pools:\n', f'  - {{name: raw, listen: "127.0.0.1:{tcp_port}", mode: tcp, '
                        'pool: p, key: source_ip}\npools:\n', 1)
    proxy = rig.proxy_of(text, port, admin)
    assert get(proxy.port).status == 200
    with Client(tcp_port) as c:  # HTTP, passed on as bytes
        assert c.request('GET', '/raw').status == 200
    assert any(r.target == '/raw' and r.get('Via') is None
               for s in servers for r in s.served())
    modes = {one['name']: one for one in proxy.admin.json('/status')['listeners']}
    assert modes['web']['mode'] == 'http' and modes['raw']['mode'] == 'tcp'
    assert modes['raw']['requests'] == 1
    servers[0].stop()
    source = source_of(proxy, 'b1')
    for _ in range(2):
        Client(tcp_port, source=source).close()
    proxy.wait_state('b1', 'down')


# --- servers that come and go -----------------------------------------------------------------

class Moody:
    """Greets with `ok NAME`, or with `bad NAME` while it is unwell, then echoes."""

    def __init__(self):
        self.unwell = set()

    def __call__(self, backend, sock):
        word = b'bad ' if backend.name in self.unwell else b'ok '
        sock.sendall(word + backend.name.encode() + b'\n')
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)


def moody_pool():
    return {'health': {'check': 'tcp', 'path': None, 'expect': 'ok', 'interval': '150ms',
                       'timeout': pace.ms(pace.stretched(3.0)), 'fall': 1, 'rise': 1}}


class Cast:
    """Three backends, a standby, and a connection of each source."""

    def __init__(self, rig, pool=None, sources=SOURCES[:40], **more):
        self.mood = Moody()
        self.servers = {n: rig.tcp(n, self.mood) for n in ('b1', 'b2', 'b3', 's1')}
        *backends, standby = self.servers.values()
        self.proxy = tcp_proxy(rig, backends, [standby], pool={**moody_pool(), **(pool or {})}, **more)
        self.home = route(self.proxy.config, sources)
        self.conns = {s: Conn(self.proxy.port, s) for s in sources}
        assert {s: c.who for s, c in self.conns.items()} == self.home
        assert set(self.home.values()) == {'b1', 'b2', 'b3'}

    def of(self, name):
        return [c for s, c in self.conns.items() if self.home[s] == name]

    def others(self, name):
        return [c for s, c in self.conns.items() if self.home[s] != name]

    def assert_served(self, of_b1):
        """By new connections; b1's keys by this server."""
        for source, who in self.home.items():
            with Conn(self.proxy.port, source) as c:
                assert c.who == (of_b1 if who == 'b1' else who)

    def fall_ill(self, name):
        self.mood.unwell.add(name)
        self.proxy.wait_state(name, 'down')

    def recover(self, name):
        self.mood.unwell.discard(name)

    def close(self):
        for c in self.conns.values():
            c.close()


@pytest.fixture
def cast(rig):
    made = []

    def make(**more):
        made.append(Cast(rig, **more))
        return made[-1]
    yield make
    for c in made:
        c.close()


@pytest.mark.threads
def test_standby_takes_over_for_a_killed_server_and_others_are_not_touched(cast):
    t = cast(pool={'failback': {'mode': 'manual'}})
    t.servers['b1'].stop()
    for c in t.of('b1'):
        c.wait_closed()
    t.proxy.wait_serving('s1', 'b1')
    t.assert_served('s1')
    assert all(c.alive() for c in t.others('b1'))


@pytest.mark.threads
def test_hung_server_is_noticed_by_its_scripted_check(rig):
    """It accepts and never answers: only a check that speaks finds out. What is open is closed, so
    that its clients come back to the standby."""
    hung = threading.Event()

    def handler(backend, sock):
        while sock.recv(100):
            if hung.is_set() and backend.name == 'b1':
                backend.gate.wait(pace.upper(120))
                return
            sock.sendall(b'+PONG ' + backend.name.encode() + b'\r\n')

    servers = [rig.tcp(n, handler) for n in ('b1', 'b2', 's1')]
    proxy = tcp_proxy(rig, servers[:2], servers[2:],
                      pool={'health': {'check': 'tcp', 'path': None, 'send': 'PING\r\n',
                                       'expect': '+PONG', 'interval': '100ms'},
                            'failback': {'mode': 'manual'}})
    source = source_of(proxy, 'b1')

    def ask(c):
        c.send(b'PING\r\n')
        return c.reader.line()
    with Conn(proxy.port, source, greeted=False) as c:
        assert ask(c) == b'+PONG b1'
        hung.set()
        c.send(b'PING\r\n')
        c.wait_closed()
    proxy.wait_serving('s1', 'b1')
    with Conn(proxy.port, source, greeted=False) as c:
        assert ask(c) == b'+PONG s1'


@pytest.mark.threads
def test_stream_that_connects_to_a_server_marked_down_goes_on_elsewhere(rig):
    """At once, although there is no retry and connecting may take a minute."""
    servers = [rig.tcp('b1'), rig.tcp('b2')]
    proxy = tcp_proxy(rig, servers, pool={
        'health': {'check': 'tcp', 'path': None, 'interval': '300ms', 'timeout': '2s', 'fall': 10},
        'timeouts': {'connect': '60s'}, 'retries': 0, 'passive': 'off'})
    source = source_of(proxy, 'b1')
    servers[0].stop()
    rig.deaf('b1', port=servers[0].port)
    with Conn(proxy.port, source, timeout=50) as c:  # waits for the greeting
        assert c.who == 'b2' and c.alive()
    assert proxy.server('b1')['state'] == 'down'
    assert proxy.server('b1')['errors'] == 0


@pytest.mark.threads
@pytest.mark.parametrize('close_moved', ['never', 'down', 'always'])
def test_close_moved_of_a_server_that_goes_down_and_comes_back(cast, close_moved):
    """It fails its checks and lives on: what becomes of its connections is for close_moved to say,
    and what of those to the standby when it is back."""
    t = cast(pool={'close_moved': close_moved})
    t.fall_ill('b1')
    t.proxy.wait_serving('s1', 'b1')
    if close_moved == 'never':
        assert all(c.alive() for c in t.of('b1'))
    else:
        assert all(c.wait_closed() for c in t.of('b1')), 'ended in order as if all was said'
    there = [Conn(t.proxy.port, s) for s, who in t.home.items() if who == 'b1']
    try:
        assert all(c.who == 's1' for c in there)
        t.recover('b1')
        t.proxy.wait_serving('b1', 'b1')
        if close_moved == 'always':
            assert all(c.wait_closed() for c in there)
        else:
            assert all(c.alive() for c in there)
        t.assert_served('b1')
        assert all(c.alive() for c in t.others('b1'))
    finally:
        for c in there:
            c.close()


@pytest.mark.threads
@pytest.mark.parametrize('close_moved', ['down', 'always'])
def test_close_moved_of_a_server_that_is_drained(cast, close_moved):
    t = cast(pool={'close_moved': close_moved})
    t.proxy.post('b1', 'drain')
    t.proxy.wait_serving('s1', 'b1')
    if close_moved == 'always':
        assert all(c.wait_closed() for c in t.of('b1'))
    else:
        assert all(c.alive() for c in t.of('b1'))
    t.assert_served('s1')
    assert all(c.alive() for c in t.others('b1'))


@pytest.mark.threads
def test_close_moved_always_follows_a_ramp_key_by_key(cast):
    """Each connection is closed once its own key has come home, and comes back to its home."""
    t = cast(pool={'close_moved': 'always', 'failback': {'after': '0s', 'ramp': '3s'}})
    t.fall_ill('b1')
    t.proxy.wait_serving('s1', 'b1')
    there = {s: Conn(t.proxy.port, s, timeout=60) for s, who in t.home.items() if who == 'b1'}
    assert all(c.who == 's1' for c in there.values())
    ends, failures = {}, []

    def follow(source, c):
        try:
            c.wait_closed()
            ended = time.monotonic()
            with Conn(t.proxy.port, source) as again:
                ends[source] = again.who, ended
        except BaseException as e:
            failures.append(repr(e))
            raise
    threads = [threading.Thread(target=follow, args=one) for one in there.items()]
    for thread in threads:
        thread.start()
    t.recover('b1')
    for thread in threads:
        thread.join()
    for c in there.values():
        c.close()
    assert not failures, failures
    assert {s: who for s, (who, _) in ends.items()} == {s: 'b1' for s in there}
    times = sorted(ended for _, ended in ends.values())
    assert times[-1] - times[0] > 0.5, 'all at once'
    assert all(c.alive() for c in t.others('b1'))


@pytest.mark.threads
def test_close_moved_always_leaves_what_a_limit_has_put_elsewhere(rig):
    """That was never with its own server, and other keys that move are no reason to close it."""
    mood = Moody()
    servers = {n: rig.tcp(n, mood) for n in ('b1', 'b2', 'b3', 's1')}
    backends = [{'name': 'b1', 'address': servers['b1'].address, 'max_connections': 1},
                servers['b2'], servers['b3']]
    proxy = tcp_proxy(rig, backends, [servers['s1']], pool={**moody_pool(), 'close_moved': 'always'})
    home = route(proxy.config, SOURCES)
    mine = [s for s in SOURCES if home[s] == 'b1'][:2]
    with Conn(proxy.port, mine[0]) as first, Conn(proxy.port, mine[1]) as second:
        assert first.who == 'b1' and second.who in ('b2', 'b3')
        other = 'b3' if second.who == 'b2' else 'b2'
        with Conn(proxy.port, source_of(proxy, other)) as third:
            assert third.who == other
            proxy.post(other, 'drain')
            assert third.wait_closed()
        assert first.alive() and second.alive()
        proxy.post('b1', 'drain')  # but now its own key has moved
        now = proxy.admin.json(f'/route?pool=p&key={mine[1]}')['server']
        assert first.wait_closed()
        assert second.alive() if now == second.who else second.wait_closed()


@pytest.mark.threads
def test_keyless_streams_are_closed_only_if_their_server_is_out(rig):
    mood = Moody()
    servers = [rig.tcp(n, mood) for n in ('b1', 'b2', 's1')]
    proxy = tcp_proxy(rig, servers[:2], servers[2:], listener={'key': None},
                      pool={**moody_pool(), 'close_moved': 'always'})
    conns = [Conn(proxy.port) for _ in range(20)]
    try:
        assert {c.who for c in conns} == {'b1', 'b2'}
        proxy.post('b1', 'drain')
        assert all(c.wait_closed() if c.who == 'b1' else c.alive() for c in conns)
        late = [Conn(proxy.port) for _ in range(20)]
        conns += late
        assert {c.who for c in late} == {'s1', 'b2'}
        proxy.post('b1', 'enable')
        proxy.wait_serving('b1', 'b1')
        assert all(c.alive() for c in late)  # the standby is idle again, and well
    finally:
        for c in conns:
            c.close()


@pytest.mark.threads
def test_upgrade_tunnels_are_moved_and_reset_in_the_same_way(rig):
    def handler(ex):
        ex.send(b'HTTP/1.1 101 Go\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
        while data := ex.sock.recv(1000):
            if data == b'reset':
                ex.reset()
                return
            ex.send(data)
        ex.close()

    servers = [rig.backend(n, handler) for n in ('b1', 'b2', 's1')]
    proxy = rig.proxy(servers[:2], servers[2:], listener={'key': 'header:X-Key'},
                      pool={'close_moved': 'always'})
    home = route(proxy.config, [f'k{i}' for i in range(20)])
    conns = {}
    try:
        for key in home:
            c = conns[key] = Conn(proxy.port, greeted=False)
            c.send_request('GET', '/', {'X-Key': key, 'Connection': 'Upgrade', 'Upgrade': 'echo'})
            assert c.answer().status == 101
            assert c.alive()
        proxy.post('b1', 'drain')
        for key, who in home.items():
            assert conns[key].wait_closed() if who == 'b1' else conns[key].alive()
        *left, last = [c for key, c in conns.items() if home[key] == 'b2']
        for c in left:  # that takes no server down
            c.send(b'reset')
            assert c.wait_closed()
        assert len(left) > 5 and proxy.server('b2')['errors'] == len(left)
        assert last.alive()
    finally:
        for c in conns.values():
            c.close()


# --- limits, deadlines, stop ------------------------------------------------------------------

def test_tunnel_deadline_ends_a_stream_in_which_nothing_moves(rig):
    """And not one in which something does, whichever way."""
    idle = pace.stretched(1.0)

    def handler(backend, sock):
        sock.sendall(b'b1\n')
        while data := sock.recv(100):
            sock.sendall(data.replace(b'q', b''))  # of that it says nothing

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM,
                      listener={'timeouts': {'tunnel': pace.ms(idle)}})
    begun = time.monotonic()
    with Conn(proxy.port) as silent, Conn(proxy.port) as talks, Conn(proxy.port) as sends:
        while not (ended := readable(silent)):
            assert talks.echo(b'x') == b'x'
            sends.send(b'q')
            time.sleep(0.05)
        assert ended and not silent.wait_closed()
        assert idle - 0.1 <= time.monotonic() - begun < idle + pace.upper(4)
        assert talks.alive() and sends.alive()


def readable(c):
    c.sock.setblocking(False)
    try:
        return c.sock.recv(1, socket.MSG_PEEK) == b''
    except BlockingIOError:
        return False
    finally:
        c.sock.settimeout(pace.upper(20))


@pytest.mark.parametrize('way', ['tcp', 'unix', 'http'])
def test_slow_reader_is_not_idle(rig, tmp_path_factory, way):
    """Though for longer than the deadline it is the kernel alone that moves what it reads."""
    size, idle = 12 * MIB, pace.stretched(1.0)

    def handler(backend, sock):
        if way == 'http':
            reader = Reader(sock)
            while reader.line():
                pass
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % size)
        sock.sendall(blob('slow', size))

    listener = {'timeouts': {'idle': pace.ms(idle), 'tunnel': pace.ms(idle)}}
    if way == 'http':
        listener['mode'] = 'http'
        listener['key'] = None
    folder = tmp_path_factory.mktemp('s')
    if way == 'unix':
        listener['listen'] = f'unix:{folder}/l'
    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM, listener=listener)
    with Conn(f'{folder}/l' if way == 'unix' else proxy.port, greeted=False) as c:
        h, got = hashlib.sha256(), 0
        if way == 'http':
            c.send(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            while c.reader.line():
                pass
        begun = time.monotonic()
        while time.monotonic() < begun + 5 * idle:
            data = c.reader.exactly(40_000)
            h.update(data)
            got += len(data)
            time.sleep(idle / 20)
        data = c.reader.rest()
        h.update(data)
    assert got + len(data) == size
    assert h.hexdigest() == hashlib.sha256(blob('slow', size)).hexdigest()


def test_reader_that_has_stopped_is_idle(rig):
    """Whatever the kernel still holds for it."""
    idle = pace.stretched(0.5)

    def handler(backend, sock):
        try:
            sock.sendall(bytes(32 * MIB))
        except OSError:
            pass

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM,
                      listener={'timeouts': {'tunnel': pace.ms(idle)}})
    with Conn(proxy.port, greeted=False) as c:
        assert c.reader.exactly(1000)
        begun = time.monotonic()
        wait_until(lambda: listener_of(proxy)['connections'] == 0, 'it to be cut')
        assert time.monotonic() - begun < idle + pace.upper(5)


def test_half_closed_stream_has_the_tunnel_deadline_too(rig):
    def handler(backend, sock):
        sock.sendall(b'b1\n')
        Reader(sock).rest()
        backend.gate.wait(pace.upper(60))

    proxy = tcp_proxy(rig, [rig.tcp('b1', handler)], pool=CALM,
                      listener={'timeouts': {'tunnel': pace.ms(pace.stretched(0.5))}})
    with Conn(proxy.port) as c:
        c.sock.shutdown(socket.SHUT_WR)
        c.wait_closed()
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'it to be gone')


@pytest.mark.threads
def test_max_connections_of_the_listener_closes_further_ones(rig):
    proxy = tcp_proxy(rig, [rig.tcp('b1')], pool=CALM, listener={'max_connections': 5})
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'no connection')
    inside = [Conn(proxy.port) for _ in range(5)]
    for _ in range(20):
        with Conn(proxy.port, greeted=False) as c:
            assert c.at_end()
    assert all(c.alive() for c in inside)
    proxy.says('event="connections refused" listener=web reason=max_connections')
    inside.pop().close()
    wait_until(lambda: listener_of(proxy)['connections'] == 4, 'one to be gone')
    inside.append(Conn(proxy.port))
    assert all(c.alive() for c in inside)
    for c in inside:
        c.close()


@pytest.mark.threads
def test_max_connections_of_a_server_counts_open_streams(rig):
    servers = [rig.tcp(n) for n in ('b1', 'b2')]
    limited = [{'name': s.name, 'address': s.address, 'max_connections': 3} for s in servers]
    proxy = tcp_proxy(rig, limited, pool=CALM)
    source = source_of(proxy, 'b1')
    conns = [Conn(proxy.port, source) for _ in range(6)]
    assert [c.who for c in conns] == ['b1'] * 3 + ['b2'] * 3
    assert proxy.server('b1')['active'] == proxy.server('b2')['active'] == 3
    with Conn(proxy.port, source, greeted=False) as c:  # all are full
        assert c.at_end()
    conns.pop(0).close()
    wait_until(lambda: proxy.server('b1')['active'] == 2, 'a place')
    with Conn(proxy.port, source) as c:
        assert c.who == 'b1'
    for c in conns:
        c.close()
    wait_until(lambda: proxy.server('b1')['active'] + proxy.server('b2')['active'] == 0, 'all gone')


def test_streams_are_counted_as_requests(rig):
    proxy = tcp_proxy(rig, [rig.tcp('b1')], pool=CALM)
    before = listener_of(proxy)['requests']
    with Conn(proxy.port) as c:
        assert c.alive()
        told = listener_of(proxy)
        assert told['mode'] == 'tcp' and told['connections'] == 1
        assert told['requests'] == before + 1
        assert proxy.server('b1')['active'] == 1
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'it to be gone')
    metrics = proxy.admin.metrics()
    assert metrics['ringproxy_backend_requests_total{pool="p",backend="b1"}'] == before + 1
    assert metrics['ringproxy_accepted_total{listener="web"}'] == before + 1
    assert metrics['ringproxy_request_duration_seconds_count{listener="web"}'] == 0


@pytest.mark.threads
def test_stop_lets_streams_come_to_their_end(rig):
    proxy = tcp_proxy(rig, [rig.tcp('b1')], pool=CALM)
    conns = [Conn(proxy.port) for _ in range(10)]
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: not accepts_more(proxy), 'it to stop listening')
    for c in conns:
        assert c.alive()
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()
        c.close()
    proxy.check_end(0)


def accepts_more(proxy):
    try:
        socket.create_connection(('127.0.0.1', proxy.port), timeout=pace.upper(5)).close()
        return True
    except ConnectionRefusedError:
        return False


@pytest.mark.threads
def test_stop_cuts_streams_when_its_time_is_over(rig):
    proxy = tcp_proxy(rig, [rig.tcp('b1')], pool=CALM, top={'shutdown_timeout': '1s'})
    with Conn(proxy.port) as c:
        assert c.alive()
        proxy.signal(signal.SIGTERM)
        assert c.wait_closed(), 'ended in order as if all was said'
        proxy.check_end(1)


@pytest.mark.threads
def test_2000_streams_at_a_time(rig):
    """All of them work, and are gone when they are gone."""
    proxy = tcp_proxy(rig, [rig.tcp('b1')], pool=CALM, listener={'timeouts': {'tunnel': '5m'}})
    conns = []
    try:
        for _ in range(2000):
            conns.append(Conn(proxy.port, timeout=60))
        assert listener_of(proxy)['connections'] == 2000
        for i, c in enumerate(conns):
            c.send(b'%06d' % i)
        for i, c in enumerate(conns):
            assert c.reader.exactly(6) == b'%06d' % i
    finally:
        for c in conns:
            c.close()
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone', 60)
