"""Hostile and unlucky timing, on both sides: half-closes, clients that don't read, answers that
break off, descriptors that run out, a stop in the middle of everything, and chaos."""

import collections
import os
import random
import resource
import socket
import struct
import threading
import time

import pytest

import harness
import pace
from client import Broken, Client, get
from harness import CHECK_OFF, wait_until

OFF = {'health': CHECK_OFF}
# what frees a backend is not that its answer is late
PATIENT = {**OFF, 'timeouts': {'response': '1h'}}


def active(proxy, name='b1'):
    return proxy.server(name)['active']


def connections(proxy):
    return proxy.admin.json('/status')['listeners'][0]['connections']


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def wait_free(proxy, name='b1', deadline=15.0):
    wait_until(lambda: active(proxy, name) == 0, f'nothing in flight at {name}', deadline)


def post(target='/', body=b'', fields='', length=None):
    length = len(body) if length is None else length
    return (f'POST {target} HTTP/1.1\r\nHost: t\r\n{fields}Content-Length: {length}\r\n\r\n'
            .encode() + body)


# --- clients that end their side, or do not read -----------------------------------------------

def test_post_with_half_close_before_the_backend_is_connected_is_answered(rig):
    backend = rig.backend('b1', lambda ex: ex.answer(body=ex.read_body()))
    proxy = rig.proxy([backend], pool={**OFF, 'max_idle_connections': 0})
    for i in range(20):
        body = f'body {i} '.encode() * 5000
        with Client(proxy.port) as c:
            c.send(post(body=body))
            c.sock.shutdown(socket.SHUT_WR)
            assert c.answer().body == body
            assert c.at_end()


def test_half_close_inside_a_body_never_reaches_the_backend_as_whole(rig):
    ends = []

    def handler(ex):
        try:
            ex.read_body()
        except Broken as e:
            ends.append(str(e))
            ex.close()
            return
        ex.answer()

    proxy = rig.proxy([rig.backend('b1', handler)], pool={**OFF, 'max_idle_connections': 0})
    with Client(proxy.port) as c:
        c.send(post(body=b'half', length=8))
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()
    wait_until(lambda: ends, 'the backend to see the cut')


def test_pipelined_requests_wait_while_their_client_does_not_read(rig):
    n, size = 600, 60000
    def body(target):
        return (target * size).encode()[:size]

    backend = rig.backend('b1', lambda ex: ex.answer(body=body(ex.request.target)))
    proxy = rig.proxy([backend], pool=OFF, top={'workers': 1})
    with Client(proxy.port, receive_buffer=4096) as c:
        c.send(b''.join(f'GET /{i}. HTTP/1.1\r\nHost: t\r\n\r\n'.encode() for i in range(n)))
        served = None  # until no more of them are, while the same worker serves others
        while served != (served := sum(t != '/other' for t in backend.targets())) and served < n:
            for _ in range(50):
                assert get(proxy.port, '/other').status == 200
        assert served * size < 16 << 20, f'{served} answers are kept for a client that reads none'
        for i in range(n):
            answer = c.answer()
            assert answer.body == body(f'/{i}.')


def slow_last_bytes(proxy, c, size):
    """Reads until the proxy has the whole answer, of which the rest waits for this client."""
    c.send_request('GET', '/')
    assert c.head().status == 200
    got = 0
    while active(proxy):
        got += len(c.reader.exactly(min(20000, size - got)))
    assert got < size
    return got


@pytest.mark.parametrize('how', ['half-close', 'stop'])
def test_answer_that_waits_for_a_slow_client_is_not_cut(rig, how):
    size = 8 << 20
    proxy = rig.proxy([rig.backend('b1', lambda ex: ex.answer(body=b'x' * size))])
    with Client(proxy.port, receive_buffer=4096) as c:
        got = slow_last_bytes(proxy, c, size)
        if how == 'stop':
            proxy.signal(15)
            wait_until(lambda: not harness.accepts(proxy.port), 'the listener to close')
        else:
            c.sock.shutdown(socket.SHUT_WR)
            assert get(proxy.port).status == 200
        c.reader.exactly(size - got)
        assert c.at_end()
    if how == 'stop':
        proxy.check_end(0)


@pytest.mark.parametrize('close', [True, False], ids=['close', 'keep-alive'])
def test_client_that_leaves_frees_a_backend_that_was_just_connected(rig, close):
    backend = rig.backend('b1', lambda ex: (ex.hang(), ex.close()))
    proxy = rig.proxy([backend], pool=PATIENT)
    with Client(proxy.port) as c:
        c.send_request('GET', '/', {'Connection': 'close'} if close else {})
        backend.wait_blocked()
        assert active(proxy) == 1
        reset(c.sock)
        wait_free(proxy, deadline=8)


def test_client_that_leaves_after_a_long_upload_frees_the_backend(rig):
    backend = rig.backend('b1', lambda ex: (ex.read_body(), ex.hang(), ex.close()),
                          receive_buffer=4096)
    proxy = rig.proxy([backend], pool=PATIENT)
    with Client(proxy.port) as c:
        c.send(post(body=b'x' * (6 << 20)))
        backend.wait_blocked()
        assert active(proxy) == 1
        reset(c.sock)
        wait_free(proxy, deadline=8)


def test_client_that_never_reads_an_early_answer_is_closed(rig):
    full, patience = threading.Event(), pace.stretched(1.0)

    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        ex.sock.settimeout(patience)
        try:
            while True:
                ex.send(b'10000\r\n' + b'x' * 65536 + b'\r\n')
        except OSError:  # nothing moves any more, or the proxy has closed
            full.set()
        ex.sock.settimeout(None)
        ex.wait_peer_closed()

    proxy = rig.proxy([rig.backend('b1', handler)], pool=OFF,
                      listener={'timeouts': {'idle': pace.ms(3 * patience),
                                             'request': pace.ms(20 * patience)}})
    with Client(proxy.port, receive_buffer=4096) as c:
        c.send(post(body=b'ha', length=4))
        assert full.wait(pace.upper(20))
        c.send(b'lf')
        wait_free(proxy)


def test_requests_behind_an_upload_that_was_paused_are_read(rig):
    """The second request's body comes while the first is still on its way to a slow backend."""
    first, second = 1 << 20, 300000

    def handler(ex):
        ex.backend.gate.wait(pace.upper(20))
        ex.answer(body=str(len(ex.read_body())).encode())

    backend = rig.backend('b1', handler, receive_buffer=4096)
    proxy = rig.proxy([backend], pool=OFF, top={'workers': 1})
    with Client(proxy.port) as c:
        sender = threading.Thread(target=c.send, daemon=True, args=(
            post(body=b'a' * first) + post(body=b'b' * second) + post(body=b'c' * second),))
        sender.start()
        wait_until(lambda: active(proxy) == 1, 'the first to be on its way')
        backend.gate.set()
        assert [c.answer().text for _ in range(3)] == [str(first), str(second), str(second)]
        sender.join(pace.upper(20))


def test_bytes_behind_connection_close_do_not_cost_the_answer(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend])
    for _ in range(30):
        with Client(proxy.port) as c:
            c.send(b'GET /1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n'
                   b'GET /2 HTTP/1.1\r\nHost: t\r\n\r\n' + b'\r\n' * 1000)
            assert c.answer().text == 'b1'
            assert c.at_end()
    assert set(backend.targets()) == {'/1'}


# --- answers that break off --------------------------------------------------------------------

@pytest.mark.parametrize('head, end', [('Transfer-Encoding: chunked', 'close'),
                                       ('Transfer-Encoding: chunked', 'reset'),
                                       ('X-To: the-end', 'reset')])
def test_cut_answer_to_http_1_0_ends_in_a_reset(rig, head, end):
    def handler(ex):
        ex.send(f'HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n'.encode())
        ex.backend.gate.wait(pace.upper(20))
        ex.reset() if end == 'reset' else ex.close()

    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend], pool=OFF)
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.0\r\n\r\n')
        assert c.head().status == 200
        while not c.reader.data:
            assert c.reader.fill()
        backend.gate.set()
        with pytest.raises(ConnectionResetError):
            c.reader.rest()


def test_answer_that_stops_after_an_upload_ends_in_time(rig):
    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel')
        ex.backend.blocked.release()
        ex.backend.gate.wait(pace.upper(20))
        ex.read_body()
        ex.wait_peer_closed()

    backend = rig.backend('b1', handler, receive_buffer=4096)
    patience = pace.ms(pace.stretched(4.0))
    proxy = rig.proxy([backend], pool={**OFF, 'timeouts': {'response': patience, 'body': patience}})
    body = b'x' * (4 << 20)
    with Client(proxy.port) as c:
        sender = threading.Thread(target=c.send, args=(post(body=body),), daemon=True)
        sender.start()
        backend.wait_blocked()
        assert c.head().status == 200
        backend.gate.set()
        with pytest.raises((Broken, ConnectionResetError)):
            c.reader.exactly(10)
        sender.join(pace.upper(20))
    wait_free(proxy)


def test_end_inside_a_head_behind_interim_answers_is_502(rig):
    """The client's connection was full when the end came."""
    interim = b'HTTP/1.1 103 Early Hints\r\nX: ' + b'x' * 60000 + b'\r\n\r\n'

    def handler(ex):
        ex.read_body()
        ex.send(interim * 16 + b'HTTP/1.1 200 OK\r\nContent-')
        ex.close()

    proxy = rig.proxy([rig.backend('b1', handler)], pool={**OFF, 'retries': 0})
    with Client(proxy.port, receive_buffer=4096) as c:
        c.send(post(body=b'x'))
        assert c.answer().status == 502


def test_server_without_a_way_to_it_counts_as_a_failed_try(rig):
    lost = {'name': 'b1', 'address': '255.255.255.255:80'}
    proxy = rig.proxy([lost], [rig.backend('s1')], pool=OFF, listener={'key': ['header:X-Key']})
    assert get(proxy.port, fields={'X-Key': 'k'}).text == 's1'
    assert proxy.server('b1')['errors'] == 1
    alone = rig.proxy([lost], pool=OFF)
    assert get(alone.port).status == 502


# --- tunnels -----------------------------------------------------------------------------------

UPGRADE = b'GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'
SWITCH = b'HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'


def test_all_that_came_before_the_101_and_its_end_goes_into_the_tunnel(rig):
    got = []

    def handler(ex):
        ex.backend.gate.wait(pace.upper(20))
        ex.send(SWITCH + b'first ')
        got.append(ex.reader.rest())
        ex.send(b'last')
        ex.close()

    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend], pool=OFF)
    early = b'early ' * 5000
    with Client(proxy.port) as c:
        c.send(UPGRADE + early)
        c.sock.shutdown(socket.SHUT_WR)
        wait_until(backend.served, 'the request to be there')
        backend.gate.set()
        assert c.head().status == 101
        assert c.reader.rest() == b'first last'
    assert got == [early]
    wait_free(proxy)


def test_end_of_the_backend_in_the_101s_segment_is_passed_on(rig):
    def handler(ex):
        ex.send(SWITCH + b'bye')
        ex.sock.shutdown(socket.SHUT_WR)
        assert ex.reader.rest() == b'x' * 3000000
        ex.close()

    proxy = rig.proxy([rig.backend('b1', handler, receive_buffer=4096)], pool=OFF)
    with Client(proxy.port) as c:
        c.send(UPGRADE)
        assert c.head().status == 101
        assert c.reader.rest() == b'bye'
        c.send(b'x' * 3000000)
        c.sock.shutdown(socket.SHUT_WR)
        wait_free(proxy)


def test_both_ways_full_at_once_in_a_tunnel(rig):
    n = 6 << 20

    def handler(ex):
        ex.send(SWITCH)
        sender = threading.Thread(target=ex.send, args=(b's' * n,), daemon=True)
        sender.start()
        assert ex.reader.exactly(n) == b'c' * n
        sender.join(pace.upper(20))
        ex.sock.shutdown(socket.SHUT_WR)
        assert ex.reader.rest() == b''
        ex.close()

    proxy = rig.proxy([rig.backend('b1', handler)], pool=OFF)
    with Client(proxy.port) as c:
        c.send(UPGRADE)
        assert c.head().status == 101
        sender = threading.Thread(target=c.send, args=(b'c' * n,), daemon=True)
        sender.start()
        assert c.reader.exactly(n) == b's' * n
        sender.join(pace.upper(20))
        assert c.at_end()
        c.sock.shutdown(socket.SHUT_WR)
        wait_free(proxy)


# --- the stop ----------------------------------------------------------------------------------

def test_stop_closes_a_connection_once_its_answer_under_way_is_out(rig):
    """Its head has promised keep-alive before the stop."""
    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha')
        ex.backend.gate.wait(pace.upper(20))
        ex.send(b'lf')

    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend])
    with Client(proxy.port) as c:
        c.send_request('GET', '/')
        assert c.head().get('Connection') is None
        proxy.signal(15)
        wait_until(lambda: not harness.accepts(proxy.port), 'the listener to close')
        backend.gate.set()
        assert c.reader.exactly(4) == b'half'
        assert c.at_end()
        proxy.check_end(0, deadline=10)


def test_stop_answers_what_was_pipelined(rig):
    backend = rig.backend('b1', lambda ex: (ex.hang(), ex.answer(body=ex.request.target.encode())))
    proxy = rig.proxy([backend])
    with Client(proxy.port) as c:
        c.send(b'GET /1 HTTP/1.1\r\nHost: t\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n')
        backend.wait_blocked()
        proxy.signal(15)
        wait_until(lambda: not harness.accepts(proxy.port), 'the listener to close')
        backend.gate.set()
        answer = c.answer()
        assert answer.text == '/1' and answer.get('Connection').lower() == 'close'
        assert c.at_end()  # the second was never taken up, as the first answer says
    proxy.check_end(0)


def test_stop_with_everything_in_flight_at_its_timeout_is_clean(rig):
    """Tunnels, uploads, downloads, heads half sent: all are closed, nothing leaks, exit 1."""
    def handler(ex):
        if ex.request.get('Upgrade'):
            ex.send(SWITCH)
        elif ex.request.target == '/down':
            ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n')
            try:
                while True:
                    ex.send(b'x' * 65536)
            except OSError:
                ex.close()
                return
        ex.wait_peer_closed()

    backend = rig.backend('b1', handler)
    proxy = rig.proxy([backend], top={'shutdown_timeout': '700ms'},
                      listener={'timeouts': {'request': '60s'}})
    clients = [Client(proxy.port) for _ in range(12)]
    starts = [UPGRADE, b'GET /down HTTP/1.1\r\nHost: t\r\n\r\n', b'GET /wait HTTP/1.0\r\n\r\n',
              b'GET /half HTTP/1.1\r\nHos', post(body=b'some', length=100),
              b'GET /down HTTP/1.0\r\n\r\n']
    for i, c in enumerate(clients):
        c.send(starts[i % len(starts)])
    wait_until(lambda: active(proxy) == 10, 'all requests to be in flight')
    proxy.stop(expect=1)
    for c in clients:
        c.close()


# --- descriptors -------------------------------------------------------------------------------

def test_running_out_of_descriptors_is_survived(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend], pool=OFF, top={'workers': 1})
    used = len(os.listdir(f'/proc/{proxy.pid}/fd'))
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (used + 12, used + 12))
    clients = [Client(proxy.port) for _ in range(40)]
    wait_until(lambda: 'accept failed' in proxy.err(), 'descriptors to be out')
    # none is left for a backend (unless a health check just gave one back): that is our own want,
    # not the backend's failure
    clients[0].send_request('GET', '/')
    assert clients[0].answer().status in (200, 503)
    for c in clients:
        c.close()
    wait_until(lambda: get(proxy.port).status == 200, 'service to go on')
    assert 'backend down' not in proxy.err()


# --- one thing after another, at random --------------------------------------------------------

FORGED = b'HTTP/1.1 200 OK\r\nX-Id: forged\r\nContent-Length: 6\r\n\r\nforged'


class Chaos:
    """Each request names, in its target, an id of its own and what the backend is to do with it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = collections.defaultdict(list)  # id -> backends that got it
        self.problems = []
        self.outcomes = collections.Counter()

    # the backends' side

    def handler(self, ex):
        _, uid, how = ex.request.target.split('/')
        with self.lock:
            self.seen[uid].append(ex.backend.name)
            times = self.seen[uid].count(ex.backend.name)
            # twice at one backend: a kept connection had closed under the first
            if ex.request.method == 'POST' and len(self.seen[uid]) > 1 or times > 2:
                self.problems.append(f'{ex.request.method} {uid} {how} came to {self.seen[uid]}')
        if how == 'early':  # answers before it has read the body
            body = b'' if ex.request.method == 'HEAD' else uid.encode()
            ex.send(self.head(uid, f'Content-Length: {len(uid)}') + body)
            ex.read_body()
            return
        if how == 'reset-head':
            ex.reset()
            return
        body = ex.read_body()
        if ex.request.method in ('POST', 'PUT') and body != uid.encode() * 50:
            self.problems.append(f'{uid}: body differs, {len(body)} bytes')
        getattr(self, 'do_' + how.replace('-', '_'), self.do_ok)(ex, uid)

    def head(self, uid, *fields):
        return '\r\n'.join(['HTTP/1.1 200 OK', f'X-Id: {uid}', *fields, '', '']).encode()

    def do_ok(self, ex, uid):
        ex.answer(body=uid.encode() * 40, fields=[('X-Id', uid)])

    def do_big(self, ex, uid):
        ex.answer(body=uid.encode() * 40000, fields=[('X-Id', uid)])

    def do_chunked(self, ex, uid):
        if ex.request.method == 'HEAD':
            ex.send(self.head(uid, 'Transfer-Encoding: chunked'))
            return
        piece = f'{len(uid):x}\r\n{uid}\r\n'.encode()
        ex.send(self.head(uid, 'Transfer-Encoding: chunked') + piece * 3)
        ex.send(piece * 37 + b'0\r\nX-Trailer: ' + uid.encode() + b'\r\n\r\n')

    def do_to_end(self, ex, uid):
        ex.send(self.head(uid) + uid.encode() * 20)
        ex.send(uid.encode() * 20)
        ex.close()

    def do_interim(self, ex, uid):
        ex.send(b'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' * 3)
        self.do_ok(ex, uid)

    def do_forged(self, ex, uid):  # bytes behind the answer, which are nobody's
        body = b'' if ex.request.method == 'HEAD' else uid.encode() * 40
        ex.send(self.head(uid, f'Content-Length: {len(uid) * 40}') + body + FORGED)

    def do_close_then(self, ex, uid):  # says nothing of it
        self.do_ok(ex, uid)
        ex.close()

    def do_close(self, ex, uid):
        ex.close()

    def do_reset(self, ex, uid):
        ex.reset()

    def do_garbage(self, ex, uid):
        ex.send(b'\0\1\2garbage\r\n\r\n' * 3)
        ex.close()

    def do_half_head(self, ex, uid):
        ex.send(b'HTTP/1.1 200 OK\r\nX-Id: ' + uid.encode())
        ex.close()

    def do_cut(self, ex, uid):
        ex.send(self.head(uid, 'Content-Length: 100000') + uid.encode())
        ex.close()

    def do_cut_chunk(self, ex, uid):
        ex.send(self.head(uid, 'Transfer-Encoding: chunked') + b'ffff\r\n' + uid.encode())
        ex.reset()

    def do_bad_chunk(self, ex, uid):
        ex.send(self.head(uid, 'Transfer-Encoding: chunked') + b'2\r\nab\r\nxyz\r\n')
        ex.close()

    def do_hang(self, ex, uid):
        ex.wait_peer_closed()

    def do_upgrade(self, ex, uid):
        if not ex.request.get('Upgrade'):
            self.do_ok(ex, uid)
            return
        ex.send(SWITCH + uid.encode())
        while more := ex.sock.recv(4096):
            ex.send(more)
        ex.close()

    # the clients' side

    HOWS = ['ok'] * 12 + ['big', 'chunked', 'chunked', 'to-end', 'interim', 'forged', 'close-then',
                          'close', 'reset', 'reset-head', 'garbage', 'half-head', 'cut',
                          'cut-chunk', 'bad-chunk', 'early', 'upgrade']

    def check(self, uid, how, method, answer):
        self.outcomes[answer.status] += 1
        if answer.status == 200:
            if answer.all('X-Id') != [uid]:
                self.problems.append(f'{uid} {how}: the answer is {answer.all("X-Id")}')
            whole = {'early': 1, 'big': 40000}.get(how, 40)
            expected = b'' if method == 'HEAD' else uid.encode() * whole
            if how == 'to-end' and answer.body:  # a backend that dies ends it like one that is done
                expected = expected[:len(answer.body)]
            if answer.body != expected:
                self.problems.append(f'{uid} {how} {method}: {len(answer.body)} bytes, not '
                                     f'{len(expected)}')
        elif answer.status not in (502, 503):
            self.problems.append(f'{uid} {how}: {answer.status}')

    def request(self, rng, uid, how, method):
        fields, body = f'Host: t\r\nX-Key: {uid}\r\n', b''
        if method in ('POST', 'PUT'):
            body = uid.encode() * 50
            if rng.random() < 0.5:
                fields += 'Transfer-Encoding: chunked\r\n'
                cut = rng.randrange(1, len(body))
                body = b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in (body[:cut], body[cut:]))
                body += b'0\r\n' + rng.choice([b'', b'X-T: v\r\n']) + b'\r\n'
            else:
                fields += f'Content-Length: {len(body)}\r\n'
            if rng.random() < 0.2:
                fields += 'Expect: 100-continue\r\n'
        if how == 'upgrade':
            fields += 'Connection: upgrade\r\nUpgrade: x\r\n'
        elif rng.random() < 0.1:
            fields += 'Connection: close\r\n'
        return f'{method} /{uid}/{how} HTTP/1.1\r\n{fields}\r\n'.encode() + body

    def talk(self, port, rng, new_uid):
        """One connection with a few requests, or with a piece of nonsense."""
        with Client(port, timeout=10) as c:
            batch = [(new_uid(), rng.choice(self.HOWS), rng.choice(
                ['GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE'])) for _ in
                range(rng.choice([1, 1, 2, 5]))]
            data = b''.join(self.request(rng, *one) for one in batch)
            manner = rng.random()
            if manner < 0.15:  # leaves in the middle
                c.send(data[:rng.randrange(len(data))])
                if rng.random() < 0.5:
                    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                return
            if manner < 0.2:
                c.send(rng.randbytes(rng.randrange(1, 3000)))
                c.sock.shutdown(socket.SHUT_WR)
                c.reader.rest()
                return
            if manner < 0.35:  # torn
                at = rng.randrange(len(data))
                c.send(data[:at])
                c.send(data[at:])
            else:
                c.send(data)
            if manner > 0.9:
                c.sock.shutdown(socket.SHUT_WR)
            self.read_all(c, rng, batch)

    def read_all(self, c, rng, batch):
        for uid, how, method in batch:
            answer = c.head()
            while 100 <= answer.status < 200 and answer.status != 101:
                answer = c.head()
            if answer.status == 101:
                c.send(b'ping')
                c.sock.shutdown(socket.SHUT_WR)
                rest = c.reader.rest()
                if not rest.startswith(uid.encode()):
                    self.problems.append(f'{uid}: tunnel said {rest[:50]!r}')
                return
            c.read_body(answer, method)
            self.check(uid, how, method, answer)
            if (answer.get('Connection') or '').lower() == 'close':
                return

    def client(self, port, seed, end):
        rng, count = random.Random(seed), 0

        def new_uid():
            nonlocal count
            count += 1
            return f'id{seed}x{count}'

        while time.monotonic() < end:
            try:
                self.talk(port, rng, new_uid)
            except socket.timeout:
                self.problems.append(f'client {seed}: nothing comes after {count}')
            except (OSError, Broken) as e:
                self.outcomes[type(e).__name__] += 1
            except Exception as e:  # a fault of the test itself must not pass unseen
                self.problems.append(repr(e))
                raise


@pytest.mark.threads
def test_chaos(rig):
    """For longer: ATTACK_SECONDS=60; otherwise: ATTACK_SEED=2."""
    chaos = Chaos()
    backends = [rig.backend(f'b{i}', chaos.handler) for i in range(3)]
    standby = rig.backend('s1', chaos.handler)
    pool = {'retries': 2, 'passive': {'failures': 30},
            'timeouts': {'response': pace.ms(pace.stretched(3.0)),
                         'body': pace.ms(pace.stretched(3.0))},
            'health': {'interval': '100ms', 'rise': 1}}
    patience = pace.ms(pace.stretched(2.0))
    proxy = rig.proxy(backends, [standby], pool=pool,
                      listener={'key': ['header:X-Key'],
                                'timeouts': {'request': patience, 'idle': patience,
                                             'tunnel': patience}})
    end = time.monotonic() + pace.stretched(float(os.environ.get('ATTACK_SECONDS', 6)))
    seed = int(os.environ.get('ATTACK_SEED', 1))
    clients = [threading.Thread(target=chaos.client, args=(proxy.port, seed * 1000 + i, end),
                                daemon=True) for i in range(8)]
    for c in clients:
        c.start()
    killed = 0
    while time.monotonic() < end:  # one after the other dies and comes back
        victim = backends[killed % 3]
        killed += 1
        victim.stop()
        wait_until(lambda: proxy.server(victim.name)['state'] == 'down', 'it to be down')
        victim.start()
        wait_until(lambda: proxy.server(victim.name)['state'] == 'up', 'it to be back')
        proxy.admin.metrics()
    for c in clients:
        c.join(pace.upper(30))
        assert not c.is_alive(), 'a client hangs'
    print(chaos.outcomes)
    assert not chaos.problems, chaos.problems[:10]
    assert chaos.outcomes[200] > 100
    wait_until(lambda: connections(proxy) == 0, 'all connections to be gone')
    for server in (*backends, standby):
        wait_free(proxy, server.name)
