/* redis_url.h - where a Redis is, as an operator writes it. Pure.
 *
 *     redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]        unix:///PATH[?db=DB]
 *
 * Several, separated by commas, are the instances of one cluster: slots are spread over them in this order. User, password
 * and path may be percent-encoded. A password is never written to a log or a page: only redis_url_put() writes a URL,
 * and leaves it out. */
#ifndef STORE_REDIS_URL_H
#define STORE_REDIS_URL_H

#include "base/buf.h"
#include "base/rc.h"

enum { REDIS_TEXT_BYTES = 256, REDIS_PATH_BYTES = 108, REDIS_INSTANCES = 16, REDIS_PORT = 6379, REDIS_DB_LAST = 65535 };

struct redis_url {
    char     host[REDIS_TEXT_BYTES];
    char     path[REDIS_PATH_BYTES];      /* of a Unix socket; then host and port say nothing */
    char     user[REDIS_TEXT_BYTES];      /* "": the default one */
    char     password[REDIS_TEXT_BYTES];  /* "": none is sent */
    uint16_t port;
    uint32_t db;
};

/* RC_BAD: it can't be used; ret_why is a sentence without the password. */
enum rc redis_url_parse(struct span text, struct redis_url *ret, char *ret_why, size_t why_size);

/* All of a list; 1 … REDIS_INSTANCES of them. */
enum rc redis_urls_parse(struct span text, struct redis_url ret[REDIS_INSTANCES], size_t *ret_count, char *ret_why,
                         size_t why_size);

/* Without user and password: "redis://host:6379/0". */
void redis_url_put(struct buf *buf, const struct redis_url *url);

#endif
