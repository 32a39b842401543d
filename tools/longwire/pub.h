/* pub.h - what `longwire pub` is about to publish, and how.
 *
 * pub.c reads the command line and the input, pub_items.c sends what waits by HTTP, pub_native.c over the native protocol. */
#ifndef LONGWIRE_PUB_H
#define LONGWIRE_PUB_H

#include "longwire/backoff.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum {
    BATCH_COUNT_MAX = 100,         /* fewer once a server has said that is too many */
    BATCH_BYTES_MAX = 512 * 1024,  /* of the request's body */
    KEY_BYTES_MAX   = 200,
};

struct item {
    struct span data;     /* borrowed from the input */
    uint64_t    number;   /* of the line, from 1 */
    bool        is_done;  /* acknowledged or refused */
};

struct pub {
    const char    *channel;
    bool           is_single;      /* one message, `data`; else lines of standard input */
    struct span    data;
    const char    *file;           /* --file; NULL: none */
    const char    *media;          /* NULL: not said */
    const char    *event;          /* NULL: none */
    struct buf     event_header;   /* percent-encoded, NUL-terminated */
    const char    *collapse_key;   /* NULL: none */
    struct buf     collapse_header;/* likewise */
    bool           waits_for_beat; /* --priority beat */
    const char    *key;            /* NULL: random */
    uint64_t       ttl_s;
    bool           has_ttl;
    double         rate;           /* messages a second; 0: no limit */
    msec           until;          /* 0: no end */
    bool           has_patience;   /* --retry */
    bool           is_count_only;
    bool           is_quiet;
    bool           is_json;        /* print acknowledgements as they came */

    struct pub_native *native;     /* NULL: over HTTP */
    struct http    http;
    struct printer printer;
    struct backoff backoff;
    struct buf     path;           /* of the channel's messages, NUL-terminated */
    char           random_key[33];
    struct item    items[BATCH_COUNT_MAX];
    size_t         item_count;
    struct buf     body;
    size_t         batch_count;    /* how many messages are in it */
    size_t         batch_count_max;
    struct buf     decoded;
    size_t         result_at;      /* which item the next result of a batch is for */
    uint64_t       line_count;
    uint64_t       published;
    double         next_at;        /* --rate: the moment, in ms, of the next message */
    bool           is_refused;     /* a message was; go no further */
    bool           is_put_off;     /* one of the last batch was: not now */
};

/* Publishes pub->items. EXIT_FINE: all are acknowledged, and their lines printed. */
int pub_items(struct pub *pub);

/* The idempotency key of one; it may be made in `scratch`. */
const char *pub_key(const struct pub *pub, const struct item *item, char *scratch, size_t size);

/* --- pub_native.c --- */
struct target;
bool pub_native_open(struct pub *pub, const struct target *target);  /* false: the reason has been printed */
void pub_native_close(struct pub_native *native);                    /* NULL is fine */
int  pub_items_native(struct pub *pub);                              /* as pub_items() */

#endif
