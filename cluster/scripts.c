#include "cluster/scripts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a line of Lua is a line here */

/* A script may write after it has read a time. That is the default from Redis 5 on, but Redis 5 and
 * 6 may be set otherwise. */
#define EFFECTS "if redis.replicate_commands then redis.replicate_commands() end\n"

/* A stored number; 0 if it is none, or absent. tostring() would not write all digits. */
#define NUMBERS                                     \
    "local function num(s)\n"                       \
    " if s and #s <= 16 and s:find('^%d+$') then\n" \
    "  local n = tonumber(s)\n"                     \
    "  if n < 9007199254740992 then return n end\n" \
    " end\n"                                        \
    " return 0\n"                                   \
    "end\n"                                         \
    "local function text(n) return string.format('%.0f', n) end\n"

/* What call() returns is nil if the key is of another type. put() replaces such a key. */
#define TYPES                                                        \
    "local function call(...)\n"                                     \
    " local r = redis.pcall(...)\n"                                  \
    " if type(r) == 'table' and r.err then\n"                        \
    "  if r.err:sub(1, 9) ~= 'WRONGTYPE' then error(r.err, 0) end\n" \
    "  return nil\n"                                                 \
    " end\n"                                                         \
    " return r\n"                                                    \
    "end\n"                                                          \
    "local function put(key, ...)\n"                                 \
    " if call('HSET', key, ...) == nil then\n"                       \
    "  redis.call('DEL', key)\n"                                     \
    "  redis.call('HSET', key, ...)\n"                               \
    " end\n"                                                         \
    "end\n"

/* Who has the lock, what is left of it, and how long it is meant to last. '?' is nobody's value. */
#define HOLDER                                                             \
    "local function holder()\n"                                            \
    " local v, left = call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])\n" \
    " if v == nil then return '?', left, 0 end\n"                          \
    " if not v then return '', 0, 0 end\n"                                 \
    " if #v > 512 then return '?', left, 0 end\n"                          \
    " local t = num(v:match('^%x+ (%d+) '))\n"                             \
    " if t > 0 and left > t then\n"                                        \
    "  redis.call('PEXPIRE', KEYS[1], text(t))\n"                          \
    "  left = t\n"                                                         \
    " end\n"                                                               \
    " return v, left, t\n"                                                 \
    "end\n"

/* Epochs above it are not believed: nobody's clock has given them out. */
#define MOST(argument) "local most = tonumber(ARGV[" #argument "]) or 9007199254740991\n"

/* Of what is stored, and whether it is broken. Both instances are lower-case hexadecimal, so that
 * the collation of Lua's < does not matter. */
#define VERSION                                                                              \
    "local function version(key)\n"                                                          \
    " local s = call('HMGET', key, 'epoch', 'by', 'seq')\n"                                  \
    " if s and not (s[1] or s[2] or s[3]) then return 0, '', 0, false end\n"                 \
    " local e, by, q = num(s and s[1]), s and s[2] or '', num(s and s[3])\n"                 \
    " local good = e > 0 and e <= most and q > 0 and #by <= 32 and by:find('^[0-9a-f]+$')\n" \
    " if good then return e, by, q, false end\n"                                             \
    " return 0, '', 0, true\n"                                                               \
    "end\n"                                                                                  \
    "local function newer(e, by, q, e2, by2, q2)\n"                                          \
    " if e ~= e2 then return e > e2 end\n"                                                   \
    " if by ~= by2 then return by > by2 end\n"                                               \
    " return q > q2\n"                                                                       \
    "end\n"

static const char *const texts[SCRIPTS] = {
    [SCRIPT_SYNC] = EFFECTS NUMBERS TYPES HOLDER MOST(13) VERSION
    "local channel, node, id, n, view, kind = unpack(ARGV)\n"
    "local known, mine, epoch = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])\n"
    "local broken = ''\n"
    "local function short(s, most, other) return #s <= most and s or other end\n"
    "local v, left, t = holder()\n"
    "local renewed = 0\n"
    "if mine ~= '' and v == mine and t > 0 and num(call('GET', KEYS[2])) == epoch then\n"
    " redis.call('PEXPIRE', KEYS[1], text(t))\n"
    " left, renewed = t, 1\n"
    "end\n"
    "local all = call('HGETALL', KEYS[5])\n"
    "if all == nil then all, broken = {}, broken .. ' beats' end\n"
    "local beats, high, c = {}, 0, 0\n"
    "for i = 1, #all, 2 do\n"
    " local who, beat = short(all[i], 128, ''), short(all[i + 1], 128, '?')\n"
    " local own = who == node and beat:match('^' .. id .. ' %d+ (%d+)$')\n"
    " if who == '#' then\n"
    "  high = num(beat)\n"
    " elseif own then\n"
    "  c = num(own)\n"
    " elseif #beats < 4000 then\n"
    "  beats[#beats + 1], beats[#beats + 2] = who, beat\n"
    " end\n"
    "end\n"
    "local from = c > 0 and known or 0\n"
    "if view ~= '' then\n"
    " c = math.max(high, known) + 1\n"
    " if c > 9007199254740991 then c = 1 end\n" /* which all notice */
    " high = c\n"
    " put(KEYS[6], node, view)\n"
    " put(KEYS[5], '#', text(c))\n"
    " if kind ~= '' then redis.call('PUBLISH', channel, kind .. ' ' .. id) end\n"
    "end\n"
    "local beat = id .. ' ' .. n .. ' ' .. text(c)\n"
    "put(KEYS[5], node, beat)\n"
    "redis.call('EXPIRE', KEYS[5], 86400)\n"
    "redis.call('EXPIRE', KEYS[6], 86400)\n"
    "local views, room = {}, 6291456\n"
    "for i = 1, #beats, 2 do\n"
    " if beats[i] ~= node and num(beats[i + 1]:match(' (%d+)$')) > from then\n"
    "  local w = call('HGET', KEYS[6], beats[i])\n"
    "  if w then\n"
    "   w = short(w, math.min(room, 131072), '')\n"
    "   room = room - #w\n"
    "   views[#views + 1], views[#views + 2] = beats[i], w\n"
    "  end\n"
    " end\n"
    "end\n"
    "beats[#beats + 1], beats[#beats + 2] = node, beat\n"
    "local e, by, q, bad = version(KEYS[4])\n"
    "local body = ''\n"
    "if newer(e, by, q, tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12])) then\n"
    " body = call('HGET', KEYS[4], 'body')\n"
    " if not body or body == '' or #body > 1048576 then\n"
    "  redis.call('DEL', KEYS[4])\n"
    "  e, by, q, bad, body = 0, '', 0, true, ''\n"
    " end\n"
    "end\n"
    "if bad then broken = broken .. ' state' end\n"
    "local offered = short(call('GET', KEYS[3]) or '', 64, '?')\n"
    "return {v, left, offered, renewed, e, by, q, body, high, beats, views, "
    "broken}\n",
    [SCRIPT_ACQUIRE] = EFFECTS NUMBERS TYPES HOLDER MOST(5) VERSION
    "local v, left = holder()\n"
    "local e, by, q, offered = 0, '', 0, false\n"
    "if KEYS[3] then\n"
    " e, by, q = version(KEYS[4])\n"
    " offered = call('GET', KEYS[3]) == ARGV[4]\n"
    "end\n"
    "if v ~= '' and v ~= ARGV[1] and v ~= ARGV[2] and not offered then\n"
    " return {0, 0, v, left, e, by, q}\n"
    "end\n"
    "local given = num(call('GET', KEYS[2]))\n"
    "if given > most then given = 0 end\n"
    "local n = math.max(given, e, tonumber(ARGV[3])) + 1\n"
    "if n > 9007199254740991 then return redis.error_reply('ERR no epoch is left') end\n"
    "redis.call('SET', KEYS[2], text(n))\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', text(num(ARGV[1]:match('^%x+ (%d+) '))))\n"
    "if KEYS[3] then redis.call('DEL', KEYS[3]) end\n"
    "return {1, n, '', 0, e, by, q}\n",
    [SCRIPT_PUBLISH] = EFFECTS NUMBERS TYPES HOLDER MOST(8) VERSION
    "if holder() ~= ARGV[3] or num(call('GET', KEYS[2])) ~= tonumber(ARGV[4]) then return 0 end\n"
    "if not newer(tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), version(KEYS[3])) then return 0 "
    "end\n"
    "put(KEYS[3], 'epoch', ARGV[4], 'by', ARGV[5], 'seq', ARGV[6], 'body', ARGV[7])\n"
    "redis.call('PUBLISH', ARGV[1], 'state ' .. ARGV[2])\n"
    "return 1\n",
    [SCRIPT_RESTORE] = EFFECTS NUMBERS TYPES MOST(7) VERSION
    "local e = tonumber(ARGV[3])\n"
    "if not newer(e, ARGV[4], tonumber(ARGV[5]), version(KEYS[2])) then return 0 end\n"
    "put(KEYS[2], 'epoch', ARGV[3], 'by', ARGV[4], 'seq', ARGV[5], 'body', ARGV[6])\n"
    "if num(call('GET', KEYS[1])) < e then redis.call('SET', KEYS[1], ARGV[3]) end\n"
    "redis.call('PUBLISH', ARGV[1], 'state ' .. ARGV[2])\n"
    "return 1\n",
    [SCRIPT_OFFER] =
        EFFECTS NUMBERS TYPES HOLDER "if holder() ~= ARGV[3] then return 0 end\n"
                                     "redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])\n"
                                     "redis.call('PUBLISH', ARGV[1], 'lock ' .. ARGV[2])\n"
                                     "return 1\n",
    [SCRIPT_RELEASE] = EFFECTS NUMBERS TYPES HOLDER
    "if holder() ~= ARGV[3] then return 0 end\n"
    "redis.call('DEL', KEYS[1])\n"
    "if ARGV[1] ~= '' then redis.call('PUBLISH', ARGV[1], 'lock ' .. ARGV[2]) end\n"
    "return 1\n",
    [SCRIPT_RENEW] =
        EFFECTS NUMBERS TYPES HOLDER "local v, left, t = holder()\n"
                                     "if v ~= ARGV[1] or t == 0 or num(call('GET', KEYS[2])) ~= "
                                     "tonumber(ARGV[2]) then return 0 end\n"
                                     "redis.call('PEXPIRE', KEYS[1], text(t))\n"
                                     "return 1\n",
    [SCRIPT_FORGET] = EFFECTS NUMBERS TYPES HOLDER "if holder() ~= ARGV[1] then return 0 end\n"
                                                   "for node in ARGV[2]:gmatch('[^\\n]+') do\n"
                                                   " call('HDEL', KEYS[2], node)\n"
                                                   " call('HDEL', KEYS[3], node)\n"
                                                   "end\n"
                                                   "return 1\n",
};

/* clang-format on */

const char *script_name(enum script s)
{
    static const char *const names[SCRIPTS] = {"sync",  "acquire", "publish", "restore",
                                               "offer", "release", "renew",   "forget"};
    assert(s < SCRIPTS);
    return names[s];
}

const char *script_text(enum script s)
{
    assert(s < SCRIPTS);
    return texts[s];
}

void script_add(struct script_call *c, struct str word)
{
    assert(c->n < SCRIPT_WORDS);
    c->argv[c->n] = word.n ? word.p : "";
    c->argvlen[c->n++] = word.n;
}

void script_add_number(struct script_call *c, uint64_t n)
{
    assert(c->ndigits < sizeof c->digits / sizeof *c->digits);
    char *text = c->digits[c->ndigits++];
    snprintf(text, sizeof *c->digits, "%" PRIu64, n);
    script_add(c, str_of(text));
}

void script_begin(struct script_call *c, enum script s, unsigned nkeys)
{
    c->n = c->ndigits = 0;
    script_add(c, STR("EVAL"));
    script_add(c, str_of(script_text(s)));
    script_add_number(c, nkeys);
}
