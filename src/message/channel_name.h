/* channel_name.h - `namespace:name`, checked once and shared from then on.
 *
 * Immutable and reference-counted across threads: loops, writer and stores share one copy. Names are equal if their
 * bytes are; two objects may hold the same name. */
#ifndef MESSAGE_CHANNEL_NAME_H
#define MESSAGE_CHANNEL_NAME_H

#include "base/hash.h"
#include "base/ref.h"
#include "message/namespace.h"

enum { CHANNEL_NAME_BYTES_MAX = 200 };  /* of the part behind the colon */

struct channel_name {
    uint64_t                hash;
    const struct namespace *space;  /* borrowed for the life of the process */
    struct ref              ref;
    uint16_t                len;    /* of the whole text */
    char                    text[]; /* "topic:prices", NUL-terminated; begins before the end of the struct */
};

enum channel_name_fault {
    CHANNEL_NAME_OK,
    CHANNEL_NAME_MALFORMED,  /* no colon, no name, too long, control characters, not UTF-8: 400 */
    CHANNEL_NAME_UNKNOWN,    /* no such namespace: 404 */
};

/* `text` is not percent-encoded. *ret is written only on CHANNEL_NAME_OK; the caller owns one reference. All names
 * that are compared with each other must be made with the same key. */
enum channel_name_fault channel_name_new(struct namespaces *set, const struct hash_key *key, struct span text,
                                         struct channel_name **ret);
/* The channel `user:USER`; the caller owns one reference. `user` is a valid name, and the namespace is built in. */
struct channel_name *channel_name_of_user(struct namespaces *set, const struct hash_key *key, struct span user);

static inline struct channel_name *channel_name_ref(struct channel_name *name)
{
    ref_get(&name->ref);
    return name;
}

void channel_name_unref(struct channel_name *name);  /* NULL is fine */

static inline struct span channel_name_span(const struct channel_name *name)
{
    return (struct span){ name->text, name->len };
}

static inline bool channel_name_eq(const struct channel_name *a, const struct channel_name *b)
{
    return a == b || (a->hash == b->hash && span_eq(channel_name_span(a), channel_name_span(b)));
}

/* "no such namespace", for error answers; never NULL. */
const char *channel_name_fault_text(enum channel_name_fault fault);

#endif
