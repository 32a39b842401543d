#include "auth/may.h"


#include "base/must.h"
#include "settings/settings.h"

#define NOT_YOUR_MESSAGE "you may ask only about messages that you published, or there is no such message"

enum policy { POLICY_READ, POLICY_WRITE, POLICY_RECALL, POLICY_KEYS, POLICY_OWN, POLICY_NONE };

static const struct action_row {
    /* Of the channel's namespace. KEYS and OWN: whatever the namespace says, keys alone, or the user too whose channel it
     * is. NONE: there is no channel */
    enum policy    policy;
    enum key_right right;      /* that a key needs */
    unsigned       can;        /* that a grant needs, one of these; 0: no grant is enough */
    const char    *needs;      /* for those who lack it */
    const char    *not_yours;  /* for users, the same whether the channel exists or not; NULL: as `needs` */
} action_rows[ACTION_COUNT] = {
    [ACTION_SUBSCRIBE]    = { POLICY_READ, RIGHT_SUBSCRIBE, CAN_SUBSCRIBE,
                              "following this channel needs an API key with the right to subscribe, or the token of a "
                              "user who may",
                              "you may not follow this channel, or there is none" },
    [ACTION_HISTORY]      = { POLICY_READ, RIGHT_SUBSCRIBE, CAN_HISTORY,
                              "reading this channel needs an API key with the right to subscribe, or the token of a user "
                              "who may",
                              "you may not read this channel, or there is none" },
    [ACTION_CHANNEL_INFO] = { POLICY_READ, RIGHT_SUBSCRIBE, CAN_SUBSCRIBE | CAN_HISTORY,
                              "reading this channel needs an API key with the right to subscribe, or the token of a user "
                              "who may",
                              "you may not read this channel, or there is none" },
    [ACTION_PUBLISH]      = { POLICY_WRITE, RIGHT_PUBLISH, CAN_PUBLISH,
                              "publishing here needs an API key with the right to publish, or the token of a user who may",
                              "you may not publish in this channel, or there is none" },
    [ACTION_RECALL]       = { POLICY_RECALL, RIGHT_PUBLISH, 0,
                              "taking back needs an API key with the right to publish",
                              "you may not take back messages of this channel, or there is none" },
    [ACTION_LIST]         = { POLICY_NONE, RIGHT_ADMIN, 0, "listing the channels needs an API key with the right admin" },
    [ACTION_PURGE]        = { POLICY_KEYS, RIGHT_ADMIN, 0, "purging a channel needs an API key with the right admin" },
    [ACTION_CONNECTIONS]  = { POLICY_NONE, RIGHT_ADMIN, 0,
                              "looking at connections and ending them needs an API key with the right admin" },
    [ACTION_MEMBERS]      = { POLICY_KEYS, RIGHT_PUBLISH, 0,
                              "the members of groups need an API key with the right to publish" },
    [ACTION_USER]         = { POLICY_OWN, RIGHT_SUBSCRIBE, 0,
                              "looking at users needs an API key with the right to subscribe, or the user's own token",
                              "you may not look at this user, or there is none" },
    [ACTION_NODES]        = { POLICY_NONE, RIGHT_ADMIN, 0,
                              "seeing the nodes and draining one needs an API key with the right admin" },
    [ACTION_PRESENCE]     = { POLICY_READ, RIGHT_SUBSCRIBE, CAN_PRESENCE,
                              "seeing who follows this channel needs an API key with the right to subscribe, or the token of "
                              "a user who may",
                              "you may not see who follows this channel, or there is none" },
    [ACTION_REVOKE]       = { POLICY_NONE, RIGHT_ADMIN, 0, "revoking needs an API key with the right admin" },
    [ACTION_RECEIPTS]     = { POLICY_KEYS, RIGHT_SUBSCRIBE, 0,
                              "receipts need an API key with the right to subscribe, or the token of the user who "
                              "published the message",
                              NOT_YOUR_MESSAGE },
    [ACTION_WHY]          = { POLICY_KEYS, RIGHT_SUBSCRIBE, 0,
                              "asking what became of a message needs an API key with the right to subscribe" },
    [ACTION_SESSIONS]     = { POLICY_NONE, RIGHT_ADMIN, 0, "listing the sessions needs an API key with the right admin" },
    [ACTION_FORWARDERS]   = { POLICY_NONE, RIGHT_ADMIN, 0,
                              "seeing what back ends have yet to take, and sending it again, needs an API key with the right admin" },
    [ACTION_METRICS]      = { POLICY_NONE, RIGHT_ADMIN, 0, "metrics need an API key with the right admin" },
};

static enum allowed policy_of(const struct action_row *row, const struct channel_name *channel)
{
    switch (row->policy) {
    case POLICY_READ: return channel->space->subscribe;
    case POLICY_WRITE: return channel->space->publish;
    case POLICY_RECALL: break;
    case POLICY_OWN: return ALLOW_MEMBER;
    case POLICY_KEYS:
    case POLICY_NONE: return ALLOW_KEY;
    }
    enum allowed publish = channel->space->publish;
    return publish == ALLOW_ANYONE || publish == ALLOW_NOBODY ? publish : ALLOW_KEY;
}

/* --- the steps of the ladder ------------------------------------------------------------------------------------ */

static bool key_lets(const struct identity *identity, const struct channel_name *channel, const struct action_row *row)
{
    unsigned right = channel != NULL && channel->space->is_servers ? RIGHT_ADMIN : row->right;

    if ((identity->rights & (right | RIGHT_ADMIN)) == 0)
        return false;
    return identity->grant_count == 0 ||
           (channel != NULL && identity_is_granted(identity, channel_name_span(channel), CAN_ALL));
}

static bool is_own(const struct identity *identity, const struct channel_name *channel)
{
    struct span name = span_skip(channel_name_span(channel), strlen(channel->space->name) + 1), owner = name;

    switch (channel->space->membership) {
    case MEMBER_IS_USER: return span_eq(name, identity_user(identity));
    case MEMBER_IS_OWNER: return span_cut(&name, '/', &owner) && name.len > 0 && span_eq(owner, identity_user(identity));
    case MEMBER_OF_GROUP:
    case MEMBER_IS_LINK: break;
    }
    return false;
}

static bool user_is_let(enum allowed policy, const struct identity *identity, const struct channel_name *channel,
                        const struct action_row *row)
{
    return (policy >= ALLOW_GRANT && identity_is_granted(identity, channel_name_span(channel), row->can)) ||
           (policy >= ALLOW_MEMBER && is_own(identity, channel)) || policy >= ALLOW_USER;
}

static bool policy_lets(enum allowed policy, const struct identity *identity, const struct channel_name *channel,
                        const struct action_row *row)
{
    if (policy == ALLOW_NOBODY || policy == ALLOW_ANYONE)
        return policy == ALLOW_ANYONE;
    if (key_lets(identity, channel, row))
        return true;
    return policy > ALLOW_KEY && identity_user(identity).len > 0 && user_is_let(policy, identity, channel, row);
}

/* To users what is not theirs and what does not exist are the same. */
static bool is_told_little(const struct identity *identity)
{
    return identity_user(identity).len > 0 && !identity->is_open;
}

/* The server's own channels ask more of a key than others: see key_lets(). */
static const char *needs_of(const struct action_row *row, const struct channel_name *channel)
{
    if (channel != NULL && channel->space->is_servers && row->right == RIGHT_SUBSCRIBE)
        return "the server's own channels are read with an API key that has the right admin";
    return row->needs;
}

static const char *not_yours(const struct action_row *row)
{
    return row->not_yours != NULL ? row->not_yours : row->needs;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static struct verdict refuse_action(enum allowed policy, const struct identity *identity, const struct channel_name *channel,
                             const struct action_row *row)
{
    if (is_told_little(identity))
        return (struct verdict){ 403, not_yours(row),
                                 row->policy != POLICY_OWN && policy == ALLOW_MEMBER && channel->space->membership == MEMBER_OF_GROUP };
    if (policy == ALLOW_NOBODY)
        return (struct verdict){ 403, row->policy == POLICY_READ ? needs_of(row, channel)
                                                                 : "only the server itself publishes in this namespace",
                                 false };
    return (struct verdict){ identity_is_stranger(identity) ? 401 : 403, needs_of(row, channel), false };
}

struct verdict may(const struct identity *identity, const struct channel_name *channel, enum action action)
{
    must(identity != NULL && action < ACTION_COUNT);
    const struct action_row *row = &action_rows[action];
    must((channel == NULL) == (row->policy == POLICY_NONE));
    enum allowed policy = policy_of(row, channel);

    if (policy_lets(policy, identity, channel, row))
        return (struct verdict){ 0 };
    struct verdict verdict  = refuse_action(policy, identity, channel, row);
    verdict.needs_publisher = action == ACTION_RECEIPTS && is_told_little(identity);
    return verdict;
}

static bool uplink_lets(const struct identity *identity, enum allowed allow, const char *uplink)
{
    if (allow == ALLOW_NOBODY || allow == ALLOW_ANYONE)
        return allow == ALLOW_ANYONE;

    const struct span begin = SPAN("uplink:");
    char              name[sizeof "uplink:" + KEY_NAME_BYTES_MAX];
    size_t            len = strnlen(uplink, KEY_NAME_BYTES_MAX);
    memcpy(name, begin.at, begin.len);
    memcpy(name + begin.len, uplink, len);
    const struct span channel = span_of(name, begin.len + len);
    if ((identity->rights & (RIGHT_PUBLISH | RIGHT_ADMIN)) != 0 &&
        (identity->grant_count == 0 || identity_is_granted(identity, channel, CAN_ALL)))
        return true;
    if (identity_user(identity).len == 0)
        return false;
    return allow >= ALLOW_USER || (allow >= ALLOW_GRANT && identity_is_granted(identity, channel, CAN_PUBLISH));
}

struct verdict may_request(const struct identity *identity, enum allowed allow, const char *uplink)
{
    if (uplink_lets(identity, allow, uplink))
        return (struct verdict){ 0 };
    return (struct verdict){ .status = identity_is_stranger(identity) && allow != ALLOW_NOBODY ? 401 : 403,
                             .reason = "you may not send this request: see `allow` of its [uplink]" };
}

struct verdict may_publish_at_all(const struct identity *identity, const struct namespaces *spaces)
{
    if (!identity_is_stranger(identity) || (identity->rights & RIGHT_PUBLISH) != 0)
        return (struct verdict){ 0 };
    for (size_t i = 0; i < spaces->count; i++)
        if (spaces->at[i].publish == ALLOW_ANYONE)
            return (struct verdict){ 0 };
    return (struct verdict){ 401, "publishing needs an API key with the right to publish, or the token of a user who may",
                             false };
}

static struct verdict verdict_of(const struct identity *identity, enum action action, enum channel_name_fault fault)
{
    must(action < ACTION_COUNT);
    switch (fault) {
    case CHANNEL_NAME_OK: return (struct verdict){ 0 };
    case CHANNEL_NAME_UNKNOWN:
        return is_told_little(identity) ? (struct verdict){ 403, not_yours(&action_rows[action]), false }
                                        : (struct verdict){ 404, channel_name_fault_text(fault), false };
    case CHANNEL_NAME_MALFORMED: break;
    }
    return (struct verdict){ 400, channel_name_fault_text(fault), false };
}

struct verdict may_name(const struct identity *identity, enum action action, struct namespaces *spaces,
                        const struct hash_key *key, struct span text, struct channel_name **ret)
{
    return verdict_of(identity, action, channel_name_new(spaces, key, text, ret));
}

struct verdict may_name_known(const struct identity *identity, enum action action, struct channel_names *names,
                              struct namespaces *spaces, const struct hash_key *key, struct span text, struct channel_name **ret)
{
    return verdict_of(identity, action, channel_names_get(names, spaces, key, text, ret));
}
