/* usage_limits.h - how much one connection, user, API key or address may use: one row for each of these settings, the same
 * for all doors. Pure.
 *
 * The buckets of rates (base/rate_table.h) are the process's: who comes over several connections, on several loops, counts
 * once. Maxima, counters and texts belong to one loop. A limit that is off costs a comparison. */
#ifndef AUTH_USAGE_LIMITS_H
#define AUTH_USAGE_LIMITS_H

#include "auth/may.h"
#include "auth/wrong_secrets.h"
#include "base/count_table.h"
#include "base/counter.h"
#include "base/hash.h"
#include "base/rate_table.h"

enum usage_limit {
    USAGE_CONNECTIONS_OF_ADDRESS,
    USAGE_CONNECTS_OF_ADDRESS,
    USAGE_CONNECTIONS_OF_USER,
    USAGE_PUBLISHES_OF_CONNECTION,
    USAGE_PUBLISHES_OF_USER,
    USAGE_PUBLISHES_OF_KEY,
    USAGE_SUBSCRIBES_OF_CONNECTION,
    USAGE_WRONG_SECRETS_OF_ADDRESS,
    USAGE_LIMIT_COUNT
};

/* The setting. */
const char *usage_limit_name(enum usage_limit limit);

enum {
    USAGE_WHY_BYTES     = 200,
    USAGE_WHO_BYTES     = 80,
    USAGE_REFUSED_LEAST = 10,    /* refusals a second that a link may have, however low the limit is */
    USAGE_PAUSE_MS      = 5000,  /* when to come again who had too many of what lasts */
};

struct usage_tables {
    struct rate_table rates[USAGE_LIMIT_COUNT];  /* … of those limits that are rates */
    struct rate_table refusals;                  /* of links, by their connections */
    struct count_table links;                    /* of users */
    struct wrong_secrets wrong;                  /* of addresses */
};

void usage_tables_init(struct usage_tables *tables);
void usage_tables_fini(struct usage_tables *tables);  /* no thread uses it any more */

struct usage_refusals {
    struct counter count;
    char           who[USAGE_WHO_BYTES];  /* was refused last, for the log */
};

struct usage_limits {
    struct usage_tables   *tables;                     /* of the process */
    const struct hash_key *hash_key;
    uint64_t               max[USAGE_LIMIT_COUNT];     /* 0: any number */
    struct usage_refusals  refused[USAGE_LIMIT_COUNT];
    enum usage_limit       refused_by;                 /* the last refusal: by which limit … */
    msec                   wait_ms;                    /* … and in how long it may be tried again */
    char                   why[USAGE_WHY_BYTES];
};

/* May this sender publish one more message? Each message of a batch is one, and so is one that is refused for another
 * reason later. `connection`: a number that no other connection has; 0: it is gone. Status 0: it may. Else 429, and the
 * reason stands in limits->why until the next call. `limits` NULL: it may. */
struct verdict usage_publish(struct usage_limits *limits, const struct identity *identity, uint64_t connection, msec now);

/* May this connection subscribe once more? The same. */
struct verdict usage_subscribe(struct usage_limits *limits, uint64_t connection, msec now);

/* May this user have one more link? Everybody may who is none. `is_resuming`: it shows the ticket of a session, and so
 * replaces a link of its own, which may not be noticed dead yet: there is room for as many of these again. Links that come
 * at the same moment on several loops may be let in together. */
struct verdict usage_link(struct usage_limits *limits, const struct identity *identity, bool is_resuming);
/* The link counts, whatever the maximum is. False: it does not, because the limit is off, or it is nobody's. */
bool usage_count_link(struct usage_limits *limits, const struct identity *identity);
/* A link that counted is this one's no more. */
void usage_uncount_link(struct usage_limits *limits, const struct identity *identity);

/* For how long has this address sent as many wrong keys and tokens as it may? 0: it has not. `wall`: ms since 1970. */
msec usage_secret_wait(const struct usage_limits *limits, const struct ip_address *address, msec wall);
/* Counts a refusal for that, and says it: 429. */
struct verdict usage_refuse_secret(struct usage_limits *limits, const struct ip_address *address, msec wait_ms);
/* One more was wrong. */
void usage_note_wrong_secret(struct usage_limits *limits, uint64_t address, msec wall);

/* A link was told of the last refusal. True: it has been told as often in a second as the limit allows in one, and goes on
 * regardless: it waits for no answer, and is to be ended. */
bool usage_is_ignored(struct usage_limits *limits, uint64_t connection, msec now);

/* Counts a refusal of `who` by this limit, and says it. */
struct verdict usage_refuse(struct usage_limits *limits, enum usage_limit limit, struct span who, msec wait_ms);
/* What it says, once more. */
const char *usage_explain(struct usage_limits *limits, enum usage_limit limit, msec wait_ms);

#endif
