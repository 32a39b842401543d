/* reload.h - SIGHUP: the configuration is read again, as at the start, and what may change while the server runs changes.
 *
 * Whatever is wrong with it leaves everything as it was: nothing is taken by halves, and nobody is let in who wasn't
 * before for want of a file. Says in the log what came of it. */
#ifndef MAIN_RELOAD_H
#define MAIN_RELOAD_H

#include "settings/settings.h"

/* What came of it. */
struct reload {
    struct settings *settings;  /* to be in force from now on; NULL: the old ones stay */
    struct buf       changed;   /* names: what is new in them */
    struct buf       kept;      /* names: what would take a restart */
};

/* Reads all sources again and weighs them against what is in force; logs `reload_failed` if they can't be used. */
void reload_init(struct reload *reload, char *const *argv, char *const *env, const struct settings *in_force);
void reload_fini(struct reload *reload);  /* wipes the secrets */

/* Once it is in force everywhere: `reloaded`, and `restart_needed` for what is kept. */
void reload_tell(const struct reload *reload);

#endif
