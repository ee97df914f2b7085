"""ringbench tcp: messages come back whole and are counted, bytes go both ways."""

import json
import signal
import socket
import subprocess
import threading

import pytest

from harness import RINGBENCH, SLOW, free_port, run, wait_until


class Server:
    """Sends back, sends without end, or reads: a thread a connection, which counts."""

    def __init__(self, mode, limit=None):
        self.mode, self.limit, self.received = mode, limit, 0
        self.sock = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        left = self.limit
        with connection:
            try:
                while left is None or left > 0:
                    data = connection.recv(65536)
                    if not data:
                        return
                    self.received += len(data)
                    if self.mode == 'echo':
                        connection.sendall(data)
                    elif self.mode == 'wrong':
                        connection.sendall(b'?' * len(data))
                    while self.mode == 'source':
                        connection.sendall(b'x' * 65536)
                    left = left and left - len(data)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def measured(tmp_path, *arguments, expect=0):
    path = tmp_path / 'result.json'
    done = run('tcp', *arguments, '--json', path, program=RINGBENCH)
    assert done.returncode == expect, (done.stdout, done.stderr)
    return json.loads(path.read_text())


@pytest.mark.parametrize('size, more', [(1, ()), (128, ('--threads', 2)), (128, ('--pipeline', 8)),
                                        (200000, ('--connections', 3)), (50, ('--rate', 1000))])
def test_every_message_comes_back(tmp_path, size, more):
    with Server('echo') as server:
        r = measured(tmp_path, server.address, '--requests', 300, '--size', size, *more)
        assert r['sent'] == r['answered'] == 300 and r['failed'] == 0
        assert r['bytes_in'] == r['bytes_out'] == server.received == 300 * size
        assert sum(n for _, n in r['histogram']) == 300


def test_what_comes_back_changed_is_no_answer(tmp_path):
    with Server('wrong') as server:
        r = measured(tmp_path, server.address, '--requests', 10, expect=1)
        assert r['failed'] == r['errors']['malformed'] == 10


@pytest.mark.parametrize('mode, direction', [('source', 'down'), ('sink', 'up'), ('echo', 'both')])
def test_bulk_moves_bytes(tmp_path, mode, direction):
    with Server(mode) as server:
        r = measured(tmp_path, server.address, '--mode', 'bulk', '--direction', direction,
                     '--duration', '1s', '--connections', 3)
        assert (r['bytes_in'] > 100000) == (direction != 'up')
        assert (r['bytes_out'] > 100000) == (direction != 'down')
        assert r['failed'] == 0
        assert sum(r['timeline']['bytes_in']) == r['bytes_in']
        assert sum(r['timeline']['bytes_out']) == r['bytes_out']
        assert 0.9 <= r['seconds'] <= 1.5 * SLOW


def test_connections_that_end_early_are_told(tmp_path):
    with Server('sink', limit=100000) as server:
        r = measured(tmp_path, server.address, '--mode', 'bulk', '--direction', 'up',
                     '--duration', '1h', '--connections', 2)
        assert r['failed'] == 2 and r['errors']['reset'] + r['errors']['closed'] == 2


def test_interrupted_bulk_tells_what_it_has(tmp_path):
    path = tmp_path / 'r.json'
    with Server('sink') as server:
        p = subprocess.Popen([RINGBENCH, 'tcp', server.address, '--mode', 'bulk', '--direction',
                              'up', '--duration', '1h', '--json', str(path)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: server.received > 1000000, 'bytes')
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=30 * SLOW)
    assert p.returncode == 0, err
    assert json.loads(path.read_text())['bytes_out'] > 1000000


@pytest.mark.parametrize('mode', ['ping-pong', 'bulk'])
def test_nobody_there_is_exit_1(mode):
    port = free_port()
    done = run('tcp', f'127.0.0.1:{port}', '--mode', mode, '--duration', '1s', program=RINGBENCH)
    assert done.returncode == 1
    assert f'connect 127.0.0.1:{port}: connection refused' in done.stderr.lower()


@pytest.mark.parametrize('arguments, say', [
    ((), 'no target'), (('x',), 'address'), (('127.0.0.1:1', 'y'), 'y'),
    (('127.0.0.1:1', '--mode', 'x'), 'ping-pong, bulk'),
    (('127.0.0.1:1', '--size', '0'), '1 to 1MiB'),
    (('127.0.0.1:1', '--direction', 'up'), '--mode bulk'),
    (('127.0.0.1:1', '--mode', 'bulk', '--direction', 'x'), 'down, up, both'),
    (('127.0.0.1:1', '--mode', 'bulk', '--rate', '5'), '--mode bulk'),
    (('127.0.0.1:1', '--close'), '--close'),
])
def test_bad_usage_is_exit_2_with_a_reason(arguments, say):
    done = run('tcp', *arguments, program=RINGBENCH)
    assert done.returncode == 2 and say in done.stderr, done.stderr
