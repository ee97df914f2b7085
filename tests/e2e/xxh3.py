"""XXH3_64 of keys of 4 to 8 bytes with seed 0, enough to know the order of a ramp.

Written from the algorithm's specification, apart from the proxy's library, so that it can disagree."""

# the xor of bytes 8 to 15 and 16 to 23 of the algorithm's fixed secret, both little endian
_FLIP = 0x1cad21f72c81017c ^ 0xdb979083e96dd4de
_MASK = (1 << 64) - 1


def _rotl(x, n):
    return (x << n | x >> (64 - n)) & _MASK


def xxh3_64(data):
    n = len(data)
    assert 4 <= n <= 8
    first, last = int.from_bytes(data[:4], 'little'), int.from_bytes(data[-4:], 'little')
    h = (last + (first << 32)) ^ _FLIP
    h ^= _rotl(h, 49) ^ _rotl(h, 24)
    h = h * 0x9FB21C651E98DF25 & _MASK
    h ^= (h >> 35) + n
    h = h * 0x9FB21C651E98DF25 & _MASK
    return h ^ h >> 28
