"""What the end-to-end tests stand on: waits, ports, processes, configurations, the proxy.

Nothing here sleeps to let something happen: every wait has a condition and a deadline.
"""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pace

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'bench'))
from compare import programs  # noqa: E402

RINGPROXY = os.environ.get('RINGPROXY', str(ROOT / 'build' / 'ringproxy'))
RINGBENCH = os.environ.get('RINGBENCH', str(ROOT / 'build' / 'ringbench'))
FORWARDER = os.environ.get('FORWARDER', str(ROOT / 'build' / 'bench' / 'compare' / 'forwarder'))
# For the tests of the bench: pace.upper() as of the start of this process.
SLOW = pace.upper(1.0)

SANITIZER_REPORT = re.compile(
    r'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|'
    r'SUMMARY: \w+Sanitizer|Assertion .* failed')


def wait_until(condition, what, deadline=15.0):
    """Returns what the condition returns once that is true; fails after `deadline` seconds of an
    idle machine."""
    end = pace.Deadline(deadline)
    while True:
        value = condition()
        if value:
            return value
        assert not end.passed(), f'waited {end.elapsed():.0f} s for {what}'
        time.sleep(0.01)


# --- ports ------------------------------------------------------------------------------------

# pytest may run in several processes (xdist)
_ports = programs.Ports(int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]),
                        int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1')))


def free_port():
    """A TCP port nobody holds, never given twice, outside of the range outgoing connections use."""
    port = _ports.free()
    assert port, 'no free port found'
    return port


def accepts(port, host='127.0.0.1'):
    try:
        socket.create_connection((host, port), timeout=pace.upper(2)).close()
        return True
    except OSError:
        return False


def accepts_at(address):
    """The same for `HOST:PORT`, `[V6]:PORT` and `unix:PATH`."""
    host, _, port = address.rpartition(':')
    if host != 'unix':
        return accepts(int(port), host.strip('[]'))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(pace.upper(2))
        return s.connect_ex(port) == 0


# --- processes --------------------------------------------------------------------------------

class Daemon(programs.Program):
    """A process in the background with its output in files."""

    def __init__(self, argv, folder, name):
        self.argv, self.folder, self.name = argv, pathlib.Path(folder), name
        self.starts = 0

    def start(self):
        assert self.process is None
        self.starts += 1
        self.out_path = self.folder / f'{self.name}.{self.starts}.out'
        self.err_path = self.folder / f'{self.name}.{self.starts}.err'
        with open(self.out_path, 'wb') as out, open(self.err_path, 'wb') as err:
            self.launch(self.argv, self.folder, out, err)
        return self

    def out(self):
        return self.out_path.read_text(errors='replace')

    def err(self):
        return self.err_path.read_text(errors='replace')

    def says(self, *texts):
        """Waits until all of them were written to stderr: the log has a thread of its own."""
        wait_until(lambda: all(t in self.err() for t in texts), f'{texts} in what {self.name} says')
        return True

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, deadline=30.0):
        """The exit code; the process is forgotten."""
        within = pace.upper(deadline)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.process = None
            raise AssertionError(f'{self.name} did not end within {within:.0f} s:\n'
                                 f'{self.err()[-3000:]}') from None
        self.process = None
        return code


class Nginx(Daemon):
    """A real nginx as one process: answers its name at any path, 200 at /healthz. `listen` is an
    address other than a free port of 127.0.0.1."""

    def __init__(self, folder, name, port=None, extra='', listen=None):
        prefix = pathlib.Path(folder) / f'nginx-{name}'
        prefix.mkdir(parents=True)
        self.port = None if listen else port or free_port()
        self.address = listen or f'127.0.0.1:{self.port}'
        (prefix / 'nginx.conf').write_text(f'''{programs.nginx_main(prefix, 'warn')}
master_process off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
{programs.nginx_paths(prefix)}
    keepalive_requests 200;
    {extra}
    server {{
        listen {self.address};
        location / {{ default_type text/plain; add_header X-Backend {name}; return 200 "{name}"; }}
        location /healthz {{ return 200 "ok"; }}
    }}
}}
''')
        super().__init__(programs.nginx_command('nginx', prefix, prefix / 'nginx.conf'), prefix, name)

    def start(self):
        super().start()
        wait_until(lambda: accepts_at(self.address) or not self.running(), f'nginx {self.name}')
        assert self.running(), self.err()
        return self


class Serve(Daemon):
    """`ringbench serve`: a quick test backend."""

    def __init__(self, folder, name, *arguments):
        self.port = free_port()
        super().__init__([RINGBENCH, 'serve', '--listen', f'127.0.0.1:{self.port}', '--name', name,
                          *arguments], folder, name)

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self):
        super().start()
        wait_until(lambda: accepts(self.port) or not self.running(), f'ringbench serve {self.name}')
        assert self.running(), self.err()
        return self

    def stop(self):
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.err()
        assert not SANITIZER_REPORT.search(self.err()), self.err()


def run(*arguments, stdin=None, program=None, deadline=60, cwd=None):
    """A command to its end: CompletedProcess with text in stdout and stderr."""
    done = subprocess.run([program or RINGPROXY, *map(str, arguments)], cwd=cwd, check=False,
                          input=stdin if stdin is not None else b'',
                          capture_output=True, timeout=pace.upper(deadline))
    done.stdout = done.stdout.decode(errors='replace')
    done.stderr = done.stderr.decode(errors='replace')
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def route(config, keys, *arguments):
    """What `ringproxy route` says offline, {key: backend}; "-" is nobody."""
    done = run('route', '-c', config, *arguments, stdin=b''.join(k.encode() + b'\n' for k in keys))
    assert done.returncode == 0, done.stderr
    lines = [line.split('\t') for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(keys)
    return dict(lines)


# --- configurations ---------------------------------------------------------------------------

_PLAIN = re.compile(r'[A-Za-z0-9_./][A-Za-z0-9_./*:+-]*\Z')


def flow(value):
    """A value as YAML in one line."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{k}: {flow(v)}' for k, v in value.items()) + '}'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(flow(v) for v in value) + ']'
    if isinstance(value, bool):
        return 'on' if value else 'off'
    if isinstance(value, str) and not _PLAIN.match(value):
        return json.dumps(value)
    return str(value)


def merged(base, over):
    """Mappings within mappings; None takes a key out."""
    out = dict(base)
    for k, v in (over or {}).items():
        if v is None:
            out.pop(k, None)
        elif isinstance(v, dict) and isinstance(out.get(k), dict):
            out[k] = merged(out[k], v)
        else:
            out[k] = v
    return out


def quick_pool():
    """Quick, but patient enough for a machine under load: whoever has to wait for the processor is
    not down."""
    slow = pace.stretched(1.0)
    return {
        'health': {'check': 'http', 'path': '/healthz', 'interval': '200ms', 'timeout': pace.ms(slow),
                   'fall': 2, 'rise': 2},
        'failback': {'after': '0s'},
        # the defaults, on an idle machine
        'timeouts': {'connect': pace.ms(slow), 'response': pace.ms(30 * slow)},
    }


CHECK_OFF = {'check': 'off', 'path': None, 'timeout': None, 'fall': None, 'rise': None}


def yaml_text(top, listeners, pools):
    lines = [f'{k}: {flow(v)}' for k, v in top.items()]
    lines.append('listeners:')
    lines += [f'  - {flow(one)}' for one in listeners]
    lines.append('pools:')
    for pool in pools:
        head = '  - '
        for k, v in pool.items():
            if k in ('backends', 'standbys') and v:
                lines.append(f'{head}{k}:')
                lines += [f'      - {flow(one)}' for one in v]
            else:
                lines.append(f'{head}{k}: {flow(v)}')
            head = '    '
    return '\n'.join(lines) + '\n'


def server_entry(server, more=None):
    """A backend object, or a mapping as it stands, to a line of `backends`."""
    if isinstance(server, dict):
        return server
    return {'name': server.name, 'address': server.address, **(more or {})}


# --- the proxy --------------------------------------------------------------------------------

class Admin:
    """The admin interface seen by a client."""

    def __init__(self, port, token=None):
        self.port, self.token = port, token

    def request(self, method, target, fields=None, body=None):
        fields = dict(fields or {})
        if self.token:
            fields.setdefault('Authorization', f'Bearer {self.token}')
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=pace.upper(10))
        try:
            connection.request(method, target, body=body, headers=fields)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, answer.headers, text
        finally:
            connection.close()

    def json(self, target, method='GET', expect=200):
        status, headers, text = self.request(method, target)
        assert status == expect, (target, status, text)
        assert headers['Content-Type'].startswith('application/json'), headers
        return json.loads(text)

    def metrics(self):
        """{name{labels}: value} as the text has it."""
        status, _, text = self.request('GET', '/metrics')
        assert status == 200
        out = {}
        for line in text.splitlines():
            if line and not line.startswith('#'):
                series, value = line.rsplit(' ', 1)
                out[series] = float(value)
        return out

    def metric(self, name, **labels):
        """The value of the one series with these labels; 0 if it is not there."""
        found = [v for series, v in self.metrics().items()
                 if re.split(r'[{ ]', series)[0] == name
                 and all(f'{k}="{w}"' in series for k, w in labels.items())]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else 0.0


class Proxy(Daemon):
    """A ringproxy with its configuration file."""

    def __init__(self, folder, name, text, port, admin_port, token=None):
        self.config = pathlib.Path(folder) / f'{name}.yaml'
        self.config.write_text(text)
        self.port = port
        self.admin = Admin(admin_port, token) if admin_port else None
        super().__init__([RINGPROXY, 'run', '-c', str(self.config)], folder, name)

    def start(self, ready=True):
        super().start()
        if ready:
            wait_until(lambda: self.ready() or not self.running(), f'{self.name} to be ready')
            assert self.running(), self.err()
        return self

    def ready(self):
        try:
            if self.admin and self.admin.request('GET', '/readyz')[0] != 200:
                return False
        except OSError:
            return False
        return not self.port or accepts(self.port)

    def alive(self):
        try:
            return self.admin.request('GET', '/healthz')[0] == 200
        except OSError:
            return False

    def stop(self, expect=0, number=signal.SIGTERM):
        self.signal(number)
        self.check_end(expect)

    def check_end(self, expect=0, deadline=40.0):
        code = self.wait(deadline)
        text = self.err()
        assert not SANITIZER_REPORT.search(text), text
        assert code == expect, f'exit code {code}, expected {expect}:\n{text[-3000:]}'

    def restart(self):
        self.stop()
        return self.start()

    def server(self, name, pool='p'):
        """S of GET /status."""
        for one in self.admin.json('/status')['pools']:
            if one['name'] == pool:
                for s in one['backends'] + one['standbys']:
                    if s['name'] == name:
                        return s
        raise AssertionError(f'no server {name} in pool {pool}')

    def wait_state(self, name, *states, deadline=20.0):
        return wait_until(lambda: self.server(name)['state'] in states, f'{name} to be {states}',
                          deadline)

    def wait_serving(self, name, *backends, deadline=20.0):
        """Until a server holds the points of exactly these backends."""
        return wait_until(lambda: sorted(self.server(name)['serving']) == sorted(backends),
                          f'{name} to serve {backends}', deadline)

    def post(self, name, verb, expect=200, pool='p'):
        status, _, text = self.admin.request('POST', f'/pools/{pool}/backends/{name}/{verb}')
        assert status == expect, (status, text)
        return json.loads(text)
