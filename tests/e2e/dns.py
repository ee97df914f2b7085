"""A name server that a test plays, and a way to have a process ask it."""

import contextlib
import os
import pathlib
import random
import socket
import struct
import subprocess
import threading

import pace

A, AAAA = 1, 28


class Dns:
    """Answers at a loopback address of its own. `names` has the addresses of each name; a name that
    is not in there does not exist, and None is silence."""

    def __init__(self, folder):
        self.names, self.asked = {}, 0
        ip = '127.%d.%d.53' % (53 + os.getpid() % 200, random.randrange(1, 255))
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((ip, 53))
        self.resolv_conf = pathlib.Path(folder) / 'resolv.conf'
        self.resolv_conf.write_text(f'nameserver {ip}\n')
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def stop(self):
        with contextlib.suppress(OSError):  # ENOTCONN, but it wakes the thread
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(pace.upper(20))
        self.sock.close()

    def command(self, argv):
        """argv, in a mount namespace whose resolv.conf names this server."""
        return ['unshare', '-m', 'sh', '-c',
                f'mount --bind {self.resolv_conf} /etc/resolv.conf && exec "$@"', 'sh', *argv]

    def works(self):
        """Whether this machine lets us do that, and its resolver then asks here."""
        self.names['probe.test'] = ['192.0.2.7']
        done = subprocess.run(self.command(['getent', 'ahosts', 'probe.test']), check=False,
                              capture_output=True, timeout=pace.upper(30))
        return b'192.0.2.7' in done.stdout

    def _serve(self):
        try:
            while True:
                query, client = self.sock.recvfrom(4096)
                if not query:
                    return
                answer = self._answer(query)
                if answer:
                    self.sock.sendto(answer, client)
        except OSError:
            return  # stopped

    def _answer(self, query):
        labels, at = [], 12
        while size := query[at]:
            labels.append(query[at + 1:at + 1 + size].decode())
            at += 1 + size
        question = query[12:at + 5]
        kind, = struct.unpack('!H', query[at + 1:at + 3])
        name = '.'.join(labels)
        self.asked += 1
        ips = self.names.get(name, [])
        if ips is None:
            return None
        code = 0 if name in self.names else 3  # NXDOMAIN
        family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
        records = b''
        count = 0
        for ip in ips:
            if (':' in ip) == (family == socket.AF_INET6) and family:
                data = socket.inet_pton(family, ip)
                records += struct.pack('!HHHIH', 0xc00c, kind, 1, 0, len(data)) + data
                count += 1
        return query[:2] + struct.pack('!HHHHH', 0x8580 | code, 1, count, 0, 0) + question + records
