/* The parts of the layout `ketama` that its unit test needs. Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* CRC-32 of IEEE 802.3 and zlib. */
uint32_t ketama_crc32(struct str bytes);
/* The first n points of a server, named as in nginx's configuration: HOST, HOST:PORT, [V6]:PORT or
 * unix:PATH. */
void ketama_server_points(struct str server, uint32_t *point, size_t n);
