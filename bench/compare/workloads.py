"""What the proxies are given to do: a table.

A row names what runs (`kind`), what it is counted in (`unit`) and which figures are told. Another
workload is another row; another kind is a function in measure.py and, if it wants something else of
the proxies, a field of Job in proxies.py.
"""

import dataclasses

MIB = 1 << 20
KEYS = 1000


@dataclasses.dataclass(frozen=True)
class Metric:
    key: str  # of a burst
    title: str
    scale: float = 1.0


CPU_REQUEST = Metric('cpu_us', 'CPU µs a request')
CPU_MIB = Metric('cpu_us', 'CPU µs a MiB')
CPU_MESSAGE = Metric('cpu_us', 'CPU µs a message')
PER_SECOND = Metric('per_s', 'requests/s')
MESSAGES_SECOND = Metric('per_s', 'messages/s')
MIB_SECOND = Metric('per_s', 'MiB/s')
P50 = Metric('p50_us', 'p50 ms', 0.001)
P99 = Metric('p99_us', 'p99 ms', 0.001)
MEMORY = Metric('bytes_per_connection', 'bytes a connection')


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    kind: str = 'load'      # load: of requests or messages; stream: of bytes without end;
                            # idle: connections that wait
    tcp: str = ''           # plain TCP, and what its backends do: echo or source
    arguments: tuple = ()   # of ringbench
    connections: int = 64
    answer: int = 100       # bytes of a body
    bulk: bool = False      # so many bytes at once that a proxy is set up for them
    unit: str = 'request'   # or message, or MiB: what CPU time and speed are counted in
    paced: bool = False     # at a fixed rate, so no proxy is to be busy all the time
    max_rounds: int = 1000  # where more tell nothing new
    metrics: tuple = (CPU_REQUEST, PER_SECOND, P99)
    note: str = ''

    @property
    def backends(self):
        """The arguments of `ringbench serve` that make them."""
        return ('--mode', self.tcp) if self.tcp else ('--body-size', str(self.answer))


WORKLOADS = {w.name: w for w in (
    Workload('keepalive', 'GET, 100 B answers, 64 keep-alive connections'),
    Workload('close', 'GET, 100 B answers, a new connection for each request, 64 at a time',
             arguments=('--close',),
             note='The forwarder makes a connection to the backend for each, which the others '
                  'keep: it is no lower bound here.'),
    Workload('post', 'POST, 64 KiB bodies, 16 connections', connections=16,
             arguments=('--method', 'POST', '--body-size', str(64 << 10))),
    Workload('large', 'GET, 1 MiB answers, 16 connections', connections=16, answer=MIB, bulk=True,
             unit='MiB', metrics=(CPU_MIB, MIB_SECOND, P99)),
    Workload('rate', 'GET, 100 B answers, 64 connections, {rate} requests a second',
             paced=True, metrics=(CPU_REQUEST, P50, P99),
             note='An open loop: latency runs from when a request was due, whatever held it up.'),
    Workload('pingpong', 'TCP, messages of 128 B echoed, 64 connections', tcp='echo',
             arguments=('--size', '128'), unit='message',
             metrics=(CPU_MESSAGE, MESSAGES_SECOND, P50, P99),
             note='Connections are hashed by the address of the client. All clients have the same '
                  'one, so one of the three backends has all connections; the forwarder takes the '
                  'backends in turn, which are one process anyway.'),
    Workload('bulk', 'TCP, download without end, 4 connections', kind='stream', tcp='source',
             arguments=('--mode', 'bulk', '--direction', 'down'), connections=4, bulk=True,
             unit='MiB', metrics=(CPU_MIB, MIB_SECOND),
             note='One backend has all connections, as in pingpong. HAProxy copies, as it does by '
                  'default; with `option splice-auto` it took no less here. nginx and the forwarder copy, too; '
                  'ringproxy moves bulk by splice().'),
    Workload('idle', '{connections} idle keep-alive connections, each after one answered request',
             kind='idle', unit='connection', max_rounds=3, metrics=(MEMORY,),
             note='Resident memory of the process; what the kernel holds for a socket is the same '
                  'for all and not in it.'),
)}
