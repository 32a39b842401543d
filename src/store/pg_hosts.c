#include "store/pg_hosts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { OWN_KEYS = 6, LISTS = 3, KEYS = OWN_KEYS + LISTS + 1 };

static size_t items_count(const char *list)
{
    size_t count = 1;

    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

char *pg_hosts_turned(const char *list, size_t first)
{
    size_t      size  = strlen(list);
    const char *from  = list;
    char       *whole = malloc(size + 1);

    must(whole != NULL);
    for (size_t left = first % items_count(list); left > 0; left--)
        from = strchr(from, ',') + 1;
    if (from == list) {
        memcpy(whole, list, size + 1);
        return whole;
    }
    size_t behind = size - (size_t)(from - list);
    memcpy(whole, from, behind);
    whole[behind] = ',';
    memcpy(whole + behind + 1, list, size - behind - 1);
    whole[size] = '\0';
    return whole;
}

/* These lists of libpq have one item for each server, or one for all of them. */
static bool is_of_servers(const PQconninfoOption *option)
{
    return option->val != NULL && (strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0 ||
                                   strcmp(option->keyword, "port") == 0);
}

size_t pg_hosts_count(const char *url)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    size_t            count   = 1;

    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
        if (is_of_servers(option) && items_count(option->val) > count)
            count = items_count(option->val);
    PQconninfoFree(options);
    return count;
}

/* Item `at` of a list that has one for each server, or one for all of them. */
static bool is_item(const char *list, size_t at, const char *text)
{
    size_t count = items_count(list), length = strlen(text);

    for (size_t left = count == 1 ? 0 : at; left > 0; left--)
        list = strchr(list, ',') + 1;
    return strncmp(list, text, length) == 0 && (list[length] == ',' || list[length] == '\0');
}

size_t pg_hosts_reached(const char *url, const PGconn *conn)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    const char       *hosts = NULL, *addresses = NULL, *ports = NULL;
    size_t            count = pg_hosts_count(url), at = 0;

    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (!is_of_servers(option))
            continue;
        const char **list = option->keyword[0] == 'p' ? &ports : strcmp(option->keyword, "host") == 0 ? &hosts : &addresses;
        *list             = option->val;
    }
    /* PQhost() is the address where there is no name. A port that is not named is one that no other server of that host has. */
    for (const char *names = hosts != NULL ? hosts : addresses; names != NULL && at < count; at++)
        if (is_item(names, at, PQhost(conn)) && (ports == NULL || is_item(ports, at, "") || is_item(ports, at, PQport(conn))))
            break;
    PQconninfoFree(options);
    return at < count ? at : 0;
}

PGconn *pg_hosts_start(const char *url, size_t first, const char *application_name)
{
    /* Of two values for one key the one that stands behind counts. */
    const char       *keys[KEYS]    = { "target_session_attrs", "dbname", "application_name", "client_encoding", "keepalives_idle",
                                        "tcp_user_timeout" };
    const char       *values[KEYS]  = { NULL, url, application_name, "UTF8", "10", "20000" };
    char             *turned[LISTS] = { NULL };
    size_t            count         = 0;
    PQconninfoOption *options       = PQconninfoParse(url, NULL);

    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (!is_of_servers(option))
            continue;
        must(count < LISTS);
        turned[count]            = pg_hosts_turned(option->val, first);
        keys[OWN_KEYS + count]   = option->keyword;
        values[OWN_KEYS + count] = turned[count];
        values[0]                = items_count(option->val) > 1 ? "read-write" : values[0];
        count++;
    }
    PGconn *conn = PQconnectStartParams(keys, values, 1);

    for (size_t i = 0; i < count; i++)
        free(turned[i]);
    PQconninfoFree(options);
    return conn;
}
