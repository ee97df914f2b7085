"""The program of a member is replaced while the fleet is under load: the new process is the same member."""

import re
import signal
import threading

import pytest

import harness
import pace
from harness import wait_until
from meetings import KEYS, Watch, calm, instance
from test_fleet_meetings import SAMPLE, three, weaken
from test_reload import BY_KEY
from upgraded import Upgraded, orphans


@pytest.fixture(autouse=True)
def adopt():
    with orphans():
        yield


class Members:
    """n members that can be replaced, on backends b1 to b3 and s1."""

    def __init__(self, rig, fleet, n=3, **more):
        if not fleet.servers:
            fleet.backends('b1', 'b2', 'b3', standbys=['s1'])
        more.setdefault('listener', BY_KEY)
        self.fleet, self.all, folder = fleet, [], rig.folder
        fleet.ttl = pace.stretched(2.0)
        for i in range(n):
            rig.folder = folder / f'program-{i}'  # a program of its own
            rig.folder.mkdir()
            self.all.append(Upgraded(rig, lambda: fleet.member(start=False, **more)))
        rig.folder = folder
        for u in self.all:
            u.proxy.start(ready=False)
        for u in self.all:
            wait_until(u.proxy.ready, f'{u.proxy.name} to be ready', 30)
        fleet.wait_roles()

    def of(self, member):
        return next(u for u in self.all if u.proxy is member)

    def end(self):
        for u in self.all:
            u.wait_old()


def lines(member, event):
    return [line for line in member.err().splitlines() if f'event="{event}"' in line or f'event={event} ' in line]


def upgrade(u):
    u.install()
    u.upgrade()


@pytest.mark.threads
@pytest.mark.parametrize('role', ['keeper', 'follower'])
def test_the_new_process_is_the_same_member(rig, fleet, redis, role):
    members = Members(rig, fleet)
    keeper, followers = fleet.wait_roles()
    weaken(fleet, keeper)
    m = keeper if role == 'keeper' else followers[0]
    who, version, roles = instance(redis, m), m.version(), [o.role() for o in fleet.all]
    watch = Watch(rig, fleet)
    for _ in range(2):
        upgrade(members.of(m))
        wait_until(lambda: m.role() == role or not calm(fleet), 'its role')
        watch.rounds()
    watch.quiet()
    members.end()
    assert instance(redis, m) == who and m.version() >= version
    if calm(fleet):
        assert [o.role() for o in fleet.all] == roles and m.version()[0] == version[0]
        assert len(lines(m, 'fleet keeper')) == (role == 'keeper')
        assert all(not lines(o, 'fleet member silent') and not lines(o, 'fleet alone') for o in fleet.all)
    fleet.wait_roles()
    assert m.server('b1')['state'] == 'down' and m.server('b3')['state'] == 'draining'
    # and it has what it needs to go on
    assert m.post('b3', 'enable')['agreed'] is True
    fleet.servers['b1'].start()
    fleet.wait_out()


def test_all_at_once(rig, fleet, redis):
    members = Members(rig, fleet)
    keeper, _ = fleet.wait_roles()
    weaken(fleet, keeper)
    watch = Watch(rig, fleet)
    whos = [instance(redis, m) for m in fleet.all]
    threads = [threading.Thread(target=upgrade, args=(u,)) for u in members.all]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    fleet.wait_roles()
    watch.quiet()
    members.end()
    assert whos == [instance(redis, m) for m in fleet.all]
    assert keeper.role() == 'keeper' or not calm(fleet)


@pytest.mark.parametrize('role', ['keeper', 'follower'])
def test_drains_in_the_middle_are_answered(rig, fleet, redis, role):
    """By 200, or by 503 where nothing was done. What was said to be agreed is, and so is what was said last."""
    members = Members(rig, fleet)
    keeper, followers = fleet.wait_roles()
    m = keeper if role == 'keeper' else followers[0]
    said, ends, bad = [], threading.Event(), []

    def operator():
        verb = 'drain'
        while not ends.is_set() or not said or said[-1][0] != 200:
            try:
                status, _, text = m.admin.request('POST', f'/pools/p/backends/b2/{verb}')
            except (OSError, harness.http.client.HTTPException):  # the socket goes to the other process
                continue
            said.append((status, verb, text))
            if status not in (200, 503):
                bad.append(said[-1])
                return
            if status == 200:
                verb = 'enable' if verb == 'drain' else 'drain'

    t = threading.Thread(target=operator, daemon=True)
    t.start()
    for n in range(3):
        upgrade(members.of(m))
        before = len([s for s in said if s[0] == 200])
        wait_until(lambda: bad or len([s for s in said if s[0] == 200]) > before + 1, 'answers')
    ends.set()
    t.join(pace.upper(30))
    assert not t.is_alive() and not bad, bad
    members.end()
    fleet.wait_out(*(['b2'] if said[-1][1] == 'drain' else []))
    fleet.wait_roles()
    assert keeper.role() == 'keeper' or not calm(fleet)


@pytest.mark.parametrize('role', ['keeper', 'follower'])
def test_a_failed_upgrade_leaves_the_member_as_it_was(rig, fleet, redis, role):
    members = Members(rig, fleet)
    keeper, followers = fleet.wait_roles()
    m = keeper if role == 'keeper' else followers[0]
    u, who, epoch = members.of(m), instance(redis, m), m.version()[0]
    watch = Watch(rig, fleet)
    for script, query in (('exit 9', ''), ('exec sleep 600', '?timeout=300ms')):
        u.install(script)
        u.ask(500, query)
    watch.quiet()
    for verb, out in (('drain', ['b2']), ('enable', [])):
        assert m.post('b2', verb)['agreed'] is True
        fleet.wait_out(*out)
    # a server fails while the keeper is frozen: an exception, and the decision afterwards
    mark, go, real = rig.folder / 'mark', rig.folder / 'go', harness.RINGPROXY
    u.install(f'touch {mark}; while [ ! -e {go} ]; do sleep 0.01; done; exit 1')
    asked = threading.Thread(target=u.ask, args=(500, '?timeout=20s'))
    asked.start()
    wait_until(mark.exists, 'the new process')
    fleet.servers['b1'].kill()
    wait_until(lambda: all(set(o.routes(SAMPLE).values()) == {'b2', 'b3', 's1'} for o in fleet.all), 'the failover')
    assert m.post('b2', 'drain', expect=503)
    go.touch()
    asked.join()
    fleet.wait_out('b1')
    assert instance(redis, m) == who
    assert m.role() == role and m.version()[0] == epoch or not calm(fleet)
    u.install()
    upgrade(u)
    fleet.wait_roles()
    fleet.wait_out('b1')
    members.end()


def test_the_epoch_header_goes_on(rig, fleet, redis):
    for name in ('b1', 'b2'):
        fleet.add(name, rig.backend(name))
    members = Members(rig, fleet, n=2, pool={'epoch_header': 'X-Ring-Epoch'})
    keeper, _ = fleet.wait_roles()
    loads = [rig.load(m, KEYS[:10], threads=1) for m in fleet.all]
    for m in fleet.all:
        upgrade(members.of(m))
        for load in loads:
            load.wait_rounds(2)
    for load in loads:
        load.stop()
        assert load.bad() == []
    members.end()
    for b in fleet.servers.values():
        found = [r.get('X-Ring-Epoch') for r in b.served()]
        assert all(found) or not calm(fleet), 'missing'
        assert len({one.split('.')[0] for one in found}) == 1 or not calm(fleet)
        assert '.'.join(map(str, keeper.version())) == found[-1] or not calm(fleet)


def roles_of(folder, n):
    return [line.split() for line in (folder / f'roles-{n}').read_text().splitlines()]


def pair(rig, fleet, tmp_path):
    """(active, standby) as Upgraded, with commands that note the role."""
    fleet.backends('b1', 'b2')
    made, folder = [], rig.folder
    for n in range(2):
        note = ['/bin/sh', '-c', f'echo $RINGPROXY_ROLE $RINGPROXY_EPOCH >>{tmp_path}/roles-{n}']
        rig.folder = folder / f'program-{n}'
        rig.folder.mkdir()
        made.append(Upgraded(rig, lambda note=note: fleet.member(start=False, listener=BY_KEY, cluster={
            'listen': 'active', 'on_active': note, 'on_standby': note, 'preempt': 'false'})))
    rig.folder = folder
    for n, u in enumerate(made):
        u.proxy.start(ready=False)
        if n == 0:
            wait_until(lambda u=u: harness.accepts(u.port), 'the active one')
    fleet.wait_roles()
    wait_until(lambda: [r[0] for r in roles_of(tmp_path, 0)] == ['standby', 'active'], 'the commands')
    return made


def test_an_active_one_and_its_standby_are_replaced(rig, fleet, redis, tmp_path):
    active, standby = pair(rig, fleet, tmp_path)
    load = rig.load(active.proxy, KEYS, threads=3)
    load.wait_rounds(1)
    whos = [instance(redis, u.proxy) for u in (active, standby)]
    for u in (standby, active, active, standby):
        upgrade(u)
        load.wait_rounds(1)
        assert harness.accepts(active.port) and not harness.accepts(standby.port)
    load.stop()
    assert load.bad() == []
    for u in (active, standby):
        u.wait_old()
    assert whos == [instance(redis, u.proxy) for u in (active, standby)]
    assert active.proxy.role() == 'keeper' and standby.proxy.role() == 'follower' or not calm(fleet)
    assert [r[0] for r in roles_of(tmp_path, 0)] == ['standby', 'active'] or not calm(fleet)
    # the standby that came of it takes over
    active.proxy.stop()
    wait_until(lambda: harness.accepts(standby.port), 'the standby to take over')
    wait_until(lambda: roles_of(tmp_path, 1)[-1][0] == 'active', 'its command')


@pytest.mark.parametrize('what', ['name', 'node', 'lock_ttl'])
def test_an_active_one_whose_new_process_is_another_member(rig, fleet, redis, tmp_path, what):
    """What the process before has left is of no use to it. Nobody is without service, and in the end one of
    them accepts: in each fleet, if there are two now."""
    active, standby = pair(rig, fleet, tmp_path)
    load = rig.load(active.proxy, KEYS, threads=3)
    load.wait_rounds(1)
    m = active.proxy
    other = {'name': 'other', 'node': 'new', 'lock_ttl': pace.ms(fleet.ttl + 0.5)}[what]
    text = m.config.read_text()
    new = re.sub(rf'\b{what}: [^,}}]+', f'{what}: {other}', text.split('listeners:')[0]) + 'listeners:' + \
        text.split('listeners:', 1)[1]
    assert new != text
    m.config.write_text(new)
    upgrade(active)
    active.wait_old()
    assert harness.accepts(active.port), 'as the process before did'
    if what == 'name':
        wait_until(lambda: redis.holder('other') and harness.accepts(standby.port), 'two fleets')
        load.wait_rounds(1)
        assert load.bad() == []
        assert [r[0] for r in roles_of(tmp_path, 0)] == ['standby', 'active']
    else:
        wait_until(lambda: redis.holder(), 'a keeper')
        wait_until(lambda: sorted(u.proxy.role() for u in (active, standby)) == ['follower', 'keeper'], 'roles', 30)
        wait_until(lambda: [harness.accepts(u.port) for u in (active, standby)] ==
                   [u.proxy.role() == 'keeper' for u in (active, standby)], 'the holder alone to accept', 30)
    load.stop()


@pytest.mark.parametrize('change', ['lock_ttl', 'name', 'gone'])
def test_a_reload_of_the_active_one_leaves_one_active(rig, fleet, redis, tmp_path, change):
    """It leaves the fleet and joins it, or another one: it accepts until another member has the role."""
    active, standby = pair(rig, fleet, tmp_path)
    load = rig.load(active.proxy, KEYS, threads=2)
    load.wait_rounds(1)
    m, cluster = active.proxy, {'listen': 'active', 'preempt': 'false'}
    more = {'lock_ttl': {'cluster': cluster | {'lock_ttl': pace.ms(fleet.ttl + 0.5)}},
            'name': {'cluster': cluster | {'name': 'other'}}, 'gone': {'top': {'cluster': None}}}[change]
    m.config.write_text(fleet.text(m.parts, listener=BY_KEY, **more))
    assert m.admin.request('POST', '/reload')[0] == 200
    if change == 'lock_ttl':  # which of them, is for both to say
        wait_until(lambda: sorted(u.proxy.role() for u in (active, standby)) == ['follower', 'keeper'], 'roles', 30)
        wait_until(lambda: [harness.accepts(u.port) for u in (active, standby)] ==
                   [u.proxy.role() == 'keeper' for u in (active, standby)], 'the holder alone to accept', 30)
    else:
        wait_until(lambda: harness.accepts(standby.port), 'the other one')
        load.wait_rounds(1)
        assert load.bad() == [] and harness.accepts(active.port)
    load.stop()
