/* namespace.h - the policy of a namespace: what its channels keep, for how long, and for whom.
 *
 * The set is made once at the start (built in, then configured) and is immutable afterwards, so any thread may read it
 * without a lock. It outlives all channel names. */
#ifndef MESSAGE_NAMESPACE_H
#define MESSAGE_NAMESPACE_H

#include "base/msec.h"
#include "base/rc.h"
#include "base/span.h"

enum durability {
    DURABLE,  /* acknowledged after fsync, kept as long as retention says */
    MEMORY,   /* a bounded ring that is lost with the process */
    NONE,     /* delivered to the readers of the moment, never kept */
};

/* Who may do something: a ladder, each step includes those before it. While neither an API key nor an issuer is
 * configured, everyone on loopback may do everything that somebody may. */
enum allowed {
    ALLOW_NOBODY,  /* only the server itself */
    ALLOW_KEY,     /* holders of an API key with that right */
    ALLOW_GRANT,   /* users whose token grants it */
    ALLOW_MEMBER,  /* the members of the channel, see enum membership */
    ALLOW_USER,    /* every user */
    ALLOW_ANYONE,
};

/* Who is a member of a channel? */
enum membership {
    MEMBER_OF_GROUP,    /* of `group:NAME`, for the channel with this NAME in any namespace: who is stored as one */
    MEMBER_IS_USER,     /* of `user:U`: the user U */
    MEMBER_IS_OWNER,    /* of `device:U/D`: the user U */
    MEMBER_IS_LINK,     /* of `conn:KEY`: the connection KEY, which follows it by itself */
};

/* Message ids rise within a kind. */
enum id_kind { ID_DIRECT, ID_GROUP, ID_OPEN, ID_MEMORY, ID_KIND_COUNT };

enum { NAMESPACE_NAME_BYTES_MAX = 32, NAMESPACES_MAX = 256, FORWARD_BYTES_MAX = 255 };

struct namespace {
    char            name[NAMESPACE_NAME_BYTES_MAX + 1];
    enum durability durability;
    enum id_kind    id_kind;
    msec            keep_ms;            /* retention by age; 0: not by age */
    uint64_t        keep_count;         /* … by messages a channel; 0: not by count */
    uint64_t        keep_bytes;         /* … by payload bytes a channel; 0: not by bytes */
    uint32_t        payload_bytes_max;
    uint32_t        ttl_s_default;      /* 0: a message lives as long as retention keeps it */
    enum allowed    subscribe;
    enum allowed    publish;
    enum membership membership;
    bool            is_servers;         /* the server's own: keys read it with the right admin */
    bool            has_presence;       /* it is known which devices follow its channels */
    char            forward[FORWARD_BYTES_MAX + 1];  /* "BACKEND/path": its messages are carried there; "": they are not */
    uint32_t        forward_batch;      /* the most messages of a channel that one call carries */
    uint32_t        forward_tries;      /* how often a message is refused before it goes to sys:dead */
};

static inline bool namespace_forwards(const struct namespace *space)
{
    return space->forward[0] != '\0';
}

/* The two parts of `forward`: a back end's name, and the path on it with its '/'. */
static inline struct span namespace_forward_backend(const struct namespace *space)
{
    struct span rest = span_str(space->forward), name = SPAN("");

    span_cut(&rest, '/', &name);
    return name;
}

static inline struct span namespace_forward_path(const struct namespace *space)
{
    return span_skip(span_str(space->forward), namespace_forward_backend(space).len);
}

struct namespaces {
    struct namespace at[NAMESPACES_MAX];
    size_t           count;
    /* Channels of `sys` with a policy of their own, which are durable; not in the list. */
    struct namespace control;  /* of `sys:control` */
    struct namespace dead;     /* of `sys:dead`: what no back end has taken (uplink/forwarder.h) */
    struct namespace events;   /* of `sys:events/0` … */
};

/* The logs of events: sys:events/0 … sys:events/15. */
enum { EVENT_LOGS = 16, OWN_POLICIES = 2 + EVENT_LOGS, OWN_POLICY_TEXT = 32 };

/* user: device: group: topic: all: durable for 7 days; live: memory, the last 1,000 messages or 5 minutes;
 * conn: none; sys: memory, published by the server alone, sys:control, sys:dead and sys:events/N durable. topic: all: live: are read by anyone and published by who has
 * a grant; user: device: group: are read by their members and published by keys; sys: is read by keys. */
void namespaces_init(struct namespaces *set);

/* The one with this name, or NULL. */
struct namespace *namespaces_find(struct namespaces *set, struct span name);
/* The same for a channel of it: `name` is what follows the namespace and its colon. */
const struct namespace *namespaces_find_for(struct namespaces *set, struct span space, struct span name);

/* The channels with a policy of their own, i from 0 to OWN_POLICIES - 1. Returns the policy; *ret_channel lies in `text`. */
const struct namespace *namespaces_own(const struct namespaces *set, size_t i, char text[OWN_POLICY_TEXT],
                                       struct span *ret_channel);

/* Adds a namespace with the policy of `topic`. RC_BAD: the name is not [a-z][a-z0-9_-]{0,31}; RC_BUSY: it exists
 * already; RC_FULL: there are NAMESPACES_MAX. */
enum rc namespaces_add(struct namespaces *set, struct span name, struct namespace **ret) RC_MUST_USE;

#endif
