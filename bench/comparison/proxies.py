"""The proxies: where they are, how they are started, and configurations that ask the same work of
all of them. One worker; the key (X-Key) hashed onto a consistent ring; connections to the backends
kept; X-Forwarded-For, -Proto, -Host and Via added to requests, Via to answers; no log, no checks.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess

from comparison.processes import Trouble


@dataclasses.dataclass(frozen=True)
class Job:
    """What one start of a proxy is to do."""
    folder: pathlib.Path
    port: int
    backends: tuple   # ports
    connections: int  # that clients may hold; far more than a load has
    bulk: bool        # the bodies are large


class Proxy:
    package = None     # of Debian, to say what to install
    hashes = True      # a key always meets the same backend
    exit_code = None   # that SIGTERM ends it with; None: whatever
    skips = ()         # workloads that mean nothing for it

    def __init__(self, name, program):
        self.name, self.program = name, program

    def version(self):
        return self.name

    def command(self, job):
        """Writes its configuration; the command line."""
        raise NotImplementedError

    def _say(self, *arguments):
        done = subprocess.run([self.program, *arguments], check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if done.returncode == 0 and lines else self.name


class Ringproxy(Proxy):
    exit_code = 0

    def version(self):
        return self._say('--version')

    def command(self, job):
        backends = ''.join(f'      - {{name: b{i}, address: 127.0.0.1:{port}}}\n'
                           for i, port in enumerate(job.backends, 1))
        path = job.folder / 'ringproxy.yaml'
        path.write_text(f'''workers: 1
log: {{level: warn, access: off}}
listeners:
  - name: web
    listen: 127.0.0.1:{job.port}
    pool: cache
    key: [header:X-Key]
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

    # buffers: 32 KiB took a third less CPU for 1 MiB bodies and a tenth more for small ones
    # maxconn is more than the load asks for: HAProxy keeps idle connections to servers only while a
    # fifth of the descriptors that follow from it is in use (tune.pool-low-fd-ratio)
    def command(self, job):
        servers = ''.join(f'  server b{i} 127.0.0.1:{port}\n'
                          for i, port in enumerate(job.backends, 1))
        path = job.folder / 'haproxy.cfg'
        bufsize = 32768 if job.bulk else 16384
        path.write_text(f'''global
  nbthread 1
  tune.bufsize {bufsize}
  maxconn {job.connections}
defaults
  mode http
  maxconn {job.connections}
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
frontend web
  bind 127.0.0.1:{job.port}
  default_backend cache
backend cache
  balance hdr(X-Key)
  hash-type consistent
  http-reuse always
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
{servers}''')
        return [self.program, '-db', '-f', str(path)]


class Nginx(Proxy):
    package = 'nginx'

    def version(self):
        return self._say('-v').removeprefix('nginx version: ').replace('/', ' ')

    # large answers: passing them on as they come, 32 KiB at a time, took the least CPU; with buffering
    # on reads are larger and fall in step with the kernel's largest segments
    def command(self, job):
        servers = ''.join(f'        server 127.0.0.1:{port} max_fails=0;\n'
                          for port in job.backends)
        temporary = ''.join(f'    {kind}_temp_path {job.folder}/{kind};\n' for kind in (
            'client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        buffers = '''            proxy_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 64k;
''' if job.bulk else ''
        # a worker of root's nginx becomes another user, who may not enter the folder
        user = 'user root;\n' if os.geteuid() == 0 else ''
        path = job.folder / 'nginx.conf'
        path.write_text(f'''{user}daemon off;
worker_processes 1;
pid {job.folder}/nginx.pid;
error_log {job.folder}/error.log error;
events {{ worker_connections {job.connections + 1000}; }}
http {{
    access_log off;
{temporary}    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream cache {{
        hash $http_x_key consistent;
{servers}        keepalive 192;
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
''')
        return [self.program, '-p', str(job.folder), '-e', f'{job.folder}/error.log',
                '-c', str(path)]


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
    found = shutil.which(kind, path=os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin')
    return cls(spec, found) if found else None
