"""The proxies: where they are, how they are started, and configurations that ask the same work of
all of them. One worker, no log, no checks, the key hashed onto a consistent ring. HTTP: the key is
X-Key; connections to the backends kept; X-Forwarded-For, -Proto, -Host and Via added to requests, Via
to answers. TCP: the key is the client's address.
"""

import dataclasses
import os
import pathlib
import re
import subprocess

from compare import programs
from compare.processes import Trouble


@dataclasses.dataclass(frozen=True)
class Job:
    """What one start of a proxy is to do."""
    folder: pathlib.Path
    port: int
    backends: tuple   # ports
    connections: int  # that clients may hold; far more than a load has
    tcp: bool         # plain TCP, not HTTP
    bulk: bool        # many bytes at once


class Proxy:
    package = None     # of Debian, to say what to install
    hashes = True      # a key always meets the same backend
    exit_code = None   # that SIGTERM ends it with; None: whatever
    skips = ()         # workloads that mean nothing for it

    def __init__(self, name, program):
        self.name, self.program = name, program

    def version(self):
        return self.name

    def missing(self, tcp):
        """The package that it lacks for HTTP or plain TCP; None: it has all."""
        return None

    def command(self, job):
        """Writes its configuration; the command line."""
        raise NotImplementedError

    def _output(self, *arguments):
        done = subprocess.run([self.program, *arguments], check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20)
        return (done.stdout + done.stderr).strip() if done.returncode == 0 else ''

    def _say(self, *arguments):
        return (self._output(*arguments).splitlines() or [self.name])[0]


class Ringproxy(Proxy):
    exit_code = 0

    def version(self):
        return self._say('--version')

    def command(self, job):
        backends = ''.join(f'      - {{name: b{i}, address: 127.0.0.1:{port}}}\n'
                           for i, port in enumerate(job.backends, 1))
        mode, key = ('tcp', 'source_ip') if job.tcp else ('http', 'header:X-Key')
        path = job.folder / 'ringproxy.yaml'
        path.write_text(f'''workers: 1
log: {{level: warn, access: off}}
listeners:
  - name: web
    listen: 127.0.0.1:{job.port}
    mode: {mode}
    pool: cache
    key: [{key}]
    max_connections: {job.connections}
    timeouts: {{request: 60s, idle: 600s}}
pools:
  - name: cache
    health: {{check: off}}
    timeouts: {{connect: 5s, response: 60s, idle: 600s}}
    backends:
{backends}''')
        return [self.program, 'run', '-c', str(path)]


class Haproxy(Proxy):
    package = 'haproxy'

    def version(self):
        return ' '.join(self._say('-v').split()[:3]).replace('HAProxy version', 'HAProxy')

    # buffers: 32 KiB took a third less CPU for 1 MiB bodies and a tenth more for small ones; for a bulk
    # of TCP less than 16 KiB or 64 KiB. With `option splice-auto` and pipes for it that took no less.
    # TCP_NODELAY it sets by itself
    # maxconn is more than the load asks for: HAProxy keeps idle connections to servers only while a
    # fifth of the descriptors that follow from it is in use (tune.pool-low-fd-ratio)
    def command(self, job):
        servers = ''.join(f'  server b{i} 127.0.0.1:{port}\n'
                          for i, port in enumerate(job.backends, 1))
        work = '  balance source\n' if job.tcp else '''  balance hdr(X-Key)
  http-reuse always
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
'''
        path = job.folder / 'haproxy.cfg'
        bufsize = 32768 if job.bulk else 16384
        path.write_text(f'''global
  nbthread 1
  tune.bufsize {bufsize}
  maxconn {job.connections}
defaults
  mode {'tcp' if job.tcp else 'http'}
  maxconn {job.connections}
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
frontend web
  bind 127.0.0.1:{job.port}
  default_backend cache
backend cache
  hash-type consistent
{work}{servers}''')
        return [self.program, '-db', '-f', str(path)]


class Nginx(Proxy):
    package = 'nginx'

    def version(self):
        return self._say('-v').removeprefix('nginx version: ').replace('/', ' ')

    def _stream_module(self):
        """Where its module for TCP is; '': built in; None: it has none."""
        built = self._output('-V')
        if re.search(r'--with-stream(\s|$)', built):
            return ''
        folder = re.search(r'--modules-path=(\S+)', built)
        module = folder and pathlib.Path(folder[1], 'ngx_stream_module.so')
        return str(module) if module and module.exists() else None

    def missing(self, tcp):
        return 'libnginx-mod-stream' if tcp and self._stream_module() is None else None

    def command(self, job):
        # a worker of root's nginx becomes another user, who may not enter the folder
        user = 'user root;\n' if os.geteuid() == 0 else ''
        module = self._stream_module() if job.tcp else ''
        load = f'load_module {module};\n' if module else ''
        path = job.folder / 'nginx.conf'
        path.write_text(f'''{load}{user}{programs.nginx_main(job.folder, 'error')}worker_processes 1;
events {{ worker_connections {job.connections + 1000}; }}
{self._stream(job) if job.tcp else self._http(job)}''')
        return programs.nginx_command(self.program, job.folder, path)

    @staticmethod
    def _servers(job):
        return ''.join(f'        server 127.0.0.1:{port} max_fails=0;\n' for port in job.backends)

    # buffers: 64 KiB took a fifth less CPU for a bulk than 32 KiB, a third less than nginx's own 16 KiB,
    # and no more for messages of 128 B
    def _stream(self, job):
        return f'''stream {{
    upstream cache {{
        hash $remote_addr consistent;
{self._servers(job)}    }}
    server {{
        listen 127.0.0.1:{job.port};
        proxy_pass cache;
        proxy_buffer_size 64k;
        tcp_nodelay on;
    }}
}}
'''

    # large answers: passing them on as they come, 32 KiB at a time, took the least CPU; with buffering
    # on reads are larger and fall in step with the kernel's largest segments
    def _http(self, job):
        buffers = '''            proxy_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 64k;
''' if job.bulk else ''
        return f'''http {{
    access_log off;
{programs.nginx_paths(job.folder)}    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream cache {{
        hash $http_x_key consistent;
{self._servers(job)}        keepalive 192;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{job.port};
        client_max_body_size 0;
        client_body_buffer_size 64k;
        location / {{
            proxy_pass http://cache;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
{buffers}            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header Via "1.1 nginx";
            add_header Via "1.1 nginx" always;
        }}
    }}
}}
'''


class Forwarder(Proxy):
    hashes = False
    exit_code = 0
    arguments = ()

    def command(self, job):
        return [self.program, *self.arguments, str(job.port), *map(str, job.backends)]


class SplicingForwarder(Forwarder):
    arguments = ('--splice',)
    skips = ('idle',)  # a connection has two pipes there: six descriptors


KINDS = {'ringproxy': Ringproxy, 'haproxy': Haproxy, 'nginx': Nginx, 'forwarder': Forwarder,
         'forwarder-splice': SplicingForwarder}
DEFAULT = 'ringproxy,haproxy,nginx,forwarder'


def find(spec, own):
    """A proxy by `NAME` or `NAME@PATH`; own: {name: path} of the programs built here. None, with a
    line on stderr, if it comes from a package that is not installed."""
    kind, at, path = spec.partition('@')
    if kind not in KINDS or (at and not path):
        raise Trouble(f'no such proxy: {spec}; there are {", ".join(KINDS)}, and NAME@PATH for '
                      'another build of one', usage=True)
    cls = KINDS[kind]
    if cls.package is None or path:
        path = path or own[kind]
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            raise Trouble(f'{path} is not a program' + ('' if at else ': run ./dev build first'))
        return cls(spec, os.path.abspath(path))
    found = programs.find(kind)
    return cls(spec, found) if found else None
