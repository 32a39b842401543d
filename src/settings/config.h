/* config.h - where the settings come from: defaults < file < environment < flags.
 *
 * What can't be understood is refused and never guessed: unknown names, duplicates, numbers out of range, broken
 * lines. Each fault is reported with its place and with what is allowed there. An unknown LONGWIRE_ variable is only
 * a warning, because container platforms make such names by themselves. */
#ifndef SETTINGS_CONFIG_H
#define SETTINGS_CONFIG_H

#include "base/version.h"
#include "settings/settings.h"

enum {
    CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    CONFIG_SAY_BYTES_MAX  = 256 * 1024,  /* maximum for `say`, enough for all that may be said */
};

enum config_verdict {
    CONFIG_RUN,       /* start the server; `say` holds warnings, one a line, or nothing */
    CONFIG_TAKE_OVER, /* the same, in the place of the server that runs */
    CONFIG_RELOAD,    /* have the server that runs read its configuration again, or take its place; `say` as with CONFIG_RUN */
    CONFIG_INIT,      /* make the schema in the databases of `store` and exit; `say` as with CONFIG_RUN */
    CONFIG_COPY,      /* copy the data directory into the database of `store` and exit; `say` as with CONFIG_RUN */
    CONFIG_REPAIR,    /* repair the data directory and exit; `say` as with CONFIG_RUN */
    CONFIG_EXIT_OK,   /* print `say` to standard output and exit 0: --help, --version, --check ... */
    CONFIG_EXIT_BAD,  /* print `say` to standard error and exit 2: what is wrong, one a line */
};

/* argv and env end with NULL, as those of main() do. *settings need not be initialised. It is whole whatever the
 * verdict, so settings_fini() is due. */
enum config_verdict config_load(char *const *argv, char *const *env, struct settings *settings, struct buf *say);

/* The same for a server that runs. Only its file can have changed, and only a regular file is read again: an emptied
 * pipe would look like a file without keys. False: `say` says what is wrong, one fault a line. */
bool config_load_again(char *const *argv, char *const *env, struct settings *settings, struct buf *say);

/* Reads the text of a file into *settings, as config_load() does for --config; `path` is for messages only.
 * False: `say` has a line "path:line: name: what is wrong" for each fault. */
bool config_read(struct settings *settings, const char *path, struct span text, struct buf *say);

#endif
