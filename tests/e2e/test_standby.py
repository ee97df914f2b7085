"""A proxy that stands by (`cluster.listen: active`): its Redis can't be reached, so nobody tells it to be
active for as long as such a test takes."""

import json
import socket

import pytest

import harness
from client import get
from harness import wait_until
from upgraded import Upgraded, orphans


@pytest.fixture
def standby(rig, tmp_path):
    """Makes one: standby(backend, ...) -> Proxy; .roles() are the lines its commands wrote."""
    def make(backend, start=True, listener=None, cluster=None, **more):
        roles = tmp_path / f'roles{len(rig.proxies)}'
        command = ['/bin/sh', '-c', f'echo $RINGPROXY_ROLE $RINGPROXY_NODE >>{roles}']
        section = {'redis': [f'redis://127.0.0.1:{harness.free_port()}'], 'name': 'edge', 'node': 'n1',
                   'lock_ttl': '60s', 'listen': 'active', 'on_active': command, 'on_standby': command,
                   **(cluster or {})}
        proxy = rig.proxy([backend], listener=listener, top={'cluster': section}, start=False, **more)
        proxy.roles = lambda: roles.read_text().splitlines() if roles.exists() else []
        if start:
            proxy.start(ready=False)
            wait_until(lambda: 'event=standby' in proxy.err() or not proxy.running(), 'the standby')
            assert proxy.running(), proxy.err()
        return proxy
    return make


def refuses(port, host='127.0.0.1'):
    try:
        socket.create_connection((host, port), timeout=5).close()
        return False
    except ConnectionRefusedError:
        return True


def test_a_standby_refuses_is_not_ready_and_answers_its_operator(rig, standby):
    proxy = standby(rig.serve('b1'))
    assert refuses(proxy.port)
    assert proxy.admin.request('GET', '/healthz')[0] == 200
    status, _, text = proxy.admin.request('GET', '/readyz')
    assert status == 503 and json.loads(text) == {'ready': False, 'reason': 'standby'}
    assert '\nringproxy_cluster_accepting 0\n' in proxy.admin.request('GET', '/metrics')[2]
    drain = proxy.admin.request('POST', '/pools/p/backends/b1/drain')
    assert drain[0] == 200 and json.loads(drain[2])['state'] == 'draining'
    assert proxy.admin.request('POST', '/pools/p/backends/b1/enable')[0] == 200
    wait_until(lambda: proxy.server('b1')['state'] == 'up', 'the checks, which it makes as any other')
    wait_until(lambda: proxy.roles() == ['standby n1'], 'the command at the start')
    proxy.stop()
    assert proxy.roles() == ['standby n1'] * 2


def test_what_is_in_the_way_shows_at_the_start(rig, standby):
    backend = rig.serve('b1')
    with socket.create_server(('127.0.0.1', harness.free_port()), reuse_port=True) as other:
        taken = f'127.0.0.1:{other.getsockname()[1]}'
        proxy = standby(backend, start=False, listen=taken).start(ready=False)
        proxy.check_end(expect=1)
        assert 'address already in use' in proxy.err().lower()


def test_two_standbys_do_not_share_a_port(rig, standby):
    backend = rig.serve('b1')
    first = standby(backend)
    second = standby(backend, start=False, listen=f'127.0.0.1:{first.port}').start(ready=False)
    second.check_end(expect=1)
    assert 'address already in use' in second.err().lower()


def test_an_address_that_is_not_there_can_be_stood_by_for(rig, standby):
    backend, port = rig.serve('b1'), harness.free_port()
    for address in (f'192.0.2.77:{port}', f'[2001:db8::77]:{port}'):
        proxy = standby(backend, listen=address)
        assert proxy.running()
    plain = rig.proxy([backend], listen=f'192.0.2.77:{port}', start=False).start(ready=False)
    plain.check_end(expect=1)
    assert 'cannot assign requested address' in plain.err().lower()


def test_a_listener_that_a_reload_brings_is_silent_too(rig, standby):
    proxy = standby(rig.serve('b1'))
    port, path = harness.free_port(), rig.folder / 'web'
    text = proxy.config.read_text()
    line = next(one for one in text.splitlines() if 'listen: ' in one and 'name: web' in one)
    more = [line.replace('name: web', f'name: {name}').replace(f'127.0.0.1:{proxy.port}', f'"{address}"')
            for name, address in (('tcp', f'127.0.0.1:{port}'), ('path', f'unix:{path}'))]
    proxy.config.write_text(text.replace(line, '\n'.join([line, *more])))
    assert proxy.admin.request('POST', '/reload')[0] == 200
    assert refuses(port) and refuses(proxy.port)
    with socket.socket(socket.AF_UNIX) as s, pytest.raises(ConnectionRefusedError):
        s.connect(str(path))
    with socket.create_server(('127.0.0.1', harness.free_port()), reuse_port=True) as other:
        taken = f'127.0.0.1:{other.getsockname()[1]}'
        bad = line.replace('name: web', 'name: bad').replace(f'127.0.0.1:{proxy.port}', taken)
        proxy.config.write_text(text.replace(line, f'{line}\n{bad}'))
        assert proxy.admin.request('POST', '/reload')[0] == 422
    proxy.config.write_text(text)
    assert proxy.admin.request('POST', '/reload')[0] == 200
    assert not path.exists()
    with socket.create_server(('127.0.0.1', port)):
        pass  # given back


def test_sockets_of_the_service_manager_cannot_stand_by(rig, standby):
    """They listen while nobody accepts, which is what they are for."""
    with socket.create_server(('127.0.0.1', harness.free_port())) as s:
        proxy = standby(rig.serve('b1'), start=False, listen=f'127.0.0.1:{s.getsockname()[1]}')
        proxy.argv = ['bash', '-c', f'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&{s.fileno()}', 'bash',
                      *proxy.argv]
        launch = proxy.launch
        proxy.launch = lambda *a: launch(*a, pass_fds=[s.fileno()])
        proxy.start(ready=False).check_end(expect=1)
        assert 'service manager' in proxy.err().lower()


def test_the_new_program_of_a_standby_is_silent(rig, standby):
    with orphans():
        backend = rig.serve('b1')
        u = Upgraded(rig, lambda: standby(backend, start=False))
        u.proxy.start(ready=False)
        wait_until(lambda: 'event=standby' in u.proxy.err(), 'the standby')
        port = u.proxy.port
        u.install()
        u.upgrade()
        wait_until(lambda: len(u.lines('standby')) >= 2, 'the new process to stand by')
        u.wait_old()
        assert refuses(port) and u.proxy.admin.request('GET', '/readyz')[0] == 503
        u.proxy.stop()
        assert refuses(port) and set(u.proxy.roles()) == {'standby n1'}


def test_always_listens_and_runs_no_command(rig, standby):
    """The section alone changes nothing for clients."""
    proxy = standby(rig.serve('b1'), start=False, cluster={'listen': 'always'}).start()
    assert get(proxy.port).text == 'b1'
    proxy.stop()
    assert proxy.roles() == []
