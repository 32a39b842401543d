/* key_sets.h - the key sets of issuers, [jwt NAME] with a `jwks` that is an address: fetched once for the process.
 *
 *     any loop ── wanted ──▶ loop 0 ──▶ fetch ──▶ loop 0 ── came ──▶ every loop
 *
 * Loop 0 goes by addresses, not by settings: while a reload is under way, loops have different ones. What was fetched a
 * moment ago is not fetched again: a loop that wants it then is given what came, or why nothing did. */
#ifndef MAIN_KEY_SETS_H
#define MAIN_KEY_SETS_H

#include "base/counter.h"
#include "base/msec.h"
#include "settings/settings.h"

struct key_source;
struct worker;

enum {
    KEY_SET_TIMEOUT_MS = 10 * 1000,
    KEY_SET_AGAIN_MS   = 10 * 1000,        /* the least time between two fetches of one address */
    KEY_SET_BYTES_MAX  = 256 * 1024,
    KEY_SOURCES_MAX    = 2 * ISSUERS_MAX,  /* those of two settings */
};

/* What a loop knows of the set of one issuer. */
struct key_set {
    bool is_awaited;
    bool has_failed;  /* the last time */
    msec asked_at;    /* when it was fetched, or wanted; 0: never */
};

struct key_set_counters {
    struct counter fetched, failed;
};

struct key_sets {
    struct key_set          at[ISSUERS_MAX];           /* by the issuer's place in the settings */
    struct key_source      *sources[KEY_SOURCES_MAX];  /* loop 0's, NULL: free */
    struct key_set_counters counters;                  /* loop 0's */
};

void key_sets_close(struct worker *worker);
/* A reload: the places of the issuers are others. */
void key_sets_forget(struct worker *worker);

/* Wants those that were not fetched within KEY_SET_AGAIN_MS. True: some are awaited, and caller_keys_came() follows. */
bool key_sets_await(struct worker *worker);
/* Once a second: they are fetched in time, and those that failed sooner. */
void key_sets_tick(struct worker *worker);

#endif
