#include "base/units.h"

struct unit {
    struct str name;
    uint64_t factor;
};

/* The limit is far above every value that is allowed, and low enough for the sums and products that
 * callers make of durations and sizes in 64 bits. */
static bool parse(struct str s, const struct unit *units, size_t count, uint64_t *out)
{
    const uint64_t limit = UINT64_C(1) << 53;
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(s.p[i] - '0');
        if (v > limit)
            return false;
    }
    struct str rest = {s.p + i, s.n - i};
    for (size_t u = 0; i && u < count; u++) { /* i 0: there was no digit */
        if (!str_eq(rest, units[u].name))
            continue;
        if (v > limit / units[u].factor)
            return false;
        *out = v * units[u].factor;
        return true;
    }
    return false;
}

bool units_parse_duration(struct str s, uint64_t *ms)
{
    static const struct unit units[] = {
        {{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}};
    return parse(s, units, sizeof units / sizeof *units, ms);
}

bool units_parse_size(struct str s, uint64_t *bytes)
{
    static const struct unit units[] = {
        {{"B", 1}, 1}, {{"KiB", 3}, 1u << 10}, {{"MiB", 3}, 1u << 20}, {{"GiB", 3}, 1u << 30}};
    return parse(s, units, sizeof units / sizeof *units, bytes);
}

bool units_parse_percent(struct str s, double *share)
{
    uint64_t millionths = 0; /* of one per cent */
    size_t i = 0, decimals = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && i < 3; i++)
        millionths = millionths * 10 + (uint64_t)(s.p[i] - '0');
    if (i == 0)
        return false;
    if (i < s.n && s.p[i] == '.') {
        for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && decimals < 6; i++, decimals++)
            millionths = millionths * 10 + (uint64_t)(s.p[i] - '0');
        if (decimals == 0)
            return false;
    }
    for (; decimals < 6; decimals++)
        millionths *= 10;
    if (i + 1 != s.n || s.p[i] != '%' || millionths > 100000000)
        return false;
    *share = (double)millionths / 1e8;
    return true;
}
