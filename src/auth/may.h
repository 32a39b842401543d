/* may.h - what an identity may do: one function, the same for every transport and every call. Pure.
 *
 * Each namespace has two policies, one for reading and one for writing. A policy is a step of a ladder (enum allowed), and
 * lets those of the steps before it in as well. An action without a channel asks for the right of an API key alone.
 *
 * Users are told the same whether a channel is not theirs or does not exist. */
#ifndef AUTH_MAY_H
#define AUTH_MAY_H

#include "auth/identity.h"
#include "message/channel_names.h"

/* What can be done; each call, frame and subscription is one of these. */
enum action {
    ACTION_SUBSCRIBE,
    ACTION_HISTORY,       /* read pages of messages */
    ACTION_CHANNEL_INFO,  /* ask for head and subscribers */
    ACTION_PUBLISH,
    ACTION_RECALL,        /* users may not, unless anyone may: who published the message is not known here */
    ACTION_LIST,          /* no channel: list them all */
    ACTION_PURGE,         /* empty it */
    ACTION_METRICS,       /* no channel */
    ACTION_NODES,         /* no channel: see the nodes, and drain one */
    ACTION_CONNECTIONS,   /* no channel: look at connections, and end them */
    ACTION_MEMBERS,       /* look at, make and unmake members of a group; of its channel group:NAME */
    ACTION_USER,          /* look at a user: groups, devices; of the channel user:U */
    ACTION_REVOKE,        /* no channel */
    ACTION_RECEIPTS,      /* how far a message came with the devices that it is for; users, of messages of their own */
    ACTION_WHY,           /* what became of a message for one device */
    ACTION_SESSIONS,      /* no channel: list the sessions of all users */
    ACTION_FORWARDERS,    /* no channel: see what is carried to back ends, and send again what they refused */
    ACTION_PRESENCE,      /* ask which devices follow a channel, and be told who comes and goes */
    ACTION_COUNT
};

struct verdict {
    unsigned    status;  /* 0: yes; else the HTTP status of the refusal */
    const char *reason;  /* NULL: yes; else why not, a sentence for the caller (static) */
    /* The refusal does not hold for a member of the group with the channel's name. Who can ask for members decides; for
     * everybody else it is a refusal. */
    bool        needs_member;
    /* Likewise: it does not hold for who published the message. */
    bool        needs_publisher;
};

/* 401: another credential could change the answer; 403: none could, or the one that was shown is not enough. `channel`
 * is NULL for the actions that have none, and for those only. */
struct verdict may(const struct identity *identity, const struct channel_name *channel, enum action action);

/* May it send requests by the [uplink] section with this name and this `allow`? A key needs the right to publish; a grant is one
 * to publish in `uplink:NAME`. There are no members: that step lets in whom a grant does. */
struct verdict may_request(const struct identity *identity, enum allowed allow, const char *uplink);

/* Should a batch be read at all? Not if no message in it could be published: the caller showed nothing, and no namespace
 * is open to such callers. Who showed something is answered message by message. */
struct verdict may_publish_at_all(const struct identity *identity, const struct namespaces *spaces);

/* The channel that a caller names for an action. Status 0: *ret is it, the caller owns the reference; whether the action is
 * allowed is may()'s answer. 400: it is no channel name; 404: its namespace does not exist, and for users 403, as if it
 * were somebody else's. */
struct verdict may_name(const struct identity *identity, enum action action, struct namespaces *spaces,
                        const struct hash_key *key, struct span text, struct channel_name **ret);
/* The same, of a caller whose channels are the same ones again and again. */
struct verdict may_name_known(const struct identity *identity, enum action action, struct channel_names *names,
                              struct namespaces *spaces, const struct hash_key *key, struct span text, struct channel_name **ret);

#endif
