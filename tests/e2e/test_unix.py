"""Unix-domain sockets: clients and backends on them, and what becomes of their files."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import stat
import subprocess

import pytest

import harness
from client import Broken, Client
from harness import wait_until


def curl(path, *arguments):
    done = subprocess.run(['curl', '-sS', '--max-time', '30', '--unix-socket', str(path),
                           *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def get(path, target='/', fields=(), **more):
    with Client(str(path)) as c:
        return c.request('GET', target, fields, **more)


def unix_proxy(rig, backends, path, **more):
    return rig.proxy(backends, listen=f'unix:{path}', **more)


@pytest.fixture
def folder(tmp_path_factory):
    """For sockets: their paths must be short."""
    return tmp_path_factory.mktemp('s')


def echo(ex):
    body = ex.read_body()
    ex.answer(body=body or ex.request.target.encode())


# --- traffic ----------------------------------------------------------------------------------

def test_http_goes_through_unix_sockets_on_both_sides(rig, folder):
    backend = rig.backend('b1', echo, path=folder / 'b1')
    unix_proxy(rig, [backend], folder / 'web')
    assert curl(folder / 'web', 'http://x/hello') == b'/hello'
    body = os.urandom(1 << 20)
    with Client(str(folder / 'web')) as c:
        for number in range(20):
            assert c.request(target=f'/{number}').text == f'/{number}'
        assert c.request('POST', body=body).body == body
        c.send_request(target='/one')
        c.send_request(target='/two')
        assert (c.answer().text, c.answer().text) == ('/one', '/two')
        c.send(b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
               b'3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n')
        assert c.answer().text == 'abcdefg'


def test_nginx_on_unix_sockets_is_routed_to_as_route_says(rig, folder):
    backends = [rig.nginx(f'b{i}', listen=f'unix:{folder}/b{i}') for i in (1, 2, 3)]
    proxy = rig.proxy(backends, listener={'key': ['header:X-Key']})
    keys = [f'key-{i}' for i in range(300)]
    expected = harness.route(proxy.config, keys)
    assert set(expected.values()) == {'b1', 'b2', 'b3'}
    with Client(proxy.port) as c:
        got = {key: c.request(fields={'X-Key': key}).text for key in keys}
    assert got == expected


def test_a_client_on_a_unix_socket_has_no_address(rig, folder):
    backend = rig.backend('b1', path=folder / 'b1')
    proxy = unix_proxy(rig, [backend], folder / 'web', listener={'key': 'source_ip'})
    get(folder / 'web')
    get(folder / 'web', fields={'X-Forwarded-For': '192.0.2.1'})
    assert [r.get('X-Forwarded-For') for r in backend.served()] == ['unix:', '192.0.2.1, unix:']
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 2


def test_the_host_of_a_unix_backend_is_localhost(rig, folder):
    backend = rig.backend('b1', path=folder / 'b1')
    unix_proxy(rig, [backend], folder / 'web')
    answer = get(folder / 'web', host=None, version='HTTP/1.0')
    assert answer.status == 200
    assert backend.served()[0].get('Host') == 'localhost'
    assert {r.get('Host') for r in backend.checks} == {'localhost'}


def test_a_tunnel_goes_through_unix_sockets(rig, folder):
    def upgrade(ex):
        ex.send(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')
        while data := ex.sock.recv(65536):
            ex.send(data.upper())
        ex.send(b'the end')
        ex.close()

    backend = rig.backend('b1', upgrade, path=folder / 'b1')
    unix_proxy(rig, [backend], folder / 'web')
    with Client(str(folder / 'web')) as c:
        assert c.request(fields={'Connection': 'Upgrade', 'Upgrade': 'x'}).status == 101
        c.send(b'some words')
        assert c.reader.exactly(10) == b'SOME WORDS'
        c.sock.shutdown(socket.SHUT_WR)
        assert c.reader.rest() == b'the end'


def test_an_answer_cut_on_a_unix_socket_does_not_look_whole(rig, folder):
    def cut(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this')
        ex.close()

    backend = rig.backend('b1', cut, path=folder / 'b1')
    unix_proxy(rig, [backend], folder / 'web')
    with pytest.raises((Broken, ConnectionResetError)):
        get(folder / 'web')


def test_no_client_of_a_unix_socket_is_lost_between_workers(rig, folder):
    backend = rig.backend('b1', path=folder / 'b1')
    unix_proxy(rig, [backend], folder / 'web', top={'workers': 4})

    def some(number):
        return sum(get(folder / 'web', f'/{number}/{i}').status == 200 for i in range(50))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(some, range(8))) == 400
    assert len(backend.served()) == 400


def test_a_unix_backend_that_dies_is_replaced_and_returns(rig, folder):
    backend = rig.backend('b1', path=folder / 'b1')
    standby = rig.backend('s1', path=folder / 's1')
    proxy = unix_proxy(rig, [backend], folder / 'web', standbys=[standby])
    assert get(folder / 'web').text == 'b1'
    backend.stop()  # its file stays, nobody answers it
    proxy.wait_serving('s1', 'b1')
    assert proxy.server('b1')['last_check']['reason'] == 'connection refused'
    assert proxy.server('b1')['address'] == f'unix:{folder}/b1'
    assert get(folder / 'web').text == 's1'
    backend.start()
    proxy.wait_serving('b1', 'b1')
    assert get(folder / 'web').text == 'b1'
    (folder / 'b1').unlink()
    proxy.wait_serving('s1', 'b1')
    assert proxy.server('b1')['last_check']['reason'] == 'no such file or directory'


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_a_unix_backend_with_a_full_queue_is_passed_over(rig, folder, mode):
    """And it is its failure."""
    with socket.socket(socket.AF_UNIX) as full, contextlib.ExitStack() as waiting:
        full.bind(str(folder / 'full'))
        full.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                s = waiting.enter_context(socket.socket(socket.AF_UNIX))
                s.setblocking(False)
                s.connect(str(folder / 'full'))
        other = rig.backend('b2', path=folder / 'b2')
        proxy = rig.proxy([{'name': 'b1', 'address': f'unix:{folder}/full'}, other],
                          pool={'health': harness.CHECK_OFF, 'passive': {'failures': 3}},
                          listener={'mode': mode}, top={'workers': 1})
        for _ in range(8):  # without a key, in turn
            with Client(proxy.port) as c:
                assert c.request('GET', '/').text == 'b2'
        proxy.wait_state('b1', 'down')
        assert proxy.server('b1')['errors'] >= 3


# --- files ------------------------------------------------------------------------------------

def files(folder):
    return sorted(p.name for p in pathlib.Path(folder).iterdir())


def refused(proxy, path):
    """A start that ends with 1; what it said."""
    done = harness.run('run', '-c', proxy.config)
    assert done.returncode == 1, done.stderr
    assert f'listener web: bind unix:{path}: ' in done.stderr, done.stderr
    return done.stderr


def test_a_clean_stop_leaves_no_files(rig, folder):
    proxy = unix_proxy(rig, [rig.backend('b1')], folder / 'web')
    assert stat.S_ISSOCK(os.stat(folder / 'web').st_mode)
    proxy.stop()
    assert files(folder) == []


def test_what_a_killed_proxy_left_is_replaced(rig, folder):
    backend = rig.backend('b1')
    proxy = unix_proxy(rig, [backend], folder / 'web')
    proxy.kill()
    assert 'web' in files(folder)
    unix_proxy(rig, [backend], folder / 'web')
    assert get(folder / 'web').text == 'b1'


def test_a_path_that_is_served_is_refused_to_a_second(rig, folder):
    backend = rig.backend('b1')
    first = unix_proxy(rig, [backend], folder / 'web')
    second = unix_proxy(rig, [backend], folder / 'web', start=False)
    said = refused(second, folder / 'web')
    assert 'address already in use' in said.lower()
    assert get(folder / 'web').text == 'b1'
    first.stop()
    assert files(folder) == []
    second.start()
    assert get(folder / 'web').text == 'b1'


def test_a_path_that_another_program_serves_is_refused(rig, folder):
    other = rig.nginx('other', listen=f'unix:{folder}/web')
    proxy = unix_proxy(rig, [rig.backend('b1')], folder / 'web', start=False)
    said = refused(proxy, folder / 'web')
    assert 'address already in use' in said.lower()
    assert harness.accepts_at(other.address)
    assert files(folder) == ['web']


def test_a_file_that_is_no_socket_is_left_alone(rig, folder):
    (folder / 'web').write_text('precious')
    proxy = unix_proxy(rig, [rig.backend('b1')], folder / 'web', start=False)
    assert 'no socket' in refused(proxy, folder / 'web')
    assert (folder / 'web').read_text() == 'precious'
    assert files(folder) == ['web']


def test_a_folder_that_is_not_there_is_an_error(rig, folder):
    proxy = unix_proxy(rig, [rig.backend('b1')], folder / 'none/web', start=False)
    assert 'no such file or directory' in refused(proxy, folder / 'none/web').lower()


def test_of_two_that_start_at_once_one_serves(rig, folder):
    backend = rig.backend('b1')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / 'web'))  # and gone: the stale file that both find
    two = [unix_proxy(rig, [backend], folder / 'web', start=False) for _ in range(2)]
    for proxy in two:
        proxy.start(ready=False)
    loser = wait_until(lambda: next((p for p in two if not p.running()), None), 'one to give up')
    winner = two[1 - two.index(loser)]
    loser.check_end(expect=1)
    wait_until(winner.ready, 'the other to be ready')
    assert get(folder / 'web').text == 'b1'


def test_the_socket_of_a_successor_is_not_removed(rig, folder):
    backend = rig.backend('b1')
    proxy = unix_proxy(rig, [backend], folder / 'web')
    (folder / 'web').unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / 'web'))
        other.listen()
        proxy.stop()
        assert files(folder) == ['web']
        assert harness.accepts_at(f'unix:{folder}/web')


@pytest.mark.threads
def test_the_path_is_free_while_the_last_requests_are_served(rig, folder):
    backend = rig.backend('b1', lambda ex: (ex.hang(), ex.answer()))
    old = unix_proxy(rig, [backend], folder / 'web')
    with Client(str(folder / 'web')) as c:
        c.send_request()
        backend.wait_blocked()
        old.signal(signal.SIGTERM)
        wait_until(lambda: files(folder) == [], 'the path to be free')
        new = unix_proxy(rig, [rig.backend('b2')], folder / 'web')
        assert get(folder / 'web').text == 'b2'
        assert old.running()
        backend.gate.set()
        assert c.answer().text == 'b1'
    old.check_end()
    assert get(folder / 'web').text == 'b2'
    new.stop()
    assert files(folder) == []


def test_the_umask_says_who_may_connect(rig, folder):
    old = os.umask(0o077)
    try:
        unix_proxy(rig, [rig.backend('b1')], folder / 'web')
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(folder / 'web').st_mode) == 0o700


def test_a_path_that_is_too_long_is_a_mistake_of_the_file(rig, folder):
    proxy = unix_proxy(rig, [rig.backend('b1')], '/tmp/' + 'x' * 103, start=False)
    done = harness.run('run', '-c', proxy.config)
    assert done.returncode == 2
    assert 'listeners[0].listen: a path of 108 bytes, allowed 1 to 107' in done.stderr
