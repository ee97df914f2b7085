/* Replaces a file by another text, at once and as a whole.
 *
 *   replace_open() -> replace_write() -> replace_commit() -> replace_free()
 *
 * What for: PUT /config. Whoever reads the file finds the old text or the new one, never a part,
 * also after a crash; and whatever fails before the commit leaves the file as it was.
 * Invariants: the new text is written to a temporary file in the same directory, and takes the name
 * by rename(2). Of a symbolic link the target is replaced. The new file has the owner, the group,
 * the mode, the ACL and the `user.` attributes of the old one, or there is none. Refused are: what
 * is no regular file; a file with several names, of which all but one would keep the old text; a
 * file that has changed between replace_open() and replace_commit(). (Who writes in the moment
 * between that last look and the rename is not noticed.)
 * Ownership: replace_open() to replace_free(), which removes a temporary file that was not used.
 * Threads: any, one at a time; blocks on the disk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

struct replacement;

/* Reads the file that is to be replaced, of at most max bytes. NULL: *e says why, with the path. */
struct replacement *replace_open(const char *path, size_t max, struct error *e);
/* What the file holds; good until replace_free(). */
struct str replace_old(const struct replacement *r);
/* Puts the new text on the disk, under a name of its own. To be called once. False: *e says why,
 * its code is ENOSPC or EDQUOT if the disk is full. */
bool replace_write(struct replacement *r, struct str text, struct error *e);
/* Gives the new text the name. False: *e says why, and the file is as it was; its code is ESTALE if
 * the file has changed or gone. */
bool replace_commit(struct replacement *r, struct error *e);
void replace_free(struct replacement *r); /* NULL is fine */
