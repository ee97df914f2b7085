/* Durations and sizes as users write them: 250ms, 2s, 1m, 24h; 512B, 16KiB, 1MiB.
 * Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* "250ms", "2s", "1m", "24h"; the unit is required, except that "0" alone is refused too ("0s" is
 * right). Digits only, no sign, no fraction. False: not a duration, or over 2^53 ms. */
bool units_parse_duration(struct str s, uint64_t *ms);
/* "1024B", "16KiB", "1MiB", "1GiB"; the unit is required. False: not a size or an overflow. */
bool units_parse_size(struct str s, uint64_t *bytes);
