"""The PROXY protocol, in both modes: taken from proxies in front, sent to servers behind."""

import signal
import socket
import struct

import pytest

from client import Client
from harness import CHECK_OFF, Daemon, accepts, free_port, programs, route, wait_until
from scripted import reset

CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off'}
ACCEPT = {'proxy_protocol': 'accept', 'key': 'source_ip'}
HAPROXY = programs.find('haproxy')
SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
SOURCES = [f'198.51.100.{n}' for n in range(1, 40)]
REQUEST = b'GET / HTTP/1.1\r\nHost: test.example\r\n\r\n'


def v1(source, port=4711):
    family = 'TCP6' if ':' in source else 'TCP4'
    destination = '2001:db8::1' if ':' in source else '192.0.2.1'
    return f'PROXY {family} {source} {destination} {port} 443\r\n'.encode()


def v2(source, port=4711, tlvs=b''):
    six = ':' in source
    family = socket.AF_INET6 if six else socket.AF_INET
    body = (socket.inet_pton(family, source) +
            socket.inet_pton(family, '2001:db8::1' if six else '192.0.2.1') +
            struct.pack('>HH', port, 443) + tlvs)
    return SIGNATURE + bytes([0x21, 0x21 if six else 0x11]) + struct.pack('>H', len(body)) + body


LOCAL = SIGNATURE + b'\x20\0\0\0'
UNKNOWN = b'PROXY UNKNOWN\r\n'


def heads(source):
    return {'v1': v1(source), 'v2': v2(source), 'v2 with a TLV': v2(source, tlvs=b'\x04\0\3abc')}


def start(rig, backends, listener, pool=CALM):
    proxy = rig.proxy(backends, pool=pool, listener={**ACCEPT, **listener}, start=False)
    port, proxy.port = proxy.port, None  # a look whether it listens would be a connection
    proxy.start()
    proxy.port = port
    return proxy


def tell_source(ex):
    """Answers with its name and the X-Forwarded-For that came."""
    ex.answer(body=f"{ex.backend.name} {ex.request.get('X-Forwarded-For')}".encode())


def http_proxy(rig, **listener):
    return start(rig, [rig.backend(n, tell_source) for n in ('b1', 'b2', 'b3')], listener)


def tcp_proxy(rig, **listener):
    return start(rig, [rig.tcp(n) for n in ('b1', 'b2', 'b3')], {'mode': 'tcp', **listener})


def greeting(reader):
    data = b''
    while not data.endswith(b'\n'):
        data += reader.exactly(1)
    return data[:-1].decode()


@pytest.mark.parametrize('source', ['198.51.100.7', '2001:db8::7'])
def test_http_takes_the_source_from_the_head(rig, source):
    proxy = http_proxy(rig)
    owner = route(proxy.config, [source])[source]
    for kind, head in heads(source).items():
        with Client(proxy.port) as c:
            c.send(head + REQUEST)
            assert c.answer().body.decode() == f'{owner} {source}', kind
            c.send(REQUEST)  # the head stands in front of the connection, not of each request
            assert c.answer().body.decode() == f'{owner} {source}', kind


def test_a_v4_mapped_source_is_a_v4_one(rig):
    proxy = http_proxy(rig)
    with Client(proxy.port) as c:
        c.send(v2('::ffff:198.51.100.7') + REQUEST)
        assert c.answer().body.endswith(b' 198.51.100.7')


def test_http_keys_go_where_route_says(rig):
    proxy = http_proxy(rig)
    for source, owner in route(proxy.config, SOURCES).items():
        with Client(proxy.port) as c:
            c.send(v2(source) + REQUEST)
            assert c.answer().body.decode() == f'{owner} {source}'


def test_tcp_keys_go_where_route_says(rig):
    proxy = tcp_proxy(rig)
    owners = route(proxy.config, SOURCES)
    assert len(set(owners.values())) == 3
    for n, (source, owner) in enumerate(owners.items()):
        with Client(proxy.port) as c:
            c.send((v1 if n % 2 else v2)(source) + b'first bytes')
            assert greeting(c.reader) == owner
            assert c.reader.exactly(11) == b'first bytes'
            c.send(b'more')
            assert c.reader.exactly(4) == b'more'


def test_a_server_may_speak_first_behind_a_head(rig):
    proxy = tcp_proxy(rig)
    with Client(proxy.port) as c:
        c.send(v2('198.51.100.7'))
        assert greeting(c.reader) == route(proxy.config, ['198.51.100.7'])['198.51.100.7']
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end()


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('kind', ['v1', 'v2', 'v2 with a TLV'])
def test_a_head_may_come_byte_by_byte(rig, mode, kind):
    proxy = (http_proxy if mode == 'http' else tcp_proxy)(rig)
    source = '198.51.100.9'
    owner = route(proxy.config, [source])[source]
    with Client(proxy.port) as c:
        for byte in heads(source)[kind] + REQUEST:
            c.send(bytes([byte]))
        if mode == 'http':
            assert c.answer().body.decode() == f'{owner} {source}'
        else:
            assert greeting(c.reader) == owner
            assert c.reader.exactly(len(REQUEST)) == REQUEST


@pytest.mark.parametrize('head', [LOCAL, UNKNOWN, b'PROXY UNKNOWN ::1 ::2 1 2\r\n'])
def test_a_head_without_addresses_leaves_the_connection_its_own(rig, head):
    proxy = http_proxy(rig)
    with Client(proxy.port, source='127.0.0.3') as c:
        c.send(head + REQUEST)
        assert c.answer().body.endswith(b' 127.0.0.3')


WRONG = [REQUEST, b'\x16\x03\x01\x02\0', b'PROXY TCP4 198.51.100.7 192.0.2.1 4711\r\n' + REQUEST,
         b'PROXY TCP4 198.51.100.777 192.0.2.1 1 2\r\n' + REQUEST,
         SIGNATURE + b'\x31\x11\0\x0c' + b'\0' * 12 + REQUEST, SIGNATURE + b'\x21\x11\xff\xff',
         v2('198.51.100.7', tlvs=b'\x04\xff\xff') + REQUEST]


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_a_wrong_or_missing_head_closes_the_connection_without_an_answer(rig, mode):
    proxy = (http_proxy if mode == 'http' else tcp_proxy)(rig)
    for wrong in WRONG:
        with Client(proxy.port) as c:
            c.send(wrong)
            assert c.at_end(), wrong
    assert not any(b.connections for b in rig.scripted)
    assert proxy.admin.json('/status')['listeners'][0]['requests'] == 0
    proxy.says('connections refused')


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_a_head_that_ends_too_early_closes_the_connection(rig, mode):
    proxy = (http_proxy if mode == 'http' else tcp_proxy)(rig)
    for part in (b'', v1('198.51.100.7')[:-1], v2('198.51.100.7')[:20]):
        with Client(proxy.port) as c:
            c.send(part)
            c.sock.shutdown(socket.SHUT_WR)
            assert c.at_end()
    wait_until(lambda: proxy.admin.json('/status')['listeners'][0]['connections'] == 0,
               'the connections to be gone')


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('sent', [b'PROXY TCP4 ', SIGNATURE, b''])
def test_a_head_that_comes_too_slowly_closes_the_connection(rig, mode, sent):
    """A silent connection has the idle timeout."""
    timeouts = {'request': '300ms', 'idle': '1h'} if sent else {'request': '1h', 'idle': '300ms'}
    proxy = (http_proxy if mode == 'http' else tcp_proxy)(rig, timeouts=timeouts)
    with Client(proxy.port, timeout=20) as c:
        c.send(sent)
        assert c.at_end()
    proxy.stop()  # by then the log is written
    assert ('came too slowly' in proxy.err()) == bool(sent)


def test_a_stop_ends_connections_without_a_head(rig):
    proxy = tcp_proxy(rig, timeouts={'idle': '1h', 'request': '1h'})
    with Client(proxy.port) as c:
        wait_until(lambda: proxy.admin.json('/status')['listeners'][0]['connections'] == 1,
                   'the connection to be accepted')
        proxy.stop()
        assert c.at_end()


# --- HAProxy in front -------------------------------------------------------------------------

def haproxy(rig, proxy, mode, version, source_from):
    """A HAProxy that sends heads; its clients' addresses are those they connect from."""
    if not HAPROXY:
        pytest.skip('haproxy is needed')
    port = free_port()
    config = rig.folder / 'haproxy.cfg'
    config.write_text(f'''
defaults
    mode {mode}
    timeout connect 20s
    timeout client 60s
    timeout server 60s
frontend f
    bind {source_from}:{port}
    default_backend b
backend b
    server ringproxy 127.0.0.1:{proxy.port} {version} check inter 200ms
''')
    daemon = Daemon([HAPROXY, '-db', '-f', str(config)], rig.folder, 'haproxy')
    rig.daemons.append(daemon.start())
    wait_until(lambda: accepts(port, source_from) or not daemon.running(), 'haproxy')
    assert daemon.running(), daemon.err()
    return port


@pytest.mark.parametrize('version', ['send-proxy', 'send-proxy-v2'])
def test_haproxy_in_front_of_http(rig, version):
    proxy = http_proxy(rig)
    port = haproxy(rig, proxy, 'http', version, '127.0.0.1')
    sources = [f'127.0.1.{n}' for n in range(1, 10)]
    for source, owner in route(proxy.config, sources).items():
        with Client(port, source=source) as c:
            answer = c.request()
        assert (answer.status, answer.body.decode()) == (200, f'{owner} {source}')


@pytest.mark.parametrize('version', ['send-proxy', 'send-proxy-v2'])
def test_haproxy_in_front_of_tcp(rig, version):
    proxy = tcp_proxy(rig)
    port = haproxy(rig, proxy, 'tcp', version, '127.0.0.1')
    sources = [f'127.0.1.{n}' for n in range(1, 10)]
    for source, owner in route(proxy.config, sources).items():
        with Client(port, source=source) as c:
            assert greeting(c.reader) == owner
            c.send(b'there and back')
            assert c.reader.exactly(14) == b'there and back'


# --- sent to servers --------------------------------------------------------------------------

SEND = {'http': {}, 'tcp': {'mode': 'tcp'}}


def parse(head):
    """(source, port, destination, port) of a head, None for nobody's; and how long it is."""
    if head.startswith(b'PROXY '):
        end = head.index(b'\r\n') + 2
        words = head[:end - 2].decode().split()
        if words[1] == 'UNKNOWN':
            return None, end
        assert words[1] == ('TCP6' if ':' in words[2] else 'TCP4')
        return (words[2], int(words[4]), words[3], int(words[5])), end
    assert head.startswith(SIGNATURE)
    end = 16 + int.from_bytes(head[14:16], 'big')
    if head[12] == 0x20:
        return None, end
    assert head[12] == 0x21
    family, size = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[head[13]]
    body = head[16:end]
    ports = struct.unpack('>HH', body[2 * size:2 * size + 4])
    return (socket.inet_ntop(family, body[:size]), ports[0],
            socket.inet_ntop(family, body[size:2 * size]), ports[1]), end


class Told:
    """A server that keeps the first bytes of each connection, up to `end`, and answers once."""

    def __init__(self, rig, end=b'\r\n\r\n'):
        self.first, self.end = [], end
        self.backend = rig.tcp('b1', self.handle)

    def handle(self, backend, sock):
        data = sock.recv(65536)
        while not data.endswith(self.end):
            data += sock.recv(65536)
        self.first.append(data)
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        while sock.recv(65536):
            pass


def sender(rig, told, mode, version, **listener):
    return start(rig, [told.backend], {**SEND[mode], 'proxy_protocol': 'off', **listener},
                 {**CALM, 'proxy_protocol': version})


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_servers_are_told_both_ends_of_the_clients_connection(rig, mode, version):
    told = Told(rig)
    proxy = sender(rig, told, mode, version)
    for n in range(3):
        with Client(proxy.port, source=f'127.0.0.{n + 2}') as c:
            port = c.sock.getsockname()[1]
            c.send(REQUEST)
            assert c.answer().body == b'ok'
        what, size = parse(told.first[n])
        assert what == (f'127.0.0.{n + 2}', port, '127.0.0.1', proxy.port)
        assert told.first[n].startswith(b'PROXY' if version == 'v1' else SIGNATURE)
        rest = told.first[n][size:]
        assert rest == REQUEST if mode == 'tcp' else rest.startswith(b'GET / HTTP/1.1\r\n')


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('source', ['198.51.100.7', '2001:db8::7'])
def test_a_head_that_came_is_handed_on(rig, mode, version, source):
    told = Told(rig)
    proxy = sender(rig, told, mode, version, proxy_protocol='accept')
    with Client(proxy.port) as c:
        c.send(v2(source) + REQUEST)
        assert c.answer().body == b'ok'
    destination = '2001:db8::1' if ':' in source else '192.0.2.1'
    assert parse(told.first[0])[0] == (source, 4711, destination, 443)


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_an_unknown_client_stays_one(rig, mode, version):
    """One on a unix socket has no address to tell."""
    told = Told(rig)
    path = rig.folder / 's'
    proxy = sender(rig, told, mode, version, listen=f'unix:{path}')
    wait_until(path.exists, 'the socket')
    with Client(str(path)) as c:
        c.send(REQUEST)
        assert c.answer().body == b'ok'
    assert parse(told.first[0])[0] is None
    proxy.port = None


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_servers_are_told_of_a_client_that_has_reset_its_connection(rig, version):
    """What came before the reset may still go to a server, which must not take it for the proxy's."""
    first = []

    def keep(_, sock):
        data = b''
        try:
            while more := sock.recv(65536):
                data += more
        except ConnectionError:
            pass
        first.append(data)

    told = rig.tcp('b1', keep)
    proxy = start(rig, [told], {'proxy_protocol': 'off'}, {**CALM, 'proxy_protocol': version})
    for n in range(20):  # the proxy may notice the reset before its own connection is there
        proxy.signal(signal.SIGSTOP)
        c = Client(proxy.port, source='127.0.0.2')
        port = c.sock.getsockname()[1]
        c.send(REQUEST)
        reset(c.sock)
        proxy.signal(signal.SIGCONT)
        wait_until(lambda: len(first) > n, 'the connection to the server')
        if first[n]:
            break
    assert parse(first[n])[0] == ('127.0.0.2', port, '127.0.0.1', proxy.port)


def test_requests_of_different_clients_never_share_a_connection(rig):
    """Nor do those of one: each head is right for what follows it."""
    told = Told(rig)
    proxy = sender(rig, told, 'http', 'v2')
    with Client(proxy.port, source='127.0.0.2') as a, Client(proxy.port, source='127.0.0.3') as b:
        for c in (a, b, a, b):
            c.send(REQUEST)
            assert c.answer().body == b'ok'
    assert [parse(f)[0][0] for f in told.first] == ['127.0.0.2', '127.0.0.3'] * 2


def test_a_body_follows_its_heads(rig):
    told = Told(rig, b'end')
    proxy = sender(rig, told, 'http', 'v2')
    with Client(proxy.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nend')
        assert c.answer().body == b'ok'
    rest = told.first[0][parse(told.first[0])[1]:]
    assert rest.startswith(b'POST / HTTP/1.1\r\n') and rest.endswith(b'\r\n\r\nend')


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_a_server_that_speaks_first_has_the_head_before(rig, version):
    """It waits for the head, and the client for the server."""
    heads_seen = []

    def greet(backend, sock):
        data = b''
        while not (data.endswith(b'\r\n') if version == 'v1' and data else len(data) == 28):
            data += sock.recv(1)
        heads_seen.append(data)
        backend.greet_and_echo(sock)

    proxy = start(rig, [rig.tcp('b1', greet)], {'mode': 'tcp', 'proxy_protocol': 'off'},
                  {**CALM, 'proxy_protocol': version})
    with Client(proxy.port, source='127.0.0.9') as c:
        assert greeting(c.reader) == 'b1'
        c.send(b'hello')
        assert c.reader.exactly(5) == b'hello'
    assert parse(heads_seen[0])[0][0] == '127.0.0.9'


@pytest.mark.parametrize('mode', ['http', 'tcp'])
def test_the_next_server_gets_the_head_too(rig, mode):
    told = Told(rig)
    dead = {'name': 'b0', 'address': f'127.0.0.1:{free_port()}'}
    proxy = start(rig, [dead, told.backend], {**SEND[mode], 'proxy_protocol': 'off'},
                  {**CALM, 'proxy_protocol': 'v2'})
    for n in range(4):  # of these sources some belong to the dead one
        with Client(proxy.port, source=f'127.0.3.{n + 1}') as c:
            c.send(REQUEST)
            assert c.answer().body == b'ok'
    assert [parse(f)[0][0] for f in told.first] == [f'127.0.3.{n + 1}' for n in range(4)]


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_nginx_behind_reads_the_head(rig, mode, version):
    """Its checks too: nginx closes what has no head."""
    address = f'127.0.0.1:{free_port()}'
    extra = f'''server {{ listen {address} proxy_protocol;
        location /healthz {{ return 200 "ok"; }}
        location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }} }}'''
    rig.nginx('b1', extra=extra)
    proxy = start(rig, [{'name': 'b1', 'address': address}],
                  {**SEND[mode], 'proxy_protocol': 'off'},
                  {'proxy_protocol': version, 'passive': 'off'})
    assert proxy.wait_state('b1', 'up')
    for n in range(3):
        with Client(proxy.port, source=f'127.0.0.{n + 2}') as c:
            for _ in range(2):
                answer = c.request()
                assert (answer.status, answer.body.decode()) == \
                    (200, f'127.0.0.{n + 2} {c.sock.getsockname()[1]}')
