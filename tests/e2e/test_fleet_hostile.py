"""Whoever writes rubbish to the keys of a fleet is told, counted and ignored: requests go on, keys stay,
what is shown stays well-formed, and the fleet recovers by itself or when the rubbish is taken away."""

import json
import os
import re

import pytest

import fleet as tools
import pace
from harness import wait_until

KEYS = [f'key-{i}' for i in range(500)]
HIGHEST = 2 ** 53 - 1
LONG = bool(os.environ.get('FLEET_LONG'))  # also what takes 10 times lock_ttl or more
GHOSTS = 1000
GHOST, STRANGER = 'ab' * 16, 'f' * 32
EVIL = 'x"y\\z\n\x1b[31m\x01\x7f'  # what nobody's node or server is called
REFUSED = 'fleet value refused'
SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="([^"\\\n]|\\[\\"n])*",?)*\})? [0-9.eE+-]+\Z')


class Scene:
    """Two members under load, and what can be said of them at any time."""

    def __init__(self, rig, redis, fleet):
        self.redis, self.fleet = redis, fleet
        fleet.ttl = pace.stretched(1.0)
        fleet.backends('b1', 'b2', 'b3', standbys=['s1'])
        self.members = fleet.members(2)
        fleet.wait_roles()
        assert self.members[0].post('b3', 'drain')['agreed'] is True
        fleet.wait_out('b3')
        fleet.wait_roles()
        self.routes = self.members[0].routes(KEYS)
        self.loads = [rig.load(m, KEYS[:20], threads=1, pace=0.02) for m in self.members]

    # what is there

    def key(self, what):
        return self.redis.key(what)

    def call(self, *words):
        return self.redis.call(*words)

    def beat(self, m):
        """(instance, N, C) of a member as stored."""
        instance, n, c = self.call('HGET', self.key('beats'), m.name).decode().split()
        return instance, int(n), int(c)

    def wait_syncs(self, n=4):
        """Until each member has synced n times from now on."""
        def stored(m):
            try:
                return self.beat(m)[1]
            except (tools.RedisError, AttributeError, ValueError):  # nothing, or rubbish, is there
                return 0
        for m in self.members:
            wait_until(lambda m=m: stored(m) > 0, f'a beat of {m.name}')
            goal = stored(m) + n
            wait_until(lambda m=m, goal=goal: stored(m) >= goal, f'{n} syncs of {m.name}')

    def epoch(self):
        return int(self.call('HGET', self.key('state'), 'epoch') or 0)

    def mended(self):
        """A publication of a member is there, and all route by it."""
        version = self.fleet.settled()
        by = self.call('HGET', self.key('state'), 'by')
        return version and by and by != STRANGER.encode() and self.epoch() == version[0] and version

    def store(self, body, epoch=None, by=STRANGER, seq=1):
        """As a publication that is newer than what is there."""
        body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        epoch = epoch or self.epoch() + 1
        self.call('HSET', self.key('state'), 'epoch', epoch, 'by', by, 'seq', seq, 'body', body)

    def haunt(self, node, view, n=1, c=None):
        """A member that is none, with this view."""
        c = c or int(self.call('HGET', self.key('beats'), '#')) + 1
        self.call('HSET', self.key('views'), node, view)
        self.call('HSET', self.key('beats'), node, f'{GHOST} {n} {c}', '#', c)

    def exorcise(self, node):
        self.call('HDEL', self.key('beats'), node)
        self.call('HDEL', self.key('views'), node)

    # what is told

    def refused(self, reason):
        return sum(m.admin.metric('ringproxy_cluster_refused_total', reason=reason) for m in self.members)

    def lines(self):
        """The most that a member has told of what it refused."""
        return max(m.err().count(REFUSED) for m in self.members)

    def check(self):
        """Nothing that matters has changed."""
        for m in self.members:
            assert m.running(), m.err()
            status, _, text = m.admin.request('GET', '/status')
            assert status == 200 and json.loads(text)['cluster']['node'] == m.name
            status, _, text = m.admin.request('GET', '/metrics')
            assert status == 200
            for line in text.splitlines():
                assert not line or line.startswith('#') or SAMPLE.match(line), line
            assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f]', m.err()), m.err()
            assert m.routes(KEYS) == self.routes

    def check_fleet(self):
        """It is a fleet again, and works as one."""
        self.fleet.wait_roles()
        self.check()
        a, b = self.members
        wait_until(lambda: a.post('b3', 'enable')['agreed'], 'agreement')
        self.fleet.wait_out()
        wait_until(lambda: b.post('b3', 'drain')['agreed'], 'agreement')
        self.fleet.wait_out('b3')
        self.check()

    def end(self):
        self.check_fleet()
        for load in self.loads:
            load.stop()
            assert load.all() and not load.bad(), load.bad()[:5]


@pytest.fixture
def scene(rig, redis, fleet):
    return Scene(rig, redis, fleet)


def nested(depth):
    return '{"v":1,"pools":' + '{"a":' * depth + '1' + '}' * depth + '}'


# --- the publication ----------------------------------------------------------------------------

def good_body(scene):
    return scene.redis.state()['body']


def with_server(scene, name, entry):
    body = good_body(scene)
    body['pools']['p']['servers'] = {**body['pools']['p'].get('servers', {}), name: entry}
    return body


BODIES = {
    'truncated': lambda s: json.dumps(good_body(s))[:-7],
    'not JSON': lambda s: b'\xff\xfe\x00\x01',
    'empty': lambda s: '',
    'of another version': lambda s: {**good_body(s), 'v': 2},
    'no object': lambda s: '[1, 2, 3]',
    'deep': lambda s: nested(20000),
    'of more than 1 MiB': lambda s: json.dumps(good_body(s)) + ' ' * (1 << 20),
    'of more than Redis may answer': lambda s: json.dumps(good_body(s)) + ' ' * (9 << 20),
    'a name with control characters': lambda s: with_server(s, EVIL, {'phase': 'down'}),
    'an unknown phase': lambda s: with_server(s, 'b1', {'phase': EVIL}),
    'a wrong type': lambda s: with_server(s, 'b1', 7),
    'a length beyond bounds': lambda s: with_server(s, 'b1', {'phase': 'wait', 'left': 10 ** 15}),
    'too many servers': lambda s: {'v': 1, 'pools': {'p': {'digest': 'ab', 'up': [f's{i}' for i in range(20000)]}}},
}


@pytest.mark.parametrize('part', range(4))
def test_a_publication_that_is_none(scene, part):
    told = 0
    for what, make in list(BODIES.items())[part::4]:
        body = make(scene)
        scene.store(body)
        wait_until(scene.mended, f'another one than {what}')  # nobody takes it, and it is replaced
        scene.check()
        print(f'{what}: refused {scene.refused("state")} + {scene.refused("answer")}, lines {scene.lines()}')
        told += 1
        assert scene.lines() <= told, scene.members[0].err()
    assert scene.refused('state') + scene.refused('answer') > 0
    scene.end()


def test_a_publication_that_is_no_hash_and_numbers_that_are_none(scene):
    for words in (['SET', scene.key('state'), 'x' * 100], ['DEL', scene.key('state')],
                  ['HSET', scene.key('state'), 'epoch', 'abc'], ['HSET', scene.key('state'), 'epoch', '-1'],
                  ['HSET', scene.key('state'), 'seq', str(HIGHEST + 1)], ['HSET', scene.key('state'), 'by', EVIL],
                  ['HDEL', scene.key('state'), 'body'], ['HDEL', scene.key('state'), 'epoch']):
        if words[0] == 'SET':
            scene.call('DEL', scene.key('state'))
        scene.call(*words)
        scene.wait_syncs(1)
        scene.check_fleet()
    assert scene.refused('answer') > 0
    assert scene.lines() <= 3, scene.members[0].err()
    scene.end()


def test_an_epoch_far_in_the_future(scene):
    """As a publication with all that belongs to one, as one that can't be read, and as the counter."""
    was = scene.redis.state()['epoch']
    for step in (lambda: scene.store(good_body(scene), epoch=HIGHEST, seq=HIGHEST),
                 lambda: scene.store('rubbish', epoch=HIGHEST, seq=HIGHEST),
                 lambda: scene.store('rubbish', epoch=HIGHEST - 5),
                 lambda: scene.call('SET', scene.key('epoch'), HIGHEST),
                 lambda: (scene.store('rubbish', epoch=HIGHEST), scene.call('SET', scene.key('epoch'), HIGHEST),
                          scene.call('DEL', scene.key('lock')))):
        step()
        scene.wait_syncs(2)
        wait_until(scene.mended, 'a publication that is one')
        found = scene.redis.state()
        assert was <= found['epoch'] < HIGHEST // 2, found
        was = found['epoch']
        scene.check()
    assert scene.refused('answer') > 0
    scene.end()


def test_a_publication_of_strangers(scene):
    """In form, but of servers that nobody has: what is decided here stays."""
    body = {'v': 1, 'pools': {'q': {'digest': 'ab', 'up': ['x1'], 'servers': {'x2': {'phase': 'down'}}},
                              'p': {**good_body(scene)['pools']['p'], 'digest': 'cd'}}}
    body['pools']['p']['up'] = body['pools']['p']['up'] + ['x1', 'x2']
    scene.store(body)
    scene.wait_syncs(2)
    scene.end()


def test_a_publication_that_takes_all_servers_out(scene):
    """Who may write there may do so; the votes of the members bring them back at once."""
    body = good_body(scene)
    body['pools']['p'] |= {'up': [], 'servers': {n: {'phase': 'down', 'delay': 0} for n in ('b1', 'b2', 's1')}
                           | {'b3': body['pools']['p']['servers']['b3']}}
    scene.store(body)
    scene.wait_syncs(3)
    wait_until(scene.mended, 'the next publication')
    scene.fleet.wait_out('b3')
    wait_until(lambda: all(m.routes(KEYS) == scene.routes for m in scene.members), 'the keys to be back')
    bad = [r for load in scene.loads for r in load.bad()]
    print(f'{len(bad)} requests failed in {max(r.end for r in bad) - min(r.start for r in bad) if bad else 0:.3f} s')
    assert all(r.status == 503 for r in bad), bad[:5]
    for load in scene.loads:
        load.results[:] = [[] for _ in load.results]
    scene.end()


# --- the lock, the counter, the offer -----------------------------------------------------------

@pytest.mark.parametrize('part', range(3))
def test_a_lock_that_is_nobodys(scene, part):
    """It counts as held: without a keeper the members go on as they are, until it is taken away."""
    cases = (['RPUSH', scene.key('lock'), 'a', 'b'], ['SET', scene.key('lock'), 'by hand'],
             ['SET', scene.key('lock'), EVIL], ['SET', scene.key('lock'), 'x' * (2 << 20)],
             ['SET', scene.key('lock'), f'{"0" * 32} {10 ** 15} edge/x', 'PX', 10 ** 12])
    for made in cases[part::3]:
        scene.call('DEL', scene.key('lock'))
        scene.call(*made)
        wait_until(lambda: {m.role() for m in scene.members} == {'follower'}, 'nobody to have it')
        scene.wait_syncs(3)
        assert {m.role() for m in scene.members} == {'follower'}
        assert [m.cluster()['redis'] for m in scene.members] == ['up', 'up']
        scene.check()
        scene.call('DEL', scene.key('lock'))
        scene.fleet.wait_roles()
        scene.check()
    assert scene.lines() <= 1 and (part or scene.refused('answer') > 0)
    scene.end()


def test_without_a_keeper_a_dead_server_is_left_by_all(scene):
    scene.call('SET', scene.key('lock'), 'by hand')
    wait_until(lambda: {m.role() for m in scene.members} == {'follower'}, 'nobody to have it')
    scene.fleet.servers['b1'].kill()
    wait_until(lambda: all('b1' not in m.routes(KEYS).values() for m in scene.members), 'exceptions')
    a, b = [m.routes(KEYS) for m in scene.members]
    assert a == b and all(scene.routes[k] in ('b1', a[k]) for k in KEYS)
    scene.call('DEL', scene.key('lock'))
    scene.fleet.wait_roles()
    scene.fleet.wait_out('b1', 'b3')
    assert [m.routes(KEYS) for m in scene.members] == [a, a]
    scene.routes = a
    for load in scene.loads:
        load.stop()
        assert load.all() and not load.bad(), load.bad()[:5]


@pytest.mark.parametrize('part', range(3))
def test_a_counter_and_an_offer_that_are_none(scene, part):
    was = scene.redis.state()['epoch']
    cases = (['HSET', scene.key('epoch'), 'a', 'b'], ['SET', scene.key('epoch'), 'abc'],
             ['SET', scene.key('epoch'), '-17'], ['SET', scene.key('epoch'), EVIL],
             ['SET', scene.key('epoch'), '1e300'], ['SET', scene.key('epoch'), 'x' * (2 << 20)],
             ['RPUSH', scene.key('next'), 'a'], ['SET', scene.key('next'), EVIL],
             ['SET', scene.key('next'), 'x' * (2 << 20)], ['SET', scene.key('next'), GHOST])
    for made in cases[part::3]:
        scene.call('DEL', made[1])
        scene.call(*made)
        scene.wait_syncs(2)
        scene.fleet.wait_roles()
        scene.check()
        assert scene.redis.state()['epoch'] >= was
        was = scene.redis.state()['epoch']
    assert scene.lines() <= 2
    scene.end()


# --- beats and views ----------------------------------------------------------------------------

def test_beats_that_are_none(scene):
    beats = scene.key('beats')
    for made in ('abc', f'{GHOST}', f'{GHOST} 1', f'{GHOST} -1 2', f'{GHOST} 1 {HIGHEST + 1}', f'{EVIL} 1 1',
                 f'{GHOST} 1 1 1', '', 'x' * (1 << 20)):
        scene.call('HSET', beats, 'ghost', made)
        scene.wait_syncs(1)
        scene.check()
    once = scene.lines()
    scene.wait_syncs(6)  # it stays there, and nothing more is said
    assert once == scene.lines() <= 2, scene.members[0].err()
    for node in (EVIL, '', 'x' * 1000, 'a b', 'é', '\xff'.encode('latin-1')):
        scene.call('HSET', beats, node, f'{GHOST} 1 1')
        scene.wait_syncs(1)
        scene.check()
    assert scene.refused('answer') > 0 and scene.lines() <= 4
    scene.call('DEL', beats)
    scene.call('SET', beats, 'text')
    scene.wait_syncs(2)
    scene.end()


def test_numbers_of_beats_that_leave_no_room(scene):
    """The counter of views, and that of a member, as high as they go: it is not the end."""
    beats, b = scene.key('beats'), scene.members[1]
    for c in (HIGHEST, HIGHEST - 1, HIGHEST + 1, 'abc'):
        scene.call('HSET', beats, '#', c)
        scene.wait_syncs(1)
    scene.check_fleet()
    instance, n, c = scene.beat(b)
    scene.call('HSET', beats, b.name, f'{instance} {n} {HIGHEST}')
    scene.wait_syncs(2)
    scene.end()


@pytest.mark.skipif(not LONG, reason='FLEET_LONG=1 runs it')
def test_a_beat_that_leaves_no_room_is_forgotten(scene):
    """With such an N, no later beat of the member would count."""
    beats, (a, b) = scene.key('beats'), scene.members
    instance, _, c = scene.beat(b)

    def seen():
        return next(m['seen_ms'] for m in a.cluster()['members'] if m['node'] == b.name) / 1000

    def silent():
        scene.call('HSET', beats, b.name, f'{instance} {HIGHEST} {c}')
        return seen() > 2 * scene.fleet.ttl
    wait_until(silent, 'its own beats to count for nothing', 60)
    scene.check()
    wait_until(lambda: seen() < scene.fleet.ttl, 'it to be heard of again', 60)
    scene.end()


def view(**more):
    return {'v': 1, 'id': GHOST, 'epoch': 0, 'by': '', 'seq': 0, 'role': 'alone', 'listen': 'always',
            'accepting': True, 'priority': 100, 'preempt': True, 'ready': True,
            'pools': {'p': {'digest': 'ab', 'names': ['b1', 'b2', 'b3', 's1'], 'blind': False, 'd': [], '?': [],
                            'out': [], 'except': []}}, 'asks': [], **more}


def pool_of(**more):
    return {'p': {**view()['pools']['p'], **more}}


VIEWS = {
    'truncated': json.dumps(view())[:-3], 'not JSON': b'\xff\x00', 'empty': '', 'no object': '7',
    'deep': nested(20000), 'of another version': json.dumps(view(v=2)),
    'of more than 128 KiB': json.dumps(view()) + ' ' * (128 << 10),
    'of more than Redis may answer': json.dumps(view()) + ' ' * (9 << 20),
    'a role nobody has': json.dumps(view(role=EVIL)), 'a name with control characters': json.dumps(
        view(pools=pool_of(names=['b1', EVIL]))),
    'a pool with control characters': json.dumps(view(pools={EVIL: pool_of()['p']})),
    'a wrong type': json.dumps(view(pools=pool_of(d='b1'))), 'an id of another form': json.dumps(view(id=EVIL)),
    'a number out of bounds': json.dumps(view(priority=10 ** 12)),
    'asks of a form of their own': json.dumps(view(asks=[[1, 'p', 'b1', 'destroy', 5]])),
}


def test_views_that_are_none(scene):
    for what, text in VIEWS.items():
        scene.haunt('ghost', text)
        scene.wait_syncs(1)
        scene.check()
        print(f'{what}: refused {scene.refused("view")} + {scene.refused("answer")}, lines {scene.lines()}')
        scene.exorcise('ghost')
    assert scene.refused('view') > 0 and scene.lines() <= len(VIEWS), scene.members[0].err()
    scene.call('DEL', scene.key('views'))
    scene.call('SET', scene.key('views'), 'text')
    scene.wait_syncs(2)
    scene.end()


def test_a_view_that_is_always_new_is_not_told_each_second(scene):
    """Its C is above all others, so that it comes with each answer."""
    scene.haunt('ghost', json.dumps(view())[:-3])
    scene.call('HSET', scene.key('beats'), 'ghost', f'{GHOST} 1 {HIGHEST}')
    wait_until(lambda: scene.refused('view') > 0, 'the view')
    scene.wait_syncs(3)
    told, counted = scene.lines(), scene.refused('view')
    scene.wait_syncs(6)
    assert scene.lines() == told and scene.refused('view') == counted, scene.members[0].err()
    scene.exorcise('ghost')
    scene.end()


def test_a_member_that_is_not_there_and_says_so_in_form(scene):
    """Odd names that are in form are shown in form."""
    scene.haunt('gh"o<s>t'.replace('"', "'"), json.dumps(view(pools=pool_of(digest='cd'))))
    wait_until(lambda: all(len(m.cluster()['members']) == 3 for m in scene.members), 'it to be shown')
    scene.check()
    scene.end()


def test_many_ghosts(scene):
    """They are no keeper and no majority: a dead server is left by all, and they are forgotten in the end."""
    c = int(scene.call('HGET', scene.key('beats'), '#'))
    text = json.dumps(view(ready=False, role='follower'))
    with scene.redis.connect() as client:
        for at in range(0, GHOSTS, 100):
            client.call('HSET', scene.key('views'), *[w for i in range(at, at + 100) for w in (f'ghost{i}', text)])
            client.call('HSET', scene.key('beats'), *[w for i in range(at, at + 100)
                                                      for w in (f'ghost{i}', f'{GHOST} 1 {c + 1}')])
        client.call('HSET', scene.key('beats'), '#', c + 1)
    scene.wait_syncs(2)
    scene.check()
    scene.fleet.servers['b1'].kill()
    wait_until(lambda: all('b1' not in m.routes(KEYS).values() for m in scene.members), 'exceptions')
    a, b = [m.routes(KEYS) for m in scene.members]
    assert a == b and all(scene.routes[k] in ('b1', a[k]) for k in KEYS)
    scene.routes = a
    if LONG:
        scene.fleet.wait_out('b1', 'b3', deadline=60)  # nobody counts who was not heard of for 10 T
        wait_until(lambda: scene.call('HLEN', scene.key('views')) <= 2, 'the keeper to forget them', 60)
    scene.check()
    for load in scene.loads:
        load.stop()
        assert load.all() and not load.bad(), load.bad()[:5]


def test_hints_that_are_none(scene):
    channel = scene.key('')[:-1]
    with scene.redis.connect() as client:
        for i in range(500):
            for word in ('', 'state', f'state {GHOST}', f'view {GHOST}', f'lock {GHOST}', f'claim {EVIL}',
                         'x' * 2000):
                client.call('PUBLISH', channel, word)
        client.call('PUBLISH', channel, 'x' * (2 << 20))
    scene.wait_syncs(2)
    scene.end()
