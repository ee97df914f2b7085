/* Durations and sizes as users write them: 250ms, 2s, 1m, 24h; 512B, 16KiB, 1MiB.
 * docs/configuration.md, How values are written. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Parses digits and a unit (ms, s, m, h) into milliseconds. No sign, no fraction, and the unit is
 * required even for 0. False: not a duration, or more than 2^53 ms; *ms is unchanged. */
bool units_parse_duration(struct str s, uint64_t *ms);
/* Parses digits and a unit (B, KiB, MiB, GiB) into bytes; the unit is required. False: not a size,
 * or more than 2^53 bytes; *bytes is unchanged. */
bool units_parse_size(struct str s, uint64_t *bytes);
