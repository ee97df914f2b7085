"""`key: sni`: TLS connections go by the name that they ask for, untouched."""

import socket
import ssl
import subprocess

import pytest

import pace
from client import Client
from harness import CHECK_OFF, Daemon, accepts, free_port, route, wait_until
from test_proxy_protocol import greeting, v2

CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off'}
NAMES = [f'host-{n}.shop.example' for n in range(20)]


def start(rig, backends, key, **listener):
    proxy = rig.proxy(backends, pool=CALM, listener={'mode': 'tcp', 'key': key, **listener},
                      start=False)
    port, proxy.port = proxy.port, None  # a look whether it listens would be a connection
    proxy.start()
    proxy.port = port
    return proxy


def plain(rig, key='sni', **listener):
    return start(rig, [rig.tcp(n) for n in ('b1', 'b2', 'b3')], key, **listener)


def hello(name):
    """The first flight of a real TLS client."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def in_records(flight, size):
    """The same message in records of so many bytes."""
    message = flight[5:]
    return b''.join(flight[:3] + len(part).to_bytes(2, 'big') + part
                    for part in (message[i:i + size] for i in range(0, len(message), size)))


def server_of(port, pieces, **more):
    """Who got the bytes; all of them came there as they were sent."""
    with Client(port, **more) as c:
        for piece in pieces:
            c.send(piece)
        who = greeting(c.reader)
        data = b''.join(pieces)
        assert c.reader.exactly(len(data)) == data
        return who


def keyless(proxy):
    return proxy.admin.metric('ringproxy_keyless_total', listener='web')


def test_names_go_where_route_says(rig):
    proxy = plain(rig)
    owners = route(proxy.config, NAMES)
    assert len(set(owners.values())) == 3
    for name, owner in owners.items():
        assert server_of(proxy.port, [hello(name)]) == owner, name
    assert server_of(proxy.port, [hello(NAMES[0].upper())]) == owners[NAMES[0]]
    assert keyless(proxy) == 0


def test_a_hello_may_come_in_any_segments_and_records(rig):
    proxy = plain(rig)
    owners = route(proxy.config, NAMES)
    for name in NAMES[:3]:
        flight = hello(name)
        assert server_of(proxy.port, [bytes([b]) for b in flight]) == owners[name]
        for size in (1, 50, 200):
            records = in_records(flight, size)
            assert server_of(proxy.port, [records]) == owners[name]
            assert server_of(proxy.port, [records[:60], records[60:], b'and more']) == owners[name]


def test_joined_with_the_source(rig):
    proxy = plain(rig, 'sni+source_ip')
    for source in ('127.0.0.2', '127.0.0.3'):
        for name in NAMES[:6]:
            key = name + source
            assert server_of(proxy.port, [hello(name)], source=source) == \
                route(proxy.config, [key])[key]


OTHERS = {'no name': hello(None), 'not TLS': b'SSH-2.0-OpenSSH_9.2\r\n',
          'an alert': b'\x15\x03\x01\0\2\2\0', 'too long': in_records(hello('a.example'), 1)}


@pytest.mark.parametrize('kind', OTHERS)
def test_others_are_keyless(rig, kind):
    proxy = plain(rig, max_header_size='1KiB')
    assert len(OTHERS['too long']) > 1024
    got = {server_of(proxy.port, [OTHERS[kind]]) for _ in range(12)}
    assert got == {'b1', 'b2', 'b3'}
    assert keyless(proxy) == 12


@pytest.mark.parametrize('kind', OTHERS)
def test_others_go_by_the_next_alternative(rig, kind):
    proxy = plain(rig, ['sni', 'source_ip'], max_header_size='1KiB')
    for source, owner in route(proxy.config, ['127.0.0.2', '127.0.0.3', '127.0.0.4']).items():
        assert server_of(proxy.port, [OTHERS[kind]], source=source) == owner
    assert keyless(proxy) == 0


@pytest.mark.parametrize('sent', [b'', hello('a.example')[:100]], ids=['nothing', 'half a hello'])
def test_one_that_is_too_slow_goes_on_all_the_same(rig, sent):
    proxy = plain(rig, ['sni', 'source_ip'], timeouts={'request': '300ms', 'idle': '1h'})
    with Client(proxy.port, source='127.0.0.5') as c:
        c.send(sent)
        assert greeting(c.reader) == route(proxy.config, ['127.0.0.5'])['127.0.0.5']
        assert c.reader.exactly(len(sent)) == sent
        c.send(b'later')
        assert c.reader.exactly(5) == b'later'


@pytest.mark.parametrize('sent', [b'', hello('a.example')[:100]], ids=['nothing', 'half a hello'])
def test_one_that_ends_before_its_name_goes_on_all_the_same(rig, sent):
    proxy = plain(rig, timeouts={'request': '1h'})
    with Client(proxy.port) as c:
        c.send(sent)
        c.sock.shutdown(socket.SHUT_WR)
        greeting(c.reader)
        assert c.reader.exactly(len(sent)) == sent
        assert c.at_end()


def test_nobody_waits_for_a_name_that_does_not_matter(rig):
    proxy = plain(rig, ['source_ip', 'sni'], timeouts={'request': '1h'})
    with Client(proxy.port, source='127.0.0.5') as c:
        assert greeting(c.reader) == route(proxy.config, ['127.0.0.5'])['127.0.0.5']


def test_a_client_that_goes_while_it_is_looked_at_leaves_nothing_behind(rig):
    proxy = plain(rig, timeouts={'request': '1h'})
    for _ in range(5):
        with Client(proxy.port) as c:
            c.send(hello('a.example')[:50])
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    wait_until(lambda: proxy.admin.json('/status')['listeners'][0]['connections'] == 0,
               'the connections to be gone')


def test_behind_a_proxy_head(rig):
    proxy = plain(rig, 'sni+source_ip', proxy_protocol='accept')
    source = '198.51.100.7'
    for name in NAMES[:4]:
        owner = route(proxy.config, [name + source])[name + source]
        for head in ([v2(source) + hello(name)], [v2(source), hello(name)]):
            with Client(proxy.port) as c:
                for piece in head:
                    c.send(piece)
                assert greeting(c.reader) == owner


# --- real TLS ---------------------------------------------------------------------------------

class TlsServer(Daemon):
    """`openssl s_server` with a certificate of its own, which names the backend."""

    def __init__(self, folder, name):
        self.port = free_port()
        self.certificate = folder / f'{name}.crt'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                        'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', f'/CN={name}',
                        '-addext', 'subjectAltName=DNS:*.shop.example', '-keyout',
                        str(folder / f'{name}.key'), '-out', str(self.certificate)],
                       check=True, capture_output=True, timeout=pace.upper(60))
        super().__init__(['openssl', 's_server', '-accept', f'127.0.0.1:{self.port}', '-www',
                          '-cert', str(self.certificate), '-key', str(folder / f'{name}.key')],
                         folder, name)

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'


@pytest.fixture
def tls(rig):
    servers = {n: TlsServer(rig.folder, n) for n in ('b1', 'b2', 'b3')}
    for one in servers.values():
        rig.daemons.append(one.start())
    for one in servers.values():
        wait_until(lambda one=one: accepts(one.port), one.name)
    return servers, start(rig, list(servers.values()), 'sni')


def test_openssl_s_client_gets_the_certificate_of_its_names_server(tls):
    servers, proxy = tls
    for name, owner in route(proxy.config, NAMES[:6]).items():
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{proxy.port}',
                               '-servername', name, '-verify_hostname', name,
                               '-verify_return_error', '-CAfile', str(servers[owner].certificate)],
                              input=b'', capture_output=True, timeout=pace.upper(60), check=False)
        assert done.returncode == 0, done.stderr
        assert f'CN = {owner}'.encode() in done.stdout + done.stderr


def test_curl_speaks_https_with_its_names_server(tls):
    servers, proxy = tls
    for name, owner in route(proxy.config, NAMES[:6]).items():
        done = subprocess.run(['curl', '-sS', '--cacert', str(servers[owner].certificate),
                               '--connect-to', f'{name}:443:127.0.0.1:{proxy.port}',
                               f'https://{name}/'], capture_output=True, timeout=pace.upper(60), check=False)
        assert done.returncode == 0, done.stderr
        assert b'Ciphers supported' in done.stdout
