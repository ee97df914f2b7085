"""`retry_statuses`: answers that count as failed tries."""

import pytest

from client import Client, get
from harness import CHECK_OFF, route, wait_until

KEYS = [f'key{i:04}' for i in range(200)]
BY_KEY = {'key': 'header:X-Key'}
CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off', 'retry_statuses': '429, 502-504'}


class Trio:
    def __init__(self, rig, pool=None, standby=False, **limits):
        self.servers = {n: rig.backend(n) for n in ('b1', 'b2', 'b3')}
        entries = [{'name': n, 'address': s.address, **limits.get(n, {})}
                   for n, s in self.servers.items()]
        standbys = [rig.backend('s1')] if standby else []
        self.servers.update({s.name: s for s in standbys})
        self.proxy = rig.proxy(entries, standbys, pool={**CALM, **(pool or {})}, listener=BY_KEY,
                               top={'workers': 1})
        home = route(self.proxy.config, KEYS)
        self.key = next(k for k in KEYS if home[k] == 'b1')
        self.fields = {'X-Key': self.key}

    def next_of(self, *down):
        arguments = [x for n in down for x in ('--down', n)]
        return route(self.proxy.config, [self.key], *arguments)[self.key]

    def says(self, name, status, **more):
        self.servers[name].handler = lambda ex: ex.answer(status, f'{name} {status}'.encode(), **more)

    def tries(self):
        return {n: len(s.served()) for n, s in self.servers.items() if s.served()}

    def retries(self):
        return self.proxy.admin.metric('ringproxy_retries_total', pool='p')


@pytest.mark.parametrize('status', [429, 502, 503, 504])
@pytest.mark.parametrize('method,body', [('GET', None), ('HEAD', None), ('PUT', b'x' * 60000)],
                         ids=['GET', 'HEAD', 'PUT'])
def test_the_next_server_is_asked(rig, status, method, body):
    trio = Trio(rig, standby=True)
    trio.says('b1', status)
    with Client(trio.proxy.port) as c:
        for _ in range(2):
            answer = c.request(method, '/', trio.fields, body=body)
            assert answer.status == 200 and answer.get('X-Backend') == 's1'
    assert trio.tries() == {'b1': 2, 's1': 2}
    assert trio.retries() == 2
    if body:
        assert trio.servers['s1'].served()[0].body == body
    assert trio.proxy.server('b1')['errors'] == 0


def test_the_last_one_is_passed_on_as_it_is(rig):
    trio = Trio(rig)
    for name in trio.servers:
        trio.says(name, 503, fields=[('Retry-After', '7')])
    order = ['b1']
    for _ in range(2):
        order.append(trio.next_of(*order))
    with Client(trio.proxy.port) as c:
        for _ in range(2):
            answer = c.request('GET', '/', trio.fields)
            assert answer.status == 503 and answer.text == f'{order[2]} 503'
            assert answer.get('Retry-After') == '7'
    assert trio.tries() == {'b1': 2, 'b2': 2, 'b3': 2}


@pytest.mark.parametrize('retries,tries', [(0, 1), (1, 2)])
def test_retries_bounds_them(rig, retries, tries):
    trio = Trio(rig, {'retries': retries})
    for name in trio.servers:
        trio.says(name, 502)
    assert get(trio.proxy.port, fields=trio.fields).status == 502
    assert sum(trio.tries().values()) == tries


@pytest.mark.parametrize('method', ['POST', 'PATCH'])
def test_what_is_not_idempotent_is_not_sent_again(rig, method):
    trio = Trio(rig)
    trio.says('b1', 503)
    with Client(trio.proxy.port) as c:
        assert c.request(method, '/', trio.fields, body=b'pay').text == 'b1 503'
    assert trio.tries() == {'b1': 1} and trio.retries() == 0


def test_other_statuses_are_not_tried_again(rig):
    trio = Trio(rig, {'retry_statuses': [503]})
    for status in (500, 502, 504, 429, 404):
        trio.says('b1', status)
        assert get(trio.proxy.port, fields=trio.fields).status == status
    assert trio.retries() == 0
    trio.says('b1', 503)
    assert get(trio.proxy.port, fields=trio.fields).status == 200


def test_an_answer_in_hand_is_not_given_up_for_a_server_at_its_limit(rig):
    trio = Trio(rig, b2={'max_connections': 1}, b3={'max_connections': 1})
    home = route(trio.proxy.config, KEYS)
    def wait(ex):
        ex.hang()
        ex.answer()

    for name in ('b2', 'b3'):
        trio.servers[name].handler = wait
    trio.says('b1', 503)
    others = []
    for name in ('b2', 'b3'):
        others.append(Client(trio.proxy.port))
        others[-1].send_request('GET', '/', {'X-Key': next(k for k in KEYS if home[k] == name)})
        trio.servers[name].wait_blocked()
    answer = get(trio.proxy.port, fields=trio.fields)
    assert answer.status == 503 and answer.text == 'b1 503'
    assert trio.retries() == 0
    for name, c in zip(('b2', 'b3'), others):
        trio.servers[name].gate.set()
        assert c.answer().text == name
        c.close()


def test_when_down_fail_asks_the_standby_alone(rig):
    trio = Trio(rig, {'when_down': 'fail'}, standby=True)
    trio.says('b1', 503)
    assert get(trio.proxy.port, fields=trio.fields).text == 's1'
    trio.says('s1', 503)
    assert get(trio.proxy.port, fields=trio.fields).text == 's1 503'
    assert trio.tries() == {'b1': 2, 's1': 2}


def test_the_rest_of_a_long_answer_goes_nowhere(rig):
    trio = Trio(rig)

    def endless(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n')
        try:
            while True:
                ex.send(b'1000\r\n' + b'x' * 4096 + b'\r\n')
        except OSError:
            ex.close()

    trio.servers['b1'].handler = endless
    with Client(trio.proxy.port) as c:
        for _ in range(3):
            assert c.request('GET', '/', trio.fields).text == trio.next_of('b1')


def test_broken_framing_behind_such_a_head_is_a_failure(rig):
    trio = Trio(rig)

    def broken(ex):
        ex.send(b'HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n')
        ex.close()

    trio.servers['b1'].handler = broken
    assert get(trio.proxy.port, fields=trio.fields).text == trio.next_of('b1')
    assert trio.proxy.server('b1')['errors'] == 1


def test_passive_statuses_say_what_is_a_failure(rig):
    trio = Trio(rig, {'passive': {'failures': 2, 'statuses': 503}})
    trio.says('b1', 502)
    for _ in range(4):
        assert get(trio.proxy.port, fields=trio.fields).status == 200
    assert trio.proxy.server('b1')['errors'] == 0
    trio.says('b1', 503)
    for _ in range(2):
        assert get(trio.proxy.port, fields=trio.fields).status == 200
    trio.proxy.wait_state('b1', 'down')
    assert trio.proxy.server('b1')['errors'] == 2


def test_the_next_server_may_fail_in_its_own_way(rig):
    trio = Trio(rig, {'retries': 1})
    second = trio.next_of('b1')
    trio.says('b1', 503)
    trio.servers[second].stop()
    assert get(trio.proxy.port, fields=trio.fields).status == 502
    trio.servers[second].start()
    wait_until(lambda: get(trio.proxy.port, fields=trio.fields).text == second, 'the second server')


def test_it_takes_a_list_of_statuses_and_ranges(rig):
    trio = Trio(rig, {'retry_statuses': [404, '500-502', '504, 599']})
    for status, again in ((404, True), (403, False), (501, True), (503, False), (504, True), (599, True)):
        trio.says('b1', status)
        assert (get(trio.proxy.port, fields=trio.fields).status == 200) is again
