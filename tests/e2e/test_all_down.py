"""`when_all_down: try`: a health endpoint that is broken on every server costs nothing."""

import pytest

import harness
from client import Client, get
from harness import wait_until

KEYS = [f'key-{i}' for i in range(60)]
KEYED = {'key': 'header:X-Key'}
TRY = {'when_all_down': 'try'}


class Farm:
    """Backends whose checks can be made to fail; `broken` begins so."""

    def __init__(self, rig, backends, standbys=(), pool=None, broken=False, **more):
        self.servers = {name: rig.backend(name) for name in (*backends, *standbys)}
        if broken:
            self.check(503)
        self.proxy = rig.proxy([self.servers[n] for n in backends],
                               [self.servers[n] for n in standbys],
                               pool={k: v for k, v in {**TRY, **(pool or {})}.items() if v}, listener=more.pop('listener', KEYED),
                               **more)
        self.home = harness.route(self.proxy.config, KEYS)

    def check(self, status, *names):
        for name in names or self.servers:
            self.servers[name].health_status = status

    def all_down(self):
        return self.proxy.admin.json('/status')['pools'][0]['all_down_routing']

    def wait_all_down(self, value=True):
        wait_until(lambda: self.all_down() == value, f'all_down_routing {value}')

    def answers(self):
        with Client(self.proxy.port) as c:
            return {k: c.request(fields={'X-Key': k}).text for k in KEYS}

    def metric(self, name, **labels):
        return self.proxy.admin.metric(name, pool='p', **labels)


def test_a_health_endpoint_broken_everywhere_costs_nothing(rig):
    farm = Farm(rig, ['b1', 'b2', 'b3'], ['s1'])
    assert farm.metric('ringproxy_pool_all_down_routing') == 0 and not farm.all_down()
    load = rig.load(farm.proxy, KEYS)
    load.wait_rounds(1)

    farm.check(503)
    farm.wait_all_down()
    assert {farm.proxy.server(n)['state'] for n in farm.servers} == {'down'}
    assert farm.metric('ringproxy_pool_all_down_routing') == 1
    assert farm.metric('ringproxy_all_down_total') == 1
    assert farm.metric('ringproxy_backend_up', backend='b1') == 0
    assert farm.proxy.admin.request('GET', '/readyz')[0] == 200
    assert farm.answers() == farm.home
    assert harness.route(farm.proxy.config, KEYS, *[a for n in farm.servers for a in ('--down', n)]) \
        == farm.home
    load.wait_rounds(1)

    farm.check(200, 'b2')  # is in service at once, and alone
    farm.wait_all_down(False)
    assert farm.proxy.server('b2')['state'] == 'up'
    assert farm.proxy.server('b1')['state'] == 'down'
    assert set(farm.answers().values()) == {'b2'}
    assert farm.metric('ringproxy_pool_all_down_routing') == 0

    farm.check(200)
    for name in ('b1', 'b3'):
        farm.proxy.wait_state(name, 'up')
    farm.proxy.wait_state('s1', 'standby')
    assert farm.answers() == farm.home
    load.wait_rounds(1)
    assert not load.bad()
    log = farm.proxy.err()
    assert log.count('event="all servers down" ') == log.count('event="all servers down ended"') == 1


def test_what_is_in_progress_at_the_last_server_stays_there(rig):
    def slow(ex):
        if ex.request.target == '/slow':
            ex.hang()
        ex.answer()

    farm = Farm(rig, ['b1'])
    farm.servers['b1'].handler = slow
    with Client(farm.proxy.port) as waits, Client(farm.proxy.port) as idle:
        assert idle.request().text == 'b1'
        waits.send_request('GET', '/slow')
        farm.servers['b1'].wait_blocked()
        farm.check(503)
        farm.wait_all_down()
        assert idle.request().text == 'b1'
        farm.servers['b1'].gate.set()
        assert waits.answer().text == 'b1'
    assert farm.servers['b1'].connections == 2  # the idle one is used again


def test_a_tunnel_to_the_last_server_is_not_cut(rig):
    farm = Farm(rig, ['b1'], listener={'mode': 'tcp'})
    with Client(farm.proxy.port) as c:
        assert c.request().text == 'b1'
        farm.check(503)
        farm.wait_all_down()
        assert c.request().text == 'b1'
    assert farm.servers['b1'].connections == 1


def test_a_server_that_is_really_dead_is_passed_over(rig):
    farm = Farm(rig, ['b1', 'b2', 'b3'])
    farm.check(503)
    farm.wait_all_down()
    farm.servers['b2'].stop()
    answers = farm.answers()
    assert all(answers[k] == who for k, who in farm.home.items() if who != 'b2')
    assert {answers[k] for k, who in farm.home.items() if who == 'b2'} <= {'b1', 'b3'}
    assert farm.all_down()
    farm.servers['b2'].start()


def test_a_drained_server_stays_out(rig):
    farm = Farm(rig, ['b1', 'b2'], ['s1'])
    farm.proxy.post('b1', 'drain')
    farm.proxy.wait_serving('s1', 'b1')
    farm.check(503)
    farm.wait_all_down()
    assert farm.proxy.server('b1')['state'] == 'draining'
    served = farm.answers()
    assert {served[k] for k, who in farm.home.items() if who == 'b1'} == {'s1'}
    assert {served[k] for k, who in farm.home.items() if who == 'b2'} == {'b2'}
    for name in ('b2', 's1'):
        farm.proxy.post(name, 'drain')
    farm.wait_all_down(False)
    assert get(farm.proxy.port, fields={'X-Key': KEYS[0]}).status == 503


def test_a_proxy_can_begin_with_all_down(rig):
    farm = Farm(rig, ['b1', 'b2'], broken=True)
    assert farm.all_down()
    assert farm.answers() == farm.home


@pytest.mark.parametrize('pool', [{}, {'when_all_down': 'refuse'}])
def test_without_it_requests_are_refused(rig, pool):
    farm = Farm(rig, ['b1', 'b2'], pool={'when_all_down': None, **pool})
    farm.check(503)
    for name in farm.servers:
        farm.proxy.wait_state(name, 'down')
    assert get(farm.proxy.port).status == 503
    assert farm.proxy.admin.request('GET', '/readyz')[0] == 503
    assert not farm.all_down()
    out = harness.route(farm.proxy.config, KEYS, '--down', 'b1', '--down', 'b2')
    assert set(out.values()) == {'-'}


def test_route_says_that_all_are_out(rig):
    farm = Farm(rig, ['b1'])
    done = harness.run('route', '-c', farm.proxy.config, '--down', 'b1', 'key')
    assert done.stdout == 'key\tb1\n'
    assert 'pool p: every server is out' in done.stderr
