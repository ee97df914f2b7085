"""ringbench http: every request is counted once, keys land where they are to, stalls show."""

import json
import math
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from harness import RINGBENCH, SLOW, free_port, run, wait_until

def bench(*arguments, deadline=60, expect=0):
    done = run('http', *arguments, program=RINGBENCH, deadline=deadline)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def measured(tmp_path, *arguments, deadline=60, expect=0):
    """The JSON of a run; what must always hold of it is asserted here."""
    path = tmp_path / 'result.json'
    bench(*arguments, '--json', path, deadline=deadline, expect=expect)
    r = json.loads(path.read_text())
    assert r['sent'] == r['answered'] + r['failed']
    assert r['failed'] == sum(r['errors'].values())
    assert r['answered'] == sum(r['statuses'].values())
    assert r['answered'] == sum(n for _, n in r['histogram'])
    assert r['answered'] == sum(b['answers'] for b in r['backends']) + r['unnamed']
    line = r['timeline']
    assert sum(line['answered']) == r['answered'] and sum(line['failed']) == r['failed']
    assert sum(line['moves']) == r['keys']['moves']
    for b in r['backends']:
        assert sum(line['backends'][b['name']]) == b['answers']
    return r


def url(server, path='/'):
    return f'http://127.0.0.1:{server.port}{path}'


def stats(server):
    _, _, text = harness.Admin(server.port).request('GET', '/__stats')
    return json.loads(text)


# --- counts -----------------------------------------------------------------------------------

@pytest.mark.parametrize('more', [
    (), ('--connections', 1), ('--threads', 3, '--connections', 7), ('--close',),
    ('--pipeline', 16), ('--pipeline', 5, '--threads', 2, '--connections', 3),
    ('--rate', 2000), ('--rate', 2000, '--threads', 2, '--close'),
    ('--method', 'HEAD'), ('--body', 'hello'), ('--body-size', '100KiB', '--connections', 4),
], ids=str)
def test_counts_reconcile_with_the_servers_own(rig, tmp_path, more):
    server = rig.serve('b1')
    r = measured(tmp_path, url(server), '--requests', 1500, *more)
    assert r['sent'] == r['answered'] == 1500
    assert r['statuses'] == {'200': 1500}
    assert stats(server)['requests'] == 1500
    assert r['backends'] == [{'name': 'b1', 'answers': 1500, 'share': 1.0}]
    if '--close' in more:
        assert r['connects'] >= 1500


@pytest.mark.threads
def test_counts_reconcile_when_the_duration_ends_it(rig, tmp_path):
    server = rig.serve('b1')
    r = measured(tmp_path, url(server), '--duration', '1s', '--threads', 2)
    assert r['failed'] == 0 and r['answered'] > 100
    assert stats(server)['requests'] == r['sent']
    assert 1.0 <= r['send_seconds'] <= 1.1 and r['seconds'] >= r['send_seconds']


def test_counts_reconcile_when_it_is_interrupted(rig, tmp_path):
    server = rig.serve('b1')
    path = tmp_path / 'r.json'
    p = subprocess.Popen([RINGBENCH, 'http', url(server), '--duration', '1h', '--json', str(path)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: stats(server)['requests'] > 100, 'the load')
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30 * SLOW)
    assert p.returncode == 0, err
    r = json.loads(path.read_text())
    assert r['sent'] == r['answered'] == stats(server)['requests']


@pytest.mark.threads
def test_second_interrupt_breaks_off_what_is_on_its_way(rig, tmp_path):
    server = rig.serve('b1', '--delay', '3600000')
    path = tmp_path / 'r.json'
    p = subprocess.Popen([RINGBENCH, 'http', url(server), '--duration', '1h', '--connections', '8',
                          '--timeout', '1h', '--json', str(path)], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    wait_until(lambda: stats(server)['requests'] == 8, 'the requests')
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGTERM)  # two of the same may become one
    out, err = p.communicate(timeout=30 * SLOW)
    assert p.returncode == 1, (out, err)  # nothing was answered
    r = json.loads(path.read_text())
    assert r['errors']['unfinished'] == r['sent'] == r['failed'] == 8
    assert r['latency_us'] is None and r['balance'] is None


# --- failures ---------------------------------------------------------------------------------

def raw(answer, then='close'):
    """A scripted server that sends these bytes to every request, and keeps, closes or resets."""
    def serve(connection):
        while True:
            data = b''
            while b'\r\n\r\n' not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            connection.sendall(answer)
            if then == 'reset':
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      b'\1\0\0\0\0\0\0\0')
            if then != 'keep':
                return
    return serve


class RawServer:
    """A thread a connection, each run through the script."""

    def __init__(self, script):
        self.script = script
        self.sock = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                self.script(connection)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'


@pytest.mark.parametrize('answer, then, kind', [
    (b'', 'close', 'closed'), (b'HTTP/1.1 200 OK\r\n', 'close', 'closed'),
    (OK[:-1], 'close', 'closed'), (b'', 'reset', 'reset'), (b'rubbish\r\n\r\n', 'keep', 'malformed'),
    (OK[:-1], 'keep', 'timeout'), (b'', 'keep', 'timeout'),
])
def test_failures_are_told_by_kind(tmp_path, answer, then, kind):
    with RawServer(raw(answer, then)) as server:
        r = measured(tmp_path, url(server), '--requests', 20, '--connections', 4,
                     '--timeout', '300ms' if kind == 'timeout' else '10s', expect=1)
    assert r['failed'] == r['errors'][kind] == 20


def test_answers_that_close_are_no_failures(tmp_path):
    with RawServer(raw(b'HTTP/1.1 200 OK\r\n\r\nto the end')) as server:
        r = measured(tmp_path, url(server), '--requests', 50, '--connections', 4)
    assert r['answered'] == 50 and r['connects'] >= 50


def test_what_was_pipelined_behind_a_closing_answer_is_sent_again(tmp_path):
    closing = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'
    with RawServer(raw(closing)) as server:
        r = measured(tmp_path, url(server), '--requests', 60, '--connections', 2, '--pipeline', 8)
    assert r['answered'] == r['sent'] == 60


def test_refused_and_error_answers_are_answers(rig, tmp_path):
    server = rig.serve('b1')
    harness.Admin(server.port).request('POST', '/__control?status=503')
    r = measured(tmp_path, url(server), '--requests', 100)
    assert r['statuses'] == {'503': 100} and r['failed'] == 0
    assert sum(r['timeline']['refused']) == 100


def test_nobody_there_is_exit_1(tmp_path):
    port = free_port()
    done = bench(f'http://127.0.0.1:{port}/', '--duration', '1s', expect=1)
    assert f'connect 127.0.0.1:{port}: connection refused' in done.stderr


def test_server_that_goes_away_and_comes_back(rig, tmp_path):
    server = rig.serve('b1')
    path = tmp_path / 'r.json'
    p = subprocess.Popen([RINGBENCH, 'http', url(server), '--duration', '1h', '--connections', '4',
                          '--json', str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: stats(server)['requests'] > 50, 'the load')
    server.kill()
    server.start()
    wait_until(lambda: stats(server)['requests'] > 50, 'the load to go on')
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30 * SLOW)
    assert p.returncode == 0, err
    r = json.loads(path.read_text())
    assert r['sent'] == r['answered'] + r['failed'] and 0 < r['failed'] < r['answered']
    assert r['connects'] >= 8


# --- keys -------------------------------------------------------------------------------------

@pytest.mark.parametrize('place', ['header:X-Key', 'query:k', 'cookie:sid', 'path'])
def test_keys_stand_where_they_are_to(rig, tmp_path, place):
    """ringproxy hashes from the same place: each key meets the backend that `route` names."""
    backends = [rig.serve(f'b{i}') for i in range(3)]
    proxy = rig.proxy(backends, listener={'key': place})
    keys = [f'key{i}' for i in range(60)]
    r = measured(tmp_path, url(proxy), '--requests', 600, '--keys', 60, '--key-dist', 'sequential',
                 '--key-in', place)
    home = harness.route(proxy.config, [f'/{k}' for k in keys] if place == 'path' else keys)
    share = {b: sum(10 for k in home if home[k] == b) for b in ('b0', 'b1', 'b2')}
    assert {b['name']: b['answers'] for b in r['backends']} == share
    assert r['keys'] == {'asked': 60, 'moved': 0, 'moves': 0}


@pytest.mark.threads
def test_moved_keys_are_told(rig, tmp_path):
    backends = [rig.serve(f'b{i}') for i in range(3)]
    proxy = rig.proxy(backends, listener={'key': 'header:X-Key'})
    keys = [f'key{i}' for i in range(50)]
    home = harness.route(proxy.config, keys)
    path = tmp_path / 'r.json'
    p = subprocess.Popen([RINGBENCH, 'http', url(proxy), '--duration', '1h', '--keys', '50',
                          '--key-dist', 'sequential', '--threads', '2', '--json', str(path)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: stats(backends[1])['requests'] > 200, 'the load')
    proxy.post('b1', 'drain')
    before = stats(backends[0])['requests']
    wait_until(lambda: stats(backends[0])['requests'] > before + 300, 'the load to go on')
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30 * SLOW)
    assert p.returncode == 0, err
    r = json.loads(path.read_text())
    moved = {k for k in keys if home[k] == 'b1'}
    assert r['failed'] == 0
    assert r['keys']['moved'] == len(moved)
    assert {m['key'] for m in r['moves']} == moved
    first = {}
    for m in r['moves']:  # a late answer of b1 on another connection may make a key move twice
        first.setdefault(m['key'], m['from'])
    assert set(first.values()) == {'b1'}
    assert b'changed their backend' in out


@pytest.mark.parametrize('place, answer', [
    ('body', b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nb9 is me'),
    ('header:X-Who', b'HTTP/1.1 200 OK\r\nX-Who: b9\r\nContent-Length: 0\r\n\r\n'),
])
def test_backend_is_read_where_it_is_told(tmp_path, place, answer):
    with RawServer(raw(answer, 'keep')) as server:
        r = measured(tmp_path, url(server), '--requests', 10, '--backend-from', place)
    assert r['backends'] == [{'name': 'b9', 'answers': 10, 'share': 1.0}]


def test_keys_from_a_file(rig, tmp_path):
    server = rig.serve('b1')
    (tmp_path / 'keys').write_text('a\nb\nc\n')
    r = measured(tmp_path, url(server), '--requests', 9, '--key-dist', f'file:{tmp_path}/keys')
    assert r['keys']['asked'] == 3


# --- honest latency ---------------------------------------------------------------------------

def quantile(r, q):
    return r['latency_us'][f'p{q:g}'] / 1e6


def test_open_loop_shows_a_stall_in_every_request_it_held_up(rig, tmp_path):
    """The server stands still for a second. Of requests due evenly over `duration` seconds those due
    within the stall wait for the rest of it: their waits are spread evenly from 0 to its length."""
    server = rig.serve('b1')
    duration, rate = 8, 400
    path = tmp_path / 'r.json'
    p = subprocess.Popen([RINGBENCH, 'http', url(server), '--duration', f'{duration}s', '--rate',
                          str(rate), '--connections', '16', '--json', str(path)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: stats(server)['requests'] > rate, 'the load')
    began = time.monotonic()
    server.signal(signal.SIGSTOP)
    while time.monotonic() < began + 1:  # the stall itself, not a wait for something
        time.sleep(0.01)
    server.signal(signal.SIGCONT)
    stall = time.monotonic() - began
    _, err = p.communicate(timeout=60 * SLOW)
    assert p.returncode == 0, err
    r = json.loads(path.read_text())
    assert r['sent'] == r['answered'] == duration * rate
    for q in (99, 99.9):
        expected = stall - (1 - q / 100) * duration
        assert expected - 0.05 <= quantile(r, q) <= expected + 0.3 * SLOW, (q, stall, r['latency_us'])
    assert r['latency_us']['max'] / 1e6 >= stall - 0.05
    assert quantile(r, 50) < 0.25
    # held up: every request that was due within the stall
    slow = sum(n for us, n in r['histogram'] if us > 0.1e6)
    assert slow >= (stall - 0.15) * rate


@pytest.mark.threads
def test_rate_is_held(rig, tmp_path):
    server = rig.serve('b1')
    r = measured(tmp_path, url(server), '--duration', '3s', '--rate', '1000', '--threads', '2')
    assert r['sent'] + r['unsent'] == 3000
    assert math.isclose(r['sent'] / r['send_seconds'], 1000, rel_tol=0.01)


def test_a_stall_at_the_end_shows_too(rig, tmp_path):
    server = rig.serve('b1', '--delay', '500')
    r = measured(tmp_path, url(server), '--duration', '1s', '--rate', '8', '--connections', 1)
    assert r['sent'] == 8 and r['unsent'] == 0 and r['failed'] == 0
    assert quantile(r, 50) > 0.9  # one after the other, half a second each


def test_few_requests_have_the_rate_that_was_asked(rig, tmp_path):
    server = rig.serve('b1')
    r = measured(tmp_path, url(server), '--requests', 5, '--rate', 10, '--threads', 2)
    assert r['sent'] == 5 and 0.4 <= r['send_seconds'] <= 0.6


def test_bytes_that_nobody_asked_for_are_told(tmp_path):
    with RawServer(raw(OK + b'junk', 'keep')) as server:
        r = measured(tmp_path, url(server), '--requests', 10, '--connections', 1)
    assert r['answered'] == 10 and r['unasked'] == 10


def test_without_descriptors_it_says_so(rig):
    server = rig.serve('b1')
    done = subprocess.run(['bash', '-c', 'ulimit -n 60; exec "$@"', '-', RINGBENCH, 'http',
                           url(server), '--connections', '100', '--duration', '1s'],
                          capture_output=True, text=True, timeout=60 * SLOW, check=False)
    assert done.returncode == 1 and 'too many open files' in done.stderr


def test_rate_beyond_what_a_server_can_is_told(rig, tmp_path):
    server = rig.serve('b1', '--delay', '100')
    r = measured(tmp_path, url(server), '--duration', '1s', '--rate', '1000', '--connections', 10,
                 '--timeout', '2s')
    assert r['unsent'] > 400 and r['sent'] + r['unsent'] == 1000
    assert quantile(r, 90) > 0.3  # most of the wait was before they were sent


# --- bad usage --------------------------------------------------------------------------------

@pytest.mark.parametrize('arguments, say', [
    ((), 'no URL'), (('https://127.0.0.1/',), 'http://'), (('127.0.0.1:80',), 'http://'),
    (('http:///',), 'host'), (('http://127.0.0.1:0/',), 'address'),
    (('http://127.0.0.1:1/', '--connections', '0'), '--connections 0: allowed 1'),
    (('http://127.0.0.1:1/', '--threads', '2', '--connections', '1'), '--connections'),
    (('http://127.0.0.1:1/', '--duration', '10'), '--duration 10: allowed'),
    (('http://127.0.0.1:1/', '--rate', '-1'), '--rate'),
    (('http://127.0.0.1:1/', '--rate', 'nan'), '--rate'),
    (('http://127.0.0.1:1/', '--rate', '0.0001'), '--rate'),
    (('http://127.0.0.1:1/', '--body', 'a', '--body-size', '5'), 'one body'),
    (('http://127.0.0.1:1/', '--key-in', 'body'), '--key-in body'),
    (('http://127.0.0.1:1/', '--keys', '5', '--key-dist', 'zipf:'), 'zipf:S'),
    (('http://127.0.0.1:1/', '--key-dist', 'file:/nonexistent'), '/nonexistent'),
    (('http://127.0.0.1:1/', '--header', 'Content-Length: 3'), '--header'),
    (('http://127.0.0.1:1/', '--header', 'A: b\r\nC: d'), '--header'),
    (('http://127.0.0.1:1/', '--body', '@/nonexistent'), '/nonexistent'),
    (('http://127.0.0.1:1/', '--close', '--pipeline', '2'), '--pipeline'),
    (('http://127.0.0.1:1/a b',), 'visible ASCII'), (('http://127.0.0.1:1/', 'x'), 'x'),
    (('http://no-such-name.invalid/',), 'no-such-name.invalid'),
])
def test_bad_usage_is_exit_2_with_a_reason(arguments, say):
    done = bench(*arguments, expect=2)
    assert say in done.stderr, done.stderr


def test_unwritable_json_is_exit_1(rig):
    server = rig.serve('b1')
    done = bench(url(server), '--requests', 1, '--json', '/nonexistent/x.json', expect=1)
    assert '/nonexistent/x.json' in done.stderr
