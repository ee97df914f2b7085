/* The keys of the configuration: a table for each mapping, an entry for each key.
 *
 * What for: the one place that defines the type, default and range of each key, and the field that
 * receives it. docs/configuration.md says the same to users. read.c interprets the tables; rules.c
 * has the rules that concern more than one key.
 * Invariants: a default is written as a user would write it and is read by the same code.
 * Ownership: constants. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
    SCHEMA_NUMBER,   /* -> an unsigned integer, min to max */
    SCHEMA_DURATION, /* -> uint64_t, milliseconds, min to max */
    SCHEMA_SIZE,     /* -> uint32_t, bytes, min to max */
    SCHEMA_FACTOR,   /* -> double, min to max are hundredths; the word `off` is 0 */
    SCHEMA_SHARE, /* -> double, 0 to 1, written as 0% to 100%; the word `off` is SCHEMA_NO_BOUND */
    SCHEMA_WORD,  /* -> an enum or a bool, one of `words` */
    SCHEMA_NAME,  /* -> char *, see read_name() */
    SCHEMA_TEXT,  /* -> char *, 1 to max bytes */
    SCHEMA_BYTES, /* -> char *, 1 to max bytes; their number to size_t at `second` */
    SCHEMA_ADDRESS,    /* -> struct addr, max is SCHEMA_TAKES_*; its text to char * at `second` */
    SCHEMA_STATUSES,   /* -> struct config_range *; their number to size_t at `second` */
    SCHEMA_KEYS,       /* -> struct config_key *; their number to size_t at `second` */
    SCHEMA_NETWORKS,   /* -> struct network *, sorted; their number to size_t at `second` */
    SCHEMA_MAP,        /* a mapping of `inner`, whose struct begins at `offset` */
    SCHEMA_MAP_OR_OFF, /* the same; the word `off` zeroes that struct */
    SCHEMA_LIST, /* -> an array of `inner`, at least min; their number to size_t at `second` */
    SCHEMA_RULE, /* only the rules read it, a mapping by `inner` if there is one */
    SCHEMA_UNSUPPORTED /* reserved: "not supported by this version" */
};

struct schema_word {
    const char *word; /* NULL ends the list and stands for any other word */
    unsigned value;
    bool unsupported; /* reserved: "not supported by this version" instead of "unknown" */
};

struct schema_key {
    const char *name;
    enum schema_type type;
    bool required;
    const char *fallback; /* the default; NULL: zero, or a default that rules.c sets */
    uint64_t min, max;
    size_t offset, size; /* the field; size 0: read.c checks the value, rules.c stores it */
    size_t second;       /* the offset of a second field, see enum schema_type */
    const struct schema_word *words;
    const struct schema *inner;
};

struct schema {
    const struct schema_key *keys;
    size_t nkeys;
    size_t size;    /* of the struct that the mapping fills */
    bool takes_own; /* keys x-NAME, which mean nothing to the program, are taken */
};

/* SCHEMA_ADDRESS: what is allowed besides IP:PORT and [IPV6]:PORT. */
#define SCHEMA_TAKES_UNIX 1u
#define SCHEMA_TAKES_NAME 2u /* HOST:PORT; the addr has len 0 then */

#define SCHEMA_NO_BOUND 2.0 /* above every share */

#define SCHEMA_MAX_KEYS 32 /* keys of one mapping */
#define SCHEMA_DAY_MS 86400000

/* The document: fills a struct config. */
extern const struct schema schema_document;
/* The section `cluster`: fills a struct config_cluster. */
extern const struct schema schema_cluster;
