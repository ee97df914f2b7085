"""What clients may send: cases/table_request.py against one proxy and one backend that notes every
byte. A request that the client did not send as one must never be seen by a backend."""

import itertools
import socket

import pytest

import pace
from cases import table_request, wire
from cases.recorder import BARRIER, Recorder
from cases.table_request import CASES, Seen
from client import Client
from conftest import Rig
from harness import CHECK_OFF

BEFORE = b'GET /before HTTP/1.1\r\nHost: t\r\n\r\n'
AFTER = b'GET /after HTTP/1.1\r\nHost: t\r\n\r\n'
AGAIN = b'GET /again HTTP/1.1\r\nHost: t\r\n\r\n'
OWN_FIELDS = ('x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'via', 'connection', 'upgrade',
              'te', 'transfer-encoding', 'content-length')


class Field:
    """The proxies and the backend that all cases share."""

    def __init__(self, rig):
        self.rig, self.recorder = rig, Recorder()
        rig.scripted.append(self.recorder)
        self.recorder.script = self.script
        quick = pace.ms(pace.stretched(0.3))
        self.proxies = {'main': self.proxy(), 'quick': self.proxy(request=quick, idle=quick)}
        self.markers = itertools.count()
        self.whole = 0  # requests the backend should have been sent in all

    def proxy(self, **timeouts):
        return self.rig.proxy([self.recorder], top={'workers': 1},
                              pool={'health': CHECK_OFF, 'passive': 'off', 'failback': None},
                              listener={'timeouts': timeouts} if timeouts else None)

    @staticmethod
    def script(message):
        if message.target == '/upgrade':
            return [b'HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n', 'tunnel']
        return None

    def log(self, proxy):
        """The log up to now: the marker goes through on a connection of its own, and proves that what
        backend connection it takes has nothing left over."""
        target = f'{BARRIER}-{next(self.markers)}'
        with Client(proxy.port) as c:
            c.send(b'GET %s HTTP/1.1\r\nHost: t\r\n\r\n' % target.encode())
            answer = wire.Strict(c.sock).answer()
            assert answer and answer.status == 200, answer
            assert answer.body == b'GET %s 0' % target.encode()
        entries = self.recorder.take()
        assert entries and entries[-1].kind == 'whole' and entries[-1].message.target == target, entries
        return entries[:-1]


@pytest.fixture(scope='module')
def field(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('rfc-request'))
    try:
        f = Field(rig)
        yield f
        rig.close()
        late = f.recorder.take()
        assert not [e for e in late if e.kind != 'cut'], late
    finally:
        rig.close()


def send(c, data, step):
    try:
        for at in range(0, len(data), step):
            c.send(data[at:at + step])
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before the end; the answer is there all the same


def check_seen(message, seen, recorder):
    """The request as a backend has it, field by field."""
    own = {n: message.all(n) for n in OWN_FIELDS}
    rest = [(n, v) for n, v in message.fields if n.lower() not in OWN_FIELDS]
    host = () if seen.host is not None else (('Host', recorder.address),)
    assert (message.method, message.target) == (seen.method, seen.target)
    assert rest == list(seen.fields + host)
    assert (message.body, message.framing, message.trailers) == \
        (seen.body, seen.framing, list(seen.trailers))
    assert own['x-forwarded-for'] == [', '.join(seen.forwarded + ('127.0.0.1',))]
    assert own['x-forwarded-proto'] == ['http']
    assert own['x-forwarded-host'] == ([] if seen.host is None else [seen.host])
    assert own['via'] == list(seen.via + ('1.1 ringproxy',))
    assert own['upgrade'] == list(seen.upgrade)
    assert own['te'] == (['trailers'] if seen.te else [])
    assert own['connection'] == (['Upgrade'] if seen.upgrade else ['TE'] if seen.te else [])
    if seen.framing == 'length':
        assert own['content-length'] == [str(len(seen.body))]


def check_answers(reader, got, seen):
    """The answers in order: those of the backend say which request they are for."""
    asked = list(seen)
    for status in got:
        to_head = bool(asked) and asked[0].method == 'HEAD'
        answer = reader.answer(to_head)
        if status == '100?':
            if answer and answer.status == 100:
                continue
            raise AssertionError('only the last status may be left out')
        assert answer is not None, f'closed instead of {status}'
        assert answer.status == status, answer
        if status == 200:
            s = asked.pop(0)
            body = b'' if to_head else f'{s.method} {s.target} {len(s.body)}'.encode()
            assert answer.body == body and answer.all('Via') == ['1.1 ringproxy']
        elif status >= 400:
            assert answer.options() == ['close'], answer


def check_end(c, reader, case):
    """Whether the connection goes on; what else the backend must have seen for that."""
    if case.end == 'keep':
        c.send(AGAIN)
        answer = reader.answer()
        assert answer and answer.body == b'GET /again 0', answer
        return (Seen('GET', '/again'),)
    if case.end == 'tunnel':
        c.send(b'GET /tunnel HTTP/1.1\r\n\r\n')
        while len(reader.data) < 24:
            reader.fill()
            assert not reader.ended
        assert reader.data == b'GET /tunnel HTTP/1.1\r\n\r\n'
        c.sock.shutdown(socket.SHUT_WR)
        del reader.data[:]
    assert reader.at_end(), bytes(reader.data)
    return ()


def ways():
    for case in CASES:
        marks = [pytest.mark.xfail(strict=True, reason=case.xfail)] if case.xfail else []
        yield pytest.param(case, 'whole', id=case.name, marks=marks)
        if case.proxy == 'main':
            yield pytest.param(case, 'torn', id=f'{case.name}, torn', marks=marks)
        if case.proxy == 'main' and not case.fin and case.end != 'tunnel':
            yield pytest.param(case, 'between', id=f'{case.name}, between', marks=marks)


def plan(case, way):
    """What is sent, in which steps, and what is due: (data, step, statuses, requests)."""
    data, got, seen = case.send, list(case.got), case.seen
    if way != 'between':
        # about 300 pieces, of one byte where that is enough
        step = len(data) // 300 + 1 if way == 'torn' else max(len(data), 1)
        return data, step, got, seen
    # nothing behind a request that ends the connection may be served
    after = (Seen('GET', '/after'),) if case.end == 'keep' else ()
    return (BEFORE + data + AFTER, len(BEFORE + data + AFTER), [200] + got + [200] * len(after),
            (Seen('GET', '/before'),) + seen + after)


@pytest.mark.parametrize('case,way', ways())
def test_request(field, case, way):
    proxy = field.proxies[case.proxy]
    data, step, got, seen = plan(case, way)
    field.recorder.take()
    try:
        with Client(proxy.port) as c:
            send(c, data, step)
            if case.fin:
                c.sock.shutdown(socket.SHUT_WR)
            reader = wire.Strict(c.sock)
            if '100?' in got:  # whether it comes depends on when the body is seen to be there
                got.remove('100?')
                reader = SkipContinue(c.sock)
            check_answers(reader, got, seen)
            seen += check_end(c, reader, case)
    finally:
        entries = field.log(proxy)
    print(entries)
    assert not [e for e in entries if e.kind == 'bad']
    assert case.cut or not [e for e in entries if e.kind == 'cut']
    whole = [e.message for e in entries if e.kind == 'whole']
    assert len(whole) == len(seen), whole
    for message, s in zip(whole, seen):
        check_seen(message, s, field.recorder)


class SkipContinue(wire.Strict):
    """Passes over a 100 (Continue)."""

    def answer(self, to_head=False):
        answer = super().answer(to_head)
        return super().answer(to_head) if answer and answer.status == 100 else answer


def test_expect_waits_for_the_backend(field):
    """The client sends its body when told to, and is told so once (9110 10.1.1)."""
    with Client(field.proxies['main'].port) as c:
        reader = wire.Strict(c.sock)
        c.send(table_request.POST + b'Content-Length: 5\r\nExpect: 100-continue\r\n\r\n')
        assert reader.answer().status == 100
        c.send(b'hello')
        answer = reader.answer()
        assert answer.status == 200 and answer.body == b'POST / 5'
    assert [e.kind for e in field.log(field.proxies['main'])] == ['whole']


def test_table_is_wide_enough():
    """So that nobody empties it by accident."""
    assert len(CASES) >= 500
    assert len({c.name for c in CASES}) == len(CASES)


@pytest.mark.parametrize('method, status', [(b'OPTIONS', 200), (b'TRACE', 501)])
def test_max_forwards_of_0_ends_here(rig, method, status):
    """RFC 9110 7.6.2: it must not go on, the one that got it answers."""
    backend = rig.backend('b1')
    proxy = rig.proxy([backend])
    with Client(proxy.port) as c:
        c.send(method + b' / HTTP/1.1\r\nHost: t\r\nMax-Forwards: 0\r\n\r\n')
        answer = c.answer()
        assert answer.status == status and answer.get('Via') is None
        assert answer.get('Date') is not None
    assert backend.requests == []
