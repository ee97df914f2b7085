"""`ringbench serve`: what it answers, how it misbehaves when told to, what it counts."""

import http.client
import json
import re
import select
import signal
import socket
import threading
import time

import pytest

import harness
from harness import RINGBENCH, SLOW, wait_until

NAME = 'b1'
SETTINGS = ['delay', 'jitter', 'body_size', 'error_rate', 'hang_rate', 'chunked', 'chunk_size',
            'slow_body', 'status', 'hang', 'fail_checks', 'stall']
COUNTS = ['name', 'requests', 'answered', 'errors', 'hung', 'checks', 'connections', 'accepted']


# --- a client ---------------------------------------------------------------------------------

def ask(port, target='/', method='GET', body=None):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20 * SLOW)
    try:
        connection.request(method, target, body=body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def many(port, n, target='/'):
    """n requests one after another on one connection: the statuses."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20 * SLOW)
    statuses = []
    for _ in range(n):
        connection.request('GET', target)
        answer = connection.getresponse()
        assert answer.headers['X-Backend']
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


def control(port, query='', body=None):
    """What it says it does from now on."""
    target = '/__control' + (f'?{query}' if query else '')
    status, headers, text = ask(port, target, 'POST', json.dumps(body) if body else None)
    assert status == 200, (status, text)
    assert headers['Content-Type'] == 'application/json'
    return json.loads(text)


def stats(port):
    status, headers, text = ask(port, '/__stats')
    assert status == 200 and headers['Content-Type'] == 'application/json'
    return json.loads(text)


def reset(port):
    status, _, text = ask(port, '/__stats?reset=1', 'POST')
    assert status == 200, text
    return json.loads(text)


def open_to(port):
    s = socket.create_connection(('127.0.0.1', port), timeout=20 * SLOW)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def sent(port, target='/', version='1.1', method='GET', more=''):
    """A connection with a request on its way."""
    s = open_to(port)
    s.sendall(f'{method} {target} HTTP/{version}\r\nHost: x\r\n{more}\r\n'.encode())
    return s


def read_all(s):
    parts = []
    while True:
        part = s.recv(1 << 20)
        if not part:
            return b''.join(parts)
        parts.append(part)


def silent(s):
    return not select.select([s], [], [], 0)[0]


def chunks_of(raw):
    """The sizes and the payload of a chunked body, which must be right to the byte."""
    sizes, payload, at = [], b'', 0
    while True:
        end = raw.index(b'\r\n', at)
        assert re.fullmatch(rb'[0-9a-f]+', raw[at:end]), raw[at:end + 2]
        size = int(raw[at:end], 16)
        at = end + 2
        payload += raw[at:at + size]
        assert raw[at + size:at + size + 2] == b'\r\n'
        at += size + 2
        if size == 0:
            assert at == len(raw)
            return sizes, payload
        sizes.append(size)


def padded(size, name=NAME):
    return name.encode().ljust(size, b'.')


# --- usage ------------------------------------------------------------------------------------

PAIR = ['--listen', '127.0.0.1:0', '--name', 'x']


@pytest.mark.parametrize('arguments, said', [
    ([], '--listen ADDR is required'),
    (['--listen', '127.0.0.1:0'], '--name NAME is required'),
    (['--name', 'x'], '--listen ADDR is required'),
    ([*PAIR, '--name', 'y'], '--listen and --name come in pairs, not 1 and 2'),
    ([*PAIR, '--listen', '127.0.0.1:0', '--name', 'x'], '--name x: another backend has it'),
    (['--listen', 'nowhere', '--name', 'x'],
     '--listen nowhere: allowed is HOST:PORT or [V6]:PORT'),
    (['--listen', '127.0.0.1:0', '--name', 'a\nb'], 'allowed is 1 to 200 printable ASCII'),
    ([*PAIR, '--mode', 'tcp'], '--mode tcp: allowed is http, echo, sink, source'),
    ([*PAIR, '--mode', 'echo', '--delay', '5'], '--delay is only for --mode http'),
    ([*PAIR, '--chunked', '--mode', 'sink'], '--chunked is only for --mode http'),
    ([*PAIR, '--seed', '1', '--mode', 'source'], '--seed is only for --mode http'),
    ([*PAIR, '--delay', '5x'], '--delay 5x: delay: allowed is 0 to 24h'),
    ([*PAIR, '--delay', '25h'], 'allowed is 0 to 24h'),
    ([*PAIR, '--jitter', '-1'], 'jitter: allowed is 0 to 24h'),
    ([*PAIR, '--slow-body', ''], 'slow_body: allowed is 0 to 24h'),
    ([*PAIR, '--body-size', '65MiB'], 'body_size: allowed is 0 to 64MiB'),
    ([*PAIR, '--body-size', '18446744073709551617'], 'body_size: allowed is 0 to 64MiB'),
    ([*PAIR, '--chunk-size', '0'], 'chunk_size: allowed is 1 to 64MiB'),
    ([*PAIR, '--error-rate', '1.01'], 'error_rate: allowed is 0 to 1'),
    ([*PAIR, '--error-rate', '1e-1'], 'error_rate: allowed is 0 to 1'),
    ([*PAIR, '--hang-rate', 'nan'], 'hang_rate: allowed is 0 to 1'),
    ([*PAIR, '--hang-rate', '0.6', '--error-rate', '0.6'],
     'error_rate and hang_rate: allowed is up to 1 together'),
    ([*PAIR, '--seed', '-1'], '--seed -1: allowed is 0 to 18446744073709551615'),
    ([*PAIR, '--seed', '18446744073709551616'], 'allowed is 0 to 18446744073709551615'),
    ([*PAIR, 'more'], 'unexpected argument: more'),
    ([*PAIR, '--nonsense'], 'nonsense'),
])
def test_bad_usage_says_what_is_allowed(arguments, said):
    done = harness.run('serve', *arguments, program=RINGBENCH)
    assert done.returncode == 2 and done.stdout == ''
    assert said in done.stderr.split('usage:')[0], done.stderr
    assert 'usage: ringbench serve' in done.stderr


def test_help_has_every_option():
    done = harness.run('serve', '--help', program=RINGBENCH)
    assert done.returncode == 0 and done.stderr == ''
    for option in ('listen', 'name', 'mode', 'delay', 'jitter', 'body-size', 'chunked', 'chunk-size',
                   'slow-body', 'error-rate', 'hang-rate', 'seed'):
        assert f'--{option}' in done.stdout
    for setting in SETTINGS:
        assert setting in done.stdout


def test_a_port_in_use_is_a_failure(rig):
    first = rig.serve(NAME)
    done = harness.run('serve', '--listen', first.address, '--name', 'x', program=RINGBENCH)
    assert done.returncode == 1 and done.stdout == ''
    assert f'listen {first.address}: address already in use' in done.stderr
    done = harness.run('serve', '--listen', first.address, '--name', 'x', '--mode', 'echo',
                       program=RINGBENCH)
    assert done.returncode == 1
    assert f'listen {first.address}: address already in use' in done.stderr


def test_port_zero_is_a_free_one_and_told(tmp_path):
    serve = harness.Daemon([RINGBENCH, 'serve', *PAIR, '--listen', '[::1]:0', '--name', 'y'],
                           tmp_path, 'serve').start()
    try:
        wait_until(lambda: serve.out().count('\n') == 2, 'the addresses')
        told = re.fullmatch(r'x listening on 127\.0\.0\.1:(\d+)\ny listening on \[::1\]:(\d+)\n',
                            serve.out())
        assert told, serve.out()
        assert ask(int(told.group(1)))[2] == b'x'
        socket.create_connection(('::1', int(told.group(2)))).close()
        serve.signal(signal.SIGINT)
        assert serve.wait() == 0
    finally:
        serve.kill()


# --- what it answers --------------------------------------------------------------------------

def test_any_path_answers_the_name(rig):
    serve = rig.serve(NAME)
    for method, target in (('GET', '/'), ('GET', '/a/b?c'), ('POST', '/x'), ('PUT', '/__statsx')):
        status, headers, body = ask(serve.port, target, method, b'body' if method != 'GET' else None)
        assert (status, body, headers['X-Backend']) == (200, NAME.encode(), NAME)
        assert headers['Content-Length'] == '2' and headers['Date']
    status, headers, body = ask(serve.port, '/', 'HEAD')
    assert (status, body, headers['Content-Length']) == (200, b'', '2')
    status, headers, body = ask(serve.port, '/healthz')
    assert (status, body, headers['X-Backend']) == (200, b'ok\n', NAME)


def test_the_counts_are_exact(rig):
    serve = rig.serve(NAME)
    before = reset(serve.port)
    assert list(before) == COUNTS
    assert before == {**dict.fromkeys(COUNTS, 0), 'name': NAME,
                      'connections': before['connections']}
    many(serve.port, 40)
    many(serve.port, 3, '/healthz')
    control(serve.port, 'status=404')
    many(serve.port, 2)
    control(serve.port, 'status=503')
    many(serve.port, 5)
    many(serve.port, 2, '/healthz')
    control(serve.port, 'hang=1')
    hung = [sent(serve.port) for _ in range(4)]
    wait_until(lambda: stats(serve.port)['hung'] == 4, 'them to be there')
    control(serve.port, 'hang=0&status=0')
    many(serve.port, 10)
    now = wait_until(lambda: (n := stats(serve.port))['connections'] == 5 and n,
                     'all others to be closed, but for the one that asks')
    del now['accepted']  # has a test of its own
    assert now == {'name': NAME, 'requests': 61, 'answered': 57, 'errors': 7, 'hung': 4,
                   'checks': 5, 'connections': 5}
    for s in hung:
        s.close()


def test_every_accepted_connection_is_counted_once(rig):
    serve = rig.serve(NAME)
    reset(serve.port)
    for _ in range(7):
        ask(serve.port)
    assert stats(serve.port)['accepted'] == 8
    assert stats(serve.port)['accepted'] == 9


def test_reset_and_methods_of_the_counts(rig):
    serve = rig.serve(NAME)
    many(serve.port, 3)
    for query, body in (('', None), ('?reset=0', None), ('?reset', None), ('?reset=1&x=2', None),
                        ('', b'{}'), ('', b'{"reset": 2}'), ('', b'reset=1'), ('', b'[1]')):
        status, _, text = ask(serve.port, '/__stats' + query, 'POST', body)
        assert (status, text) == (400, b'allowed is reset=1\n'), (query, body)
    status, headers, _ = ask(serve.port, '/__stats?reset=1', 'DELETE')
    assert (status, headers['Allow']) == (405, 'GET, HEAD, POST')
    assert stats(serve.port)['requests'] == 3
    for body in (b'{"reset": 1}', b'{"reset": true}'):
        many(serve.port, 2)
        status, _, text = ask(serve.port, '/__stats', 'POST', body)
        assert status == 200 and json.loads(text)['requests'] == 0
    assert stats(serve.port)['answered'] == 0


def test_a_client_that_left_is_not_answered(rig):
    serve = rig.serve(NAME, '--delay', '60s')
    control(serve.port)
    reset(serve.port)
    clients = [sent(serve.port) for _ in range(5)]
    wait_until(lambda: stats(serve.port)['requests'] == 5, 'the requests to be there')
    for s in clients:
        s.close()
    wait_until(lambda: stats(serve.port)['connections'] == 1, 'them to be gone')
    now = stats(serve.port)
    assert (now['requests'], now['answered'], now['errors'], now['hung']) == (5, 0, 0, 0)


# --- how it misbehaves ------------------------------------------------------------------------

def takes(port, target='/'):
    began = time.monotonic()
    assert ask(port, target)[0] == 200
    return time.monotonic() - began


@pytest.mark.parametrize('option, at_least', [('80', 0.08), ('120ms', 0.12), ('1s', 1.0)])
def test_delay(rig, option, at_least):
    serve = rig.serve(NAME, '--delay', option)
    assert takes(serve.port) >= at_least
    assert takes(serve.port, '/healthz') >= at_least
    control(serve.port, 'delay=0')
    reset(serve.port)
    assert many(serve.port, 50) == [200] * 50  # quick enough for the test, at least


def test_delay_while_it_runs(rig):
    serve = rig.serve(NAME)
    for query, body, at_least in (('delay=70', None, 0.07), ('delay=90ms', None, 0.09),
                                  ('', {'delay': 110}, 0.11), ('', {'delay': '130ms'}, 0.13)):
        assert control(serve.port, query, body)['delay'] == round(at_least * 1000)
        assert takes(serve.port) >= at_least


def test_jitter_is_between_nothing_and_what_was_asked(rig):
    serve = rig.serve(NAME, '--delay', '10', '--jitter', '40ms', '--seed', '7')
    times = [takes(serve.port) for _ in range(30)]
    assert min(times) >= 0.01
    assert sum(times) >= 30 * (0.01 + 0.02 / 2)  # of what is to be expected on top, half
    assert control(serve.port, 'jitter=1s&delay=0')['jitter'] == 1000
    began = time.monotonic()
    waiting = [sent(serve.port) for _ in range(20)]
    asked, answered = list(waiting), []
    while waiting:
        for s in select.select(waiting, [], [], 20 * SLOW)[0]:
            waiting.remove(s)
            answered.append(s)
    assert time.monotonic() - began >= 0.5
    assert answered != asked
    for s in answered:
        s.close()


@pytest.mark.parametrize('option, size', [('0', 2), ('1', 2), ('3', 3), ('100', 100),
                                          ('16KiB', 16384), ('8193', 8193), ('3MiB', 3 << 20)])
def test_body_size(rig, option, size):
    serve = rig.serve(NAME, '--body-size', option)
    for _ in range(2):
        status, headers, body = ask(serve.port)
        assert (status, headers['Content-Length']) == (200, str(size))
        assert body == padded(size)
    assert ask(serve.port, '/healthz')[2] == b'ok\n'


def test_body_size_changes_under_answers_on_their_way(rig):
    serve = rig.serve(NAME, '--body-size', '4MiB')
    waiting = [sent(serve.port, more='Connection: close\r\n') for _ in range(4)]
    wait_until(lambda: stats(serve.port)['requests'] == 4, 'the requests to be there')
    for size in (1, 64 << 20, 100, 5 << 20, 8192):
        control(serve.port, f'body_size={size}')
        assert ask(serve.port)[2] == padded(size)
    for s in waiting:
        assert read_all(s).endswith(b'\r\n\r\n' + padded(4 << 20))
        s.close()
    assert control(serve.port, '', {'body_size': '1KiB'})['body_size'] == 1024
    assert len(ask(serve.port)[2]) == 1024


def test_error_rate(rig):
    serve = rig.serve(NAME, '--error-rate', '0.25', '--seed', '3')
    reset(serve.port)
    statuses = many(serve.port, 1000)
    assert set(statuses) == {200, 500}
    assert 180 <= statuses.count(500) <= 320
    now = stats(serve.port)
    assert (now['requests'], now['answered']) == (1000, 1000)
    assert now['errors'] == statuses.count(500)
    assert many(serve.port, 100, '/healthz') == [200] * 100
    status, headers, body = ask(serve.port)
    assert headers['X-Backend'] == NAME and body == NAME.encode()
    control(serve.port, 'error_rate=1')
    assert many(serve.port, 50) == [500] * 50
    control(serve.port, '', {'error_rate': 0, 'status': 201})
    assert many(serve.port, 50) == [201] * 50


def test_a_seed_decides_which_requests_fail(rig):
    rate = ['--error-rate', '0.5']
    same = [rig.serve('same', *rate, '--seed', '11'),
            harness.Serve(rig.folder, 'same', *rate, '--seed', '11')]
    same[1].name = 'other-log'  # of the files alone
    rig.daemons.append(same[1].start())
    other_seed, other_name = rig.serve('same2', *rate, '--seed', '12'), rig.serve('name', *rate,
                                                                                 '--seed', '11')
    runs = [many(s.port, 200) for s in (*same, other_seed, other_name)]
    assert runs[0] == runs[1]
    assert runs[2] != runs[0] and runs[3] != runs[0]


def test_hang_rate(rig):
    serve = rig.serve(NAME, '--hang-rate', '0.3', '--error-rate', '0.2', '--seed', '5')
    reset(serve.port)
    clients = [sent(serve.port) for _ in range(200)]
    now = wait_until(lambda: (n := stats(serve.port))['answered'] + n['hung'] == 200 and n,
                     'all to be answered or hung')
    assert now['requests'] == 200 and 30 <= now['hung'] <= 90
    got = {s: b'' for s in clients}
    while sum(b'\r\n\r\n' in g for g in got.values()) < now['answered']:
        for s in select.select([s for s in clients if b'\r\n\r\n' not in got[s]], [], [],
                               20 * SLOW)[0]:
            got[s] += s.recv(4096)
    assert sum(g == b'' for g in got.values()) == now['hung']
    assert sum(g.startswith(b'HTTP/1.1 500 ') for g in got.values()) == now['errors']
    assert 10 <= now['errors'] <= 80
    assert many(serve.port, 50, '/healthz') == [200] * 50
    for s in clients:
        s.close()
    wait_until(lambda: stats(serve.port)['connections'] == 1, 'all to be gone')
    control(serve.port, 'hang_rate=0&error_rate=0')
    assert many(serve.port, 50) == [200] * 50


@pytest.mark.parametrize('chunk, option', [(4096, []), (1000, ['--chunk-size', '1000']),
                                           (70000, ['--chunk-size', '70000'])])
def test_chunked(rig, chunk, option):
    serve = rig.serve(NAME, '--chunked', '--body-size', '200000', *option)
    with sent(serve.port, more='Connection: close\r\n') as s:
        head, raw = read_all(s).split(b'\r\n\r\n', 1)
    assert b'\r\nTransfer-Encoding: chunked' in head and b'Content-Length' not in head
    sizes, payload = chunks_of(raw)
    assert payload == padded(200000)
    assert sizes == [chunk] * (200000 // chunk) + ([200000 % chunk] if 200000 % chunk else [])
    assert ask(serve.port)[2] == payload
    with sent(serve.port, version='1.0') as s:
        head, body = read_all(s).split(b'\r\n\r\n', 1)
    assert b'Content-Length: 200000' in head and b'chunked' not in head and body == payload
    with sent(serve.port, method='HEAD', more='Connection: close\r\n') as s:
        assert read_all(s).endswith(b'\r\n\r\n')
    assert control(serve.port, 'chunked=0')['chunked'] == 0
    assert ask(serve.port)[1]['Content-Length'] == '200000'
    assert control(serve.port, '', {'chunked': True, 'chunk_size': '64KiB'})['chunk_size'] == 65536
    assert ask(serve.port)[1]['Transfer-Encoding'] == 'chunked'


def watch(port, drip, size):
    """A slow body, raw: no byte may come before its time. How many arrivals it took."""
    began = time.monotonic()
    with sent(port, more='Connection: close\r\n') as s:
        raw, times = b'', []
        while True:
            part = s.recv(65536)
            passed = time.monotonic() - began
            if not part:
                break
            raw += part
            head, _, body = raw.partition(b'\r\n\r\n')
            payload = body.count(b'.') + body.count(b'b1') * 2
            assert payload <= size * passed / drip, (payload, passed)
            times.append(passed)
    assert times[-1] >= drip
    return head, body, len(times)


@pytest.mark.parametrize('size', [20, 5000, 1 << 20])
def test_slow_body(rig, size):
    serve = rig.serve(NAME, '--slow-body', '400ms', '--body-size', str(size))
    head, body, arrivals = watch(serve.port, 0.4, size)
    assert b'chunked' not in head and body == padded(size)
    assert arrivals >= 4
    control(serve.port, 'chunked=1&slow_body=300')
    head, body, arrivals = watch(serve.port, 0.3, size)
    assert b'chunked' in head and chunks_of(body)[1] == padded(size)
    assert arrivals >= 4
    # many at a time, and nobody waits for them
    clients = [sent(serve.port, more='Connection: close\r\n') for _ in range(20)]
    assert takes(serve.port, '/healthz') < 5 * SLOW
    for s in clients:
        assert chunks_of(read_all(s).split(b'\r\n\r\n', 1)[1])[1] == padded(size)
        s.close()
    control(serve.port, 'slow_body=0')
    assert ask(serve.port)[2] == padded(size)


def test_status(rig):
    serve = rig.serve(NAME)
    for status in (503, 500, 404, 200, 299, 599):
        assert control(serve.port, f'status={status}')['status'] == status
        got, headers, body = ask(serve.port)
        assert (got, headers['X-Backend'], body) == (status, NAME, NAME.encode())
        assert ask(serve.port, '/healthz')[0] == 200
    control(serve.port, 'status=204')
    got, headers, body = ask(serve.port)
    assert (got, headers['Content-Length'], body) == (204, None, b'')
    control(serve.port, 'status=0')
    assert ask(serve.port)[0] == 200


def test_fail_checks(rig):
    serve = rig.serve(NAME)
    control(serve.port, '', {'fail_checks': True})
    assert ask(serve.port, '/healthz')[0] == 500 and ask(serve.port)[0] == 200
    control(serve.port, 'fail_checks=0')
    assert ask(serve.port, '/healthz')[0] == 200
    assert stats(serve.port)['checks'] == 2 and stats(serve.port)['errors'] == 0


def test_hang(rig):
    serve = rig.serve(NAME)
    control(serve.port, 'hang=1')
    reset(serve.port)
    request, check = sent(serve.port), sent(serve.port, '/healthz')
    now = wait_until(lambda: (n := stats(serve.port))['requests'] == n['checks'] == 1 and n,
                     'both to be there')
    assert (now['hung'], now['answered']) == (1, 0)
    control(serve.port, 'hang=0')
    assert ask(serve.port)[0] == 200 and ask(serve.port, '/healthz')[0] == 200
    assert silent(request) and silent(check)  # those are never answered
    request.close()
    check.close()


def test_a_stall_holds_everything(rig):
    serve = rig.serve(NAME, '--slow-body', '50', '--body-size', '1000')
    idle = open_to(serve.port)
    reset(serve.port)
    began = time.monotonic()
    assert 0 < control(serve.port, 'stall=700ms')['stall'] <= 700
    clients = [sent(serve.port, more='Connection: close\r\n') for _ in range(10)]
    clients.append(sent(serve.port, '/healthz', more='Connection: close\r\n'))
    idle.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    clients.append(idle)
    assert select.select(clients, [], [], 20 * SLOW)[0]
    assert time.monotonic() - began >= 0.7
    for s in clients:
        assert read_all(s).startswith(b'HTTP/1.1 200 OK')
        s.close()
    now = stats(serve.port)
    assert (now['requests'], now['answered'], now['checks']) == (11, 11, 1)
    assert control(serve.port)['stall'] == 0


def test_a_stall_may_be_seen_and_ended_early(rig):
    serve = rig.serve(NAME, '--delay', '5', '--jitter', '5')
    early = sent(serve.port)
    assert early.recv(4096).startswith(b'HTTP/1.1 200 OK')
    reset(serve.port)
    control(serve.port, '', {'stall': '24h'})
    early.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n')
    clients = [early] + [sent(serve.port) for _ in range(20)] + [sent(serve.port, '/healthz')]
    wait_until(lambda: (n := stats(serve.port))['requests'] == 21 and n['checks'] == 1,
               'the requests to be there')
    clients.append(sent(serve.port, 'http://[broken'))
    for _ in range(20):
        assert stats(serve.port)['answered'] == 0 and all(map(silent, clients))
    assert control(serve.port, 'stall=0')['stall'] == 0
    for s in clients:
        assert s.recv(4096).startswith(b'HTTP/1.1 400 ' if s is clients[-1] else b'HTTP/1.1 200 ')
        s.close()
    assert stats(serve.port)['answered'] == 21


# --- control ----------------------------------------------------------------------------------

@pytest.mark.parametrize('query, body, said', [
    ('dealy=5', None, 'no such setting; there are ' + ', '.join(SETTINGS)),
    ('', {'dealy': 5}, 'no such setting'),
    ('delay=x', None, 'delay: allowed is 0 to 24h'),
    ('delay=', None, 'delay: allowed is 0 to 24h'),
    ('delay', None, 'delay: allowed is 0 to 24h'),
    ('delay=5%00', None, 'delay: allowed is 0 to 24h'),
    ('delay=%zz', None, 'delay: allowed is 0 to 24h'),
    ('delay=86400001', None, 'delay: allowed is 0 to 24h'),
    ('delay=' + '9' * 40, None, 'delay: allowed is 0 to 24h'),
    ('', {'delay': -1}, 'delay: allowed is 0 to 24h'),
    ('', {'delay': 1.5}, 'delay: allowed is 0 to 24h'),
    ('', {'delay': None}, 'delay: allowed is 0 to 24h'),
    ('', {'delay': True}, 'delay: allowed is 0 to 24h'),
    ('jitter=1d', None, 'jitter: allowed is 0 to 24h'),
    ('slow_body=25h', None, 'slow_body: allowed is 0 to 24h'),
    ('stall=25h', None, 'stall: allowed is 0 to 24h'),
    ('body_size=67108865', None, 'body_size: allowed is 0 to 64MiB'),
    ('chunk_size=0', None, 'chunk_size: allowed is 1 to 64MiB'),
    ('chunked=2', None, 'chunked: allowed is 0 or 1'),
    ('hang=yes', None, 'hang: allowed is 0 or 1'),
    ('fail_checks=-1', None, 'fail_checks: allowed is 0 or 1'),
    ('status=199', None, 'status: allowed is 0 or 200 to 599'),
    ('status=600', None, 'status: allowed is 0 or 200 to 599'),
    ('error_rate=1.5', None, 'error_rate: allowed is 0 to 1'),
    ('error_rate=-0.1', None, 'error_rate: allowed is 0 to 1'),
    ('', {'error_rate': 2}, 'error_rate: allowed is 0 to 1'),
    ('', {'hang_rate': True}, 'hang_rate: allowed is 0 to 1'),
    ('hang_rate=0.7', None, 'error_rate and hang_rate: allowed is up to 1 together'),
    ('', [1], 'the body is no JSON object'),
    ('', 'text', 'the body is no JSON object'),
])
def test_a_bad_setting_is_refused_and_changes_nothing(rig, query, body, said):
    serve = rig.serve(NAME, '--error-rate', '0.5')
    before = control(serve.port)
    assert list(before) == SETTINGS
    query = 'status=404&' + query if query else ''
    if isinstance(body, dict):
        body = {'status': 404, **body}
    status, headers, text = ask(serve.port, '/__control?' + query, 'POST',
                                json.dumps(body) if body else None)
    assert status == 400 and said in text.decode(), text
    assert headers['Content-Type'] == 'text/plain'
    assert control(serve.port) == before


def test_control_is_a_post(rig):
    serve = rig.serve(NAME)
    status, headers, _ = ask(serve.port, '/__control?status=500')
    assert (status, headers['Allow']) == (405, 'POST')
    assert control(serve.port)['status'] == 0
    status, _, text = ask(serve.port, '/__control', 'POST', b'{"status": 500, "status": 404}')
    assert status == 400


def test_control_takes_what_the_options_take(rig):
    serve = rig.serve(NAME, '--delay', '7', '--jitter', '2s', '--body-size', '2KiB', '--chunked',
                      '--chunk-size', '9', '--slow-body', '3ms', '--error-rate', '0.5',
                      '--hang-rate', '0.25')
    was = {'delay': 7, 'jitter': 2000, 'body_size': 2048, 'error_rate': 0.5, 'hang_rate': 0.25,
           'chunked': 1, 'chunk_size': 9, 'slow_body': 3, 'status': 0, 'hang': 0,
           'fail_checks': 0, 'stall': 0}
    assert control(serve.port) == was
    wanted = {**was, 'delay': 1, 'jitter': 0, 'hang_rate': 0, 'status': 503, 'chunked': 0}
    wanted.pop('stall')
    assert control(serve.port, '', wanted) == {**wanted, 'stall': 0}
    query = '&'.join(f'{k}={v}' for k, v in was.items())
    assert control(serve.port, query) == was


def test_several_backends_in_one_process(rig):
    ports = [harness.free_port(), harness.free_port()]
    more = [a for n, p in enumerate(ports) for a in ('--listen', f'127.0.0.1:{p}', '--name',
                                                     f'x{n}')]
    serve = rig.serve(NAME, *more, '--body-size', '50')
    ports.insert(0, serve.port)
    names = [NAME, 'x0', 'x1']
    wait_until(lambda: serve.out().count('\n') == 3, 'the addresses')
    assert serve.out() == ''.join(f'{n} listening on 127.0.0.1:{p}\n'
                                  for n, p in zip(names, ports))
    for port, name in zip(ports, names):
        status, headers, body = ask(port)
        assert (headers['X-Backend'], body) == (name, padded(50, name))
        reset(port)
    control(ports[1], 'status=500&delay=1&body_size=9')
    control(ports[2], 'hang=1&stall=24h')
    assert many(ports[0], 20) == [200] * 20
    assert many(ports[1], 10) == [500] * 10
    hung = sent(ports[2])
    wait_until(lambda: stats(ports[2])['hung'] == 1, 'it to hang')
    assert ask(ports[0])[2] == padded(50) and ask(ports[1])[2] == padded(9, 'x0')
    assert silent(hung)
    counts = [stats(p) for p in ports]
    assert [c['name'] for c in counts] == names
    assert [c['requests'] for c in counts] == [21, 11, 1]
    assert [c['answered'] for c in counts] == [21, 11, 0]
    assert [c['errors'] for c in counts] == [0, 11, 0]
    reset(ports[0])
    assert stats(ports[1])['requests'] == 11
    hung.close()


def test_it_stops_at_once_whatever_waits(rig):
    serve = rig.serve(NAME, '--body-size', '8MiB')
    stuck = sent(serve.port)  # reads nothing
    control(serve.port, 'slow_body=24h')
    slow = sent(serve.port)
    control(serve.port, 'delay=24h')
    late = sent(serve.port)
    control(serve.port, 'hang=1')
    hung = sent(serve.port)
    wait_until(lambda: stats(serve.port)['requests'] == 4, 'them to be there')
    control(serve.port, 'stall=24h&hang=0&delay=0')
    stalled = sent(serve.port)
    wait_until(lambda: stats(serve.port)['requests'] == 5, 'the last one')
    serve.stop()
    for s in (stuck, slow, late, hung, stalled):
        s.close()


# --- plain TCP --------------------------------------------------------------------------------

def pattern(n):
    return (bytes(range(256)) * (n // 256 + 1))[:n]


def read_exactly(s, n):
    parts = []
    while n:
        part = s.recv(min(n, 1 << 20))
        assert part, f'{n} bytes are missing'
        parts.append(part)
        n -= len(part)
    return b''.join(parts)


def test_echo_sends_back_every_message(rig):
    serve = rig.serve(NAME, '--mode', 'echo')
    clients = [open_to(serve.port) for _ in range(10)]
    for size in (1, 2, 100, 65536, 300000):
        for n, s in enumerate(clients):
            s.sendall(bytes([n]) * size)
        for n, s in enumerate(clients):
            assert read_exactly(s, size) == bytes([n]) * size
    for s in clients:
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b''
        s.close()


def test_echo_keeps_a_half_close_and_every_byte_under_back_pressure(rig):
    serve = rig.serve(NAME, '--mode', 'echo')
    data = pattern(48 << 20)
    s, other = open_to(serve.port), open_to(serve.port)
    s.setblocking(False)
    at = 0
    while select.select([], [s], [], 1)[1]:  # until nothing more goes in, as nothing comes out
        at += s.send(data[at:at + (1 << 20)])
        assert at < len(data), 'it reads without end what nobody takes back'
    other.sendall(b'others are served')
    assert read_exactly(other, 17) == b'others are served'
    s.settimeout(30 * SLOW)

    def send_rest():
        s.sendall(data[at:])
        s.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send_rest)
    sender.start()
    got = read_all(s)
    sender.join()
    assert got == data
    s.close()
    other.close()


def test_echo_survives_a_reset(rig):
    serve = rig.serve(NAME, '--mode', 'echo')
    for _ in range(20):
        s = open_to(serve.port)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        s.setblocking(False)
        while select.select([], [s], [], 0)[1]:
            s.send(b'x' * 65536)
        s.close()
    with open_to(serve.port) as s:
        s.sendall(b'still')
        assert read_exactly(s, 5) == b'still'


def test_sink_takes_all_and_says_nothing(rig):
    serve = rig.serve(NAME, '--mode', 'sink')
    s = open_to(serve.port)
    block = b'x' * (1 << 20)
    for _ in range(64):
        s.sendall(block)
    assert silent(s)
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b''
    s.close()


def test_source_begins_with_the_first_byte_and_does_not_end(rig):
    serve = rig.serve(NAME, '--mode', 'source')
    quiet, s = open_to(serve.port), open_to(serve.port)
    s.sendall(b'go')
    assert read_exactly(s, 8 << 20) == pattern(8 << 20)
    s.sendall(b'more')  # is nothing new
    s.shutdown(socket.SHUT_WR)
    assert read_exactly(s, 8 << 20) == pattern(8 << 20)
    slow = open_to(serve.port)
    slow.sendall(b'x')
    assert read_exactly(slow, 1) == b'\0'
    assert read_exactly(s, 24 << 20) == pattern(24 << 20)  # nobody waits for the slow one
    assert read_exactly(slow, 1 << 20) == pattern((1 << 20) + 1)[1:]
    assert silent(quiet)
    quiet.shutdown(socket.SHUT_WR)  # without a byte there is nothing to say
    assert quiet.recv(1) == b''
    for one in (quiet, s, slow):
        one.close()


def test_several_plain_backends_in_one_process(rig):
    port = harness.free_port()
    serve = rig.serve(NAME, '--mode', 'echo', '--listen', f'127.0.0.1:{port}', '--name', 'b2')
    for p in (serve.port, port):
        with open_to(p) as s:
            s.sendall(b'hello')
            assert read_exactly(s, 5) == b'hello'
    left = open_to(port)  # is open when it stops
    left.sendall(b'x')
    assert read_exactly(left, 1) == b'x'
    serve.stop()
    assert left.recv(1) == b''
    left.close()
