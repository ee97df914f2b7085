"""What becomes of a fleet when its Redis goes away, comes back, or comes back with less than it had: no
request fails, no key moves that need not, epochs grow, and a drain stays."""

import os
import threading
import time

import pytest

import fleet as tools
import harness
import pace
from client import get
from harness import wait_until

# How long Redis is away; FLEET_OUTAGE=30 for the whole proof.
OUTAGE = float(os.environ.get('FLEET_OUTAGE', '0'))
KEYS = 10_000 if OUTAGE else 2000


class Watch:
    """Looks at /status of each member again and again: the epochs that it routed by, in order."""

    def __init__(self, members):
        self.members, self.epochs, self.failures = members, {m.name: [] for m in members}, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping.wait(0.1):
                for m in self.members:
                    found = m.cluster()
                    if found:
                        self.epochs[m.name].append(found['epoch'])
        except BaseException as e:
            self.failures.append(repr(e))
            raise

    def check(self):
        self.stopping.set()
        self.thread.join(pace.upper(30))
        assert not self.failures, self.failures
        for name, seen in self.epochs.items():
            assert seen and seen == sorted(seen), f'{name}: an epoch went back: {seen}'


def begin(fleet, n=3, **more):
    """A fleet with four servers and a standby, lock_ttl 1s on an idle machine."""
    fleet.ttl = pace.stretched(1.0)
    fleet.backends('b1', 'b2', 'b3', 'b4', standbys=['s1'])
    fleet.members(n, **more)
    fleet.wait_roles()
    return fleet.all


def settled_above(fleet, redis, epoch):
    """One keeper that has the lock, one version of a higher epoch, which is stored."""
    def look():
        version = redis.holder() and fleet.settled()
        stored = version and redis.state()
        return stored and (stored['epoch'], stored['seq']) == version and version[0] > epoch and stored
    return wait_until(look, f'a publication of an epoch above {epoch}', 30)


def all_alone(fleet):
    wait_until(lambda: {m.role() for m in fleet.living()} == {'alone'}, 'all to be alone')


def moved(sampler, since):
    return [m for m in sampler.moves if m[0] >= since]


# --- Redis is away under load -------------------------------------------------------------------

def killed(fleet, redis):
    redis.kill()
    return redis.start


def stopped(fleet, redis):
    redis.pause()
    return redis.resume


def black_hole(fleet, redis):
    for m in fleet.all:
        m.cut()
    return lambda: [m.join() for m in fleet.all]


def refused(fleet, redis):
    for m in fleet.all:
        for relay in m.redises:
            relay.refuse()
    return lambda: [m.join() for m in fleet.all]


@pytest.mark.parametrize('away', [killed, stopped, black_hole, refused], ids=lambda f: f.__name__)
def test_redis_away_under_load_fails_no_request(rig, redis, fleet, away):
    members = begin(fleet)
    assert members[0].post('b4', 'drain')['agreed'] is True
    fleet.wait_out('b4')
    epoch = settled_above(fleet, redis, 0)['epoch']
    loads = [rig.load(m, [f'key-{i}' for i in range(40)], threads=2, pace=0.02) for m in members]
    watch, sampler = Watch(members), fleet.sampler(KEYS).start()
    sampler.wait_rounds()
    before = members[0].routes(sampler.keys)

    since = time.monotonic()
    back = away(fleet, redis)
    all_alone(fleet)
    assert not sampler.moves and not sampler.differ, (sampler.moves[:5], sampler.differ[:5])

    fleet.servers['b1'].kill()
    fleet.wait_out('b1', 'b4')
    sampler.wait_rounds()
    quiet = time.monotonic()  # every question that is answered from now on was asked when all had seen it
    print(f'{away.__name__}: all without b1 after at most {sampler.span():.3f} s of difference')
    assert {frm for *_, frm, _ in sampler.moves} == {'b1'}, [m for m in sampler.moves if m[3] != 'b1'][:5]
    routes = [m.routes(sampler.keys) for m in members]
    assert routes[0] == routes[1] == routes[2]
    assert all(before[k] == 'b1' or before[k] == routes[0][k] for k in sampler.keys)
    wait_until(lambda: time.monotonic() - since > OUTAGE, 'the end of the outage', OUTAGE + 10)

    back()
    after = settled_above(fleet, redis, epoch)
    sampler.wait_rounds()
    fleet.wait_out('b1', 'b4')
    sampler.stop()
    assert not moved(sampler, quiet), moved(sampler, quiet)[:5]
    assert sampler.times(quiet) is None
    assert members[1].routes(sampler.keys) == routes[0]
    assert after['body']['pools']['p']['servers']['b1']['phase'] == 'down'
    for load in loads:
        load.stop()
        assert not load.bad(), load.bad()[:5]
    watch.check()
    print(f'{away.__name__}: away {time.monotonic() - since:.1f} s in all, '
          f'{sum(len(load.all()) for load in loads)} requests, {sampler.rounds} rounds of {KEYS} keys')


# --- Redis has lost data ------------------------------------------------------------------------

def make_history(fleet, members):
    """b1 is out by agreement, b3 is drained, b2 was out and is back."""
    fleet.servers['b2'].kill()
    fleet.wait_out('b2')
    fleet.servers['b2'].start()
    fleet.wait_out()
    fleet.servers['b1'].kill()
    assert members[1].post('b3', 'drain')['agreed'] is True
    fleet.wait_out('b1', 'b3')


def check_nothing_moves(fleet, redis, lose, lock_lost=True):
    """lose() takes data away and returns the Redis to look at; what was agreed is there again afterwards."""
    members = fleet.all
    epoch = settled_above(fleet, redis, 0)['epoch']
    watch, sampler = Watch(members), fleet.sampler(KEYS).start()
    sampler.wait_rounds()
    now = lose()
    after = settled_above(fleet, now, epoch if lock_lost else epoch - 1)
    sampler.wait_rounds(3)
    sampler.stop()
    watch.check()
    assert not sampler.moves and not sampler.differ, (sampler.moves[:5], sampler.differ[:5])
    servers = after['body']['pools']['p']['servers']
    assert servers['b1']['phase'] == 'down' and servers['b3']['drained'] is True, after
    # and it is a fleet as before
    assert members[2].post('b3', 'enable')['agreed'] is True
    fleet.wait_out('b1')


def test_all_data_lost(redis, fleet):
    make_history(fleet, begin(fleet))

    def flush():
        redis.flush()
        return redis
    check_nothing_moves(fleet, redis, flush)


def test_a_restart_without_data(redis, fleet):
    make_history(fleet, begin(fleet))
    check_nothing_moves(fleet, redis, redis.restart)


def test_data_lost_while_a_member_starts_anew(redis, fleet):
    """Its node's last state is what the others have: it begins with that, not with its own eyes."""
    members = begin(fleet)
    make_history(fleet, members)
    keys = [f'key-{i}' for i in range(KEYS)]
    routes = members[0].routes(keys)
    members[2].stop()
    redis.flush()
    members[2].start()
    fleet.wait_roles()
    assert [m.routes(keys) for m in members] == [routes] * 3


class Behind:
    """What a replica takes for its primary."""

    def __init__(self, relay):
        self.port = relay.port


@pytest.fixture
def pair(rig, relays):
    """A primary, a replica behind a relay, that relay."""
    one = tools.Redis(rig.folder, 'one').start()
    rig.daemons.append(one)
    wire = relays(one.port)
    two = tools.Redis(rig.folder, 'two', replica_of=Behind(wire)).start()
    rig.daemons.append(two)
    two.wait_replica()
    return one, two, wire


def test_a_replica_with_older_data_is_promoted(rig, pair, tmp_path):
    one, two, wire = pair
    with tools.closing(tools.Fleet(rig, [one, two], tmp_path)) as fleet:
        members = begin(fleet)
        wait_until(lambda: two.state(), 'the replica to have a publication')
        wire.hole()  # the replica hears nothing more
        make_history(fleet, members)
        old = two.state()
        assert 'b1' in old['body']['pools']['p']['up'] and one.state()['epoch'] >= old['epoch']

        def fail_over():
            one.kill()
            two.promote()
            return two
        # the replica may have a lock that is still good: then the keeper goes on with its epoch
        check_nothing_moves(fleet, one, fail_over, lock_lost=False)


def test_a_replica_is_not_taken_for_the_primary(rig, pair, tmp_path):
    one, two, _ = pair
    with tools.closing(tools.Fleet(rig, [two, one], tmp_path)) as fleet:
        members = begin(fleet, 2)
        assert one.holder() and members[0].post('b3', 'drain')['agreed'] is True
        assert members[0].admin.metric('ringproxy_cluster_redis_errors_total', kind='role') > 0
        assert 'fleet alone' not in members[0].err() + members[1].err()


# --- a start without Redis ----------------------------------------------------------------------

def lone_member(fleet, mode, **more):
    """One that can't reach Redis as it starts; how long its start took, in seconds."""
    fleet.ttl = pace.stretched(1.0)
    fleet.backends('b1', 'b2')
    m = fleet.member(start=False, **more)
    for relay in m.redises:
        getattr(relay, mode)()
    begin_s = time.monotonic()
    m.start()
    return m, time.monotonic() - begin_s


@pytest.mark.parametrize('mode', ['refuse', 'hole'])
def test_a_start_without_redis_is_hardly_slower(redis, fleet, mode):
    m, took = lone_member(fleet, mode)
    print(f'{mode}: {took:.3f} s')
    assert took < pace.upper(1.0) + fleet.ttl / 6, took
    found = m.cluster()
    assert (found['role'], found['redis'], found['epoch']) == ('alone', 'down', None)
    assert all(get(m.port, fields={'X-Key': f'k{i}'}).status == 200 for i in range(20))
    fleet.servers['b1'].kill()  # it decides by itself
    fleet.wait_out('b1')
    m.join()
    assert settled_above(fleet, redis, 0)['body']['pools']['p']['servers']['b1']['phase'] == 'down'
    fleet.wait_out('b1')


# --- who may come in ----------------------------------------------------------------------------

def with_password(redis, password, user=''):
    """URLs of members say this; Fleet.text() asks redis.url()."""
    redis.url = lambda port=None, db=0: f'redis://{user}:{password}@127.0.0.1:{port or redis.port}/{db}'


def test_a_password_that_is_wrong_and_then_right(redis, fleet):
    with_password(redis, 'wr0ng-secret')
    redis.call('CONFIG', 'SET', 'requirepass', 'right')
    redis.password = 'right'
    fleet.backends('b1', 'b2')
    m = fleet.member()
    wait_until(lambda: m.admin.metric('ringproxy_cluster_redis_errors_total', kind='auth') >= 3, 'attempts')
    assert m.role() == 'alone' and m.cluster()['redis'] == 'down'
    assert get(m.port).status == 200
    assert 'wr0ng-secret' not in m.err() and m.err().count('fleet redis down') == 1, m.err()
    redis.call('CONFIG', 'SET', 'requirepass', 'wr0ng-secret')
    redis.password = 'wr0ng-secret'
    fleet.wait_roles()


def test_a_password_file_that_is_mended(redis, fleet, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text('no\n')
    redis.url = lambda port=None, db=0: f'redis://127.0.0.1:{port or redis.port}/{db}?password_file={secret}'
    redis.call('CONFIG', 'SET', 'requirepass', 'right')
    redis.password = 'right'
    fleet.backends('b1', 'b2')
    m = fleet.member()
    wait_until(lambda: m.admin.metric('ringproxy_cluster_redis_errors_total', kind='auth') >= 2, 'attempts')
    secret.unlink()
    wait_until(lambda: m.admin.metric('ringproxy_cluster_redis_errors_total', kind='auth') >= 5, 'attempts')
    secret.write_text('right\n')
    fleet.wait_roles()
    assert 'right' not in m.err()


COMMANDS = '''+eval +subscribe +publish +ping +auth +select +role
              +get +set +del +pttl +pexpire +expire +hget +hmget +hset +hgetall +hdel'''.split()


def test_a_user_who_may_do_only_what_a_fleet_does(redis, fleet):
    redis.call('ACL', 'SETUSER', 'fleet', 'reset', 'on', '>pw', '~{ringproxy:*', '&{ringproxy:*', *COMMANDS)
    with_password(redis, 'pw', 'fleet')
    fleet.ttl = pace.stretched(1.0)
    fleet.backends('b1', 'b2', 'b3')
    members = fleet.members(2)
    fleet.wait_roles()
    assert members[0].post('b2', 'drain')['agreed'] is True
    fleet.wait_out('b2')
    fleet.wait_keeper().stop()  # release, acquire, and later forget
    fleet.wait_roles()
    assert 'NOPERM' not in members[0].err() + members[1].err()
    assert all('refused' not in m.err() for m in members)


def test_a_user_who_may_not_do_enough_is_told_once(redis, fleet):
    redis.call('ACL', 'SETUSER', 'fleet', 'reset', 'on', '>pw', '~other:*', '&*', *COMMANDS)
    with_password(redis, 'pw', 'fleet')
    fleet.ttl = pace.stretched(1.0)
    fleet.backends('b1', 'b2', 'b3')
    m = fleet.member()
    wait_until(lambda: m.admin.metric('ringproxy_cluster_redis_errors_total', kind='answer') >= 5, 'syncs')
    assert m.role() == 'alone' and get(m.port).status == 200
    assert m.err().count('fleet value refused') == 1, m.err()
    redis.call('ACL', 'SETUSER', 'fleet', '~{ringproxy:*')
    fleet.wait_roles()


# --- a slow Redis -------------------------------------------------------------------------------

def test_a_redis_that_takes_200_ms(redis, fleet):
    fleet.ttl = pace.stretched(3.0)
    fleet.backends('b1', 'b2', 'b3')
    members = [fleet.member(start=False) for _ in range(2)]
    for m in members:
        m.redis.delay = 0.1  # each way
        m.start(ready=False)
    for m in members:
        wait_until(m.ready, m.name)
    fleet.wait_roles()
    watch = Watch(members)
    asked = time.monotonic()
    assert members[0].post('b2', 'drain')['agreed'] is True
    print(f'a drain is agreed after {time.monotonic() - asked:.2f} s')
    fleet.wait_out('b2')
    fleet.servers['b1'].kill()
    fleet.wait_out('b1', 'b2')
    wait_until(lambda: redis.state()['body']['pools']['p']['servers']['b1']['phase'] == 'down', 'agreement')
    fleet.wait_roles()
    watch.check()
    assert not any('fleet alone' in m.err() for m in members)


def test_a_redis_slower_than_the_deadline_is_as_none(redis, fleet):
    members = begin(fleet, 2)
    keys = [f'key-{i}' for i in range(KEYS)]
    routes = members[0].routes(keys)
    for m in members:
        m.redis.delay = fleet.ttl / 4  # and so answers after half of it; a sixth is allowed
    all_alone(fleet)
    assert all(get(m.port).status == 200 for m in members)
    assert [m.routes(keys) for m in members] == [routes] * 2
    for m in members:
        m.redis.delay = 0.0
    fleet.wait_roles()
    assert [m.routes(keys) for m in members] == [routes] * 2
