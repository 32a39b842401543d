/* members.c - the members of groups: PUT and DELETE /v1/groups/{group}/members/{user}, and lists in both directions. */
#include "api/call.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "device/membership.h"
#include "message/user_name.h"

enum { MEMBERS_LIMIT_DEFAULT = 100 };

/* --- names ------------------------------------------------------------------------------------------------------ */

/* The channel `space:NAME` of a segment of the path. NULL: answered with 400. */
static struct channel_name *path_channel(const struct call *call, size_t segment, const char *space)
{
    struct channel_name *name = NULL;
    struct span          plain;
    struct buf           scratch, text;

    buf_init(&scratch, 4096);
    buf_init(&text, 4096);
    buf_putf(&text, "%s:", space);
    if (url_decode(call->segments[segment], URL_PATH, &scratch, &plain))
        buf_put(&text, plain);
    if (channel_name_new(call->api->namespaces, call->api->hash_key, buf_span(&text), &name) != CHANNEL_NAME_OK)
        call_refuse(call, 400, "the name of a group is 1 to 200 bytes of UTF-8 without control characters");
    buf_fini(&scratch);
    buf_fini(&text);
    return name;
}

static struct channel_name *path_group(const struct call *call)
{
    return path_channel(call, 2, "group");
}

struct channel_name *call_user(const struct call *call, size_t segment)
{
    struct channel_name *name = path_channel(call, segment, "user");

    if (name == NULL)
        return NULL;
    if (!user_name_is_valid(channel_own_name(name))) {
        call_refuse(call, 400, "the name of a user is 1 to 128 bytes of UTF-8 without control characters and /");
        channel_name_unref(name);
        return NULL;
    }
    return name;
}

/* --- changes ---------------------------------------------------------------------------------------------------- */

static const char *membership_explain(enum membership_outcome outcome, unsigned *ret_status)
{
    switch (outcome) {
    case MEMBERSHIP_DONE:
        *ret_status = 200;
        return NULL;
    case MEMBERSHIP_GROUP_FULL:
        *ret_status = 409;
        return "a group takes 1,000,000 members at most; this one is full";
    case MEMBERSHIP_USER_FULL:
        *ret_status = 409;
        return "a user is a member of 10,000 groups at most; this one is in as many";
    case MEMBERSHIP_BUSY:
        *ret_status = 429;
        return "too many changes of members are under way; nothing was changed; send it again a little later";
    case MEMBERSHIP_NO_SPACE:
        *ret_status = 507;
        return "the disk is full; nothing was changed; free some space, then send it again";
    case MEMBERSHIP_AWAY:
        *ret_status = 503;
        return "the store can't be asked now; nothing was changed; send it again a little later";
    case MEMBERSHIP_NOT_DURABLE:
        *ret_status = 409;
        return "the configuration says that the namespace user is not durable; members can't be kept";
    case MEMBERSHIP_BROKEN:
        break;
    }
    *ret_status = 503;
    return "the store can't be written to now; whether the change was stored is not known: send it again";
}

static void put_membership(struct buf *buf, const struct membership_command *command)
{
    buf_clear(buf);
    buf_put_lit(buf, "{\"group\":");
    json_put_string(buf, channel_own_name(command->group));
    buf_put_lit(buf, ",\"user\":");
    json_put_string(buf, channel_own_name(command->user));
    buf_putf(buf, ",\"member\":%s,\"seq\":", command->is_member ? "true" : "false");
    buf_put_u64(buf, command->seq);
    buf_putc(buf, '}');
}

static void membership_answered(struct membership_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;
    unsigned              status;
    const char           *why = membership_explain(command->outcome, &status);

    if (why != NULL) {
        http_problem(api->server, exchange, status, NULL,
                     status == 503 ? shard_engine_text(api->shard, NULL, why) : why, retry_after(status));
    } else {
        put_membership(&api->scratch, command);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = status, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&command->command);
}

void serve_member(struct call *call)
{
    enum membership_request request = call->request->head->method == HTTP_PUT ? MEMBERSHIP_JOIN : MEMBERSHIP_LEAVE;
    struct channel_name *group, *user = NULL;

    if ((group = path_group(call)) == NULL)
        return;
    if (call_passes(call, may(call->identity, group, ACTION_MEMBERS)) && call_knows_query(call, KNOWN_NO_WORDS) &&
        (user = call_user(call, 4)) != NULL) {
        struct membership_command *command = membership_command_new(call->api->memberships, request, user, group,
                                                                    identity_from(call->identity));
        command->owner    = call->exchange;
        command->answered = membership_answered;
        shard_ask_membership(call->api->shard, command);
    }
    channel_name_unref(user);
    channel_name_unref(group);
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

static void put_membership_names(struct buf *buf, const struct membership_list *list)
{
    struct span name, more = membership_list_more(list);
    size_t      at    = 0;
    const char *comma = "";

    buf_clear(buf);
    buf_putf(buf, "{\"%s\":", list->is_of_group ? "group" : "user");
    json_put_string(buf, channel_own_name(list->of));
    buf_putf(buf, ",\"%s\":[", list->is_of_group ? "members" : "groups");
    for (; membership_list_next(list, &at, &name); comma = ",") {
        buf_put(buf, span_str(comma));
        json_put_string(buf, name);
    }
    buf_putc(buf, ']');
    if (more.len > 0) {
        buf_put_lit(buf, ",\"next\":");
        json_put_string(buf, more);
    }
    buf_putc(buf, '}');
}

static void names_came(struct membership_list *list)
{
    struct http_exchange *exchange = list->owner;
    struct api           *api      = exchange->owner;

    if (list->rc != RC_OK) {
        call_answer_unreadable(api, exchange, NULL);
    } else {
        put_membership_names(&api->scratch, list);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&list->command);
}

static const struct span names_parameters[] = { SPAN("after"), SPAN("limit") };

/* after=, decoded into `scratch`. False: answered with 400. */
static bool names_after(const struct call *call, struct buf *scratch, struct span *ret)
{
    struct span encoded;

    *ret = SPAN("");
    if (!call_parameter(call, SPAN("after"), &encoded) || (url_decode(encoded, URL_QUERY, scratch, ret) &&
                                                           ret->len <= CHANNEL_NAME_BYTES_MAX))
        return true;
    call_refuse(call, 400, "after= is the last name of the page before: 200 bytes at most");
    return false;
}

static void list_membership(const struct call *call, struct channel_name *of, bool is_of_group)
{
    struct buf  scratch;
    struct span after;
    bool        has_limit;
    uint64_t    limit = MEMBERS_LIMIT_DEFAULT;

    buf_init(&scratch, LEDGER_KEY_BYTES_MAX);
    if (call_knows_query(call, KNOWN_WORDS(names_parameters)) && call_u64(call, SPAN("limit"), &has_limit, &limit) &&
        names_after(call, &scratch, &after)) {
        if (limit == 0) {
            call_refuse(call, 400, "limit= is 1 or more");
        } else {
            limit                        = limit < MEMBERSHIP_LIST_MAX ? limit : MEMBERSHIP_LIST_MAX;
            struct membership_list *list = membership_list_new(of, is_of_group, after, (uint32_t)limit);
            list->owner                  = call->exchange;
            list->answered               = names_came;
            shard_list_membership(call->api->shard, list);
        }
    }
    buf_fini(&scratch);
}

void serve_members(struct call *call)
{
    struct channel_name *group;

    if ((group = path_group(call)) == NULL)
        return;
    if (call_passes(call, may(call->identity, group, ACTION_MEMBERS)))
        list_membership(call, group, true);
    channel_name_unref(group);
}

void serve_groups_of_user(struct call *call)
{
    struct channel_name *user;

    if ((user = call_user(call, 2)) == NULL)
        return;
    if (call_passes(call, may(call->identity, user, ACTION_USER)))
        list_membership(call, user, false);
    channel_name_unref(user);
}
