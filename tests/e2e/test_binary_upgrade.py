"""The program is replaced while the proxy serves: SIGUSR2, POST /upgrade, `ringproxy upgrade`."""

import os
import re
import signal
import shutil
import threading
import time

import pytest

import harness
import pace
from client import Broken, Client, get
from harness import free_port, run, wait_until
from service import Manager, Service
from test_reload import BY_KEY, Posts, echo, open_tunnel, upgrade
from upgraded import Upgraded, orphans

KEYS = [f'k{i}' for i in range(60)]
UPGRADES = 20


@pytest.fixture(autouse=True)
def adopt():
    with orphans():
        yield


def upgraded(rig, backends, standbys=(), start=True, **more):
    more.setdefault('listener', BY_KEY)
    one = Upgraded(rig, lambda: rig.proxy(backends, standbys, start=False, **more))
    return one.start() if start else one


# --- nothing fails ----------------------------------------------------------------------------

def descriptors(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def test_twenty_in_a_row_under_load_fail_nothing(rig):
    u = upgraded(rig, [rig.serve('b1'), rig.serve('b2')])
    load, posts = rig.load(u.proxy, KEYS, threads=3, pace=0.003), Posts(u.port)
    used = []
    for n in range(UPGRADES):
        before = posts.good
        u.install()
        assert u.upgrade() == n + 2 == u.generation()
        wait_until(lambda: posts.good > before + 1 or posts.bad, 'posts')
        if n in (1, UPGRADES - 1):
            wait_until(lambda: len(u.old) == 0 or u.old[-1].poll() is not None, 'the old one to end')
            used.append(descriptors(u.proxy.pid))
    load.wait_rounds(1)
    posts.stop()
    assert load.bad() == []
    u.wait_old()
    # connections come and go, but 20 processes leave nothing behind
    assert used[1] < used[0] + 20, used
    assert len(u.lines('handed over')) == len(u.lines('taken over')) == UPGRADES
    environment = open(f'/proc/{u.proxy.pid}/environ').read()
    assert environment.count('RINGPROXY_UPGRADE') <= 1


def test_new_connections_in_a_flood_are_never_refused(rig):
    u = upgraded(rig, [rig.serve('b1')])
    bad, good, ends = [], [0] * 4, threading.Event()

    def flood(i):
        while not ends.is_set():
            try:
                if get(u.port, fields={'X-Key': f'k{i}', 'Connection': 'close'}).status != 200:
                    bad.append('status')
                good[i] += 1
            except (OSError, Broken) as e:
                bad.append(repr(e))

    threads = [threading.Thread(target=flood, args=(i,), daemon=True) for i in range(4)]
    for t in threads:
        t.start()
    for _ in range(5):
        before = list(good)
        u.upgrade()
        wait_until(lambda: bad or all(a > b for a, b in zip(good, before)), 'the flood')
    ends.set()
    for t in threads:
        t.join(pace.upper(30))
    assert bad == []
    u.wait_old()


def test_a_client_that_is_idle_meanwhile_has_one_more_answer(rig):
    u = upgraded(rig, [rig.serve('b1')])
    used, fresh = Client(u.port), Client(u.port)
    assert used.request(fields={'X-Key': 'k'}).get('Connection') is None
    # accepted by the process that is about to be the old one, and it has said nothing
    wait_until(lambda: u.admin.metric('ringproxy_connections', listener='web') == 2, 'both')
    u.upgrade()
    for c in (used, fresh):
        while True:  # the workers may hear of it a moment later than we do
            a = c.request('POST', fields={'X-Key': 'k'}, body=b'x')
            assert a.status == 200
            if a.get('Connection') == 'close':
                break
        assert c.at_end()
        c.close()
    u.wait_old(deadline=4.0)


def test_idle_clients_stay_for_a_while_and_tunnels_until_the_shutdown_timeout(rig):
    t1 = rig.tcp('t1')
    tcp_port, port, admin = free_port(), free_port(), free_port()
    timeout = 5 + pace.stretched(0.2)
    text = rig.text([rig.backend('b1', upgrade)], listener=BY_KEY, port=port, admin=admin,
                    top={'shutdown_timeout': pace.ms(timeout)})
    text = text.replace('pools:\n', f'  - {{name: raw, listen: 127.0.0.1:{tcp_port}, mode: tcp, pool: t}}\n'
                        f'pools:\n  - name: t\n    health: {{check: off}}\n    backends:\n'
                        f'      - {{name: t1, address: {t1.address}}}\n')
    u = Upgraded(rig, lambda: rig.proxy_of(text, port, admin, start=False)).start()
    tunnel, stream = open_tunnel(port), Client(tcp_port)
    assert stream.sock.recv(3) == b't1\n'
    echo(stream.sock, b'before')
    idle = Client(port)
    assert idle.request(fields={'X-Key': 'k'}).status == 200
    began = time.monotonic()
    u.upgrade()
    echo(tunnel.sock, b'after')
    echo(stream.sock, b'after')
    assert idle.at_end() and time.monotonic() - began >= 5
    assert tunnel.at_end() and stream.at_end()
    assert time.monotonic() - began >= timeout
    u.wait_old(expect=1)  # as at a stop: something was cut
    assert len(u.lines('shutdown timeout')) == 1
    for c in (tunnel, stream, idle):
        c.close()


# --- nothing is forgotten ---------------------------------------------------------------------

def test_drain_promotion_hold_and_ramp_are_kept(rig):
    b = [rig.serve(f'b{i}') for i in range(1, 5)]
    s = rig.serve('s1')
    u = upgraded(rig, b, [s], pool={'failback': {'after': '1h', 'ramp': '1h'}})
    b[1].kill()
    u.proxy.wait_state('b2', 'down')
    u.proxy.wait_serving('s1', 'b2')

    def facts():
        status = u.admin.json('/status')['pools'][0]
        return {x['name']: (x['state'], sorted(x['serving'])) for x in status['backends'] + status['standbys']}

    u.proxy.post('b3', 'drain')
    before = facts()
    owners = {k: u.admin.json(f'/route?pool=p&key={k}')['server'] for k in KEYS}
    assert before['s1'][0] == 'promoted' and before['b3'][0] == 'draining', before
    b[1].start()  # comes back, and has to wait for an hour
    u.proxy.wait_state('b2', 'returning')
    before = facts()
    for _ in range(2):
        u.upgrade()
        assert facts() == before
        assert {k: u.admin.json(f'/route?pool=p&key={k}')['server'] for k in KEYS} == owners
    u.wait_old()


# --- a new one that fails ---------------------------------------------------------------------

FAILING = {
    'ends': ('exit 7', 'ended with status 7 before it was ready'),
    'ends well': ('exit 0', 'ended with status 0 before it was ready'),
    'crashes': ('kill -SEGV $$', r'ended by signal 11 \(Segmentation fault'),
    'hangs': ('exec sleep 600', 'was not ready in time, and was killed'),
    'says something else': ('echo hello >&3; exec sleep 600', 'does not understand, and was killed'),
    'says nothing more': ('exec 3>&-; exec sleep 600', 'has closed its line to this one, and was killed'),
}


def test_a_new_one_that_fails_leaves_the_old_one_as_it_was(rig):
    u = upgraded(rig, [rig.serve('b1'), rig.serve('b2')])
    load = rig.load(u.proxy, KEYS, threads=2)
    pid, n = u.proxy.pid, 0
    for what, (script, message) in FAILING.items():
        u.install(script)
        said = u.ask(500, '?timeout=300ms' if what == 'hangs' else '')['error']
        assert re.search(message, said), (what, said)
        n += 1
        assert said in u.wait_line('upgrade failed', n)[-1].replace('\\"', '"')
        u.proxy.post('b1', 'drain')  # what operators may do they may do again
        u.proxy.post('b1', 'enable')
    u.program.unlink()
    assert 'no such file' in u.ask(500)['error']
    u.install()
    good = u.proxy.config.read_text()
    u.write(good.replace('workers: 2', 'workers: 0'))
    assert 'status 2' in u.ask(500)['error'] and u.proxy.says('workers: 0 is out of range')
    taken = harness.socket.create_server(('127.0.0.1', 0))
    u.write(good.replace('pools:', f'  - {{name: more, listen: 127.0.0.1:{taken.getsockname()[1]}, '
                         'pool: p}\npools:'))
    assert 'status 1' in u.ask(500)['error'] and u.proxy.says('listener more: bind')
    taken.close()
    u.write(good)
    assert u.proxy.pid == pid and u.generation() == 1
    assert u.admin.json('/reload', 'POST')['generation'] == 2
    assert u.upgrade() == 3
    load.wait_rounds(1)
    assert load.bad() == []
    u.wait_old()


def test_a_stop_ends_the_new_process_too(rig, tmp_path):
    u = upgraded(rig, [rig.serve('b1')])
    mark = tmp_path / 'pid'
    u.install(f'echo $$ >{mark}.tmp; mv {mark}.tmp {mark}; exec sleep 600')
    u.proxy.signal(signal.SIGUSR2)
    wait_until(mark.exists, 'the new process')
    u.ask(409)
    u.proxy.stop()
    assert not os.path.exists(f'/proc/{mark.read_text().strip()}')
    assert not harness.accepts(u.port)


def test_reloads_wait_for_the_end_of_an_upgrade(rig, tmp_path):
    u = upgraded(rig, [rig.serve('b1')])
    mark, go = tmp_path / 'mark', tmp_path / 'go'
    real = u.folder / 'real'
    shutil.copy(harness.RINGPROXY, real)
    u.install(f'touch {mark}; while [ ! -e {go} ]; do sleep 0.01; done; exec {real} "$@"')
    u.proxy.signal(signal.SIGUSR2)
    wait_until(mark.exists, 'the new process')
    assert u.admin.request('POST', '/reload')[0] == 503
    u.proxy.post('b1', 'drain', expect=503)
    old = u.proxy.pid
    u.proxy.signal(signal.SIGHUP)
    go.touch()
    u.took_over(int(re.search(r'pid=(\d+)', u.wait_line('handed over')[0])[1]))
    assert u.proxy.pid != old
    u.wait_line('reloaded')
    assert u.generation() == 3
    u.wait_old()


# --- sockets ----------------------------------------------------------------------------------

def test_more_and_fewer_workers_serve_all_sockets(rig):
    u = upgraded(rig, [rig.serve('b1')], top={'workers': 3})
    load, posts = rig.load(u.proxy, KEYS, threads=2), Posts(u.port)
    text = u.proxy.config.read_text()
    for n in (1, 2, 5, 1, 3):
        before = posts.good
        u.write(text.replace('workers: 3', f'workers: {n}'))
        u.upgrade()
        wait_until(lambda: posts.good > before + 5 or posts.bad, 'posts')
        threads = [open(f'/proc/{u.proxy.pid}/task/{t}/comm').read()
                   for t in os.listdir(f'/proc/{u.proxy.pid}/task')]
        assert sum(t.startswith('worker-') for t in threads) == n
        assert [get(u.port, fields={'X-Key': 'k'}).status for _ in range(20)] == [200] * 20
    posts.stop()
    load.wait_rounds(1)
    assert load.bad() == []
    u.wait_old()


def test_unix_sockets_and_listeners_that_come_and_go(rig, tmp_path):
    stays, goes, comes = (tmp_path / n for n in ('stays', 'goes', 'comes'))
    port, gone = free_port(), free_port()

    def also(*paths):
        return ''.join(f'  - {{name: {p.name}, listen: "unix:{p}", pool: p}}\n' for p in paths)

    u = upgraded(rig, [rig.serve('b1')], start=False)
    text = u.proxy.config.read_text()
    more = f'  - {{name: gone, listen: 127.0.0.1:{gone}, pool: p}}\n'
    u.write(text.replace('pools:\n', f'{also(stays, goes)}{more}pools:\n'))
    u.start()
    inode = stays.stat().st_ino
    client = Client(goes)
    assert client.request().status == 200
    more = f'  - {{name: new, listen: 127.0.0.1:{port}, pool: p}}\n'
    u.write(text.replace('pools:\n', f'{also(stays, comes)}{more}pools:\n'))
    u.upgrade()
    assert client.request().status == 200
    client.close()
    u.wait_old()
    assert stays.stat().st_ino == inode and not goes.exists() and comes.is_socket()
    assert [get(where).status for where in (stays, comes, port)] == [200] * 3
    assert not harness.accepts(gone)
    assert sorted(p.name for p in tmp_path.glob('*.lock')) == ['comes.lock', 'stays.lock']
    u.upgrade()
    u.wait_old()
    assert get(stays).status == 200
    # another one still can't have the path
    other = rig.proxy_of(text.replace(str(u.port), str(free_port())).replace(
        str(u.admin.port), str(free_port())).replace('pools:\n', f'{also(stays)}pools:\n'), None, None,
        ready=False)
    assert other.wait() == 1 and 'in use' in other.err()
    u.proxy.stop()
    assert not stays.exists() and not comes.exists() and list(tmp_path.glob('*.lock')) == []


# --- who asks ---------------------------------------------------------------------------------

def test_the_command_waits_for_the_outcome(rig):
    u = upgraded(rig, [rig.serve('b1')])
    where = ['--admin', f'http://127.0.0.1:{u.admin.port}']
    done = run('upgrade', *where)
    assert (done.returncode, done.stderr) == (0, '')
    pid, generation = re.fullmatch(r'process (\d+), generation (\d+)\n', done.stdout).groups()
    u.took_over(int(pid))
    assert int(generation) == 2 == u.generation()
    u.install('exit 9')
    done = run('upgrade', '-c', u.proxy.config)
    assert done.returncode == 1 and 'ended with status 9' in done.stderr and done.stdout == ''
    u.install('exec sleep 600')
    done = run('upgrade', *where, '--timeout', '200ms')
    assert done.returncode == 1 and 'not ready in time' in done.stderr
    done = run('upgrade', '--admin', f'http://127.0.0.1:{free_port()}')
    assert done.returncode == 1 and 'Is the proxy running' in done.stderr
    assert run('upgrade', '--timeout', '2h', *where).returncode == 2
    u.wait_old()


def test_a_service_manager_follows(rig, tmp_path):
    manager = Manager(tmp_path)
    try:
        port, admin = free_port(), free_port()
        text = rig.text([rig.serve('b1')], port=port, admin=admin)

        def make():
            rig.proxies.append(Service(manager, rig.folder, 'service', text, port, admin, watchdog=0.4))
            return rig.proxies[-1]

        u = Upgraded(rig, make)
        manager.listen('web', port)
        u.start()
        seen = len(manager.heard)
        u.upgrade()
        manager.wait_for(lambda: 'READY' in manager.states(seen), 'READY of the new one')
        said = [k for _, fields in manager.heard[seen:] for k in fields if k in ('MAINPID', 'READY')]
        # the old one names the new one before that says a word; the new one names itself once more
        assert said == ['MAINPID', 'MAINPID', 'READY']
        assert set(manager.said('MAINPID', seen)) == {str(u.proxy.pid)}
        u.wait_old()
        seen = len(manager.heard)
        manager.wait_for(lambda: len(manager.said('WATCHDOG', seen)) >= 3, 'signs of life of the new one')
        assert get(port, fields={'X-Key': 'k'}).status == 200
        assert 'STOPPING' not in manager.states()
        u.proxy.stop()
        assert manager.states(seen) == ['STOPPING']
    finally:
        manager.close()
