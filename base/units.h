/* Durations, sizes and shares as users write them: 250ms, 2s, 1m, 24h; 512B, 16KiB, 1MiB; 10%,
 * 0.5%. docs/configuration.md, How values are written. Pure. */
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
/* Parses a percentage from 0% to 100%, with up to six decimals, into a share of 1. The sign is
 * required: a bare 0.05 could mean either. False: not such a percentage; *share is unchanged. */
bool units_parse_percent(struct str s, double *share);
