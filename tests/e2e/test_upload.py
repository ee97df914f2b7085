"""Long request bodies of known length: the most of one is moved as bulk."""

import hashlib
import os
import socket
import threading
import time

import pytest

import pace
from chaos import megabytes
from client import Client
from harness import wait_until
from scripted import reset
from test_http import SMALL_BUFFER, Writer, digest, endless, payload
from test_tcp import pipes

KIB, MIB = 1 << 10, 1 << 20
CALM = {'passive': 'off', 'health': {'timeout': '10s', 'fall': 100}}
LONG = 8 * MIB


def head(length, method='POST', fields=b''):
    return b'%s /up HTTP/1.1\r\nHost: t\r\n%sContent-Length: %d\r\n\r\n' % (
        method.encode(), fields, length)


def take(ex, n=None, h=None):
    """Reads n bytes of the body, or what is left of it, and never a byte beyond; how many came."""
    h = h or hashlib.sha256()
    n = int(ex.request.get('Content-Length')) if n is None else n
    data = bytes(ex.reader.data[:n])
    del ex.reader.data[:n]
    got = len(data)
    h.update(data)
    while got < n and (data := ex.sock.recv(min(n - got, 256 * KIB))):
        h.update(data)
        got += len(data)
    return got, h.hexdigest()


def summing(ex):
    """Answers with the sum of the body."""
    _, total = take(ex)
    ex.request.body = b''
    ex.answer(body=total.encode())


def upload(rig, handler, pool=None, receive_buffer=None, **more):
    backend = rig.backend('b1', handler, receive_buffer=receive_buffer)
    return backend, rig.proxy([backend], pool={**CALM, **(pool or {})}, **more)


def wait_free(proxy):
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'the request to end')


@pytest.mark.parametrize('method', ['POST', 'PUT'])
def test_64_mib_come_whole(rig, method):
    backend, proxy = upload(rig, summing, top={'workers': 1})
    body = payload(16 * MIB) * 4
    before = pipes(proxy)
    with Client(proxy.port, timeout=60) as c:
        for _ in range(2):
            c.send(head(len(body), method))
            c.send(body)
            assert c.answer().text == digest(body)
        assert c.request('POST', '/', body=b'short').text == digest(b'short')
    assert pipes(proxy) > before  # it was bulk
    assert backend.connections == 1 and proxy.server('b1')['errors'] == 0


def lengths():
    """Around those at which a body is kept no longer, and at which bulk may begin: behind three reads
    of 32 KiB that have brought the head too."""
    at = [64 * KIB, 128 * KIB, 224 * KIB, 224 * KIB - len(head(224 * KIB))]
    return [n + more for n in at for more in (-1, 0, 1)]


@pytest.mark.parametrize('method', ['POST', 'PUT'])
def test_what_follows_a_body_is_the_next_request(rig, method):
    backend, proxy = upload(rig, summing, top={'workers': 1})
    sizes = lengths() + [1, LONG, 0, MIB, MIB + 1] + lengths()
    bodies = [payload(n, seed=n) for n in sizes]
    stream = b''.join(head(len(b), method) + b for b in bodies)
    with Client(proxy.port, timeout=60) as c:
        for _ in range(3):
            sender = threading.Thread(target=c.send, args=(stream,), daemon=True)
            sender.start()
            assert [c.answer().text for _ in bodies] == [digest(b) for b in bodies]
            sender.join()
    assert backend.connections == 1


def test_uploads_at_once(rig):
    _, proxy = upload(rig, summing)
    body, out = payload(LONG), []

    def run():
        with Client(proxy.port, timeout=60) as c:
            for _ in range(2):
                out.append(c.request('POST', '/up', body=body).text)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert out == [digest(body)] * 16


def test_a_client_that_is_fast_and_slow_in_turns(rig):
    """Bursts go as bulk, what drips is copied; each byte once and in order."""
    got = [0]

    def handler(ex):
        h, left = hashlib.sha256(), int(ex.request.get('Content-Length'))
        data = bytes(ex.reader.data)
        ex.reader.data.clear()
        while True:
            h.update(data)
            left -= len(data)
            got[0] += len(data)
            if not left:
                break
            data = ex.sock.recv(min(left, 256 * KIB))
            assert data, 'cut'
        ex.request.body = b''
        ex.answer(body=h.hexdigest().encode())

    _, proxy = upload(rig, handler, top={'workers': 1})
    body, at, before = payload(LONG), 0, pipes(proxy)
    with Client(proxy.port, timeout=60) as c:
        c.send(head(len(body)))
        for _ in range(3):
            for size in [2 * MIB] + [2000] * 12:
                c.send(body[at:at + size])
                at += size
                wait_until(lambda: got[0] == at, 'all that was sent to arrive')
        c.send(body[at:])
        assert c.answer().text == digest(body)
    assert pipes(proxy) > before


def test_a_backend_that_takes_nothing_holds_the_client_back(rig):
    """In memory of ours there is little, whatever waits."""
    n, length = 8, endless()
    backend, proxy = upload(rig, lambda ex: (ex.hang(), ex.close()), receive_buffer=SMALL_BUFFER,
                            pool={'timeouts': {'response': '1h'}})
    before = megabytes(proxy, 'RssAnon')
    clients = [Client(proxy.port) for _ in range(n)]
    writers = []
    for c in clients:
        c.send(head(length))
        writers.append(Writer(c.sock, b'x' * 1_000_000, length // 1_000_000))
    backend.wait_blocked(n)
    sent = [w.wait_stalled() for w in writers]
    assert max(sent) < length - 40_000_000
    assert megabytes(proxy, 'RssAnon') - before < 12
    backend.gate.set()
    for c, w in zip(clients, writers):
        assert c.answer().status == 502
        c.close()
        w.join()
    assert proxy.server('b1')['errors'] == n


def test_time_does_not_run_against_a_client_that_is_held_back(rig):
    patience = pace.stretched(0.6)
    backend, proxy = upload(rig, lambda ex: (ex.hang(), summing(ex)), receive_buffer=SMALL_BUFFER,
                            listener={'timeouts': {'request': pace.ms(patience)}})
    body = payload(3 * LONG)
    with Client(proxy.port, timeout=60) as c:
        c.send(head(len(body)))
        writer = Writer(c.sock, body)
        backend.wait_blocked()
        writer.wait_stalled()
        time.sleep(2 * patience)  # twice the time that the client would have
        assert not writer.sent == len(body)
        backend.gate.set()
        assert c.answer().text == digest(body)
        writer.join()


def test_a_backend_that_reads_slowly_has_the_time_it_needs(rig):
    """Though for longer than the response time it is the kernel alone that moves what it reads."""
    def handler(ex):
        begun, n, h = time.monotonic(), 0, hashlib.sha256()
        while time.monotonic() < begun + 5 * patience:
            n += take(ex, 40_000, h)[0]
            time.sleep(patience / 20)
        ex.request.body = b''
        ex.answer(body=take(ex, size - n, h)[1].encode())

    size, patience = 24 * MIB, pace.stretched(1.0)
    _, proxy = upload(rig, handler, pool={'timeouts': {'response': pace.ms(patience)}},
                      top={'workers': 1}, receive_buffer=1 << 16)
    body = payload(size // 2) * 2
    with Client(proxy.port, timeout=60) as c:
        c.send(head(size))
        writer = Writer(c.sock, body)
        answer = c.answer()
        assert (answer.status, answer.text) == (200, digest(body))
        end_writer(c, writer)
    assert proxy.server('b1')['errors'] == 0


def test_a_backend_that_takes_nothing_for_too_long_is_504(rig):
    backend, proxy = upload(rig, lambda ex: (ex.hang(), ex.close()), receive_buffer=SMALL_BUFFER,
                            pool={'timeouts': {'response': '900ms'}})
    with Client(proxy.port) as c:
        c.send(head(endless()))
        writer = Writer(c.sock, b'x' * 1_000_000, 200)
        assert c.answer().status == 504
        assert proxy.server('b1')['errors'] == 1
        backend.gate.set()
    writer.join()


def test_a_backend_that_takes_a_little_all_the_time_is_waited_for(rig):
    """In all it takes 2.25 times the response time. One response time after the kernel took the last of
    the body, the proxy looks whether all of it was read; that is well before the end, and the next look
    would be well after it."""
    size, step, patience = 6 * MIB, 64 * KIB, pace.stretched(3.0)

    def handler(ex):
        h = hashlib.sha256()
        for _ in range(size // step):
            take(ex, step, h)
            time.sleep(2.25 * patience * step / size)
        ex.request.body = b''
        ex.answer(body=h.hexdigest().encode())

    _, proxy = upload(rig, handler, receive_buffer=16 * KIB,
                      pool={'timeouts': {'response': pace.ms(patience)}})
    body = payload(size)
    with Client(proxy.port, timeout=60) as c:
        c.send(head(size))
        writer = Writer(c.sock, body)
        assert c.answer().text == digest(body)
        writer.join()


def test_a_body_that_stalls_is_408(rig):
    seen, patience = [], pace.stretched(0.6)
    backend, proxy = upload(rig, lambda ex: (seen.append(take(ex)[0]), ex.close()),
                            listener={'timeouts': {'request': pace.ms(patience)}})
    with Client(proxy.port) as c:
        since = time.monotonic()
        c.send(head(LONG) + payload(3 * MIB))
        assert c.answer().status == 408
        assert patience - 0.1 <= time.monotonic() - since < patience + pace.upper(10)
        assert c.at_end()
    wait_until(lambda: seen, 'the backend to see the end')
    assert seen == [3 * MIB]  # cut, and no other try
    assert proxy.server('b1')['errors'] == 0
    wait_free(proxy)


# --- the backend ------------------------------------------------------------------------------

def end_writer(c, writer):
    c.close()
    writer.join(pace.upper(20))
    assert not writer.is_alive()


@pytest.mark.parametrize('after', ['close', 'half-close', 'read on'])
def test_an_early_answer_arrives(rig, after):
    ended = []

    def handler(ex):
        if ex.request.target != '/up':
            ex.answer()
            return
        take(ex, MIB)
        ex.send(b'HTTP/1.1 413 Too Big\r\nContent-Length: 4\r\n\r\nlots')
        if after == 'half-close':
            ex.sock.shutdown(socket.SHUT_WR)
        if after != 'close':
            ended.append(take(ex, endless())[0])
        ex.close()

    _, proxy = upload(rig, handler)
    for _ in range(20):  # a reset may come at any point of a round
        with Client(proxy.port) as c:
            c.send(head(endless()))
            writer = Writer(c.sock, b'x' * 1_000_000, 400)
            answer = c.answer()
            assert answer.status == 413 and answer.body == b'lots'
            assert answer.get('Connection') == 'close'
            end_writer(c, writer)
    if after != 'close':
        wait_until(lambda: len(ended) == 20, 'the backend to see the end')
    wait_free(proxy)
    assert proxy.server('b1')['errors'] == 0
    with Client(proxy.port) as c:
        assert c.request('GET', '/').text == 'b1'


@pytest.mark.parametrize('size', [n * MIB // 2 for n in range(2, 18, 2)])
def test_an_early_answer_while_the_last_bytes_wait(rig, size):
    """Wherever they wait: once all has come in, the client's connection stays for what follows."""
    def handler(ex):
        if ex.request.target == '/up':
            ex.hang()
            ex.send(b'HTTP/1.1 413 Too Big\r\nContent-Length: 4\r\n\r\nlots')
            ex.request.body = b''
            if take(ex)[0] < size:
                ex.close()
        else:
            ex.answer()

    backend, proxy = upload(rig, handler, receive_buffer=SMALL_BUFFER, top={'workers': 1})
    with Client(proxy.port) as c:
        c.send(head(size))
        writer = Writer(c.sock, b'x' * size)
        backend.wait_blocked()
        writer.wait_stalled()
        backend.gate.set()
        answer = c.answer()
        assert answer.status == 413 and answer.body == b'lots'
        if answer.get('Connection') != 'close':
            assert c.request('GET', '/').text == 'b1'
        end_writer(c, writer)
    wait_free(proxy)
    assert proxy.server('b1')['errors'] == 0


@pytest.mark.parametrize('method', ['POST', 'PUT'])
@pytest.mark.parametrize('how', ['close', 'reset'])
def test_a_backend_that_dies_in_the_middle_is_502_once(rig, how, method):
    def handler(ex):
        take(ex, MIB)
        getattr(ex, how)()

    b1, b2 = rig.backend('b1', handler), rig.backend('b2', handler)
    proxy = rig.proxy([b1, b2], pool=CALM)
    for n in range(1, 6):
        with Client(proxy.port) as c:
            c.send(head(endless(), method))
            writer = Writer(c.sock, b'x' * 1_000_000, 400)
            answer = c.answer()
            assert answer.status == 502 and answer.get('Connection') == 'close'
            end_writer(c, writer)
        assert len(b1.served()) + len(b2.served()) == n  # it was not sent again
        assert sum(proxy.server(b)['errors'] for b in ('b1', 'b2')) == n


def test_a_backend_that_dies_behind_the_head_of_its_answer(rig):
    def handler(ex):
        take(ex, MIB)
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlo')
        ex.hang()
        ex.reset()
    backend, proxy = upload(rig, handler)
    with Client(proxy.port) as c:
        c.send(head(endless()))
        writer = Writer(c.sock, b'x' * 1_000_000, 400)
        assert c.reader.line() == b'HTTP/1.1 200 OK'
        while c.reader.line():
            pass
        assert c.reader.exactly(2) == b'lo'
        backend.gate.set()
        try:
            out = c.reader.rest()
        except ConnectionResetError:
            out = bytes(c.reader.data)
        assert out == b''
        end_writer(c, writer)
    wait_until(lambda: proxy.server('b1')['errors'] == 1, 'it to be counted once')


# --- the client -------------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['close', 'half-close', 'reset'])
@pytest.mark.parametrize('slow', [False, True], ids=['', 'slow backend'])
def test_a_client_that_goes_in_the_middle(rig, how, slow):
    seen = []

    def handler(ex):
        if slow:
            ex.hang()
        seen.append(take(ex))
        ex.close()

    backend, proxy = upload(rig, handler, receive_buffer=SMALL_BUFFER if slow else None)
    body, sent = payload(LONG), 3 * MIB
    with Client(proxy.port, timeout=60) as c:
        c.send(head(len(body)))
        writer = Writer(c.sock, body[:sent])
        if slow:
            backend.wait_blocked()
            writer.wait_stalled()
            backend.gate.set()
        writer.join()
        if how == 'half-close':
            c.sock.shutdown(socket.SHUT_WR)
            assert c.at_end()
        elif how == 'reset':
            reset(c.sock)
    wait_until(lambda: seen, 'the backend to see the end')
    n, total = seen[0]
    assert n <= sent and total == digest(body[:n])
    wait_free(proxy)
    assert proxy.server('b1')['errors'] == 0 and len(backend.served()) == 1


# --- and other ways ---------------------------------------------------------------------------

def test_expect_100_continue(rig):
    def handler(ex):
        ex.send(b'HTTP/1.1 100 Continue\r\n\r\n')
        summing(ex)

    _, proxy = upload(rig, handler)
    with Client(proxy.port, timeout=60) as c:
        for seed in range(3):
            body = payload(LONG, seed)
            c.send(head(len(body), fields=b'Expect: 100-continue\r\n'))
            assert c.head().status == 100
            c.send(body)
            assert c.answer().text == digest(body)


def test_answers_that_come_meanwhile_are_as_long(rig):
    """Bulk both ways: what comes goes back, and who reads slowly holds up both."""
    def handler(ex):
        n = int(ex.request.get('Content-Length'))
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % n)
        data = bytes(ex.reader.data[:n])
        del ex.reader.data[:n]
        while n:
            ex.send(data)
            n -= len(data)
            data = ex.sock.recv(min(n, 256 * KIB)) if n else b''
        ex.request.body = b''

    _, proxy = upload(rig, handler, top={'workers': 1})
    body, before = payload(3 * LONG), pipes(proxy)
    with Client(proxy.port, timeout=60, receive_buffer=SMALL_BUFFER) as c:
        c.send(head(len(body)))
        writer = Writer(c.sock, body)
        writer.wait_stalled()
        assert digest(c.answer().body) == digest(body)
        writer.join()
    assert pipes(proxy) > before
    wait_free(proxy)


def test_a_body_before_a_tunnel(rig):
    def handler(ex):
        _, total = take(ex)
        ex.send(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
        ex.send(total.encode())
        while data := ex.sock.recv(65536):
            ex.send(data)
        ex.close()

    _, proxy = upload(rig, handler)
    body = payload(3 * MIB)
    with Client(proxy.port, timeout=60) as c:
        c.send(head(len(body), fields=b'Connection: Upgrade\r\nUpgrade: echo\r\n') + body)
        assert c.head().status == 101
        assert c.reader.exactly(64).decode() == digest(body)
        c.send(b'hello')
        assert c.reader.exactly(5) == b'hello'


def test_a_stop_lets_an_upload_end(rig):
    backend, proxy = upload(rig, lambda ex: (ex.hang(), summing(ex)), receive_buffer=SMALL_BUFFER)
    body = payload(2 * LONG)
    with Client(proxy.port, timeout=60) as c:
        c.send(head(len(body)))
        writer = Writer(c.sock, body)
        backend.wait_blocked()
        writer.wait_stalled()
        stopper = threading.Thread(target=proxy.stop)
        stopper.start()
        wait_until(lambda: not os.path.exists(f'/proc/{proxy.pid}') or
                   proxy.admin.request('GET', '/readyz')[0] == 503, 'the stop to be seen')
        backend.gate.set()
        answer = c.answer()
        assert answer.text == digest(body) and answer.get('Connection') == 'close'
        assert c.at_end()
        writer.join()
        stopper.join()
    assert not proxy.running()


def test_without_descriptors_for_pipes_it_is_copied(rig):
    backend, proxy = upload(rig, summing, top={'workers': 1}, start=False)
    proxy.argv = ['prlimit', '--nofile=64:64', *proxy.argv]
    proxy.start()
    body, clients = payload(2 * MIB), []
    for _ in range(16):
        clients.append(Client(proxy.port, timeout=60))
        clients[-1].send(head(len(body)))
    writers = [Writer(c.sock, body) for c in clients]
    statuses = []
    for c, w in zip(clients, writers):
        answer = c.answer()
        statuses.append(answer.status)
        assert answer.status == 503 or answer.text == digest(body)
        end_writer(c, w)
    assert 200 in statuses
