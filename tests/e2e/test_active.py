"""An active proxy and its standby, each on a machine of its own, and an address that moves between them."""

import shutil
import threading
import time

import pytest

import fleet as tools
import harness
import pace
from client import Broken, Client
from harness import wait_until
from netns import Network

SHARED = '10.77.0.100'
TOKEN = 'secret'

# docs/fleet.md, Moving an address; and a line for each role, so that the test sees them
ADDRESS = '''#!/bin/sh
echo "$1 $RINGPROXY_NODE $RINGPROXY_ROLE $RINGPROXY_EPOCH" >>{log}
case $1 in
add)
    ip address replace {shared}/24 dev eth0
    arping -q -A -c 1 -I eth0 {shared}
    ;;
del)
    ip address del {shared}/24 dev eth0 2>/dev/null
    exit 0
    ;;
esac
'''


class FarAdmin(harness.Admin):
    """The admin interface of a member, by its machine's address."""

    def __init__(self, host, port):
        super().__init__(port, TOKEN)
        self.host = host

    def request(self, method, target, fields=None, body=None):
        with Client(self.port, self.host) as c:
            answer = c.request(method, target, {'Authorization': f'Bearer {TOKEN}', **(fields or {})})
            return answer.status, {n: v for n, v in answer.fields}, answer.text


class Ping:
    """One client of the shared address that keeps its connection and asks again and again. What went wrong:
    (time, when that connection was opened or None if it could not be, error)."""

    def __init__(self, port):
        self.port, self.bad, self.good, self.fault = port, [], [], None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client, opened = None, None
        while not self.stopping.wait(0.005):
            try:
                if client is None:
                    opened = None
                    client = Client(self.port, SHARED, timeout=0.5)
                    opened = time.monotonic()
                answer = client.request('GET', '/')
                assert answer.status == 200, answer
                self.good.append(time.monotonic())
                if (answer.get('Connection') or '').lower() == 'close':
                    client.close()
                    client = None
            except (OSError, Broken, AssertionError) as e:
                self.bad.append((time.monotonic(), opened, repr(e)))
                if client:
                    client.close()
                client = None
        if client:
            client.close()

    def stop(self):
        self.stopping.set()
        self.thread.join(pace.upper(30))
        assert not self.thread.is_alive()


class Pair:
    """Two members; `one` is preferred."""

    def __init__(self, rig, net, folder, ttl):
        self.rig, self.net, self.folder, self.ttl = rig, net, folder, ttl
        self.port = harness.free_port()
        self.log = folder / 'roles'
        self.log.write_text('')
        (folder / 'token').write_text(TOKEN)
        self.redis = tools.Redis(folder, arguments=['--bind', '0.0.0.0', '--protected-mode', 'no']).start()
        rig.daemons.append(self.redis)
        far = harness.free_port()
        self.backend = f'{net.ip}:{far}'
        rig.serve('b1', '--listen', f'{net.ip}:{far}', '--name', 'far')
        self.one, self.two = (self.member(name, priority) for name, priority in (('one', 200), ('two', 100)))

    def member(self, name, priority):
        machine = self.net.machine(name)
        script = self.folder / f'address-{name}'
        script.write_text(ADDRESS.format(log=self.log, shared=SHARED))
        script.chmod(0o755)
        admin = harness.free_port()
        cluster = {'redis': [f'redis://{self.net.ip}:{self.redis.port}'], 'name': 'edge', 'node': name,
                   'lock_ttl': pace.ms(self.ttl), 'listen': 'active', 'priority': priority,
                   'on_active': [script, 'add'], 'on_standby': [script, 'del']}
        backend = {'name': 'b1', 'address': self.backend}
        text = self.rig.text([backend], listener={'listen': f'{SHARED}:{self.port}'}, top={
            'cluster': cluster, 'admin': {'listen': f'{machine.ip}:{admin}',
                                          'token_file': str(self.folder / 'token')}})
        proxy = self.rig.proxy_of(text, None, None, start=False, name=name)
        proxy.argv = machine.command(proxy.argv)
        proxy.admin, proxy.machine, proxy.script = FarAdmin(machine.ip, admin), machine, script
        return proxy.start(ready=False)

    def kill(self, proxy):
        """kill -9, and what ExecStopPost= of the unit does then."""
        proxy.kill()
        proxy.machine.run(proxy.script, 'del')

    def roles(self):
        """(verb, node, role, epoch) of each run of a command."""
        return [line.split() for line in self.log.read_text().splitlines() if len(line.split()) == 4]

    def active(self):
        done = [r for r in self.roles() if r[0] == 'add']
        return done[-1][1] if done else None

    def wait_active(self, name, deadline=30.0):
        wait_until(lambda: self.active() == name, f'{name} to be the active one', deadline)
        wait_until(self.answers, 'an answer at the shared address')

    def answers(self):
        try:
            with Client(self.port, SHARED, timeout=0.5) as c:
                return c.request('GET', '/').text == 'far'
        except (OSError, Broken):
            return False


@pytest.fixture
def pair(rig, tmp_path):
    if not shutil.which('arping') or not shutil.which('ip'):
        pytest.skip('iproute2 and iputils-arping are needed')
    with Network() as net:
        try:
            pair = Pair(rig, net, tmp_path, pace.stretched(1.0))
            wait_until(lambda: healthy(pair.one) and healthy(pair.two), 'the members')
            yield pair
        finally:
            rig.close()


def healthy(proxy):
    try:
        return proxy.admin.request('GET', '/healthz')[0] == 200
    except (OSError, Broken):
        return False


def begin(pair):
    """The preferred one is active, whoever came first, and clients are at it."""
    pair.wait_active('one')
    assert not harness.accepts(pair.port, pair.two.machine.ip)
    assert pair.one.admin.request('GET', '/readyz')[0] == 200
    wait_until(lambda: pair.two.admin.request('GET', '/readyz')[0] == 503, 'the other one to have stepped back')
    pings = [Ping(pair.port) for _ in range(8)]
    wait_until(lambda: all(len(p.good) > 10 for p in pings), 'clients')
    return pings


def test_a_standby_takes_over_and_the_preferred_one_comes_back(pair):
    pings = begin(pair)
    begun = time.monotonic()
    pair.kill(pair.one)
    wait_until(lambda: all(p.good[-1] > begun + 0.05 for p in pings), 'clients to be served again')
    back = max(min(t for t in p.good if t > begun + 0.05) for p in pings)
    assert pair.active() == 'two'
    print(f'--- clients are served {back - begun:.2f} s after kill -9, lock_ttl {pair.ttl:.2f} s')
    assert back - begun < pace.upper(pair.ttl + 1.0), back - begun

    # the preferred one comes back, and takes nothing but the connections of the other one along
    good = time.monotonic()
    wait_until(lambda: all(len([t for t in p.good if t > good]) > 10 for p in pings), 'quiet')
    for p in pings:
        p.bad.clear()
    pair.one.start(ready=False)
    pair.wait_active('one', 60)
    moved = time.monotonic()
    wait_until(lambda: all(p.good[-1] > moved for p in pings), 'clients at the preferred one')
    time_of = moved + pair.ttl
    wait_until(lambda: time.monotonic() > time_of, 'what was open to end', 60)
    for p in pings:
        p.stop()
        assert len(p.bad) <= 1, p.bad
        assert all(opened is not None and opened < moved for _, opened, _ in p.bad), p.bad
    epochs = [int(r[3]) for r in pair.roles() if r[0] == 'add' and r[2] == 'active']
    assert epochs == sorted(epochs) and len(set(epochs)) >= 3, epochs


def test_a_clean_stop_moves_the_address_at_once(pair):
    pings = begin(pair)
    begun = time.monotonic()
    pair.one.stop()
    pair.wait_active('two')
    wait_until(lambda: all(p.good[-1] > time.monotonic() - 0.5 for p in pings), 'clients at the other one')
    gone = max(min(t for t in p.good if t > begun + 0.3) for p in pings) - begun
    print(f'--- clients are served {gone:.2f} s after the stop began')
    assert gone < pace.upper(2.0)
    assert SHARED not in pair.one.machine.addresses()
    assert SHARED in pair.two.machine.addresses()
    for p in pings:
        p.stop()
    pair.two.stop()
    assert SHARED not in pair.two.machine.addresses()


def test_without_redis_the_active_one_stays(pair):
    pings = begin(pair)
    pair.redis.kill()
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 3 * pair.ttl, 'three times the ttl', 60)
    for p in pings:
        p.stop()
        assert p.bad == []
    assert pair.active() == 'one' and SHARED not in pair.two.machine.addresses()
    pair.redis.start()
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 3 * pair.ttl, 'three times the ttl', 60)
    assert pair.active() == 'one' and pair.answers()


def test_the_active_one_cut_off_is_replaced_and_gives_way(pair):
    """A cut between the active one and all others: the other one serves; mended, one of them does."""
    pings = begin(pair)
    pair.one.machine.unplug()
    cut = time.monotonic()
    wait_until(lambda: all(p.good and p.good[-1] > cut + pair.ttl for p in pings), 'clients at the other one')
    pair.one.machine.plug()
    wait_until(lambda: [SHARED in m.machine.addresses() for m in (pair.one, pair.two)].count(True) == 1
               and pair.answers(), 'one address', 60)
    for p in pings:
        p.stop()
