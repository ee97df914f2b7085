"""A backend dies: only its keys move, to one standby, and nobody notices.

Real nginx processes are killed, stopped and started under a steady load of a few hundred requests
a second from clients that never try again."""

import time

import pytest

import pace
from client import Client, get
from harness import CHECK_OFF, route, wait_until
from scripted import Backend
from xxh3 import xxh3_64

KEYS = [f'key{i:04}' for i in range(240)]
BY_KEY = {'key': 'header:X-Key'}

pytestmark = pytest.mark.threads


class Farm:
    """Five nginx backends, two nginx standbys, a proxy before them, a load upon it."""

    def __init__(self, rig, pool=None, standbys=2, **load):
        self.backends = {f'b{i}': rig.nginx(f'b{i}') for i in range(1, 6)}
        self.standbys = {f's{i}': rig.nginx(f's{i}') for i in range(1, standbys + 1)}
        self.proxy = rig.proxy(self.backends.values(), self.standbys.values(), pool=pool,
                               listener=BY_KEY)
        self.home = self.owners()
        self.load = rig.load(self.proxy, KEYS, **load)

    def owners(self, *down):
        return route(self.proxy.config, KEYS, *[x for name in down for x in ('--down', name)])

    def keys_of(self, *names):
        return {k for k in KEYS if self.home[k] in names}

    def assert_served_as(self, owners, since=0.0, until=None):
        """Every key was asked for and answered by the one server that `owners` names."""
        served = self.load.served(since, until)
        assert set(served) == set(KEYS)
        wrong = {k: (who, owners[k]) for k, who in served.items() if who != {owners[k]}}
        assert not wrong, wrong

    def settle(self, owners):
        """From now on, for two rounds, the keys are served as `owners` says."""
        self.assert_served_as(owners, self.load.wait_rounds())

    def assert_unmoved(self, except_of=()):
        """At no time was a key whose own backend was fine served by another server."""
        for r in self.load.all():
            if self.home[r.key] not in except_of:
                assert r.who == self.home[r.key], r

    def assert_no_failure(self):
        bad = self.load.bad()
        assert not bad, bad[:20]


def test_killed_backend_loses_no_request_and_moves_no_other_key(rig):
    farm = Farm(rig)
    farm.settle(farm.home)
    assert not set(farm.home.values()) & set(farm.standbys)

    farm.backends['b2'].kill()
    farm.proxy.wait_state('b2', 'down')
    taken = farm.owners('b2')
    stand_ins = {taken[k] for k in farm.keys_of('b2')}
    assert len(stand_ins) == 1 and stand_ins < set(farm.standbys)
    assert {k for k in KEYS if taken[k] != farm.home[k]} == farm.keys_of('b2')
    farm.settle(taken)
    assert farm.proxy.server(*stand_ins)['serving'] == ['b2']
    assert farm.proxy.server(*stand_ins)['state'] == 'promoted'
    assert farm.proxy.server('b2')['serving'] == []

    farm.backends['b2'].start()
    farm.proxy.wait_state('b2', 'up')
    farm.settle(farm.home)
    assert farm.proxy.server(*stand_ins)['state'] == 'standby'
    farm.assert_unmoved(except_of=['b2'])
    farm.assert_no_failure()
    assert {r.who for r in farm.load.all() if farm.home[r.key] == 'b2'} <= {'b2', *stand_ins}
    assert farm.proxy.admin.metric('ringproxy_failovers_total', pool='p') == 1


def test_two_killed_at_once_get_a_standby_each(rig):
    farm = Farm(rig)
    farm.settle(farm.home)
    for name in ('b1', 'b4'):
        farm.backends[name].kill()
    for name in ('b1', 'b4'):
        farm.proxy.wait_state(name, 'down')
    taken = farm.owners('b1', 'b4')
    assert {taken[k] for k in farm.keys_of('b1', 'b4')} == {'s1', 's2'}
    for name in ('b1', 'b4'):
        assert len({taken[k] for k in farm.keys_of(name)}) == 1
    farm.settle(taken)
    for name in ('b1', 'b4'):
        farm.backends[name].start()
        farm.proxy.wait_state(name, 'up')
    farm.settle(farm.home)
    farm.assert_unmoved(except_of=['b1', 'b4'])
    farm.assert_no_failure()


def test_third_failure_spreads_over_the_next_owners(rig):
    farm = Farm(rig)
    dead = ['b1', 'b3', 'b5']
    for name in dead:
        farm.backends[name].kill()
    for name in dead:
        farm.proxy.wait_state(name, 'down')
    taken = farm.owners(*dead)
    assert {taken[k] for k in farm.keys_of(*dead)} == {'s1', 's2', 'b2', 'b4'}
    farm.settle(taken)
    farm.assert_unmoved(except_of=dead)
    farm.assert_no_failure()


def test_standby_that_dies_is_replaced(rig):
    farm = Farm(rig)
    farm.backends['b3'].kill()
    farm.proxy.wait_state('b3', 'down')
    first = farm.owners('b3')
    farm.settle(first)
    stand_in = {first[k] for k in farm.keys_of('b3')}.pop()
    farm.standbys[stand_in].kill()
    farm.proxy.wait_state(stand_in, 'down')
    second = farm.owners('b3', stand_in)
    assert {second[k] for k in farm.keys_of('b3')} == {'s1', 's2'} - {stand_in}
    farm.settle(second)
    farm.assert_unmoved(except_of=['b3'])
    farm.assert_no_failure()


def test_hung_backend_holds_requests_no_longer_than_its_detection(rig):
    # no request to a server that is well takes as long as the timeout of a check, here either
    interval, timeout, fall = 0.2, pace.stretched(0.5 * pace.SANITIZED), 2
    farm = Farm(rig, {'health': {'interval': pace.ms(interval), 'timeout': pace.ms(timeout),
                                 'fall': fall}}, threads=12, pace=0.03)
    farm.settle(farm.home)
    farm.backends['b4'].signal(19)  # SIGSTOP
    farm.proxy.wait_state('b4', 'down')
    farm.settle(farm.owners('b4'))
    farm.backends['b4'].signal(18)  # SIGCONT
    farm.proxy.wait_state('b4', 'up')
    farm.settle(farm.home)
    farm.assert_unmoved(except_of=['b4'])
    farm.assert_no_failure()
    slowest = max(farm.load.all(), key=lambda r: r.end - r.start)
    assert slowest.end - slowest.start <= interval + fall * timeout + pace.upper(0.5), slowest
    waited = [r for r in farm.load.all() if r.end - r.start > timeout]
    assert waited and all(farm.home[r.key] == 'b4' for r in waited), waited


def test_startup_with_a_dead_backend_begins_with_its_standby(rig):
    alive = [rig.nginx(f'b{i}') for i in range(1, 5)]
    dead = {'name': 'b5', 'address': Backend('b5', start=False).address}
    proxy = rig.proxy([*alive, dead], [rig.nginx('s1')], listener=BY_KEY,
                      pool={'failback': {'after': '1m'}})
    expected = route(proxy.config, KEYS, '--down', 'b5')
    assert {k: get(proxy.port, fields={'X-Key': k}).text for k in KEYS} == expected
    assert proxy.server('b5')['state'] == 'down'
    assert proxy.server('s1')['serving'] == ['b5']


def test_backend_down_at_its_first_check_returns_without_delay(rig):
    late = rig.backend('b2', start=False)
    proxy = rig.proxy([rig.backend('b1'), late], [rig.backend('s1')], listener=BY_KEY,
                      pool={'failback': {'after': '2h', 'max_after': '4h'}})
    assert proxy.server('b2')['state'] == 'down'
    late.start()
    since = time.monotonic()
    proxy.wait_state('b2', 'up')
    assert time.monotonic() - since < pace.upper(20)


# --- one scripted backend among three ---------------------------------------------------------

class Trio:
    """Three scripted backends and a standby, cheap enough for many cases."""

    def __init__(self, rig, pool=None, standby=True, load=True, keys=KEYS[:90], **proxy):
        self.servers = {n: rig.backend(n) for n in ('b1', 'b2', 'b3')}
        standbys = [rig.backend('s1')] if standby else []
        self.servers.update({s.name: s for s in standbys})
        self.proxy = rig.proxy([self.servers[n] for n in ('b1', 'b2', 'b3')], standbys,
                               pool=pool, listener=BY_KEY, **proxy)
        self.keys = keys
        self.home = self.owners()
        self.load = rig.load(self.proxy, keys, threads=4) if load else None

    def owners(self, *down):
        return route(self.proxy.config, self.keys, *[x for n in down for x in ('--down', n)])

    def served(self):
        return {k: get(self.proxy.port, fields={'X-Key': k}).text for k in self.keys}

    def key_of(self, name):
        return next(k for k in self.keys if self.home[k] == name)

    def assert_moved_only(self, *names):
        for r in self.load.all():
            assert r.good, r
            assert r.who == self.home[r.key] or self.home[r.key] in names, r


def test_backend_that_accepts_and_resets_fails_no_get(rig):
    trio = Trio(rig)
    trio.load.wait_rounds(1)
    b1 = trio.servers['b1']
    b1.reset_on_accept = True
    b1.handler = lambda ex: ex.reset()
    trio.proxy.wait_state('b1', 'down')
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.owners('b1').items()}
    trio.assert_moved_only('b1')


def test_backend_that_fails_its_checks_hands_over_without_an_error(rig):
    trio = Trio(rig)
    trio.load.wait_rounds(1)
    trio.servers['b3'].health_status = 500
    trio.proxy.wait_state('b3', 'down')
    check = trio.proxy.server('b3')['last_check']
    assert check['ok'] is False and '500' in check['reason']
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.owners('b3').items()}
    trio.servers['b3'].health_status = 200
    trio.proxy.wait_state('b3', 'up')
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.home.items()}
    trio.assert_moved_only('b3')


def test_one_failed_check_is_not_a_failure(rig):
    trio = Trio(rig, {'health': {'fall': 3, 'interval': '100ms'}}, load=False)
    b2 = trio.servers['b2']
    b2.bad_checks = 1
    wait_until(lambda: b2.bad_checks == 0, 'one failing check')
    count = len(b2.checks)
    wait_until(lambda: len(b2.checks) > count + 8, 'more checks')
    assert trio.proxy.server('b2')['state'] == 'up'
    assert trio.proxy.admin.metric('ringproxy_failovers_total', pool='p') == 0


def test_check_says_who_it_is(rig):
    trio = Trio(rig, {'health': {'host': 'check.example'}}, load=False)
    check = trio.servers['b1'].checks[0]
    assert check.method == 'GET' and check.target == '/healthz' and check.version == 'HTTP/1.1'
    assert check.get('Host') == 'check.example'
    assert check.get('Connection').lower() == 'close'
    assert check.get('User-Agent').startswith('ringproxy/')
    other = Trio(rig, load=False)
    assert other.servers['b1'].checks[0].get('Host') == other.servers['b1'].address


def test_manual_failback_waits_for_the_operator(rig):
    trio = Trio(rig, {'failback': {'mode': 'manual'}})
    trio.servers['b1'].health_status = 500
    trio.proxy.wait_state('b1', 'down')
    trio.proxy.post('b1', 'failback', expect=409)
    trio.servers['b1'].health_status = 200
    trio.proxy.wait_state('b1', 'returning')
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.owners('b1').items()}
    assert trio.proxy.server('s1')['state'] == 'promoted'

    answer = trio.proxy.post('b1', 'failback')
    assert answer['name'] == 'b1' and answer['state'] == 'up' and answer['serving'] == ['b1']
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.home.items()}
    trio.assert_moved_only('b1')


def test_manual_hold_ends_when_the_standby_goes_out(rig):
    trio = Trio(rig, {'failback': {'mode': 'manual'}}, load=False)
    trio.servers['b1'].health_status = 500
    trio.proxy.wait_state('b1', 'down')
    trio.servers['b1'].health_status = 200
    trio.proxy.wait_state('b1', 'returning')
    trio.servers['s1'].health_status = 500
    trio.proxy.wait_state('b1', 'up')
    assert trio.served() == trio.home


def test_failback_waits_and_doubles_for_a_relapse(rig):
    after = pace.stretched(0.8)
    trio = Trio(rig, {'failback': {'after': pace.ms(after), 'max_after': pace.ms(10 * after)},
                      'health': {'interval': '100ms', 'rise': 1}})

    def outage():
        trio.servers['b1'].health_status = 500
        trio.proxy.wait_state('b1', 'down')
        last_down = time.monotonic()  # before the first good check, so the wait begins later
        trio.servers['b1'].health_status = 200
        trio.proxy.wait_state('b1', 'returning')
        trio.proxy.wait_serving('b1', 'b1')
        return time.monotonic() - last_down

    # each takes a check and a poll longer than the delay, which the coarse clock may cut a little
    assert outage() > after - 0.02
    assert outage() > 2 * after - 0.02
    trio.assert_moved_only('b1')


def test_failback_delay_lasts_only_while_another_serves(rig):
    b1 = rig.backend('b1')
    proxy = rig.proxy([b1], pool={'failback': {'after': '1m'}}, listener=BY_KEY)
    b1.health_status = 500
    proxy.wait_state('b1', 'down')
    assert get(proxy.port).status == 503
    b1.health_status = 200
    proxy.wait_state('b1', 'up')
    assert get(proxy.port).text == 'b1'


def test_ramp_brings_keys_home_one_by_one_in_the_order_of_their_hash(rig):
    assert xxh3_64(b'abcdefgh') == 0x6f45a76842a96483
    keys = [f'k{i:05}' for i in range(150)]
    trio = Trio(rig, {'failback': {'after': '0s', 'ramp': pace.ms(pace.stretched(3.0))}},
                keys=keys)
    trio.servers['b2'].health_status = 500
    trio.proxy.wait_state('b2', 'down')
    trio.load.wait_rounds(1)
    promoted = time.monotonic()
    trio.servers['b2'].health_status = 200
    wait_until(lambda: trio.proxy.server('b2')['state'] == 'returning' and
               trio.proxy.server('b2')['serving'] == ['b2'] and
               trio.proxy.server('s1')['serving'] == ['b2'], 'the ramp')
    trio.proxy.wait_state('b2', 'up')
    trio.load.wait_rounds(1)
    trio.load.stop()
    trio.assert_moved_only('b2')

    low = {k: xxh3_64(k.encode()) & 0xffff for k in keys}
    moving = [r for r in trio.load.all(promoted) if trio.home[r.key] == 'b2']
    by_standby = [r for r in moving if r.who == 's1']
    by_home = [r for r in moving if r.who == 'b2']
    first_home = min(r.end for r in by_home)
    both = [r for r in by_standby if r.start > first_home]
    assert both, 'no time in which both served'
    # The share only grows: after a key with x was served at home, none below x is served elsewhere.
    for r in both:
        earlier = [low[h.key] for h in by_home if h.end < r.start]
        assert not earlier or low[r.key] > max(earlier), r


def test_failback_post_ends_a_ramp(rig):
    trio = Trio(rig, {'failback': {'after': '0s', 'ramp': '10m'}}, load=False)
    trio.servers['b2'].health_status = 500
    trio.proxy.wait_state('b2', 'down')
    trio.servers['b2'].health_status = 200
    trio.proxy.wait_state('b2', 'returning')
    trio.proxy.post('b2', 'failback')
    assert trio.proxy.server('b2')['state'] == 'up'
    assert trio.served() == trio.home


def test_drain_lets_open_requests_finish_and_enable_brings_keys_back(rig):
    trio = Trio(rig)
    b3 = trio.servers['b3']

    def handler(ex):
        if ex.request.target == '/slow':
            ex.hang()
        ex.answer()
    b3.handler = handler
    with Client(trio.proxy.port) as slow:
        slow.send_request('GET', '/slow', {'X-Key': trio.key_of('b3')})
        b3.wait_blocked()
        answer = trio.proxy.post('b3', 'drain')
        assert answer['state'] == 'draining' and answer['serving'] == []
        since = trio.load.wait_rounds()
        assert trio.load.served(since) == {k: {w} for k, w in trio.owners('b3').items()}
        assert trio.proxy.server('b3')['active'] == 1
        b3.gate.set()
        assert slow.answer().text == 'b3'
    wait_until(lambda: trio.proxy.server('b3')['active'] == 0, 'the last request to end')
    assert trio.proxy.post('b3', 'enable')['state'] == 'up'
    since = trio.load.wait_rounds()
    assert trio.load.served(since) == {k: {w} for k, w in trio.home.items()}
    trio.assert_moved_only('b3')


def test_drained_standby_is_not_promoted(rig):
    trio = Trio(rig, load=False)
    assert trio.proxy.post('s1', 'drain')['state'] == 'draining'
    trio.servers['b1'].health_status = 500
    trio.proxy.wait_state('b1', 'down')
    assert trio.served() == trio.owners('b1', 's1')
    trio.proxy.post('s1', 'enable')
    trio.proxy.wait_state('s1', 'promoted')
    assert trio.served() == trio.owners('b1')


def test_standby_of_its_own_comes_first(rig):
    backends = [rig.backend(f'b{i}') for i in (1, 2, 3)]
    own = {'name': 's1', 'address': rig.backend('s1').address, 'for': ['b1']}
    proxy = rig.proxy(backends, [own, rig.backend('s2')], listener=BY_KEY)
    home = route(proxy.config, KEYS)

    def served():
        return {k: get(proxy.port, fields={'X-Key': k}).text for k in KEYS[:60]}

    def with_down(*names):
        swap = dict(names)
        return {k: swap.get(home[k], home[k]) for k in KEYS[:60]}

    backends[0].health_status = 500
    proxy.wait_state('b1', 'down')
    assert served() == with_down(('b1', 's1'))
    backends[1].health_status = 500
    proxy.wait_state('b2', 'down')
    assert served() == with_down(('b1', 's1'), ('b2', 's2'))
    assert route(proxy.config, KEYS[:60], '--down', 'b1', '--down', 'b2') == served()


def test_when_down_fail_refuses_the_keys_of_a_backend_without_standby(rig):
    trio = Trio(rig, {'when_down': 'fail'}, standby=False, load=False)
    trio.servers['b2'].health_status = 500
    trio.proxy.wait_state('b2', 'down')
    expected = trio.owners('b2')
    assert set(expected.values()) == {'b1', 'b3', '-'}
    for k in trio.keys:
        answer = get(trio.proxy.port, fields={'X-Key': k})
        if expected[k] == '-':
            assert trio.home[k] == 'b2' and answer.status == 503
        else:
            assert answer.text == expected[k]
    assert trio.proxy.admin.json(f'/route?pool=p&key={trio.key_of("b2")}')['server'] is None


def test_nobody_left_is_503_and_not_ready(rig):
    trio = Trio(rig, load=False)
    for s in trio.servers.values():
        s.health_status = 500
    for name in trio.servers:
        trio.proxy.wait_state(name, 'down')
    assert get(trio.proxy.port, fields={'X-Key': 'x'}).status == 503
    assert get(trio.proxy.port).status == 503
    assert trio.proxy.admin.request('GET', '/readyz')[0] == 503
    assert trio.proxy.admin.request('GET', '/healthz')[0] == 200
    trio.servers['b1'].health_status = 200
    trio.proxy.wait_state('b1', 'up')
    assert trio.served() == {k: 'b1' for k in trio.keys}
    assert trio.proxy.admin.request('GET', '/readyz')[0] == 200


# --- failures of live traffic -----------------------------------------------------------------

def test_passive_failures_mark_a_backend_down_until_an_interval_passed(rig):
    trio = Trio(rig, {'health': {**CHECK_OFF, 'interval': pace.ms(pace.stretched(1.5))},
                      'passive': {'failures': 3}}, load=False)
    b1, key = trio.servers['b1'], trio.key_of('b1')
    b1.handler = lambda ex: ex.reset()
    for _ in range(3):
        assert trio.proxy.server('b1')['state'] == 'up'
        assert get(trio.proxy.port, fields={'X-Key': key}).text == 's1'
    trio.proxy.wait_state('b1', 'down')
    seen = len(b1.served())
    assert seen == 3
    assert get(trio.proxy.port, fields={'X-Key': key}).text == 's1'
    assert len(b1.served()) == seen
    b1.handler = None
    trio.proxy.wait_state('b1', 'up')
    assert trio.served() == trio.home


def test_passive_failures_must_be_consecutive(rig):
    trio = Trio(rig, {'passive': {'failures': 3}}, load=False)
    b1, key = trio.servers['b1'], trio.key_of('b1')
    b1.handler = lambda ex: ex.reset() if ex.request.target == '/bad' else ex.answer()
    for _ in range(4):
        for target, who in (('/bad', 's1'), ('/bad', 's1'), ('/good', 'b1')):
            assert get(trio.proxy.port, target, {'X-Key': key}).text == who
    assert trio.proxy.server('b1')['state'] == 'up'
    assert trio.proxy.server('b1')['errors'] == 8


def test_passive_statuses_count_as_failures(rig):
    """If the check that they ask for fails, too."""
    trio = Trio(rig, {'health': {'interval': '1m'},
                      'passive': {'failures': 2, 'statuses': '500-599'}}, load=False)
    key = trio.key_of('b2')
    trio.servers['b2'].handler = lambda ex: ex.answer(503, b'sorry')
    trio.servers['b2'].health_status = 503
    for _ in range(2):
        answer = get(trio.proxy.port, fields={'X-Key': key})
        assert (answer.status, answer.text) == (503, 'sorry')
    trio.proxy.wait_state('b2', 'down')
    assert get(trio.proxy.port, fields={'X-Key': key}).text == 's1'


def test_passive_off_leaves_it_to_the_checks(rig):
    trio = Trio(rig, {'passive': 'off'}, load=False)
    key = trio.key_of('b1')
    trio.servers['b1'].handler = lambda ex: ex.reset()
    for _ in range(20):
        assert get(trio.proxy.port, fields={'X-Key': key}).text == 's1'
    assert trio.proxy.server('b1')['state'] == 'up'


# --- limits -----------------------------------------------------------------------------------

def test_full_backend_passes_requests_on_but_never_to_an_idle_standby(rig):
    def slow(ex):
        if ex.request.target == '/slow':
            ex.hang()
        ex.answer()
    servers = [rig.backend(n, slow) for n in ('b1', 'b2', 'b3')]
    entries = [{'name': s.name, 'address': s.address, 'max_connections': 1} for s in servers]
    standby = rig.backend('s1')
    proxy = rig.proxy(entries, [standby], listener=BY_KEY)
    home, key = route(proxy.config, KEYS), None
    key = next(k for k in KEYS if home[k] == 'b1')
    second = route(proxy.config, [key], '--down', 'b1', '--down', 's1')[key]
    with Client(proxy.port) as one, Client(proxy.port) as two, Client(proxy.port) as three:
        one.send_request('GET', '/slow', {'X-Key': key})
        servers[0].wait_blocked()
        assert get(proxy.port, '/', {'X-Key': key}).text == second
        wait_until(lambda: proxy.server(second)['active'] == 0, 'room at the second')
        others = [s for s in servers[1:]]
        for client, server in ((two, others[0]), (three, others[1])):
            client.send_request('GET', '/slow',
                                {'X-Key': next(k for k in KEYS if home[k] == server.name)})
            server.wait_blocked()
        assert get(proxy.port, '/', {'X-Key': key}).status == 503
        assert get(proxy.port, '/').status == 503  # keyless ones find no room either
        for s in servers:
            s.gate.set()
        assert (one.answer().text, two.answer().text, three.answer().text) == \
            ('b1', others[0].name, others[1].name)
    assert not standby.served()
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'room again')
    assert get(proxy.port, '/', {'X-Key': key}).text == 'b1'


def test_max_load_bounds_the_busiest(rig):
    servers = [rig.backend(n, lambda ex: (ex.hang(), ex.answer())) for n in ('b1', 'b2', 'b3')]
    proxy = rig.proxy(servers, listener=BY_KEY, pool={'ring': {'max_load': 1.25}})
    home = route(proxy.config, KEYS)
    key = next(k for k in KEYS if home[k] == 'b1')
    clients = []
    try:
        for n in range(1, 13):  # all of one key: without a bound b1 would have them all
            clients.append(Client(proxy.port))
            clients[-1].send_request('GET', '/', {'X-Key': key})
            wait_until(lambda: sum(len(s.served()) for s in servers) == n, f'request {n} to arrive')
            cap = -(-125 * n // 300)  # ceil(1.25 x n x 1 / 3), n counts the new one
            assert max(len(s.served()) for s in servers) <= cap, n
        assert len(servers[0].served()) == 5
        for s in servers:
            s.gate.set()
        for c in clients:
            assert c.answer().status == 200
    finally:
        for c in clients:
            c.close()
