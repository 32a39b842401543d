/* secret_file.h - a key's secret that stands in a file of its own, as container platforms hand secrets out.
 *
 * The secret is the first line, without its line end. The file is read at the start and at each reload. It may be a
 * symbolic link, because Kubernetes changes secrets by turning one. */
#ifndef SETTINGS_SECRET_FILE_H
#define SETTINGS_SECRET_FILE_H

#include "settings/settings.h"

/* Is this a path that `secret_file` takes? A relative one would depend on where the server was started. */
bool secret_file_path_is_valid(struct span path);

/* *ret has room for KEY_SECRET_BYTES_MAX bytes and a NUL. False: `why` says what is wrong with which file, never the
 * secret, and *ret is unchanged. */
bool secret_file_read(const char *path, char *ret, struct buf *why);

/* All bytes of a regular file, as long as they fit into *ret. `line`: of the configuration, which names the file. False:
 * `why` says what is wrong. */
bool key_file_read(const char *line, const char *path, struct buf *ret, struct buf *why);

/* Can every user of this machine read it? */
bool secret_file_is_public(const char *path);

/* The token68 of RFC 9110 11.2, KEY_SECRET_BYTES_MIN or more: what can stand behind "Bearer ". */
bool secret_is_valid(struct span secret);

/* Why there is no such secret. `is_given`: there is one, which won't do. */
void secret_put_fault(bool is_given, struct buf *why);

#endif
