"""HTTP/1.x as clients and backends see it: framing, fields, bodies, tunnels, refusals."""

import hashlib
import random
import socket
import threading
import time

import pytest

import pace
from client import Client, get, raw
from harness import wait_until

HEAD = b'Host: t\r\n'


def payload(size, seed=1):
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def one(rig):
    """One backend behind a proxy: (backend, proxy)."""
    def start(handler=None, receive_buffer=None, **more):
        backend = rig.backend('b1', handler, receive_buffer=receive_buffer)
        return backend, rig.proxy([backend], **more)
    return start


# --- connections ------------------------------------------------------------------------------

def test_keep_alive_on_both_sides(one):
    backend, proxy = one(top={'workers': 1})
    with Client(proxy.port) as c:
        for i in range(50):
            answer = c.request('GET', f'/{i}')
            assert answer.version == 'HTTP/1.1' and answer.status == 200
            assert (answer.get('Connection') or '').lower() != 'close'
    assert backend.targets() == [f'/{i}' for i in range(50)]
    assert backend.connections == 1


def test_connection_close_is_obeyed(one):
    _, proxy = one()
    with Client(proxy.port) as c:
        answer = c.request('GET', '/', {'Connection': 'close'})
        assert answer.get('Connection').lower() == 'close'
        assert c.at_end()


def test_pipelined_requests_are_answered_in_order(one):
    backend, proxy = one(lambda ex: ex.answer(body=ex.request.target.encode()))
    with Client(proxy.port) as c:
        c.send(b''.join(b'GET /%d HTTP/1.1\r\nHost: t\r\n\r\n' % i for i in range(100)))
        assert [c.answer().text for _ in range(100)] == [f'/{i}' for i in range(100)]
    assert len(backend.served()) == 100


def test_pipelined_requests_with_bodies_and_torn_bytes(one):
    _, proxy = one(lambda ex: ex.answer(body=ex.read_body()))
    stream = bytearray()
    for i in range(20):
        body = b'%d' % i * (i * 7 % 50)
        if i % 2:
            stream += b'POST /%d HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s' % (
                i, len(body), body)
        else:
            chunks = b''.join(b'%x\r\n%s\r\n' % (len(body[j:j + 9]), body[j:j + 9])
                              for j in range(0, len(body), 9))
            stream += (b'PUT /%d HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n' % i +
                       chunks + b'0\r\n\r\n')
    rng = random.Random(5)
    with Client(proxy.port) as c:
        def write():
            at = 0
            while at < len(stream):
                n = rng.randrange(1, 40)
                c.send(bytes(stream[at:at + n]))
                at += n
        writer = threading.Thread(target=write)
        writer.start()
        answers = [c.answer() for _ in range(20)]
        writer.join()
    assert [a.body for a in answers] == [b'%d' % i * (i * 7 % 50) for i in range(20)]


def test_client_that_closes_half_still_gets_its_answer(one):
    _, proxy = one()
    out = raw(proxy.port, b'GET /x HTTP/1.1\r\nHost: t\r\n\r\n', half_close=True)
    assert out.startswith(b'HTTP/1.1 200 ') and out.endswith(b'b1')


def test_http_1_0_is_closed_and_never_chunked(one):
    def handler(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n'
                b'0\r\nX-Trailer: lost\r\n\r\n')
    backend, proxy = one(handler)
    with Client(proxy.port) as c:
        answer = c.request('GET', '/', version='HTTP/1.0', host='old.example')
        assert answer.version == 'HTTP/1.1' and answer.body == b'hello world'
        assert answer.get('Transfer-Encoding') is None and answer.get('Connection') == 'close'
    request = backend.served()[0]
    assert request.version == 'HTTP/1.1' and request.get('Host') == 'old.example'


def test_http_1_0_without_host_gets_the_backends_address(one):
    backend, proxy = one()
    with Client(proxy.port) as c:
        assert c.request('GET', '/', version='HTTP/1.0', host=None).text == 'b1'
    assert backend.served()[0].all('Host') == [backend.address]


def test_backends_closing_answer_reaches_the_client_whole(one):
    body = payload(300000)

    def handler(ex):
        ex.send(b'HTTP/1.0 200 OK\r\n\r\n' + body)
        ex.close()
    backend, proxy = one(handler)
    with Client(proxy.port) as c:
        for _ in range(2):  # chunked to a 1.1 client: the connection may stay
            assert digest(c.request('GET', '/').body) == digest(body)
    with Client(proxy.port) as c:
        answer = c.request('GET', '/', version='HTTP/1.0')
        assert digest(answer.body) == digest(body) and answer.chunks is None
    assert backend.connections == 3


# --- bodies -----------------------------------------------------------------------------------

def test_chunked_request_with_trailers_reaches_the_backend(one):
    backend, proxy = one()
    with Client(proxy.port) as c:
        c.send(b'POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n'
               b'4;ext=1\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n'
               b'0\r\nX-Sum: abc\r\n\r\n')
        assert c.answer().status == 200
        assert c.request('GET', '/next').status == 200
    request = backend.served()[0]
    assert request.body == b'Wikipedia in \r\n\r\nchunks.'
    assert request.trailers == [('X-Sum', 'abc')]
    assert request.get('Content-Length') is None


def test_chunked_answer_with_trailers_reaches_the_client(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n'
                b'3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n')
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        for _ in range(3):
            answer = c.request('GET', '/')
            assert answer.body == b'abcde' and answer.trailers == [('X-Sum', '5')]


BIG = 12_000_000
SMALL_BUFFER = 65536


def endless():
    """A length that the kernel can't keep in all the sockets on the way (they may grow)."""
    limits = 0
    for name in ('tcp_rmem', 'tcp_wmem'):
        with open(f'/proc/sys/net/ipv4/{name}', encoding='ascii') as f:
            limits += 2 * int(f.read().split()[2])
    return limits + 50_000_000


def chunks_of(data):
    for at in range(0, len(data), 70001):
        part = data[at:at + 70001]
        yield b'%x\r\n%s\r\n' % (len(part), part)
    yield b'0\r\n\r\n'


class Writer(threading.Thread):
    """Sends in a thread and counts, so that a test sees when the other side takes no more."""

    def __init__(self, sock, data, times=1):
        super().__init__(daemon=True)
        self.sock, self.data, self.times, self.sent = sock, data, times, 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.start()

    def run(self):
        view = memoryview(self.data)
        try:
            for _ in range(self.times):
                at = 0
                while at < len(view):
                    n = self.sock.send(view[at:at + 65536])
                    at += n
                    self.sent += n
        except OSError:
            pass  # the other side went away

    def wait_stalled(self):
        """Until nothing was taken for half a second; how much was taken in all."""
        seen, patience = [self.sent, time.monotonic()], pace.stretched(0.5)

        def stalled():
            if self.sent != seen[0]:
                seen[:] = [self.sent, time.monotonic()]
            return time.monotonic() - seen[1] > patience
        wait_until(stalled, 'the writer to be held back')
        return self.sent


@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_big_upload_waits_for_a_slow_backend_and_is_whole(one, chunked):
    body = payload(BIG)

    def handler(ex):
        ex.hang()
        ex.answer()
    backend, proxy = one(handler, receive_buffer=SMALL_BUFFER)
    with Client(proxy.port) as c:
        if chunked:
            c.send(b'POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n')
            writer = Writer(c.sock, b''.join(chunks_of(body)))
        else:
            c.send(b'POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % BIG)
            writer = Writer(c.sock, body)
        backend.wait_blocked()
        writer.wait_stalled()
        backend.gate.set()
        assert c.answer().status == 200
        writer.join()
        assert c.request('GET', '/').status == 200
    assert [digest(r.body) for r in backend.served()] == [digest(body), digest(b'')]


@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_big_download_waits_for_a_slow_client_and_is_whole(one, chunked):
    body, writers, started = payload(BIG), [], threading.Semaphore(0)

    def handler(ex):
        if chunked:
            ex.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
            writers.append(Writer(ex.sock, b''.join(chunks_of(body))))
        else:
            ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % BIG)
            writers.append(Writer(ex.sock, body))
        started.release()
        writers[-1].join()
    _, proxy = one(handler)
    with Client(proxy.port, receive_buffer=SMALL_BUFFER) as c:
        for _ in range(2):
            c.send_request('GET', '/')
            assert started.acquire(timeout=pace.upper(20))
            writers[-1].wait_stalled()
            assert digest(c.answer().body) == digest(body)


def test_big_answers_follow_each_other_on_one_connection(one):
    """Of a known length, as bulk, and small ones between them, all asked for at once."""
    sizes = [BIG, 10, 1 << 20, 0, (1 << 20) + 1, 300_000, BIG]
    backend, proxy = one(lambda ex: ex.answer(body=payload(int(ex.request.target[1:]))))
    with Client(proxy.port, timeout=60) as c:
        for _ in range(2):
            c.send(b''.join(b'GET /%d HTTP/1.1\r\nHost: t\r\n\r\n' % n for n in sizes))
            for n in sizes:
                assert digest(c.answer().body) == digest(payload(n)), n
    assert backend.connections == 1  # it could be used again after each


@pytest.mark.parametrize('end', ['close', 'reset'])
def test_big_answer_cut_in_its_body_is_seen_as_cut(one, end):
    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % BIG)
        ex.send(payload(BIG)[:BIG - 1_000_000])
        getattr(ex, end)()
    _, proxy = one(handler, pool={'passive': 'off'})
    for close in (b'', b'Connection: close\r\n'):
        out = raw(proxy.port, b'GET / HTTP/1.1\r\nHost: t\r\n' + close + b'\r\n', timeout=60)
        assert out.startswith(b'HTTP/1.1 200 ')
        assert len(out.partition(b'\r\n\r\n')[2]) <= BIG - 1_000_000
    assert proxy.server('b1')['errors'] == 2


def test_bytes_behind_a_big_answer_are_nobodys_answer(rig):
    extra = b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen'
    body = payload(3_000_000)

    def handler(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body) + body + extra)
    proxy = rig.proxy([rig.backend('b1', handler)], pool={'passive': 'off'}, top={'workers': 1})
    with Client(proxy.port, timeout=60) as c:
        for _ in range(5):
            assert digest(c.request('GET', '/').body) == digest(body)


def test_client_that_leaves_in_a_big_answer_leaves_nothing_behind(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % BIG)
        ex.send(payload(BIG))
    _, proxy = one(handler)
    for i in range(20):
        with Client(proxy.port, receive_buffer=SMALL_BUFFER) as c:
            c.send_request('GET', '/')
            c.head()
            c.reader.exactly(200_000 * (i % 3))
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'all to be given up')
    with Client(proxy.port, timeout=60) as c:
        assert digest(c.request('GET', '/').body) == digest(payload(BIG))


def test_backend_is_read_no_faster_than_the_client_reads(one):
    """Memory is bounded: what is on the way is in the kernel's buffers, 64 KiB of ours and a pipe."""
    length, writers, started = endless(), [], threading.Event()

    def handler(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % length)
        writers.append(Writer(ex.sock, b'x' * 1_000_000, length // 1_000_000))
        started.set()
        writers[-1].join()
    _, proxy = one(handler)
    with Client(proxy.port, receive_buffer=SMALL_BUFFER) as c:
        c.send_request('GET', '/')
        assert started.wait(pace.upper(20))
        assert writers[0].wait_stalled() < length - 40_000_000
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'the request to be given up')


def test_client_is_read_no_faster_than_the_backend_reads(one):
    length = endless()
    backend, proxy = one(lambda ex: (ex.hang(), ex.close()), receive_buffer=SMALL_BUFFER)
    with Client(proxy.port) as c:
        c.send(b'POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % length)
        writer = Writer(c.sock, b'x' * 1_000_000, length // 1_000_000)
        backend.wait_blocked()
        assert writer.wait_stalled() < length - 40_000_000
        backend.gate.set()
        assert c.answer().status == 502
    writer.join()


def test_bodies_both_ways_at_once(one):
    """An echo that answers while the request is still coming must not lock up."""
    def handler(ex):
        n = int(ex.request.get('Content-Length'))
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % n)
        left = n
        while left:
            part = ex.reader.exactly(min(left, 8192))
            left -= len(part)
            ex.send(part)
        ex.request.body = b''
    _, proxy = one(handler)
    body = payload(3_000_000)
    for _ in range(2):  # the answer's head may come before the body is all there: then it says close
        with Client(proxy.port) as c:
            writer = threading.Thread(target=c.send_request, args=('POST', '/'),
                                      kwargs={'body': body})
            writer.start()
            assert digest(c.answer().body) == digest(body)
            writer.join()


def test_early_answer_to_an_unfinished_upload(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 413 Too Big\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlots')
        ex.close()
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\npart')
        answer = c.answer()
        assert answer.status == 413 and answer.body == b'lots'
        assert c.at_end()  # the rest of the body would be taken for a request


@pytest.mark.parametrize('status', [204, 304])
def test_answers_without_a_body(one, status):
    _, proxy = one(lambda ex: ex.answer(status, fields=[('ETag', '"1"')])
                   if ex.request.target == '/none' else ex.answer())
    with Client(proxy.port) as c:
        for _ in range(3):
            answer = c.request('GET', '/none')
            assert answer.status == status and answer.get('ETag') == '"1"'
            assert answer.get('Transfer-Encoding') is None
            assert c.request('GET', '/').text == 'b1'


def test_head_has_length_but_no_body(one):
    _, proxy = one(lambda ex: ex.answer(body=b'12345'))
    with Client(proxy.port) as c:
        for _ in range(3):
            answer = c.request('HEAD', '/')
            assert answer.status == 200 and answer.get('Content-Length') == '5'
            assert c.request('GET', '/').body == b'12345'


def test_304_keeps_its_content_length(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 304 Not Modified\r\nContent-Length: 777\r\nETag: "x"\r\n\r\n')
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        for _ in range(2):
            answer = c.request('GET', '/')
            assert answer.status == 304 and answer.body == b''


# --- 1xx, upgrade -----------------------------------------------------------------------------

def test_expect_100_continue_is_passed_on(one):
    def handler(ex):
        assert ex.request.get('Expect') == '100-continue'
        ex.send(b'HTTP/1.1 100 Continue\r\n\r\n')
        ex.answer(body=ex.read_body().upper())
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
        assert c.head().status == 100
        c.send(b'hello')
        assert c.answer().text == 'HELLO'


def test_expect_100_continue_refused_by_the_backend(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        ex.close()
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
        assert c.head().status == 417


def test_103_is_passed_on_before_the_answer(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n')
        ex.answer()
    _, proxy = one(handler)
    with Client(proxy.port) as c:
        interim = []
        c.send_request('GET', '/')
        assert c.answer(interim=interim).text == 'b1'
        assert [(a.status, a.get('Link')) for a in interim] == [(103, '</a.css>')]


def tunnel(ex):
    """Says 101, then echoes until the other side is done, then a last word."""
    ex.send(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhi')
    data = bytes(ex.reader.data)
    while True:
        if data:
            ex.send(data)
        data = ex.sock.recv(65536)
        if not data:
            break
    ex.send(b'bye')
    ex.close()


UPGRADE = {'Connection': 'keep-alive, Upgrade', 'Upgrade': 'echo'}


def test_upgrade_tunnel_carries_bytes_and_half_close(one):
    backend, proxy = one(tunnel)
    with Client(proxy.port) as c:
        c.send_request('GET', '/chat', UPGRADE)
        answer = c.head()
        assert answer.status == 101
        assert answer.get('Upgrade') == 'echo' and answer.get('Connection').lower() == 'upgrade'
        assert c.reader.exactly(2) == b'hi'
        for size in (1, 1000, 200000):
            block = payload(size)
            writer = threading.Thread(target=c.send, args=(block,))
            writer.start()
            assert c.reader.exactly(size) == block
            writer.join()
        assert proxy.server('b1')['active'] == 1
        c.sock.shutdown(socket.SHUT_WR)
        assert c.reader.rest() == b'bye'
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'the tunnel to end')
    request = backend.served()[0]
    assert request.get('Upgrade') == 'echo' and 'upgrade' in request.get('Connection').lower()


def test_bytes_sent_with_the_upgrade_request_go_into_the_tunnel(one):
    _, proxy = one(tunnel)
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly')
        assert c.head().status == 101
        assert c.reader.exactly(7) == b'hiearly'


def test_upgrade_that_the_backend_ignores_is_an_ordinary_answer(one):
    _, proxy = one()
    with Client(proxy.port) as c:
        assert c.request('GET', '/', UPGRADE).text == 'b1'
        assert c.request('GET', '/').text == 'b1'


def test_101_that_nobody_asked_for_is_a_broken_answer(one):
    def handler(ex):
        ex.send(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')
        ex.wait_peer_closed()
    _, proxy = one(handler)
    assert get(proxy.port).status == 502


@pytest.mark.parametrize('mode,closed', [('down', True), ('never', False)])
def test_close_moved(rig, mode, closed):
    b1, s1 = rig.backend('b1', tunnel), rig.backend('s1', tunnel)
    proxy = rig.proxy([b1], [s1], pool={'close_moved': mode, 'failback': {'mode': 'manual'}})
    with Client(proxy.port) as c:
        c.send_request('GET', '/', UPGRADE)
        assert c.head().status == 101 and c.reader.exactly(2) == b'hi'
        b1.health_status = 500
        proxy.wait_state('b1', 'down')
        if closed:
            assert c.at_end()
        else:
            c.send(b'still here')
            assert c.reader.exactly(10) == b'still here'


# --- fields -----------------------------------------------------------------------------------

def test_hop_by_hop_fields_are_removed_both_ways(one):
    def handler(ex):
        ex.answer(fields=[('Connection', 'X-Private, keep-alive'), ('X-Private', 'secret'),
                          ('Keep-Alive', 'timeout=5'), ('Proxy-Connection', 'keep-alive'),
                          ('X-Public', 'yes')])
    backend, proxy = one(handler)
    with Client(proxy.port) as c:
        answer = c.request('GET', '/', [
            ('Connection', 'X-Mine, TE'), ('X-Mine', 'secret'), ('TE', 'trailers'),
            ('Keep-Alive', 'timeout=9'), ('Proxy-Connection', 'keep-alive'), ('X-Yours', 'yes')])
    request = backend.served()[0]
    for name in ('X-Mine', 'Keep-Alive', 'Proxy-Connection', 'Upgrade'):
        assert request.get(name) is None, name
    assert 'x-mine' not in (request.get('Connection') or '').lower()
    assert request.get('X-Yours') == 'yes'
    for name in ('X-Private', 'Keep-Alive', 'Proxy-Connection'):
        assert answer.get(name) is None, name
    assert 'x-private' not in (answer.get('Connection') or '').lower()
    assert answer.get('X-Public') == 'yes'


def test_forwarding_fields(one):
    backend, proxy = one(lambda ex: ex.answer(fields=[('Via', '1.0 inner')]))
    with Client(proxy.port, source='127.0.0.7') as c:
        answer = c.request('GET', '/', [
            ('X-Forwarded-For', '10.0.0.1, 10.0.0.2'), ('X-Forwarded-Proto', 'gopher'),
            ('X-Forwarded-Host', 'spoofed.example'), ('Via', '1.0 outer')], host='a.example:81')
        c.request('GET', '/')
    first, second = backend.served()
    assert first.get('X-Forwarded-For') == '10.0.0.1, 10.0.0.2, 127.0.0.7'
    assert first.all('X-Forwarded-Proto') == ['http']
    assert first.all('X-Forwarded-Host') == ['a.example:81']
    assert first.get('Via') == '1.0 outer, 1.1 ringproxy'
    assert first.all('Host') == ['a.example:81']
    assert second.get('X-Forwarded-For') == '127.0.0.7'
    assert second.get('Via') == '1.1 ringproxy'
    assert answer.get('Via') == '1.0 inner, 1.1 ringproxy'


def test_everything_else_is_passed_on_unchanged(one):
    backend, proxy = one(lambda ex: ex.answer(
        418, b'tea', reason='short and stout',
        fields=[('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('X-Latin', 'caf\xe9')]))
    fields = [('User-Agent', 'me'), ('Accept', '*/*'), ('X-Two', '1'), ('X-Two', '2'),
              ('X-Empty', ''), ('x-CASE', 'Kept'), ('X-Latin', 'caf\xe9')]
    with Client(proxy.port) as c:
        answer = c.request('PATCH', '/a//b/../c?x=%zz&y', fields, body=b'{}')
    request = backend.served()[0]
    assert (request.method, request.target, request.body) == ('PATCH', '/a//b/../c?x=%zz&y', b'{}')
    for name in ('User-Agent', 'Accept', 'X-Two', 'X-Empty', 'x-CASE', 'X-Latin'):
        assert request.all(name) == [v for n, v in fields if n == name], name
    assert (answer.status, answer.reason, answer.body) == (418, 'short and stout', b'tea')
    assert answer.all('Set-Cookie') == ['a=1', 'b=2'] and answer.get('X-Latin') == 'caf\xe9'


def test_methods_of_any_name_pass(one):
    backend, proxy = one()
    with Client(proxy.port) as c:
        for method in ('OPTIONS', 'DELETE', 'PROPFIND', 'X-Own!'):
            assert c.request(method, '/').status == 200
        assert c.request('OPTIONS', '*').status == 200
    assert [r.method for r in backend.served()] == ['OPTIONS', 'DELETE', 'PROPFIND', 'X-Own!',
                                                    'OPTIONS']
    assert backend.targets()[-1] == '*'


def test_absolute_form_becomes_origin_form(one):
    backend, proxy = one()
    with Client(proxy.port) as c:
        assert c.request('GET', 'http://real.example:99/p?q', host='real.example:99').status == 200
        assert c.request('GET', 'http://real.example', host='real.example').status == 200
    first, second = backend.served()
    assert first.target == '/p?q' and first.all('Host') == ['real.example:99']
    assert second.target == '/' and second.all('Host') == ['real.example']


# --- refusals ---------------------------------------------------------------------------------

LONG = b'a' * 20000

REFUSED = [
    ('no host', b'GET / HTTP/1.1\r\n\r\n', 400),
    ('two hosts', b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400),
    ('the same host twice', b'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400),
    ('bad host', b'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400),
    ('host with a path', b'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400),
    ('length and chunked', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
    ('chunked and length', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n', 400),
    ('differing lengths', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', 400),
    ('list of lengths', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length: 3, 4\r\n\r\nabcd', 400),
    ('signed length', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length: +3\r\n\r\nabc', 400),
    ('negative length', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length: -3\r\n\r\nabc', 400),
    ('empty length', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length:\r\n\r\n', 400),
    ('hex length', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length: 0x3\r\n\r\nabc', 400),
    ('huge length', b'POST / HTTP/1.1\r\n' + HEAD + b'Content-Length: 99999999999999999999\r\n\r\n',
     400),
    ('folded field', b'GET / HTTP/1.1\r\n' + HEAD + b'X: a\r\n b\r\n\r\n', 400),
    ('white space first', b'GET / HTTP/1.1\r\n Host: t\r\n\r\n', 400),
    ('bare LF', b'GET / HTTP/1.1\nHost: t\n\n', 400),
    ('bare LF in fields', b'GET / HTTP/1.1\r\nHost: t\nX: y\r\n\r\n', 400),
    ('bare CR', b'GET / HTTP/1.1\r\n' + HEAD + b'X: a\rb\r\n\r\n', 400),
    ('NUL in a value', b'GET / HTTP/1.1\r\n' + HEAD + b'X: a\0b\r\n\r\n', 400),
    ('NUL in the target', b'GET /\0 HTTP/1.1\r\n' + HEAD + b'\r\n', 400),
    ('bad field name', b'GET / HTTP/1.1\r\n' + HEAD + b'X(Y): a\r\n\r\n', 400),
    ('space before the colon', b'GET / HTTP/1.1\r\n' + HEAD + b'X : a\r\n\r\n', 400),
    ('no colon', b'GET / HTTP/1.1\r\n' + HEAD + b'X\r\n\r\n', 400),
    ('empty field name', b'GET / HTTP/1.1\r\n' + HEAD + b': a\r\n\r\n', 400),
    ('bad method', b'G@T / HTTP/1.1\r\n' + HEAD + b'\r\n', 400),
    ('no target', b'GET HTTP/1.1\r\n' + HEAD + b'\r\n', 400),
    ('garbage', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400),
    ('bad chunk size', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n', 400),
    ('overflowing chunk size', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc\r\n0\r\n\r\n', 400),
    ('chunk without CRLF', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n', 400),
    ('chunk with bare LF', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n', 400),
    ('chunked in HTTP/1.0', b'POST / HTTP/1.0\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
    ('connect', b'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n', 405),
    ('unknown coding', b'POST / HTTP/1.1\r\n' + HEAD + b'Transfer-Encoding: gzip\r\n\r\n', 501),
    ('a coding before chunked', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 501),
    ('version 2.0', b'GET / HTTP/2.0\r\n' + HEAD + b'\r\n', 505),
    ('asterisk with another method', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400),
    ('version 0.9', b'GET / HTTP/0.9\r\n' + HEAD + b'\r\n', 505),
    ('long target', b'GET /' + LONG + b' HTTP/1.1\r\n' + HEAD + b'\r\n', 414),
    ('long field', b'GET / HTTP/1.1\r\n' + HEAD + b'X: ' + LONG + b'\r\n\r\n', 431),
    ('many fields', b'GET / HTTP/1.1\r\n' + HEAD + b'X: y\r\n' * 5000 + b'\r\n', 431),
    ('long trailers', b'POST / HTTP/1.1\r\n' + HEAD +
     b'Transfer-Encoding: chunked\r\n\r\n0\r\nX: ' + LONG + b'\r\n\r\n', 431),
]


def read_all_body(ex):
    ex.read_body()
    ex.answer()


@pytest.fixture(scope='module')
def refusing(tmp_path_factory):
    """One proxy for all refusals: they must not harm each other."""
    from conftest import Rig
    rig = Rig(tmp_path_factory.mktemp('refusing'))
    backend = rig.backend('b1', read_all_body)
    proxy = rig.proxy([backend], pool={'passive': 'off'})
    yield backend, proxy
    rig.close()


SIZES = [(name, data, status, len(data)) for name, data, status in REFUSED] + [
    (f'{name}, byte by byte', data, status, 1) for name, data, status in REFUSED if len(data) < 1000]


@pytest.mark.parametrize('name,data,status,step', SIZES, ids=[r[0] for r in SIZES])
def test_refused(refusing, name, data, status, step):
    backend, proxy = refusing
    before = len(backend.served())
    with Client(proxy.port) as c:
        try:
            for at in range(0, len(data), step):
                c.send(data[at:at + step])
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end
        answer = c.answer()
        assert answer.status == status, answer
        assert answer.get('Connection').lower() == 'close'
        assert c.at_end()
    # what reached the backend, if anything, was never a whole request
    for request in backend.served()[before:]:
        assert request.body is None, request


def test_first_failing_byte_decides(refusing):
    _, proxy = refusing
    out = raw(proxy.port, b'GET / HTTP/1.1\r\nHost: t\r\nX Y: 1\r\n' + b'X: ' + LONG + b'\r\n\r\n')
    assert out.startswith(b'HTTP/1.1 400 ')


def test_good_request_before_a_bad_one_is_answered(refusing):
    _, proxy = refusing
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\nHost: t\r\n\r\nB@D\r\n\r\n')
        assert c.answer().text == 'b1'
        assert c.answer().status == 400
        assert c.at_end()


def test_nothing_behind_a_refused_request_is_served(refusing):
    backend, proxy = refusing
    before = len(backend.served())
    out = raw(proxy.port, b'GET / HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n')
    assert out.startswith(b'HTTP/1.1 400 ') and out.count(b'HTTP/1.1') == 1
    assert len(backend.served()) == before


@pytest.mark.parametrize('data', [
    b'GET / HTTP/1.1\r\nhOsT: t\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n',
    b'\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost:t\r\nX:\t y \t\r\n\r\n',
    b'GET / HTTP/1.0\r\n\r\n',
], ids=['case', 'v6 host', 'empty line first', 'coding case', 'white space', '1.0'])
def test_odd_but_legal(refusing, data):
    _, proxy = refusing
    with Client(proxy.port) as c:
        c.send(data)
        assert c.answer().status == 200


def test_max_header_size_is_a_setting(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend], listener={'max_header_size': '64KiB'})
    big = 'v' * 60000
    with Client(proxy.port) as c:
        assert c.request('GET', '/', {'X-Big': big}).status == 200
        assert c.request('GET', '/', {'X-Big': big * 2}).status == 431
    assert backend.served()[0].get('X-Big') == big
    assert len(backend.served()) == 1


def test_head_of_half_a_mebibyte_passes_if_allowed(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend], listener={'max_header_size': '1MiB'})
    fields = [(f'X-{i}', f'{i}' * 3000) for i in range(100)]
    with Client(proxy.port) as c:
        for _ in range(2):
            assert c.request('GET', '/', fields).status == 200
    for request in backend.served():
        assert [f for f in request.fields if f[0].startswith('X-') and f[0][2:].isdigit()] == fields


def test_max_connections_of_a_listener(rig):
    proxy = rig.proxy([rig.backend('b1')], listener={'max_connections': 3})
    clients = []
    try:
        # the connection by which the harness saw the listener may not be gone yet
        wait_until(lambda: proxy.admin.metric('ringproxy_connections', listener='web') == 0,
                   'no connection')
        for _ in range(3):
            clients.append(Client(proxy.port))
            assert clients[-1].request('GET', '/').status == 200
        with Client(proxy.port) as c:
            c.send_request('GET', '/')
            answer = c.answer()
            assert answer.status == 503 and answer.get('Connection').lower() == 'close'
            assert c.at_end()
        assert clients[0].request('GET', '/').status == 200
        clients.pop().close()
        wait_until(lambda: get(proxy.port).status == 200, 'room again')
    finally:
        for c in clients:
            c.close()


# --- broken answers ---------------------------------------------------------------------------

@pytest.mark.parametrize('data', [
    b'garbage\r\n\r\n',
    b'HTTP/1.1 20 OK\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
    b'HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX(: a\r\n\r\n',
    b'HTTP/2.0 200 OK\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nX: ' + b'a' * 3_000_000 + b'\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Le',
    b'',
], ids=['garbage', 'status', 'both framings', 'lengths', 'length', 'fold', 'name', 'version', 'size',
        'cut', 'nothing'])
def test_broken_answer_is_502(one, data):
    def handler(ex):
        ex.read_body()
        ex.send(data)
        ex.close()
    backend, proxy = one(handler, pool={'passive': 'off'})
    with Client(proxy.port) as c:
        assert c.request('POST', '/', body=b'x').status == 502
        assert c.request('POST', '/', body=b'x').status == 502
    assert len(backend.served()) == 2
    assert proxy.server('b1')['errors'] >= 2


@pytest.mark.parametrize('data', [
    b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n',
], ids=['length', 'chunked', 'bad chunk'])
def test_answer_cut_in_its_body_is_seen_as_cut(one, data):
    """It can't be repaired once its head is out, but it must not look complete."""
    def handler(ex):
        ex.read_body()
        ex.send(data)
        ex.close()
    _, proxy = one(handler, pool={'passive': 'off'})
    out = raw(proxy.port, b'GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n')
    if out.startswith(b'HTTP/1.1 502 '):
        return  # seen before the head was out
    assert out.startswith(b'HTTP/1.1 200 ')
    head, _, body = out.partition(b'\r\n\r\n')
    if b'content-length: 10' in head.lower():
        assert len(body) < 10
    else:
        assert b'chunked' in head.lower() and not body.endswith(b'0\r\n\r\n')


def test_bytes_behind_an_answer_are_nobodys_answer(rig):
    """What a backend sends unasked must not reach the next request on that connection."""
    backend = rig.backend('b1')

    def handler(ex):
        ex.read_body()
        extra = b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen'
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nb1' + extra)
    backend.handler = handler
    proxy = rig.proxy([backend], pool={'passive': 'off'}, top={'workers': 1})
    with Client(proxy.port) as c:
        for _ in range(5):
            assert c.request('GET', '/').text == 'b1'


@pytest.mark.parametrize('fields', ['', 'Upgrade: echo\r\n', 'Connection: Upgrade\r\n'])
def test_a_101_that_does_not_say_to_what_is_broken(one, fields):
    """RFC 9110 7.8: a server that switches must send Upgrade, named by Connection."""
    def handler(ex):
        ex.send(f'HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n'.encode())
    _, proxy = one(handler, pool={'passive': 'off'})
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
        assert c.answer().status == 502
