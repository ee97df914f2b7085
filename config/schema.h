/* The keys of the configuration: one table a mapping, one line a key.
 *
 * What for: whoever wants to know what a key may hold looks here; docs/configuration.md says the
 * same to users. read.c carries the tables out, rules.c holds what takes more than one key.
 * Invariants: a default is written as a user would write it and is read by the same code.
 * Ownership: constants. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
    SCHEMA_NUMBER,     /* -> an unsigned integer, min to max */
    SCHEMA_DURATION,   /* -> uint64_t, milliseconds, min to max */
    SCHEMA_SIZE,       /* -> uint32_t, bytes, min to max */
    SCHEMA_FACTOR,     /* -> double, min to max are hundredths; the word `off` is 0 */
    SCHEMA_WORD,       /* -> an enum or a bool, one of `words` */
    SCHEMA_NAME,       /* -> char *, see read_name() */
    SCHEMA_TEXT,       /* -> char *, 1 to max bytes */
    SCHEMA_ADDRESS,    /* -> struct addr, max is SCHEMA_TAKES_*; its text to char * at `second` */
    SCHEMA_STATUSES,   /* -> struct config_range *; how many to size_t at `second` */
    SCHEMA_KEYS,       /* -> struct config_key *; how many to size_t at `second` */
    SCHEMA_MAP,        /* a mapping of `inner`, whose fields begin at `offset` */
    SCHEMA_MAP_OR_OFF, /* the same; the word `off` zeroes these fields */
    SCHEMA_LIST,       /* -> an array of `inner`, at least min; how many to size_t at `second` */
    SCHEMA_RULE,       /* read by rules.c alone */
    SCHEMA_UNSUPPORTED /* of the contract, not carried out yet */
};

struct schema_word {
    const char *word; /* NULL: any other word */
    unsigned value;
    bool unsupported; /* of the contract, not carried out yet */
};

struct schema_key {
    const char *name;
    enum schema_type type;
    bool required;
    const char *fallback; /* the default; NULL: zero, or rules.c knows */
    uint64_t min, max;
    size_t offset, size; /* the field; size 0: the value is checked and kept by rules.c */
    size_t second;       /* a second field, see above */
    const struct schema_word *words;
    const struct schema *inner;
};

struct schema {
    const struct schema_key *keys;
    size_t nkeys;
    size_t size; /* of the struct that it fills */
};

/* What an address may be besides IP:PORT and [IPV6]:PORT. */
#define SCHEMA_TAKES_UNIX 1u
#define SCHEMA_TAKES_NAME 2u /* HOST:PORT; the addr has len 0 then */

#define SCHEMA_MAX_KEYS 32 /* in one mapping */
#define SCHEMA_DAY_MS 86400000

extern const struct schema schema_document;
