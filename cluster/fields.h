/* Reads JSON that others wrote into Redis, within bounds.
 *
 * What for: state.c and view.c read their documents with the same strictness and the same words.
 * Invariants: a reader that returns false, or NULL where it says so, has set *e to a text without a
 * control character that begins with the member's name; whoever knows where puts that in front.
 * Texts point into the document. Threads: plain values. Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

#define FIELDS_MAX_NAME 255 /* bytes, as of names in a configuration */

/* An object with "v":1 of at most `most` bytes, for json_decref(). NULL: it is none. */
json_t *fields_parse(struct str text, size_t most, struct error *e);

/* Whether a text, any bytes, could be the name of a pool, server or node in a configuration. */
bool fields_is_name(const char *text);
/* 1 to `most` bytes of UTF-8 without control characters. */
bool fields_is_text(const char *text, size_t most);
/* 1 to 32 hexadecimal digits in lower case: an instance, a digest. */
bool fields_is_hex(const char *text);

/* The readers below: `o` is an object. NULL or {0} in place of what is not there, if it may miss.
 */
enum fields_need { FIELDS_MUST, FIELDS_MAY };

bool fields_number(json_t *o, const char *key, enum fields_need need, uint64_t most, uint64_t *out,
                   struct error *e);
bool fields_flag(json_t *o, const char *key, enum fields_need need, bool *out, struct error *e);
bool fields_name(json_t *o, const char *key, enum fields_need need, const char **out,
                 struct error *e);
bool fields_hex(json_t *o, const char *key, const char **out, struct error *e);
/* *out: the index of the word that it is. */
bool fields_word(json_t *o, const char *key, const char *const *words, size_t n, unsigned *out,
                 struct error *e);
/* Of at most `most` members. */
bool fields_object(json_t *o, const char *key, enum fields_need need, size_t most, json_t **out,
                   struct error *e);
bool fields_array(json_t *o, const char *key, enum fields_need need, size_t most, json_t **out,
                  struct error *e);

/* The same for values that are no members; `what` is how messages call them. */
bool fields_as_number(json_t *v, const char *what, uint64_t most, uint64_t *out, struct error *e);
bool fields_as_name(json_t *v, const char *what, const char **out, struct error *e);
bool fields_as_text(json_t *v, const char *what, size_t most, const char **out, struct error *e);
bool fields_as_word(json_t *v, const char *what, const char *const *words, size_t n, unsigned *out,
                    struct error *e);
/* The key of a member, which is to be a name. */
bool fields_key(const char *key, struct error *e);

/* "key: " in front of the text, the key cut short and escaped where it has to be. False. */
bool fields_at(struct error *e, const char *key);
