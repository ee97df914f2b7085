"""bench/compare/forwarder, the bare forwarder that bench/compare/compare measures beside the proxies: a byte lost or
an end not passed on would make its figures worthless."""

import socket
import struct
import threading

import pytest

import harness
import pace
from harness import FORWARDER, run

MODES = pytest.mark.parametrize('mode', [(), ('--splice',)], ids=['copy', 'splice'])


class Peer:
    """A backend: accepted connections, one after another."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', harness.free_port()))
        self.listener.settimeout(pace.upper(15))
        self.port = self.listener.getsockname()[1]

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(pace.upper(30))
        return connection

    def close(self):
        self.listener.close()


@pytest.fixture
def forward(tmp_path):
    """forward(mode, backends=1): the forwarder's port and its backends."""
    daemons, peers = [], []

    def start(mode, backends=1):
        peers.extend(Peer() for _ in range(backends))
        port = harness.free_port()
        daemon = harness.Daemon([FORWARDER, *mode, str(port), *(str(p.port) for p in peers)],
                                tmp_path, 'forwarder').start()
        daemons.append(daemon)
        # looked up, as a connection to try it would be forwarded
        harness.wait_until(lambda: listens(port) or not daemon.running(), 'the forwarder')
        assert daemon.running(), daemon.err()
        return port, peers

    yield start
    for daemon in daemons:
        daemon.signal(15)
        assert daemon.wait() == 0, daemon.err()
        assert daemon.err() == ''
    for peer in peers:
        peer.close()


def listens(port):
    with open('/proc/net/tcp', encoding='ascii') as f:
        return any(line.split()[1].endswith(f':{port:04X}') and line.split()[3] == '0A'
                   for line in f)


def client(port):
    return socket.create_connection(('127.0.0.1', port), timeout=pace.upper(30))


def read_all(connection, into, step=65536):
    while data := connection.recv(step):
        into += data


def pattern(n, seed):
    return b''.join(struct.pack('<II', seed, i) for i in range(n // 8))


@MODES
def test_bytes_arrive_in_order_both_ways_at_once(forward, mode):
    port, (peer,) = forward(mode)
    up, down = pattern(8 << 20, 1), pattern(8 << 20, 2)
    with client(port) as near, peer.accept() as far:
        got_up, got_down = bytearray(), bytearray()
        readers = [threading.Thread(target=read_all, args=(far, got_up)),
                   threading.Thread(target=read_all, args=(near, got_down, 5000))]
        writers = [threading.Thread(target=lambda: (near.sendall(up), near.shutdown(1))),
                   threading.Thread(target=lambda: (far.sendall(down), far.shutdown(1)))]
        for t in readers + writers:
            t.start()
        for t in readers + writers:
            t.join(pace.upper(60))
        assert got_up == up and got_down == down


@MODES
def test_what_nobody_reads_is_not_read_for_them(forward, mode):
    """A sender is held up once the buffers on the way are full, and all arrives in the end."""
    port, (peer,) = forward(mode)
    with client(port) as near, peer.accept() as far:
        near.settimeout(pace.upper(0.3))
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 << 20:
                sent += near.send(b'x' * 65536)
        near.shutdown(socket.SHUT_WR)
        got = bytearray()
        read_all(far, got)
        assert len(got) == sent


@MODES
def test_an_end_is_passed_on_and_the_other_way_stays_open(forward, mode):
    port, (peer,) = forward(mode)
    with client(port) as near, peer.accept() as far:
        near.sendall(b'question')
        near.shutdown(socket.SHUT_WR)
        got = bytearray()
        read_all(far, got)
        assert got == b'question'
        far.sendall(b'answer')
        far.shutdown(socket.SHUT_WR)
        got = bytearray()
        read_all(near, got)
        assert got == b'answer'


@MODES
def test_a_reset_ends_both_sides(forward, mode):
    port, (peer,) = forward(mode)
    with client(port) as near, peer.accept() as far:
        near.sendall(b'x')
        assert far.recv(10) == b'x'
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        near.close()
        assert far.recv(10) == b''


@MODES
def test_a_backend_that_is_gone_ends_the_client(forward, mode):
    port, (peer,) = forward(mode)
    peer.close()
    with client(port) as near:
        try:
            assert near.recv(10) == b''
        except ConnectionResetError:
            pass


@MODES
def test_backends_take_turns(forward, mode):
    port, peers = forward(mode, backends=3)
    for _ in range(2):
        for peer in peers:
            with client(port) as near, peer.accept() as far:
                near.sendall(b'whose turn?')
                assert far.recv(20) == b'whose turn?'


@pytest.mark.parametrize('arguments', [(), ('1',), ('0', '1'), ('1', '65536'), ('1', 'x'), ('-1', '2'),
                                       ('--other', '1', '2')])
def test_bad_usage(arguments):
    done = run(*arguments, program=FORWARDER)
    assert done.returncode == 2 and done.stderr.rstrip().endswith('copy.')


def test_a_port_in_use_is_an_error():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        done = run(taken.getsockname()[1], 1, program=FORWARDER)
    assert done.returncode == 1 and 'bind: Address already in use' in done.stderr
