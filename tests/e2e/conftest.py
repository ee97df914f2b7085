"""The fixture `rig`: starts backends and proxies on free ports, stops them all at the end and
fails the test if a proxy did not end well."""

import json
import os
import signal

import pytest

import harness
import pace
from client import Load
from fleet import fleet, redis, relays  # noqa: F401  fixtures
from scripted import Backend, Deaf, TcpBackend


def pytest_configure(config):
    config.addinivalue_line('markers', 'threads: also run under the thread sanitizer')
    # A job in the background, or under nohup, ignores these, and so would all that it starts.
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests that take long, most of it waiting: they begin first, so that none of them is waited for alone at
# the end.
LONG = ('test_good_clients_of_bad_servers', 'test_attack.py::test_chaos', 'never_reads', 'slow_reader', 'test_tcp_real.py',
        'test_upload.py', 'answer_that_stops_after', 'hung_backend', 'starting_proxy', 'test_ramp', 'slow_pages_and_quiet',
        'other_proxies_are_played', 'test_fleet_', 'test_active', 'test_lock', 'test_standby.py', 'failback_waits',
        'hung_server', 'slow_drip', 'test_pause.py', 'every_way_to_hurt')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONG))


# tryfirst: the processes of xdist are started by such a hook, too, and inherit $PACE_FILE
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    for program in (harness.RINGPROXY, harness.RINGBENCH):
        if not os.access(program, os.X_OK):
            pytest.exit(f'{program} is not there: run ./dev build first', returncode=2)
    session.config.pace_meter = pace.Meter()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, 'pace_meter'):
        session.config.pace_meter.stop()


class Rig:
    def __init__(self, folder):
        self.folder = folder
        self.proxies, self.daemons, self.scripted, self.loads = [], [], [], []

    # backends

    def backend(self, name, handler=None, **more):
        self.scripted.append(Backend(name, handler, **more))
        return self.scripted[-1]

    def tcp(self, name, handler=None, **more):
        self.scripted.append(TcpBackend(name, handler, **more))
        return self.scripted[-1]

    def deaf(self, name, port=None):
        self.scripted.append(Deaf(name, port))
        return self.scripted[-1]

    def nginx(self, name, **more):
        self.daemons.append(harness.Nginx(self.folder, name, **more).start())
        return self.daemons[-1]

    def serve(self, name, *arguments):
        self.daemons.append(harness.Serve(self.folder, name, *arguments).start())
        return self.daemons[-1]

    # the proxy

    def text(self, backends, standbys=(), pool=None, listener=None, top=None, port=None,
             admin=None):
        """A configuration with one listener `web` and one pool `p`."""
        slow = pace.stretched(1.0)
        entry = {'name': 'web', 'listen': f'127.0.0.1:{port or harness.free_port()}', 'pool': 'p',
                 'timeouts': {'request': pace.ms(10 * slow), 'idle': pace.ms(60 * slow)}}
        one = {'name': 'p', **harness.merged(harness.quick_pool(), pool)}
        one['backends'] = [harness.server_entry(s) for s in backends]
        if standbys:
            one['standbys'] = [harness.server_entry(s) for s in standbys]
        head = {'workers': 2, 'shutdown_timeout': pace.ms(30 * slow)}
        if admin:
            head['admin'] = {'listen': f'127.0.0.1:{admin}'}
        return harness.yaml_text(harness.merged(head, top), [harness.merged(entry, listener)],
                                 [one])

    def proxy(self, backends, standbys=(), pool=None, listener=None, top=None, start=True,
              ready=True, name=None, token=None, listen=None):
        """`listen`: an address other than a free port of 127.0.0.1; its port is then None."""
        port, admin = harness.free_port(), harness.free_port()
        if listen:
            listener = {'listen': listen, **(listener or {})}
        text = self.text(backends, standbys, pool, listener, top, port, admin)
        return self.proxy_of(text, None if listen else port, admin, start, ready, name, token)

    def proxy_of(self, text, port, admin, start=True, ready=True, name=None, token=None):
        name = name or f'proxy{len(self.proxies) + 1}'
        proxy = harness.Proxy(self.folder, name, text, port, admin, token)
        self.proxies.append(proxy)
        if start:
            proxy.start(ready)
        return proxy

    def load(self, proxy, keys, **more):
        self.loads.append(Load(proxy.port, keys, **more).start())
        return self.loads[-1]

    # the end

    def _each(self, things, end, problems):
        for thing in things:
            try:
                end(thing)
            except Exception as e:  # all are ended before the first problem is told
                problems.append(e)

    def _end_proxy(self, proxy):
        if proxy.process is None:
            return
        if proxy.running():
            proxy.stop()
        else:
            code = proxy.wait()
            raise AssertionError(f'{proxy.name} ended by itself, exit code {code}:\n{proxy.err()}')

    def _end_daemon(self, daemon):
        if daemon.process is None:
            return
        if isinstance(daemon, harness.Serve):
            daemon.stop()
        else:
            daemon.kill()

    def close(self):
        problems = []
        for s in self.scripted:
            if isinstance(s, Backend):
                s.gate.set()
        self._each(self.loads, Load.stop, problems)
        self._each(self.proxies, self._end_proxy, problems)
        self._each(self.scripted, lambda s: s.stop(), problems)
        self._each(self.daemons, self._end_daemon, problems)
        print(f'--- slowness of the machine: {pace.slowness():.1f}')
        for proxy in self.proxies:
            if proxy.starts:
                print(f'--- {proxy.config}:\n{proxy.config.read_text()}')
                print(f'--- stderr of {proxy.name}:\n{proxy.err()[-6000:]}')
        if problems:
            raise problems[0]


@pytest.fixture
def rig(tmp_path):
    r = Rig(tmp_path)
    yield r
    r.close()


@pytest.fixture
def save(tmp_path):
    """Saves a result of ringbench under a name."""
    def write(name, result):
        path = tmp_path / f'{name}.json'
        path.write_text(json.dumps(result))
        return path
    return write
