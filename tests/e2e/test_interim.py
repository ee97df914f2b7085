"""Interim answers (1xx): all are passed on, each gives the server its time anew, and only a flood ends
the request."""

import threading

import pytest

import pace
from client import Client
from harness import CHECK_OFF, wait_until

CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': {'failures': 1}}
MOST = 1000


def interim(status, times=1):
    return b'HTTP/1.1 %d Interim\r\nX-Hint: %d\r\n\r\n' % (status, status) * times


class Two:
    """Two servers that both treat a request alike."""

    def __init__(self, rig, handler, **more):
        self.servers = [rig.backend('b1', handler), rig.backend('b2', handler)]
        self.proxy = rig.proxy(self.servers, pool={**CALM, **more}, top={'workers': 1})

    def asked(self):
        return sum(len(s.served()) for s in self.servers)

    def errors(self):
        return sum(self.proxy.server(s.name)['errors'] for s in self.servers)


def hints_and_answer(hints, **answer):
    def handler(ex):
        ex.read_body()
        ex.send(hints)
        ex.answer(**answer)
    return handler


def heads(c):
    """The statuses of the 1xx, and the final head."""
    got = []
    while (head := c.head()).status < 200:
        got.append(head.status)
    return got, head


@pytest.mark.parametrize('statuses', [(102,) * 17, (103,) * 40, (102, 103, 104, 199) * 10, (102,) * MOST],
                         ids=['17', 'hints', 'mixed', 'most'])
def test_all_are_passed_on_and_one_server_is_asked(rig, statuses):
    two = Two(rig, hints_and_answer(b''.join(interim(s) for s in statuses), status=201))
    with Client(two.proxy.port) as c:
        c.send_request('PUT', '/x', body=b'hi')
        got, final = heads(c)
        assert tuple(got) == statuses and final.status == 201
    assert two.asked() == 1 and two.errors() == 0


def test_a_flood_is_502_and_nobodys_fault(rig):
    two = Two(rig, hints_and_answer(interim(102, MOST + 1)))
    with Client(two.proxy.port) as c:
        for n in range(2):
            c.send_request('PUT', '/x', body=b'hi')
            got, final = heads(c)
            assert got == [102] * MOST and final.status == 502
            c.read_body(final)
            assert two.asked() == n + 1
    assert two.errors() == 0
    assert two.proxy.admin.metric('ringproxy_retries_total', pool='p') == 0
    assert {two.proxy.server(s.name)['state'] for s in two.servers} == {'up'}


def test_each_gives_the_server_its_time_anew(rig):
    patience = pace.stretched(0.5)

    def slowly(ex):
        ex.read_body()
        for _ in range(6):
            ex.send(interim(102))
            ex.backend.gate.wait(patience * 0.4)
        ex.answer()

    two = Two(rig, slowly, timeouts={'response': pace.ms(patience)})
    with Client(two.proxy.port) as c:
        c.send_request('PUT', '/x', body=b'hi')
        got, final = heads(c)
        assert got == [102] * 6 and final.status == 200
    assert two.errors() == 0


def test_http_1_0_gets_none(rig):
    two = Two(rig, hints_and_answer(interim(103, 50)))
    with Client(two.proxy.port) as c:
        c.send(b'GET / HTTP/1.0\r\nHost: t\r\n\r\n')
        got, final = heads(c)
        assert got == [] and final.status == 200
    assert two.asked() == 1


def test_an_answer_to_head_may_have_many(rig):
    two = Two(rig, hints_and_answer(interim(103, 50)))
    with Client(two.proxy.port) as c:
        for _ in range(2):
            c.send_request('HEAD', '/')
            got, final = heads(c)
            assert got == [103] * 50 and final.status == 200
    assert two.asked() == 2


def test_one_100_among_many_others(rig):
    def handler(ex):
        ex.send(interim(102, 20) + interim(100) + interim(102, 20) + interim(100))
        ex.answer(body=ex.read_body().upper())

    two = Two(rig, handler)
    with Client(two.proxy.port) as c:
        c.send(b'PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
        assert [c.head().status for _ in range(21)] == [102] * 20 + [100]
        c.send(b'hello')
        got, final = heads(c)
        assert got == [102] * 20
        c.read_body(final)
        assert final.text == 'HELLO'


def test_while_an_upload_is_under_way(rig):
    half = 300_000

    def handler(ex):
        for _ in range(30):
            ex.reader.exactly(half // 30)
            ex.send(interim(102))
        ex.request.body = ex.reader.exactly(half)
        ex.answer()

    two = Two(rig, handler)
    with Client(two.proxy.port) as c:
        c.send(b'PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n' % (2 * half) + b'x' * half)
        assert [c.head().status for _ in range(30)] == [102] * 30
        c.send(b'y' * half)
        assert heads(c)[1].status == 200
    assert two.asked() == 1


def test_those_of_a_try_that_fails_stand(rig):
    """Nothing but 1xx was passed on, so the request may be sent again."""
    first = threading.Lock()

    def handler(ex):
        ex.read_body()
        if first.acquire(blocking=False):
            ex.send(interim(103, 30))
            ex.reset()
            return
        ex.send(interim(102, 30))
        ex.answer()

    two = Two(rig, handler, passive='off')
    with Client(two.proxy.port) as c:
        c.send_request('PUT', '/x', body=b'hi')
        got, final = heads(c)
        # what a reset overtakes is lost
        assert got[-30:] == [102] * 30 and set(got[:-30]) <= {103} and final.status == 200
    assert two.asked() == 2


def test_a_client_that_does_not_read_them_stops_the_server(rig):
    """Back-pressure: what the proxy holds is bounded, and all comes once the client reads."""
    hint = b'HTTP/1.1 103 Early Hints\r\nX: ' + b'x' * 30000 + b'\r\n\r\n'
    sent = []

    def handler(ex):
        ex.read_body()
        for _ in range(400):
            ex.send(hint)
            sent.append(1)
        ex.answer()

    two = Two(rig, handler)
    with Client(two.proxy.port, receive_buffer=4096) as c:
        c.send_request('GET', '/')
        wait_until(lambda: len(sent) > 20, 'the first interim answers')
        got, final = heads(c)
        assert got == [103] * 400 and final.status == 200
    assert two.errors() == 0


def test_the_connection_stays_in_order_behind_them(rig):
    """Pipelined: each answer has its own."""
    two = Two(rig, hints_and_answer(interim(102, 100)))
    with Client(two.proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\nHost: t\r\n\r\n' * 3)
        for _ in range(3):
            got, final = heads(c)
            assert got == [102] * 100 and final.status == 200
            c.read_body(final)
        assert not c.reader.data
