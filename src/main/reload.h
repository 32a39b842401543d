/* reload.h - SIGHUP: the configuration is read again, as at the start, and the settings that may change while the
 * server runs do change.
 *
 * If anything is wrong with the configuration, all stays as it was. No change is applied by halves, and a missing or
 * empty file lets nobody in who could not enter before. The log says how the reload ended. */
#ifndef MAIN_RELOAD_H
#define MAIN_RELOAD_H

#include "settings/settings.h"

struct server;
struct tls_sections;

/* How a reload ended. */
struct reload {
    struct settings *settings;  /* the new ones; NULL: the old ones stay in force */
    struct tls_sections *tls;   /* of their certificates, a reference; NULL: there are none, or server_reload() has it */
    struct buf       changed;   /* names of the settings that have changed */
    struct buf       kept;      /* names of those that differ but take a restart */
};

/* Reads all sources again and compares them with what is in force. Logs `reload_failed` if they can't be used. */
void reload_init(struct reload *reload, char *const *argv, char *const *env, const struct server *server);
void reload_fini(struct reload *reload);  /* wipes the secrets */

/* When the new settings are in force on all loops: logs `reloaded`, and `restart_needed` for `kept`. */
void reload_tell(const struct reload *reload);

#endif
