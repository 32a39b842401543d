/* config.h - from where the settings come: defaults < file < environment < flags.
 *
 * Whatever can't be understood is refused, never guessed: unknown names, duplicates, numbers out of range,
 * broken lines, each named with its place and what is allowed there. Only unknown LONGWIRE_ variables are just
 * warned of, because container platforms make such names by themselves. */
#ifndef SETTINGS_CONFIG_H
#define SETTINGS_CONFIG_H

#include "base/version.h"
#include "settings/settings.h"

enum {
    CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    CONFIG_SAY_BYTES_MAX  = 256 * 1024,  /* a good maximum for `say` */
};

enum config_verdict {
    CONFIG_RUN,       /* start the server; `say` holds warnings, one a line, or nothing */
    CONFIG_EXIT_OK,   /* print `say` to standard output and exit 0: --help, --version, --check ... */
    CONFIG_EXIT_BAD,  /* print `say` to standard error and exit 2: what is wrong, one a line */
};

/* argv and env end with NULL, as main() has them. *settings need not be initialised; it is whole whatever the
 * verdict, settings_fini() is due. */
enum config_verdict config_load(char *const *argv, char *const *env, struct settings *settings, struct buf *say);

/* The same for a server that runs: only its file can have changed, and only one that lies there can be read again: not
 * a pipe, whose emptiness would pass for a file without keys. False: `say` says what is wrong, one fault a line. */
bool config_load_again(char *const *argv, char *const *env, struct settings *settings, struct buf *say);

/* Reads the text of a file into *settings, as config_load() does for --config; `path` is for messages only.
 * False: `say` has a line "path:line: name: what is wrong" for each fault. */
bool config_read(struct settings *settings, const char *path, struct span text, struct buf *say);

#endif
