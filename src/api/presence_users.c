/* presence_users.c - POST /v1/presence: which of many users are online.
 *
 *     {"users":["ann","bob"]}  →  {"users":{"ann":{"online":true,"devices":2},"bob":{"online":false,"devices":0}}} */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "device/presence_command.h"

#define USERS_ARE "the body is {\"users\":[…]}, with 1 to 1,000 names of users"

/* One call while its body is read. */
struct presence_reading {
    struct call *call;
    struct buf   strings;
    struct span  users[PRESENCE_USERS_MAX];
    size_t       count;
};

static bool refuse_users(const struct presence_reading *reading, const char *detail)
{
    call_refuse(reading->call, 400, detail);
    return false;
}

static bool read_user_names(struct presence_reading *reading, const struct json_token *users)
{
    const struct json_doc *doc = &reading->call->api->doc;

    if (users == NULL || users->type != JSON_ARRAY || users->count == 0)
        return refuse_users(reading, USERS_ARE);
    for (const struct json_token *name = json_first(doc, users); name != NULL; name = json_next(doc, users, name)) {
        if (reading->count == PRESENCE_USERS_MAX)
            return refuse_users(reading, USERS_ARE);
        struct span *user = &reading->users[reading->count++];
        if (!json_string(name, &reading->strings, user) || !user_name_is_valid(*user))
            return refuse_users(reading, USER_NAMES_ARE);
    }
    return true;
}

static bool read_presence_body(struct presence_reading *reading)
{
    static const struct json_limits limits    = { .depth_kept = 2, .members_max = 16 };
    static const struct span        members[] = { SPAN("users") };
    struct json_doc                *doc       = &reading->call->api->doc;
    char                            why[JSON_FAULT_BYTES];

    if (!json_parse(json_skip_mark(reading->call->request->body), &limits, doc))
        return refuse_users(reading, json_fault_say(USERS_ARE, &doc->fault, why));
    const struct json_token *root = json_root(doc);
    if (root->type != JSON_OBJECT || json_unknown_member(doc, root, KNOWN_WORDS(members)) != NULL)
        return refuse_users(reading, USERS_ARE);
    return read_user_names(reading, json_member(doc, root, SPAN("users")));
}

static struct channel_name *asked_user_name(const struct call *call, struct span user)
{
    struct channel_name *name;
    struct buf           text;

    buf_init(&text, sizeof "user:" + USER_NAME_BYTES_MAX);
    buf_put_lit(&text, "user:");
    buf_put(&text, user);
    must(channel_name_new(call->api->namespaces, call->api->hash_key, buf_span(&text), &name) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return name;
}

/* One that the caller may not look at refuses the whole. */
static bool may_look_at_all(const struct presence_reading *reading)
{
    const struct call *call   = reading->call;
    struct verdict     verdict = { 0 };

    for (size_t i = 0; i < reading->count && verdict.status == 0; i++) {
        struct channel_name *user = asked_user_name(call, reading->users[i]);
        verdict                   = may(call->identity, user, ACTION_USER);
        channel_name_unref(user);
    }
    return call_passes(call, verdict);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_users_present(struct buf *buf, const struct presence_question *question)
{
    buf_put_lit(buf, "{\"users\":{");
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, question->at[i].user);
        buf_putf(buf, ":{\"online\":%s,\"devices\":%u}", question->at[i].devices > 0 ? "true" : "false",
                 question->at[i].devices);
    }
    buf_put_lit(buf, "}}");
}

static void presence_users_told(struct presence_question *question)
{
    struct http_exchange *exchange = question->owner;
    struct api           *api      = exchange->owner;

    buf_clear(&api->scratch);
    put_users_present(&api->scratch, question);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    command_free(&question->command);
}

static void ask_presence_of(const struct presence_reading *reading)
{
    struct api               *api      = reading->call->api;
    struct presence_question *question = presence_question_new(api->presence, api->devices, reading->users, reading->count);

    question->owner    = reading->call->exchange;
    question->answered = presence_users_told;
    shard_ask_presence(api->shard, question);
}

void serve_presence_users(struct call *call)
{
    struct presence_reading *reading = calloc(1, sizeof *reading);

    must(reading != NULL);
    reading->call = call;
    buf_init(&reading->strings, 2 * call->request->body.len + 1);
    must(buf_extend(&reading->strings, 2 * call->request->body.len + 1) != NULL);  /* so that nothing moves there */
    buf_clear(&reading->strings);
    if (call_body_is_plain(call) && call_knows_query(call, KNOWN_NO_WORDS) && read_presence_body(reading) &&
        may_look_at_all(reading))
        ask_presence_of(reading);
    buf_fini(&reading->strings);
    free(reading);
}
