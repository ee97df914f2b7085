"""The life of a service under systemd: sockets that outlive it, and what it says of itself."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import harness
import pace
import pytest
from client import Broken, Client, get
from harness import ROOT, wait_until
from service import Manager, Service

KEYS = [f'k{i}' for i in range(60)]
RESTARTS = 20


@pytest.fixture
def manager(tmp_path):
    m = Manager(tmp_path)
    yield m
    m.close()


def service(rig, manager, backends, watchdog=None, **more):
    """A proxy with a listener `web`, whose socket is not given yet."""
    port, admin = harness.free_port(), harness.free_port()
    text = rig.text(backends, port=port, admin=admin, **more)
    one = Service(manager, rig.folder, f'service{len(rig.proxies) + 1}', text, port, admin, watchdog)
    rig.proxies.append(one)
    return one


class Clients:
    """Clients that try again nothing but what HTTP lets them: a request on a kept connection that has
    ended before a byte of its answer came. What a new connection brings counts as failed, always."""

    def __init__(self, port, threads=2, keep=True):
        self.port, self.keep = port, keep
        self.good, self.failed, self.again = [0] * threads, [], [0] * threads
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]
        for t in self.threads:
            t.start()

    def _run(self, i):
        client = None
        n = 0
        while not self.stopping.wait(0.002):
            key = KEYS[n % len(KEYS)]
            n += 1
            client = self._one(i, client, key)
        if client:
            client.close()

    def _one(self, i, client, key):
        kept = client is not None
        try:
            client = client or Client(self.port, timeout=pace.upper(60))
            answer = client.request('GET', f'/{key}', {'X-Key': key})
        except (OSError, Broken) as e:
            if client:
                client.close()
            if kept:
                self.again[i] += 1
                return self._one(i, None, key)
            self.failed.append((time.monotonic(), repr(e)))
            return None
        if answer.status != 200:
            self.failed.append((time.monotonic(), answer.status))
        self.good[i] += 1
        if self.keep and (answer.get('Connection') or '').lower() != 'close':
            return client
        client.close()
        return None

    def wait_progress(self, n=3):
        """Until each client has had n more good answers."""
        before = list(self.good)
        wait_until(lambda: self.failed or all(a >= b + n for a, b in zip(self.good, before)),
                   'answers for all clients', 60)

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(pace.upper(60))
            assert not t.is_alive(), 'a client hangs'


def process_state(proxy):
    with open(f'/proc/{proxy.pid}/stat') as f:
        return f.read().rsplit(')', 1)[1].split()[0]


# --- restarts ---------------------------------------------------------------------------------

def test_restarts_with_given_sockets_fail_no_request(rig, manager):
    proxy = service(rig, manager, [rig.serve('b1'), rig.serve('b2')])
    manager.listen('web', proxy.port)
    proxy.start()
    kept, fresh = Clients(proxy.port), Clients(proxy.port, keep=False)
    try:
        for _ in range(RESTARTS):
            kept.wait_progress()
            fresh.wait_progress()
            proxy.stop()
            proxy.start()
        kept.wait_progress()
        fresh.wait_progress()
    finally:
        kept.stop()
        fresh.stop()
    assert kept.failed == [] and fresh.failed == []
    assert manager.states() == ['READY', 'STOPPING'] * RESTARTS + ['READY']


def test_who_connects_while_nobody_runs_is_served_by_the_next(rig, manager):
    proxy = service(rig, manager, [rig.serve('b1')])
    manager.listen('web', proxy.port)
    proxy.start()
    proxy.stop()
    clients = [Client(proxy.port) for _ in range(50)]
    for c in clients:
        c.send_request('GET', '/', {'X-Key': 'k'})
    proxy.start()
    assert [c.answer().status for c in clients] == [200] * 50
    for c in clients:
        c.close()


def test_what_is_queued_at_the_stop_is_answered(rig, manager):
    """By the old process or by the next one, whichever accepts it; neither resets it."""
    proxy = service(rig, manager, [rig.serve('b1')])
    manager.listen('web', proxy.port)
    proxy.start()
    proxy.signal(signal.SIGSTOP)
    wait_until(lambda: process_state(proxy) == 'T', 'the stop')
    clients = [Client(proxy.port) for _ in range(50)]
    for c in clients:
        c.send_request('GET', '/', {'X-Key': 'k'})
    proxy.signal(signal.SIGTERM)
    proxy.signal(signal.SIGCONT)
    proxy.check_end()
    proxy.start()
    assert [c.answer().status for c in clients] == [200] * 50
    for c in clients:
        c.close()


def test_a_restart_beside_a_hung_backend_refuses_nobody(rig, manager):
    """The listeners are served after health.timeout at most; who came before that has waited."""
    timeout = pace.stretched(0.4)
    proxy = service(rig, manager, [rig.serve('b1'), rig.deaf('hung')],
                    pool={'health': {'timeout': pace.ms(timeout)}})
    manager.listen('web', proxy.port)
    fresh = Clients(proxy.port, keep=False)
    try:
        begun = time.monotonic()
        proxy.start()
        assert time.monotonic() - begun < timeout + pace.upper(5)
        fresh.wait_progress()
    finally:
        fresh.stop()
    assert fresh.failed == []
    assert proxy.server('hung')['state'] == 'down'


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_one_socket_for_each_worker_is_served(rig, manager, workers):
    """As ReusePort= makes them: each has its own queue, and nobody may wait in it forever."""
    proxy = service(rig, manager, [rig.serve('b1')], top={'workers': workers})
    for _ in range(2):
        manager.listen('web', proxy.port, shared=True)
    proxy.start()
    assert [get(proxy.port, fields={'X-Key': 'k'}).status for _ in range(40)] == [200] * 40


# --- which socket -----------------------------------------------------------------------------

def test_the_file_of_a_given_unix_socket_stays(rig, manager, tmp_path):
    path = tmp_path / 'web.sock'
    proxy = service(rig, manager, [rig.serve('b1')], listener={'listen': f'unix:{path}'})
    proxy.port = None
    manager.listen_unix('anything', str(path))
    proxy.start()
    assert harness.accepts_at(f'unix:{path}')
    proxy.stop()
    assert path.is_socket() and harness.accepts_at(f'unix:{path}')
    assert not (tmp_path / 'web.sock.lock').exists()


def test_names_serve_where_addresses_differ_and_the_admin_is_one(rig, manager):
    proxy = service(rig, manager, [rig.serve('b1')])
    asked = proxy.port, proxy.admin.port
    proxy.port, proxy.admin.port = harness.free_port(), harness.free_port()
    manager.listen('admin', proxy.admin.port)
    manager.listen('web', proxy.port)
    proxy.start()
    assert get(proxy.port, fields={'X-Key': 'k'}).status == 200
    assert proxy.alive()
    assert not any(harness.accepts(p) for p in asked)


def test_a_socket_that_nobody_uses_is_closed_and_told(rig, manager):
    proxy = service(rig, manager, [rig.serve('b1')])
    unused = harness.free_port()
    manager.listen('web', proxy.port)
    s = manager.listen('spare', unused)
    proxy.start()
    proxy.says(f'event="inherited socket unused" name=spare address=127.0.0.1:{unused}')
    manager.sockets.pop()
    s.close()
    assert not harness.accepts(unused)


def bound_udp(manager):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    return manager.add('dns', s)


@pytest.mark.parametrize('give, message', [
    (bound_udp, 'inherited socket dns (descriptor 3): not a stream socket'),
    (lambda m: m.add('raw', socket.socket()), 'inherited socket raw (descriptor 3): not bound'),
    (lambda m: [m.add('pair', s) for s in socket.socketpair()][0],
     'inherited socket pair (descriptor 3): a connection'),
    (lambda m: [m.listen('admin', 0, shared=True) for _ in range(2)],
     '2 inherited sockets, where only 1 can be used'),
    (lambda m: m.listen('admin', 0, host='0.0.0.0'), 'takes a token_file'),
])
def test_what_cannot_be_used_ends_the_start(rig, manager, give, message):
    proxy = service(rig, manager, [rig.serve('b1')])
    give(manager)
    proxy.start(ready=False)
    assert proxy.wait() == 1
    assert 'level=error event="start failed"' in proxy.err() and message in proxy.err(), proxy.err()
    assert 'READY' not in manager.states()


# --- what is said -----------------------------------------------------------------------------

def test_states_and_the_line_of_state_follow_the_service(rig, manager):
    b2 = rig.serve('b2')
    proxy = service(rig, manager, [rig.serve('b1'), b2])
    proxy.start()
    manager.wait_for(lambda: manager.said('STATUS')[-1:] ==
                     ['generation 1, 1 pool, 2 of 2 servers in service'], 'the state')
    b2.kill()
    manager.wait_for(lambda: manager.said('STATUS')[-1:] ==
                     ['generation 1, 1 pool, 1 of 2 servers in service'], 'a server less')
    proxy.stop()
    assert manager.states() == ['READY', 'STOPPING']


def reload(proxy, manager, status, query=''):
    """What is said meanwhile; the moment is one between the request and its answer."""
    since, begun = len(manager.heard), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert proxy.admin.request('POST', f'/reload{query}')[0] == status
    ended = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.wait_for(lambda: 'READY' in manager.states(since), 'the end of the reload')
    stamp, = manager.said('MONOTONIC_USEC', since)
    assert begun <= int(stamp) <= ended
    return manager.states(since)


def test_a_reload_is_said_to_begin_and_to_end(rig, manager):
    proxy = service(rig, manager, [rig.serve('b1')], top={'admin': {'write': 'on'}})
    proxy.start()
    good = proxy.config.read_text()
    assert reload(proxy, manager, 200) == ['RELOADING', 'READY']
    manager.wait_for(lambda: manager.said('STATUS')[-1:] ==
                     ['generation 2, 1 pool, 1 of 1 servers in service'], 'the state')
    proxy.config.write_text('nonsense')
    assert reload(proxy, manager, 422) == ['RELOADING', 'READY']  # it goes on as it was
    proxy.config.write_text(good)
    since = len(manager.heard)
    proxy.signal(signal.SIGHUP)
    manager.wait_for(lambda: 'READY' in manager.states(since), 'the end of the reload')
    assert manager.states(since) == ['RELOADING', 'READY']
    since = len(manager.heard)
    assert proxy.admin.request('PUT', '/config?dry_run=1', body=good)[0] == 200  # nothing is reloaded
    proxy.stop()
    assert manager.states(since) == ['STOPPING']


def test_a_stop_amid_a_reload_is_the_last_word(rig, manager):
    """Not READY, which would have systemd think that the service goes on."""
    proxy = service(rig, manager, [rig.serve('b1')], pool={'health': {'timeout': '1h'}})
    proxy.start()
    hung = rig.deaf('hung')
    proxy.config.write_text(proxy.config.read_text() + f'      - {{name: hung, address: {hung.address}}}\n')
    since = len(manager.heard)
    proxy.signal(signal.SIGHUP)
    manager.wait_for(lambda: 'RELOADING' in manager.states(since), 'the reload')
    proxy.stop()
    assert manager.states(since) == ['RELOADING', 'STOPPING']


def test_signs_of_life_end_while_the_process_stands_still(rig, manager):
    interval = 0.2
    proxy = service(rig, manager, [rig.serve('b1')], watchdog=interval)
    proxy.start()
    signs = lambda: len(manager.said('WATCHDOG'))  # noqa: E731
    manager.wait_for(lambda: signs() >= 4, 'signs of life')
    proxy.signal(signal.SIGSTOP)
    wait_until(lambda: process_state(proxy) == 'T', 'the stop')
    before = signs()
    # what was sent before the stop may still be on its way, then none comes
    with manager.news:
        manager.news.wait_for(lambda: signs() > before + 1, 5 * interval)
    assert signs() <= before + 1
    proxy.signal(signal.SIGCONT)
    manager.wait_for(lambda: signs() >= before + 4, 'signs of life again')
    proxy.stop()
    gone = signs()
    with manager.news:
        assert not manager.news.wait_for(lambda: signs() > gone, 3 * interval)


# --- with systemd's own programs --------------------------------------------------------------

def systemd(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f'no {program}')


@systemd('systemd-socket-activate')
def test_the_sockets_of_systemd_itself_are_served(rig, tmp_path):
    """It starts the program at the first connection, which is then served."""
    port, admin = harness.free_port(), harness.free_port()
    proxy = harness.Proxy(tmp_path, 'activated', rig.text([rig.serve('b1')], port=port, admin=admin), port, admin)
    proxy.argv = ['systemd-socket-activate', '-l', f'127.0.0.1:{port}', '--fdname=web',
                  *(f'--setenv={name}' for name in os.environ if name.endswith('SAN_OPTIONS')), *proxy.argv]
    rig.proxies.append(proxy)
    proxy.start(ready=False)
    wait_until(lambda: harness.accepts(port) or not proxy.running(), 'the socket')
    assert proxy.running(), proxy.err()
    assert get(port, fields={'X-Key': 'k'}).text == 'b1'


@systemd('systemd-analyze')
def test_the_units_are_valid_and_exposed_to_little(tmp_path):
    units = []
    for name in ('ringproxy.service', 'ringproxy.socket'):
        text = (ROOT / 'contrib' / 'systemd' / name).read_text()
        units.append(tmp_path / name)
        units[-1].write_text(text.replace('/usr/local/bin/ringproxy', harness.RINGPROXY))
    done = subprocess.run(['systemd-analyze', 'verify', '--man=no', *units], capture_output=True, text=True,
                          timeout=pace.upper(60))
    assert done.returncode == 0 and done.stderr == '', done.stderr
    # in tenths; docs/operations.md has the figure
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--no-pager', '--threshold=16',
                           units[0]], capture_output=True, text=True, timeout=pace.upper(60))
    assert done.returncode == 0, done.stdout + done.stderr
