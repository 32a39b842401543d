#include "auth/may.h"

#include "base/must.h"

enum policy { POLICY_READ, POLICY_WRITE, POLICY_NONE };

static const struct action_row {
    enum policy    policy;   /* of the channel's namespace; POLICY_NONE: there is no channel */
    enum key_right right;    /* that a key needs */
    const char    *needs;    /* for those who lack it */
} action_rows[ACTION_COUNT] = {
    [ACTION_SUBSCRIBE]    = { POLICY_READ, RIGHT_SUBSCRIBE,
                              "following this channel needs an API key with the right to subscribe" },
    [ACTION_HISTORY]      = { POLICY_READ, RIGHT_SUBSCRIBE,
                              "reading this channel needs an API key with the right to subscribe" },
    [ACTION_CHANNEL_INFO] = { POLICY_READ, RIGHT_SUBSCRIBE,
                              "reading this channel needs an API key with the right to subscribe" },
    [ACTION_PUBLISH]      = { POLICY_WRITE, RIGHT_PUBLISH,
                              "publishing here needs an API key with the right to publish" },
    [ACTION_RECALL]       = { POLICY_WRITE, RIGHT_PUBLISH,
                              "publishing here needs an API key with the right to publish" },
    [ACTION_LIST]         = { POLICY_NONE, RIGHT_ADMIN, "listing the channels needs an API key with the right admin" },
    [ACTION_PURGE]        = { POLICY_NONE, RIGHT_ADMIN, "purging a channel needs an API key with the right admin" },
    [ACTION_CONNECTIONS]  = { POLICY_NONE, RIGHT_ADMIN,
                              "looking at connections and ending them needs an API key with the right admin" },
    [ACTION_METRICS]      = { POLICY_NONE, RIGHT_ADMIN, "metrics need an API key with the right admin" },
};

static enum allowed policy_of(const struct action_row *row, const struct channel_name *channel)
{
    switch (row->policy) {
    case POLICY_READ: return channel->space->subscribe;
    case POLICY_WRITE: return channel->space->publish;
    case POLICY_NONE: return ALLOW_KEY;
    }
    return ALLOW_NOBODY;
}

/* Has the caller shown no key, although there are some? */
static bool is_stranger(const struct identity *identity)
{
    return identity->name[0] == '\0';
}

static bool policy_lets(enum allowed policy, const struct identity *identity, enum key_right right)
{
    switch (policy) {
    case ALLOW_ANYONE: return true;
    case ALLOW_KEY: return (identity->rights & right) != 0;
    case ALLOW_NOBODY: return false;
    }
    return false;
}

struct verdict may(const struct identity *identity, const struct channel_name *channel, enum action action)
{
    must(identity != NULL && action < ACTION_COUNT);
    const struct action_row *row = &action_rows[action];
    must((channel == NULL) == (row->policy == POLICY_NONE));
    enum allowed policy = policy_of(row, channel);

    if (policy_lets(policy, identity, row->right))
        return (struct verdict){ 0 };
    if (policy == ALLOW_NOBODY)
        return (struct verdict){ 403, row->policy == POLICY_WRITE ? "only the server itself publishes in this namespace"
                                                                  : row->needs };
    return (struct verdict){ is_stranger(identity) ? 401 : 403, row->needs };
}

struct verdict may_publish_at_all(const struct identity *identity, const struct namespaces *spaces)
{
    if (!is_stranger(identity) || (identity->rights & RIGHT_PUBLISH) != 0)
        return (struct verdict){ 0 };
    for (size_t i = 0; i < spaces->count; i++)
        if (spaces->at[i].publish == ALLOW_ANYONE)
            return (struct verdict){ 0 };
    return (struct verdict){ 401, "publishing needs an API key with the right to publish" };
}

struct verdict may_name(struct namespaces *spaces, const struct hash_key *key, struct span text,
                        struct channel_name **ret)
{
    enum channel_name_fault fault = channel_name_new(spaces, key, text, ret);

    switch (fault) {
    case CHANNEL_NAME_OK: return (struct verdict){ 0 };
    case CHANNEL_NAME_UNKNOWN: return (struct verdict){ 404, channel_name_fault_text(fault) };
    case CHANNEL_NAME_MALFORMED: break;
    }
    return (struct verdict){ 400, channel_name_fault_text(fault) };
}
