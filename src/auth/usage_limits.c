#include "auth/usage_limits.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

struct usage_row {
    const char *setting, *says, *advice;
};

#define LATER "nothing was done; try again in"

static const struct usage_row rows[] = {
    [USAGE_CONNECTIONS_OF_ADDRESS]  = { "connections_per_address_max", "this address has more connections than",
                                        "close one, or try again in" },
    [USAGE_CONNECTS_OF_ADDRESS]     = { "connects_per_address_per_s", "this address connects more often than", LATER },
    [USAGE_CONNECTIONS_OF_USER]     = { "connections_per_user_max", "this user has more links than",
                                        "close one, or try again in" },
    [USAGE_PUBLISHES_OF_CONNECTION] = { "publishes_per_connection_per_s", "this connection publishes more often than", LATER },
    [USAGE_PUBLISHES_OF_USER]       = { "publishes_per_user_per_s", "this user publishes more often than", LATER },
    [USAGE_PUBLISHES_OF_KEY]        = { "publishes_per_key_per_s", "this API key publishes more often than", LATER },
    [USAGE_SUBSCRIBES_OF_CONNECTION] = { "subscribes_per_connection_per_s", "this connection subscribes more often than", LATER },
    [USAGE_WRONG_SECRETS_OF_ADDRESS] = { "wrong_secrets_per_address_per_min", "this address sent more wrong keys and tokens than",
                                         "try again in" },
};
_Static_assert(sizeof rows / sizeof rows[0] == USAGE_LIMIT_COUNT, "a row for each");

const char *usage_limit_name(enum usage_limit limit)
{
    return rows[limit].setting;
}

void usage_tables_init(struct usage_tables *tables)
{
    memset(tables, 0, sizeof *tables);
    count_table_init(&tables->links);
}

void usage_tables_fini(struct usage_tables *tables)
{
    count_table_fini(&tables->links);
    for (size_t i = 0; i < USAGE_LIMIT_COUNT; i++)
        rate_table_fini(&tables->rates[i]);
    rate_table_fini(&tables->refusals);
    wrong_secrets_fini(&tables->wrong);
}

const char *usage_explain(struct usage_limits *limits, enum usage_limit limit, msec wait_ms)
{
    snprintf(limits->why, sizeof limits->why, "%s %s (%llu) allows; %s %lld ms", rows[limit].says, rows[limit].setting,
             (unsigned long long)limits->max[limit], rows[limit].advice, (long long)wait_ms);
    return limits->why;
}

struct verdict usage_refuse(struct usage_limits *limits, enum usage_limit limit, struct span who, msec wait_ms)
{
    struct usage_refusals *refused = &limits->refused[limit];

    counter_add(&refused->count, 1);
    snprintf(refused->who, sizeof refused->who, "%.*s", SPAN_ARG(who));
    limits->refused_by = limit;
    limits->wait_ms    = wait_ms;
    return (struct verdict){ .status = 429, .reason = usage_explain(limits, limit, wait_ms) };
}

bool usage_is_ignored(struct usage_limits *limits, uint64_t connection, msec now)
{
    const uint64_t max = limits->max[limits->refused_by];

    return rate_table_take(&limits->tables->refusals, connection, max > USAGE_REFUSED_LEAST ? max : USAGE_REFUSED_LEAST,
                           now) > 0;
}

static struct verdict take_of_connection(struct usage_limits *limits, enum usage_limit limit, uint64_t connection, msec now)
{
    char name[24];

    if (limits->max[limit] == 0 || connection == 0)
        return (struct verdict){ 0 };
    msec wait_ms = rate_table_take(&limits->tables->rates[limit], connection, limits->max[limit], now);
    if (wait_ms == 0)
        return (struct verdict){ 0 };
    int len = snprintf(name, sizeof name, "connection %llx", (unsigned long long)connection);
    return usage_refuse(limits, limit, span_of(name, (size_t)len), wait_ms);
}

/* Who shows neither a token nor a key counts by connection and address alone. */
static struct verdict take_of_sender(struct usage_limits *limits, const struct identity *identity, msec now)
{
    const bool             is_user = identity_user(identity).len > 0;
    const enum usage_limit limit   = is_user ? USAGE_PUBLISHES_OF_USER : USAGE_PUBLISHES_OF_KEY;
    const struct span      who     = identity_from(identity);

    if (limits->max[limit] == 0 || identity_is_stranger(identity))
        return (struct verdict){ 0 };
    msec wait_ms = rate_table_take(&limits->tables->rates[limit], hash_bytes(limits->hash_key, who), limits->max[limit], now);
    return wait_ms == 0 ? (struct verdict){ 0 } : usage_refuse(limits, limit, who, wait_ms);
}

struct verdict usage_publish(struct usage_limits *limits, const struct identity *identity, uint64_t connection, msec now)
{
    if (limits == NULL)
        return (struct verdict){ 0 };
    struct verdict verdict = take_of_connection(limits, USAGE_PUBLISHES_OF_CONNECTION, connection, now);
    return verdict.status != 0 ? verdict : take_of_sender(limits, identity, now);
}

struct verdict usage_subscribe(struct usage_limits *limits, uint64_t connection, msec now)
{
    return limits == NULL ? (struct verdict){ 0 }
                          : take_of_connection(limits, USAGE_SUBSCRIBES_OF_CONNECTION, connection, now);
}

/* --- links of users ------------------------------------------------------------------------------------------- */

static uint64_t hash_of_sender(const struct usage_limits *limits, const struct identity *identity)
{
    return hash_bytes(limits->hash_key, identity_from(identity));
}

static bool is_counted(const struct usage_limits *limits, const struct identity *identity)
{
    return limits != NULL && limits->max[USAGE_CONNECTIONS_OF_USER] > 0 && identity != NULL && identity_user(identity).len > 0;
}

struct verdict usage_link(struct usage_limits *limits, const struct identity *identity, bool is_resuming)
{
    if (!is_counted(limits, identity))
        return (struct verdict){ 0 };
    const uint64_t max = limits->max[USAGE_CONNECTIONS_OF_USER];
    if (count_table_of(&limits->tables->links, hash_of_sender(limits, identity)) < (is_resuming ? 2 * max : max))
        return (struct verdict){ 0 };
    return usage_refuse(limits, USAGE_CONNECTIONS_OF_USER, identity_from(identity), USAGE_PAUSE_MS);
}

bool usage_count_link(struct usage_limits *limits, const struct identity *identity)
{
    return is_counted(limits, identity) &&
           count_table_add(&limits->tables->links, hash_of_sender(limits, identity), UINT32_MAX);
}

void usage_uncount_link(struct usage_limits *limits, const struct identity *identity)
{
    count_table_take(&limits->tables->links, hash_of_sender(limits, identity));
}

/* --- wrong keys and tokens ------------------------------------------------------------------------------------ */

msec usage_secret_wait(const struct usage_limits *limits, const struct ip_address *address, msec wall)
{
    const uint64_t max = limits->max[USAGE_WRONG_SECRETS_OF_ADDRESS];

    return max == 0 ? 0 : wrong_secrets_wait(&limits->tables->wrong, ip_customer(address), max, wall);
}

struct verdict usage_refuse_secret(struct usage_limits *limits, const struct ip_address *address, msec wait_ms)
{
    struct buf who;

    buf_init(&who, IP_TEXT_BYTES_MAX);
    ip_put(address, &who);
    struct verdict verdict = usage_refuse(limits, USAGE_WRONG_SECRETS_OF_ADDRESS, buf_span(&who), wait_ms);
    buf_fini(&who);
    return verdict;
}

void usage_note_wrong_secret(struct usage_limits *limits, uint64_t address, msec wall)
{
    if (limits->max[USAGE_WRONG_SECRETS_OF_ADDRESS] > 0)
        wrong_secrets_note(&limits->tables->wrong, address, wall);
}
