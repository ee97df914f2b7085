"""Members of a fleet send every key to the same server, whatever each of them can reach.

Where all keys go at all members is asked ten times a second (fleet.Sampler). A bound begins when the last
path is cut. FLEET_KEYS=10000 asks for that many keys instead of 1000.
"""

import os
import re
import signal
import threading
import time

import pytest

import fleet as tools
import harness
import pace
from harness import wait_until

KEYS = [f'key-{i}' for i in range(int(os.environ.get('FLEET_KEYS', '1000')))]
SERVERS = ('b1', 'b2', 'b3', 'b4', 'b5')
STANDBY = 's7'  # stands in for b2 if b1 and b2 are out, for b3 if that is out, too


def told(text):
    """Figures for who runs it with -rP."""
    print(f'=== {text}')


class Scene:
    """Three members, five backends and a standby. `bound` is what a crash may take."""

    def __init__(self, fleet, agree='majority', pool=None, cluster=True, servers=SERVERS, start=True):
        self.fleet = fleet
        self.timeout = min(pace.stretched(0.4), 1.2)
        fleet.ttl = min(pace.stretched(1.0), 2.4)
        self.bound = 2 * self.timeout + pace.upper(0.5)
        fleet.backends(*servers, standbys=[STANDBY])
        usual = {'health': {'timeout': pace.ms(self.timeout)}, 'agree': agree if cluster else None}
        self.more = {'pool': harness.merged(usual, pool), 'listener': {'key': ['header:X-Key']}}
        if not cluster:
            self.more['top'] = {'cluster': None}
        if not start:
            return
        self.members = fleet.members(3, **self.more)
        if cluster:
            fleet.wait_roles()
        self.sampler = tools.Sampler(self.members, KEYS).start()
        self.sampler.wait_rounds(2)
        assert not self.sampler.differ and not self.sampler.moves

    def home(self, *out):
        """Where each key belongs if these servers are out, as computed offline."""
        return harness.route(self.members[0].config, KEYS, *(w for name in out for w in ('--down', name)))

    def agreed(self, *out, members=None):
        """All members say that the fleet sends every key where it belongs then."""
        want = self.home(*out)
        for m in members or self.members:
            assert tools.agreed_routes(m, KEYS) == want, m.name

    def alike(self, since, bound=None, what=''):
        """From the bound on all members send all keys to the same servers."""
        took = self.sampler.wait_alike(since)
        told(f'{what}: {len(self.sampler.differing(since))} of {len(KEYS)} keys differed, '
             f'the last time {took * 1000:.0f} ms after it (bound {(bound or self.bound) * 1000:.0f} ms)')
        assert took <= (bound or self.bound), self.sampler.differ[-1]


def sees_down(member, name):
    """By what it routes by, or for itself alone."""
    found = member.server(name)
    return found['state'] == 'down' or 'here' in found


def wait_sees_down(member, *names):
    wait_until(lambda: all(sees_down(member, n) for n in names), f'{member.name} to see {names} down')


def wait_excepts(member, *names):
    """Until these are the servers that a member leaves out against the agreement."""
    wait_until(lambda: {n for n in SERVERS if 'here' in member.server(n)} == set(names),
               f'{member.name} to leave out {names}')


def fail_in_another_order(members):
    """b3 can't be reached by c; b1 and b2 fail, each at first for one member alone. The time of the last cut."""
    a, b, c = members
    c.paths['b3'].refuse()
    wait_sees_down(c, 'b3')
    a.paths['b1'].refuse()
    b.paths['b2'].refuse()
    wait_sees_down(a, 'b1')
    wait_sees_down(b, 'b2')
    last = time.monotonic()
    a.paths['b2'].refuse()
    b.paths['b1'].hole()
    c.paths['b2'].refuse()
    c.paths['b1'].refuse()
    return last


def test_two_servers_fail_in_another_order_at_each(fleet):
    """What one member can't reach differs at that member, for the keys of that server, and it is said."""
    scene = Scene(fleet)
    c, sampler = scene.members[2], scene.sampler
    since = fail_in_another_order(scene.members)
    fleet.wait_out('b1', 'b2')
    took = time.monotonic() - since
    assert took <= scene.bound, f'{took:.3f} s'
    wait_excepts(c, 'b3')
    begin = sampler.wait_rounds(3)
    sampler.stop()
    scene.agreed('b1', 'b2')
    agreed = scene.home('b1', 'b2')
    late = [d for d in sampler.differ if d[0] >= since + scene.bound or d[0] >= begin]
    assert late
    told(f'out everywhere {took * 1000:.0f} ms after the last cut; after that '
         f'{len({d[2] for d in late})} of {len(KEYS)} keys differ')
    second = scene.home('b1', 'b2', 'b3')
    for _, _, key, who in late:
        assert agreed[key] == 'b3'
        assert who == {m.name: second[key] if m is c else 'b3' for m in scene.members}
    assert {d[2] for d in late} == {k for k in KEYS if agreed[k] == 'b3'}


def test_two_servers_fail_in_another_order_at_each_and_one_word_is_enough(fleet):
    """`agree: all`: what one member can't reach is out for all, so no key differs."""
    scene = Scene(fleet, agree='all')
    since = fail_in_another_order(scene.members)
    fleet.wait_out('b1', 'b2', 'b3')
    scene.alike(since, what='agree: all')
    scene.sampler.stop()
    scene.agreed('b1', 'b2', 'b3')
    assert not any('here' in m.server(n) for m in scene.members for n in SERVERS)


def test_a_server_that_fails_for_all_is_out_for_all_at_the_same_time(fleet):
    """Refused, and silent: what waits for an answer is not later by more than the timeout of a check."""
    scene = Scene(fleet)
    since = time.monotonic()
    for m in scene.members:
        m.paths['b1'].refuse()
    fleet.wait_out('b1')
    scene.alike(since, what='refused')
    since = time.monotonic()
    for m in scene.members:
        m.paths['b2'].hole()
    fleet.wait_out('b1', 'b2')
    # without traffic a hung server is seen by `fall` checks, whenever they come; then others look at once
    scene.alike(since, scene.bound + 3 * scene.timeout + 1, 'silent')
    assert scene.sampler.span(since) <= scene.bound
    for m in scene.members:
        m.paths['b1'].passes()
        m.paths['b2'].passes()
    since = time.monotonic()
    fleet.wait_out()
    wait_until(lambda: all(m.server(n)['state'] == 'up' for m in scene.members for n in SERVERS), 'all to be up')
    scene.sampler.wait_rounds(2)
    scene.sampler.stop()
    assert scene.sampler.span(since) <= scene.bound
    scene.agreed()


def test_without_a_fleet_the_same_failures_split_the_keys(fleet):
    """The reason for a fleet: three proxies that decide alone, and the same failures. They differ for as
    long as one of them does not reach what the others reach; the standby is at a server of its own choice
    at each, so keys of other servers are split, too."""
    scene = Scene(fleet, cluster=False)
    a, _, c = scene.members
    since = fail_in_another_order(scene.members)
    for m in scene.members:
        wait_sees_down(m, 'b1', 'b2')
    settled = time.monotonic()
    scene.sampler.wait_rounds(5)
    begin = scene.sampler.wait_rounds(20)
    sampler = scene.sampler.stop()
    most, here = scene.home('b1', 'b2'), scene.home('b1', 'b2', 'b3')
    split = {k for k in KEYS if most[k] != here[k]}
    rounds = {d[0] for d in sampler.differ if d[0] >= begin}
    told(f'alone: {len(split)} of {len(KEYS)} keys go to different servers in each of {len(rounds)} samples, '
         f'{len({k for k in split if most[k] != "b3"})} of them not of b3; '
         f'at first {len(sampler.differing(since) - split)} others, for up to {settled - since:.1f} s')
    assert len(rounds) >= 18 and {d[2] for d in sampler.differ if d[0] >= begin} == split
    assert {k for k in split if most[k] != 'b3'}
    assert tools.routes(a, KEYS) == most and tools.routes(c, KEYS) == here


def test_an_exception_moves_the_keys_of_that_server_alone(rig, fleet):
    """And comes and goes without a failed request."""
    scene = Scene(fleet)
    a, b, c = scene.members
    load = rig.load(c, KEYS[:200], threads=2)
    load.wait_rounds(1)
    since = time.monotonic()
    c.paths['b3'].refuse()
    wait_excepts(c, 'b3')
    scene.sampler.wait_rounds(2)
    all_in, second = scene.home(), scene.home('b3')
    of_b3 = {k for k in KEYS if all_in[k] == 'b3'}
    assert sorted(scene.sampler.moved(since), key=str) == sorted(scene.sampler.moved(since, c.name), key=str)
    assert {(k, x, y) for _, _, k, x, y in scene.sampler.moves} == {(k, 'b3', second[k]) for k in of_b3}
    scene.agreed()
    # who it is, and about what, can be seen at any member
    assert c.admin.metric('ringproxy_cluster_exceptions', pool='p', backend='b3') == 1
    assert a.admin.metric('ringproxy_cluster_exceptions', pool='p', backend='b3') == 0
    for m in scene.members:
        wait_until(lambda m=m: {x['node']: x['except'] for x in m.cluster()['members']}
                   == {a.name: [], b.name: [], c.name: [{'pool': 'p', 'server': 'b3'}]}, 'it to be shown')
    c.says('event=exception ')
    got = load.served(load.wait_rounds(1))
    for key, who in got.items():
        assert who == {second[key] if key in of_b3 else all_in[key]}, key
    back = time.monotonic()
    c.paths['b3'].passes()
    wait_excepts(c)
    scene.alike(back, 3 * scene.bound + 4, 'an exception ends')
    scene.sampler.stop()
    load.stop()
    assert not load.bad()
    assert {m[1] for m in scene.sampler.moves} == {c.name}
    assert not scene.sampler.moved(since, a.name)
    c.says('event="exception ended"')


def test_what_most_members_can_not_reach_is_out_for_all(fleet):
    scene = Scene(fleet)
    a, b, c = scene.members
    c.paths['b3'].hole()
    wait_excepts(c, 'b3')
    since = time.monotonic()
    b.paths['b3'].refuse()
    fleet.wait_out('b3')
    scene.alike(since, what='two of three')
    scene.agreed('b3')
    # back for one: two of three again, and the third one leaves it out by itself
    b.paths['b3'].passes()
    wait_until(lambda: a.server('b3')['state'] == 'up', 'b3 to be back')
    wait_excepts(c, 'b3')
    scene.agreed()
    c.paths['b3'].passes()
    since = time.monotonic()
    wait_excepts(c)
    scene.sampler.wait_rounds(2)
    scene.sampler.stop()
    scene.agreed()


def test_the_last_member_is_no_majority(fleet):
    """One member can't reach a server, and the others end: in order, and by a crash. They count as voters
    for a while (10 lock_ttl), so the last one alone does not take the server out for those who come back."""
    scene = Scene(fleet)
    a, b, c = scene.members
    c.paths['b3'].refuse()
    wait_excepts(c, 'b3')
    scene.sampler.stop()
    ends = time.monotonic() + 8 * fleet.ttl
    a.kill()
    b.stop()
    wait_until(lambda: c.role() == 'keeper', 'c to be the keeper')
    c.post('b1', 'drain')
    wait_until(lambda: c.server('b3').get('votes') == {'down': 1, 'up': 0, 'voters': 3}, 'the others to be silent')
    c.post('b2', 'drain')
    wait_until(lambda: c.server('b2').get('state') == 'draining', 'one more publication')
    assert c.role() == 'keeper' and ('here' in c.server('b3') or time.monotonic() > ends)
    for m in (a, b):
        m.start()
    fleet.wait_roles()
    if time.monotonic() < ends:
        scene.agreed('b1', 'b2')


# --- operators --------------------------------------------------------------------------------

def test_operators_speak_for_the_fleet_at_any_member(fleet):
    scene = Scene(fleet, pool={'failback': {'mode': 'manual'}})
    a, b, c = scene.members
    quick = pace.upper(0.5)
    for at, name in ((a, 'b1'), (b, 'b2'), (c, 'b4')):
        since = time.monotonic()
        assert at.post(name, 'drain')['agreed'] is True
        scene.alike(since, quick, f'{name} drained at {at.name}')
    fleet.wait_out('b1', 'b2', 'b4')
    scene.agreed('b1', 'b2', 'b4')
    for at, name in ((b, 'b1'), (c, 'b2'), (a, 'b4')):
        since = time.monotonic()
        assert at.post(name, 'enable')['agreed'] is True
        scene.alike(since, quick, f'{name} enabled at {at.name}')
    scene.agreed()
    # held until somebody, somewhere, says so
    for m in scene.members:
        m.paths['b2'].refuse()
    fleet.wait_out('b2')
    assert b.post('b2', 'failback', expect=409)
    for m in scene.members:
        m.paths['b2'].passes()
    wait_until(lambda: all(m.server('b2')['state'] == 'returning' for m in scene.members), 'b2 to be held')
    scene.agreed('b2')
    since = time.monotonic()
    assert c.post('b2', 'failback')['agreed'] is True
    scene.alike(since, quick, 'failback')
    scene.sampler.stop()
    scene.agreed()


def wait_tick():
    """Two requests are an order only if the clock, which counts milliseconds, tells them apart."""
    begin = time.time()
    wait_until(lambda: time.time() >= begin + 0.002, 'a millisecond')


def test_of_two_operators_the_one_that_spoke_last_is_heard(fleet, redis):
    scene = Scene(fleet)
    a, b, c = scene.members
    for i in range(5):
        at, other = (a, b, c)[i % 3], (b, c, a)[i % 3]
        at.post('b1', 'drain')
        assert other.post('b1', 'enable')['state'] == 'up'
        other.post('b2', 'enable')
        assert at.post('b2', 'drain')['state'] == 'draining'
    fleet.wait_out('b2')
    scene.agreed('b2')
    # at the same time: one of them, and the same one for all
    for i in range(5):
        both = [threading.Thread(target=m.post, args=('b3', verb))
                for m, verb in ((a, 'drain'), (c, 'enable'))]
        since = time.monotonic()
        for t in both:
            t.start()
        for t in both:
            t.join()
        scene.alike(since, pace.upper(1.0), 'at the same time')
        assert len({m.server('b3')['state'] for m in scene.members}) == 1
    a.post('b3', 'enable')
    # what was said while nobody could hear it is no younger when it is heard
    a.cut()
    wait_until(lambda: a.role() == 'alone', 'it to be alone')
    assert a.post('b4', 'drain')['agreed'] is False
    wait_tick()
    assert c.post('b4', 'enable')['agreed'] is True
    assert b.post('b5', 'drain')['agreed'] is True
    wait_tick()
    assert a.post('b5', 'enable')['agreed'] is False
    a.join()
    fleet.wait_roles()
    fleet.wait_out('b2')
    scene.sampler.wait_alike(time.monotonic())
    scene.sampler.stop()
    scene.agreed('b2')


# --- configurations, restarts, reloads -----------------------------------------------------------

def edit(member, **words):
    """Replaces parts of its file, as a regular expression each."""
    text = member.config.read_text()
    for old, new in words.values():
        changed = re.sub(old, new, text)
        assert changed != text, old
        text = changed
    member.config.write_text(text)


def reload(member):
    status, _, text = member.admin.request('POST', '/reload')
    assert status == 200, text


def digests(member):
    return {m['node']: m['digest_differs'] for m in member.cluster()['members']}


def test_members_of_different_configurations_agree_by_name(fleet):
    """A server more, at one member first: a rolling change."""
    scene = Scene(fleet, servers=(*SERVERS, 'b6'), start=False)
    members = [fleet.member(start=False, **scene.more) for _ in range(3)]
    a, b, c = scene.members = members
    whole = {m: m.config.read_text() for m in (a, b)}
    for m in (a, b):
        edit(m, b6=(r' *- \{name: b6,.*\n', ''))
    for m in members:
        m.start(ready=False)
    fleet.wait_roles()
    wait_until(lambda: digests(a)[c.name] == ['p'] and digests(c)[a.name] == ['p'], 'the difference to be seen')
    assert digests(a)[b.name] == [] and digests(c)[b.name] == ['p']
    assert c.admin.metric('ringproxy_cluster_digest_differs', pool='p') == 2
    a.says('event="fleet configuration differs"')
    # both kinds drain what both have
    assert a.post('b1', 'drain')['agreed'] is True and c.post('b2', 'drain')['agreed'] is True
    fleet.wait_out('b1', 'b2')
    # and lose it
    for m in members:
        m.paths['b3'].refuse()
    fleet.wait_out('b1', 'b2', 'b3')
    # c alone has b6, so c alone decides about it, keeper or not
    c.paths['b6'].refuse()
    wait_sees_down(c, 'b6')
    down = ('--down', 'b1', '--down', 'b2', '--down', 'b3')
    assert tools.routes(c, KEYS) == harness.route(c.config, KEYS, *down, '--down', 'b6')
    assert tools.routes(a, KEYS) == tools.routes(b, KEYS) == harness.route(a.config, KEYS, *down)
    c.paths['b6'].passes()
    for m in (a, b):
        m.config.write_text(whole[m])
        reload(m)
    since = time.monotonic()
    wait_until(lambda: all(not d for m in members for d in digests(m).values()), 'one configuration again')
    scene.sampler = tools.Sampler(members, KEYS).start()
    scene.alike(since, 10 * scene.bound, 'one configuration')
    scene.sampler.stop()
    wait_until(lambda: all(m.server('b6')['state'] == 'up' for m in members), 'b6 to be up')
    scene.agreed('b1', 'b2', 'b3')
    c.says('event="fleet configuration agrees"')


def test_a_rolling_restart_moves_nothing(rig, fleet, redis):
    """One member after another ends and starts again, the keeper too, while a server is dead and another
    one drained: no key moves anywhere, and clients of the others notice nothing."""
    scene = Scene(fleet, pool={'failback': {'mode': 'manual'}})
    a, b, c = scene.members
    for m in scene.members:
        m.paths['b1'].refuse()
    fleet.wait_out('b1')
    a.post('b2', 'drain')
    fleet.wait_out('b1', 'b2')
    for m in scene.members:  # b3 was dead, and is held
        m.paths['b3'].refuse()
    fleet.wait_out('b1', 'b2', 'b3')
    scene.sampler.wait_alike(time.monotonic())
    before, since = tools.routes(a, KEYS), time.monotonic()
    epochs = [int(redis.call('GET', redis.key('epoch')))]
    for m in scene.members:
        others = [x for x in scene.members if x is not m]
        loads = [rig.load(x, KEYS[:100], threads=1) for x in others]
        scene.sampler.members = others  # before it is ready it has no say, and no clients
        scene.sampler.wait_rounds(1)
        m.restart()
        scene.sampler.members = scene.members
        fleet.wait_roles()
        epochs.append(int(redis.call('GET', redis.key('epoch'))))
        scene.sampler.wait_rounds(2)
        for load in loads:
            load.stop()
            assert not load.bad()
        assert tools.routes(m, KEYS) == before
    sampler = scene.sampler.stop()
    assert not sampler.moved(since) and not sampler.differing(since)
    assert epochs == sorted(epochs) and epochs[-1] > epochs[0]
    assert a.server('b2')['state'] == 'draining'


def test_reloads_in_the_middle_of_a_failover(rig, fleet):
    """A server dies for all; each member reads its file again, twice, while that is found out: first with
    another setting, then with another weight."""
    scene = Scene(fleet)
    loads = [rig.load(m, KEYS[:100], threads=1) for m in scene.members]
    for load in loads:
        load.wait_rounds(1)
    since = time.monotonic()
    for m in scene.members:
        m.paths['b1'].refuse()
        edit(m, retries=(r'    health:', '    retries: 3\n    health:'))
        m.signal(signal.SIGHUP)
    fleet.wait_out('b1')
    for m in scene.members:
        wait_until(lambda m=m: m.admin.json('/status')['generation'] == 2, 'the reload')
    scene.alike(since, 2 * scene.bound, 'a reload meanwhile')
    scene.agreed('b1')
    for m in scene.members:
        m.paths['b2'].refuse()
        edit(m, weight=(r'(name: b4, [^}]*)\}', r'\1, weight: 2}'))
        reload(m)
    since = time.monotonic()
    fleet.wait_out('b1', 'b2')
    scene.alike(since, what='a reload of the ring meanwhile')
    scene.sampler.stop()
    scene.agreed('b1', 'b2')
    for load in loads:
        load.stop()
        assert not load.bad()
