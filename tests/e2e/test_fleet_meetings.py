"""A fleet meets what was there before: reloads, stops, restarts, sockets of systemd, pools without checks,
tunnels, holds and ramps."""

import time

import pytest

import fleet as tools
import harness
import pace
from client import Client, get
from harness import wait_until
from meetings import KEYS, Later, Watch, calm, change, instance
from service import Manager, Service
from test_reload import BY_KEY, echo, open_tunnel, upgrade

SAMPLE = [f'key-{i}' for i in range(200)]


def three(fleet, standbys=('s1',), servers=('b1', 'b2', 'b3'), **more):
    """(keeper, [followers])"""
    fleet.backends(*servers, standbys=standbys)
    fleet.members(3, listener=BY_KEY, **more)
    return fleet.wait_roles()


def weaken(fleet, keeper):
    """One server has failed and another one is drained: something that could be forgotten."""
    fleet.servers['b1'].kill()
    fleet.wait_out('b1')
    assert keeper.post('b3', 'drain')['agreed'] is True
    fleet.wait_out('b1', 'b3')


# --- reloads: the section -----------------------------------------------------------------------

def test_priority_preempt_and_commands_change_in_place(fleet, redis, rig, tmp_path):
    keeper, (one, _) = three(fleet)
    weaken(fleet, keeper)
    watch = Watch(rig, fleet)
    before = [(m.role(), instance(redis, m)) for m in fleet.all]
    for n, m in enumerate((keeper, one)):
        change(fleet, m, cluster={'priority': 150 - n, 'preempt': 'false', 'on_active': ['/bin/true']})
    wait_until(lambda: all({o['node']: o['priority'] for o in m.cluster()['members']}[one.name] == 149
                           for m in fleet.all), 'the new priority everywhere')
    watch.quiet()
    assert before == [(m.role(), instance(redis, m)) for m in fleet.all] or not calm(fleet)
    assert all('fleet left' not in m.err() for m in fleet.all)


def test_the_section_comes_and_goes(fleet, redis, rig):
    """Three proxies that have seen the same become a fleet, and part again."""
    fleet.backends('b1', 'b2', 'b3', standbys=['s1'])
    members = fleet.members(3, listener=BY_KEY, top={'cluster': None})
    fleet.servers['b1'].kill()
    for m in members:
        m.wait_state('b1', 'down')
        m.post('b3', 'drain')
    watch = Watch(rig, fleet)
    for m in members:
        change(fleet, m)
    fleet.wait_roles()
    watch.rounds()
    for m in reversed(members):
        change(fleet, m, top={'cluster': None})
        assert m.cluster() is None
    watch.quiet()
    wait_until(lambda: redis.holder() is None, 'the lock to be free')
    assert not [m.name for m in members if m.server('b1')['state'] != 'down' or m.server('b3')['state'] != 'draining']


@pytest.mark.parametrize('what', ['redis', 'name', 'node', 'lock_ttl'])
def test_a_member_of_another_fleet(fleet, redis, rig, what):
    """Each of them in turn, the keeper first: none forgets what is out."""
    keeper, followers = three(fleet)
    weaken(fleet, keeper)
    watch = Watch(rig, fleet)
    other = {'name': 'other', 'lock_ttl': pace.ms(fleet.ttl + 0.5), 'redis': None}.get(what)
    if what == 'redis':
        second = tools.Redis(rig.folder, 'second').start()
        rig.daemons.append(second)
        other = [second.url(fleet.relay(second.port).port)]
    for m in [keeper, *followers]:
        change(fleet, m, cluster={what: other or f'new-{m.name}'})
        m.says('event="fleet left"')
    fleet.wait_roles()
    watch.quiet()
    fleet.wait_out('b1', 'b3')
    assert all(len([line for line in m.err().splitlines() if 'event="fleet left"' in line]) == 1 for m in fleet.all)


def test_a_drain_holds_while_its_member_changes_the_fleet(fleet, rig):
    """Asked for at one that leaves right afterwards, and comes back."""
    keeper, followers = three(fleet)
    for m in [keeper, *followers]:
        name = ('b1', 'b2', 'b3')[fleet.all.index(m)]
        assert m.post(name, 'drain')['agreed'] is True
        change(fleet, m, cluster={'lock_ttl': pace.ms(fleet.ttl + 0.1)})
        fleet.wait_out(name)
        fleet.wait_roles()
        m.post(name, 'enable')  # a keeper that is new to the fleet settles first
        fleet.wait_out()


# --- reloads: pools and servers -----------------------------------------------------------------

def with_pool(fleet, member, name, server):
    """The member's configuration has one more pool."""
    text = fleet.text(member.parts, listener=BY_KEY)
    return text + (f'  - name: {name}\n    health: {{check: http, path: /healthz, interval: 200ms}}\n'
                   f'    backends:\n      - {{name: {server.name}, address: {server.address}}}\n'
                   f'      - {{name: x, address: {fleet.servers["b2"].address}}}\n')


def apply_text(member, text):
    member.config.write_text(text)
    status, _, said = member.admin.request('POST', '/reload')
    assert status == 200, said


def test_pools_come_and_go_in_any_order(fleet, redis, rig):
    keeper, (one, two) = three(fleet)
    weaken(fleet, keeper)
    q1 = rig.serve('q1')
    watch = Watch(rig, fleet)
    for order, back in ((one, keeper, two), (two, one, keeper)), ((keeper, one, two), (keeper, two, one)):
        for m in order:
            apply_text(m, with_pool(fleet, m, 'q', q1))
        assert order[0].admin.request('POST', '/pools/q/backends/q1/drain')[0] == 200
        wait_until(lambda: all(m.server('q1', 'q')['state'] == 'draining' for m in fleet.all), 'the drain in the new pool')
        assert order[1].admin.request('POST', '/pools/q/backends/q1/enable')[0] == 200
        wait_until(lambda: all(m.server('q1', 'q')['state'] == 'up' for m in fleet.all), 'its end')
        for m in back:
            change(fleet, m)
    watch.quiet()
    assert fleet.settled()


def test_a_server_that_others_do_not_have(fleet, redis, rig):
    """It joins one member after another, fails while two have it, and goes again."""
    keeper, (one, two) = three(fleet, servers=('b1', 'b2', 'b3'))
    b4 = rig.serve('b4')
    fleet.add('b4', b4)
    loads = [rig.load(m, KEYS, threads=2) for m in fleet.all]
    for m in fleet.all:
        m.parts['paths']['b4'] = fleet.relay(b4.port)
    for m in (one, keeper, two):
        change(fleet, m)
        m.wait_state('b4', 'up')
        if m is one:
            wait_until(lambda: any(o['digest_differs'] for o in keeper.cluster()['members']), 'the difference to be seen')
            assert 'b4' in one.routes(SAMPLE).values() and 'b4' not in two.routes(SAMPLE).values()
    wait_until(lambda: not any(o['digest_differs'] for m in fleet.all for o in m.cluster()['members']), 'one configuration')
    wait_until(lambda: one.routes(SAMPLE) == two.routes(SAMPLE) == keeper.routes(SAMPLE), 'one routing')
    b4.kill()
    fleet.wait_out('b4')
    del fleet.servers['b4']
    for m in (keeper, two, one):
        change(fleet, m)
    fleet.wait_out()
    home = harness.route(one.config, SAMPLE, '--pool', 'p')
    assert all(m.routes(SAMPLE) == home for m in fleet.all)
    for load in loads:
        load.wait_rounds(1)
        load.stop()
        assert load.bad() == []


@pytest.mark.threads
def test_fifty_reloads_of_the_keeper(fleet, redis, rig):
    keeper, _ = three(fleet)
    weaken(fleet, keeper)
    watch = Watch(rig, fleet, every=0.3)
    epoch, who = keeper.version()[0], instance(redis, keeper)
    for n in range(50):
        change(fleet, keeper, pool={'retries': n % 3, 'failback': {'after': f'{n % 2}s'}}, cluster={'priority': 100 + n})
    watch.quiet()
    assert instance(redis, keeper) == who
    assert keeper.role() == 'keeper' and keeper.version()[0] == epoch or not calm(fleet)


def test_reloads_during_an_exception(fleet, redis, rig):
    """It goes on at the member that made it, and the others do not mind, whoever of them reloads."""
    keeper, (one, two) = three(fleet)
    home = keeper.routes(SAMPLE)
    one.paths['b1'].refuse()
    wait_until(lambda: one.server('b1').get('here') == 'down', 'the exception')
    watch = Watch(rig, fleet)
    here = one.routes(SAMPLE)
    assert {k for k in SAMPLE if here[k] != home[k]} == {k for k in SAMPLE if home[k] == 'b1'}
    for n in range(5):
        for m in (one, keeper, two):
            change(fleet, m, pool={'retries': n % 3})
    assert one.server('b1').get('here') == 'down' and one.server('b1')['state'] == 'up'
    watch.stop()
    assert not watch.sampler.moves, watch.sampler.moves[:3]
    assert len([line for line in one.err().splitlines() if 'event=exception ' in line]) == 1
    one.paths['b1'].passes()
    wait_until(lambda: 'here' not in one.server('b1') and one.routes(SAMPLE) == home, 'its end')


@pytest.mark.threads
def test_reloads_during_a_failover(fleet, redis, rig):
    keeper, followers = three(fleet)
    home = keeper.routes(SAMPLE)
    watch = Watch(rig, fleet, n=200, every=0.05)
    killed = time.monotonic()
    fleet.servers['b1'].kill()
    n = 0
    while keeper.server('b1')['state'] != 'down' or n < 4:
        n += 1
        for m in [keeper, *followers]:
            change(fleet, m, pool={'retries': 2, 'failback': {'after': f'{n % 2}s'}})
    fleet.wait_out('b1')
    watch.stop()
    assert all(home[key] == 'b1' for _, _, key, _, _ in watch.sampler.moves)
    assert watch.sampler.span(killed) < pace.upper(2 * pace.stretched(1.0) + 1.0)
    fleet.servers['b1'].start()
    fleet.wait_out()
    wait_until(lambda: all(m.routes(SAMPLE) == home for m in fleet.all), 'the keys at home')


# --- stops and restarts ---------------------------------------------------------------------------

@pytest.mark.threads
def test_a_rolling_restart_moves_nothing(fleet, redis, rig):
    keeper, followers = three(fleet)
    weaken(fleet, keeper)
    home = keeper.routes(SAMPLE)
    for m in [followers[0], keeper, followers[1]]:
        others = [o for o in fleet.all if o is not m]
        watch = Watch(rig, fleet, others)
        m.stop()
        m.start()
        assert m.routes(SAMPLE) == home, 'not before the first request'
        fleet.wait_roles()
        watch.quiet()
    assert redis.state()['epoch'] >= keeper.version()[0]


def test_all_stop_and_start_again(fleet, redis, rig):
    """The fleet is in Redis alone meanwhile, and its lock is free."""
    keeper, _ = three(fleet)
    weaken(fleet, keeper)
    home, epoch = keeper.routes(SAMPLE), redis.state()['epoch']
    for m in fleet.all:
        m.stop()
    assert redis.holder() is None and redis.state()['epoch'] >= epoch
    fleet.servers['b1'].start()
    for m in fleet.all:
        m.start()
        assert m.routes(SAMPLE) == home or m.server('b1')['state'] != 'down'
        assert m.server('b3')['state'] == 'draining'
    fleet.wait_roles()
    fleet.wait_out('b3')


@pytest.mark.parametrize('silence', ['stopped', 'black hole', 'refused'])
def test_a_stop_does_not_wait_for_redis(fleet, redis, rig, silence):
    keeper, followers = three(fleet)
    if silence == 'stopped':
        redis.pause()
    else:
        for m in fleet.all:
            m.redis.hole() if silence == 'black hole' else m.redis.refuse()
    try:
        for m in [keeper, *followers]:
            begin = time.monotonic()
            m.stop()
            assert time.monotonic() - begin < pace.upper(2.0)
    finally:
        redis.resume()


@pytest.mark.parametrize('end', ['stop', 'leave', 'other fleet', 'server gone'])
def test_a_drain_that_waits_is_answered(fleet, redis, rig, end):
    """Redis is silent, and the member ends, leaves, or has the server no more."""
    keeper, followers = three(fleet)
    redis.pause()
    try:
        for m in (keeper, followers[0]):
            asked = [Later(m, f'/pools/p/backends/{name}/drain') for name in ('b1', 'b1', 'b2')]
            wait_until(lambda m=m: m.server('b1').get('here') and m.server('b2').get('here')
                       or all(a.result for a in asked), 'the drain to hold here')
            if end == 'stop':
                m.stop()
            elif end == 'leave':
                change(fleet, m, top={'cluster': None})
            elif end == 'other fleet':
                change(fleet, m, cluster={'name': 'other'})
            else:
                text = fleet.text(m.parts, listener=BY_KEY)
                m.config.write_text('\n'.join(line for line in text.splitlines() if 'name: b1' not in line) + '\n')
                assert m.admin.request('POST', '/reload')[0] == 200
            for a in asked:
                status, said = a.answer()
                assert status in (200, 404), (status, said)
                assert status == 404 or said['agreed'] is False
                assert a.took < pace.upper(3.5)
    finally:
        redis.resume()


def test_sockets_of_systemd(fleet, redis, rig, tmp_path):
    """`listen: always`: the sockets stay while a member restarts, and no request fails."""
    keeper, followers = three(fleet)
    weaken(fleet, keeper)
    manager = Manager(tmp_path)
    parts = {'name': 'held', 'port': harness.free_port(), 'admin': harness.free_port(),
             'redises': [fleet.relay(redis.port)],
             'paths': {n: fleet.relay(s.port) for n, s in (fleet.servers | fleet.standbys).items()}}
    for name, port in (('web', parts['port']), ('admin', parts['admin'])):
        manager.listen(name, port)
    service = Service(manager, rig.folder, 'held', fleet.text(parts, listener=BY_KEY), parts['port'], parts['admin'])
    rig.proxies.append(service)
    try:
        service.start()
        home = keeper.routes(SAMPLE)
        assert tools.routes(service, SAMPLE) == home
        wait_until(lambda: service.admin.json('/status')['cluster']['role'] == 'follower', 'it to follow')
        load = rig.load(service, KEYS, threads=2)
        for _ in range(2):
            load.wait_rounds(1)
            service.stop()
            service.start()
            assert tools.routes(service, SAMPLE) == home
        load.wait_rounds(1)
        load.stop()
        assert {r.error for r in load.bad()} <= {None} | {r.error for r in load.bad() if 'closed' in r.error or 'reset' in r.error}
        service.stop()
    finally:
        manager.close()


# --- settings of pools ------------------------------------------------------------------------------

def test_pools_without_checks(fleet, redis, rig):
    """Live traffic alone tells who is out: what one has found out all do, and it comes back."""
    off = harness.CHECK_OFF | {'interval': '1s'}
    keeper, followers = three(fleet, pool={'health': off, 'passive': {'failures': 3}})
    home = keeper.routes(SAMPLE)
    loads = [rig.load(m, KEYS, threads=2, pace=0.005) for m in fleet.all]
    for load in loads:
        load.wait_rounds(1)
    fleet.servers['b1'].kill()
    wait_until(lambda: all('event="server down"' in m.err() or 'event=exception ' in m.err() for m in fleet.all), 'all to notice')
    for load in loads:
        load.wait_rounds(1)
        assert load.bad() == []
    fleet.servers['b1'].start()
    wait_until(lambda: all(m.routes(SAMPLE) == home for m in fleet.all), 'the keys at home', 30)
    for load in loads:
        load.stop()
        assert load.bad() == []


def test_all_down_and_tried(fleet, redis, rig):
    """All members route as if all were in service, alike, and no key moves."""
    keeper, _ = three(fleet, standbys=(), servers=('b1', 'b2'), pool={'when_all_down': 'try'})
    home = keeper.routes(SAMPLE)
    for s in fleet.servers.values():
        s.kill()
    tried = lambda m: m.admin.json('/status')['pools'][0]['all_down_routing']  # noqa: E731
    wait_until(lambda: all(tried(m) or m.server('b1')['state'] == 'up' and m.admin.request('GET', '/readyz')[0] == 503
                           for m in fleet.all), 'all to be down')
    assert all(m.routes(SAMPLE) == home for m in fleet.all)
    for s in fleet.servers.values():
        s.start()
    fleet.wait_out()
    wait_until(lambda: all(m.admin.request('GET', '/readyz')[0] == 200 and m.routes(SAMPLE) == home for m in fleet.all),
               'all to be up')
    assert all(get(m.port, fields={'X-Key': k}).text == home[k] for m in fleet.all for k in SAMPLE[:20])


class Stream:
    """A tcp client of the proxy, by an address of its own, which is its key."""

    all = []

    def __init__(self, member, source):
        self.client = Client(member.port, source=source)
        self.all.append(self)
        self.who = self.client.sock.recv(2).decode()

    def open(self):
        echo(self.client.sock, b'still there')
        return True

    def ended(self):
        return self.client.at_end()


@pytest.fixture
def streams_end():
    yield
    while Stream.all:
        Stream.all.pop().client.close()


def greeter(name):
    def handle(_, sock):
        sock.sendall(name.encode())
        while data := sock.recv(4096):
            sock.sendall(data)
    return handle


@pytest.mark.threads
def test_streams_follow_their_keys(fleet, redis, rig, streams_end):
    """`close_moved: always` in mode tcp: at a drain of the fleet they are closed at every member, and those
    of an exception when it ends; a reload in between changes nothing of that."""
    for name in ('b1', 'b2'):
        fleet.add(name, rig.tcp(name, greeter(name)))
    fleet.add('s1', rig.tcp('s1', greeter('s1')), standby=True)
    fleet.members(3, listener={'mode': 'tcp', 'key': 'source_ip', 'timeouts': {'request': None, 'idle': None}},
                  pool={'close_moved': 'always', 'health': {'check': 'tcp', 'path': None}})
    keeper, (one, two) = fleet.wait_roles()
    sources = [f'127.0.9.{i}' for i in range(1, 13)]
    streams = {m: [Stream(m, s) for s in sources] for m in fleet.all}
    at = {m: {n: [s for s in streams[m] if s.who == n] for n in ('b1', 'b2')} for m in fleet.all}
    assert all(at[keeper].values())
    assert keeper.post('b2', 'drain')['agreed'] is True
    for m in fleet.all:
        assert all(s.ended() for s in at[m]['b2']) and all(s.open() for s in at[m]['b1'])
    assert keeper.post('b2', 'enable')['agreed'] is True
    fleet.wait_out()
    # an exception of one member
    one.paths['b1'].refuse()
    wait_until(lambda: one.server('b1').get('here') == 'down', 'the exception')
    moved = [src for src, s in zip(sources, streams[one]) if s.who == 'b1']
    assert all(s.ended() for s in at[one]['b1']) and all(s.open() for s in at[two]['b1'])
    there = [Stream(one, src) for src in moved]
    assert all(s.who == 's1' for s in there) and all(s.open() for s in there)
    one.paths['b1'].passes()
    wait_until(lambda: 'here' not in one.server('b1'), 'its end')
    assert all(s.ended() for s in there)
    assert all(s.who == 'b1' for s in [Stream(one, src) for src in moved])
    assert all(s.open() for s in at[two]['b1'])


def test_tunnels_at_a_substitute_stay_unless_always(fleet, redis, rig):
    fleet.add('b1', rig.backend('b1', upgrade))
    fleet.add('s1', rig.backend('s1', upgrade), standby=True)
    fleet.add('b2', rig.backend('b2', upgrade))
    one = fleet.member(listener={'key': 'header:X-Key'})
    two = fleet.member(listener={'key': 'header:X-Key'})
    fleet.wait_roles()
    owner = one.routes(['k1'])['k1']
    one.paths[owner].refuse()
    wait_until(lambda: one.server(owner).get('here') == 'down', 'the exception')
    tunnel = open_tunnel(one.port)
    echo(tunnel.sock, b'at the substitute')
    one.paths[owner].passes()
    wait_until(lambda: one.routes(['k1'])['k1'] == owner, 'its end')
    echo(tunnel.sock, b'still there')
    tunnel.close()
    assert two.routes(['k1'])['k1'] == owner


def test_a_server_is_held_by_all_until_an_operator_says(fleet, redis, rig):
    """Also across the death of the keeper."""
    keeper, _ = three(fleet, pool={'failback': {'mode': 'manual'}})
    home = keeper.routes(SAMPLE)
    fleet.servers['b1'].kill()
    fleet.wait_out('b1')
    out = keeper.routes(SAMPLE)
    fleet.servers['b1'].start()
    wait_until(lambda: all(m.server('b1')['state'] == 'returning' for m in fleet.all), 'b1 to be held')
    assert all(m.routes(SAMPLE) == out for m in fleet.all)
    keeper.kill()
    fleet.all.remove(keeper)
    rig.proxies.remove(keeper)
    new, (one,) = fleet.wait_roles()
    assert all(m.routes(SAMPLE) == out for m in (new, one))
    change(fleet, one, pool={'failback': {'mode': 'manual'}, 'retries': 1})
    assert one.routes(SAMPLE) == out
    assert one.post('b1', 'failback')['agreed'] is True
    wait_until(lambda: all(m.routes(SAMPLE) == home for m in (new, one)), 'the keys at home')


def test_a_ramp_is_everywhere_at_the_same_share(fleet, redis, rig):
    """Its steps come as publications, a reload and the keeper's clean stop in the middle of it."""
    ramp = pace.stretched(4.0)
    pool = {'failback': {'after': '0s', 'ramp': pace.ms(ramp)}}
    keeper, followers = three(fleet, pool=pool)
    home = keeper.routes(SAMPLE)
    fleet.servers['b1'].kill()
    fleet.wait_out('b1')
    out = keeper.routes(SAMPLE)
    loads = [rig.load(m, KEYS, threads=1) for m in followers]
    sampler = fleet.sampler(200, followers, every=0.05).start()
    fleet.servers['b1'].start()
    wait_until(lambda: followers[0].routes(SAMPLE) not in (out, home), 'the ramp')
    change(fleet, followers[0], pool=pool | {'retries': 1})
    keeper.stop()
    fleet.all.remove(keeper)
    wait_until(lambda: all(m.routes(SAMPLE) == home for m in followers), 'the keys at home', 60)
    sampler.wait_rounds(1)
    sampler.stop()
    back = [(name, key) for _, name, key, _, to in sampler.moves if to != 'b1']
    assert not back, back[:3]
    assert len(sampler.moves) == len(followers) * len([k for k in SAMPLE if home[k] == 'b1'])
    for load in loads:
        load.stop()
        assert load.bad() == []
