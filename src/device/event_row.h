/* event_row.h - events as rows of the ledger (row_kind.h), until they are written to their logs. Pure.
 *
 * The key is the owner's name, a 0 byte, and a name that no other row ever has: when the server started, which start that was,
 * and a number. So the rows of one owner stand in the order in which they were made. */
#ifndef DEVICE_EVENT_ROW_H
#define DEVICE_EVENT_ROW_H

#include "message/event_facts.h"
#include "message/namespace.h"
#include "store/ledger.h"

enum {
    EVENT_NAME_BYTES      = 40,
    EVENT_ROW_KEY_BYTES   = 256,
    EVENT_ROW_VALUE_BYTES = 1200,
};

/* What names are made of. */
struct event_names {
    msec     start;        /* wall clock */
    uint64_t incarnation;
    uint64_t number;       /* the last one */
};

/* An event that is not written yet. */
struct event_row {
    enum event_kind kind;
    unsigned        log;          /* N */
    uint64_t        order;        /* events that have the same one keep their order */
    msec            time;
    bool            takes_seq;    /* the row's generation is the event's seq, which the text does not say */
    bool            is_task;      /* which events there are has yet to be found out (offline_task.h); `log` and `order` are 0 */
    struct span     text;         /* the JSON object; of a task the name of a channel. Points into `value` */
    size_t          key_len, value_len;
    char            key[EVENT_ROW_KEY_BYTES];
    char            value[EVENT_ROW_VALUE_BYTES];
};

/* The events of one user keep their order; those of nobody, of one connection. */
uint64_t event_order_of(const struct event_facts *facts);

void event_row_put(struct event_row *row, struct event_names *names, struct span owner, const struct event_facts *facts,
                   bool takes_seq, msec wall);
/* A task for a message of this channel; takes the seq of the append that carries it. */
void event_row_put_task(struct event_row *row, struct event_names *names, struct span owner, enum event_kind kind,
                        struct span channel, msec wall);
/* False: it is damaged, or of a newer server. */
bool event_row_get(struct event_row *row, struct span key, struct span value);

/* The row's name, without its owner. */
struct span event_row_name(const struct event_row *row);
/* Was it made by this start of the server? */
bool event_row_is_of(const struct event_row *row, const struct event_names *names);

#endif
