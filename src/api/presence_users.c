/* presence_users.c - POST /v1/presence: which of many users are online.
 *
 *     {"users":["ann","bob"]}  →  {"users":{"ann":{"online":true,"devices":2},"bob":{"online":false,"devices":0}}} */
#include <stdlib.h>

#include "api/peers.h"
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

/* One that the caller may not look at refuses the whole. */
static bool may_look_at_all(const struct presence_reading *reading)
{
    const struct call *call   = reading->call;
    struct verdict     verdict = { 0 };

    for (size_t i = 0; i < reading->count && verdict.status == 0; i++) {
        struct channel_name *user = channel_name_of_user(call->api->namespaces, call->api->hash_key, reading->users[i]);
        verdict                   = may(call->identity, user, ACTION_USER);
        channel_name_unref(user);
    }
    return call_passes(call, verdict);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_users_present(struct buf *buf, const struct presence_question *question, bool is_incomplete)
{
    buf_put_lit(buf, "{\"users\":{");
    for (size_t i = 0; i < question->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, question->at[i].user);
        buf_putf(buf, ":{\"online\":%s,\"devices\":%u}", question->at[i].devices > 0 ? "true" : "false",
                 question->at[i].devices);
    }
    buf_putc(buf, '}');
    put_incomplete(buf, is_incomplete);
    buf_putc(buf, '}');
}

static void presence_users_finish(struct presence_question *question, bool is_incomplete)
{
    struct http_exchange *exchange = question->owner;
    struct api           *api      = exchange->owner;

    buf_clear(&api->scratch);
    put_users_present(&api->scratch, question, is_incomplete);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    command_free(&question->command);
}

/* --- other nodes ------------------------------------------------------------------------------------------------------- */

/* The marks of one user's devices, of this node and of those that answered. */
struct device_marks {
    uint64_t *at;
    size_t    count, cap;
};

static void device_marks_add(struct device_marks *marks, uint64_t mark)
{
    for (size_t i = 0; i < marks->count; i++)
        if (marks->at[i] == mark)
            return;
    if (marks->count == marks->cap) {
        marks->cap = marks->cap == 0 ? 16 : 2 * marks->cap;
        marks->at  = reallocarray(marks->at, marks->cap, sizeof marks->at[0]);
        must(marks->at != NULL);
    }
    marks->at[marks->count++] = mark;
}

static void merge_user_marks(struct device_marks *marks, struct span *body)
{
    uint64_t count, mark;

    if (!bus_get_number(body, &count))
        return;
    for (; count > 0 && bus_get_number(body, &mark); count--)
        device_marks_add(marks, mark);
}

/* Each answer has the users in the same order. */
static void merge_presence(struct presence_question *question, const struct peer_question *asked)
{
    struct device_marks marks        = { 0 };
    size_t              answer_count = 0, own = 0;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        answer_count++;
    struct span *bodies = calloc(answer_count + 1, sizeof *bodies);
    must(bodies != NULL);
    answer_count = 0;
    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        answer_count += peer_answer_open(answer, &bodies[answer_count]);
    for (size_t i = 0; i < question->count; i++) {
        marks.count = 0;
        for (uint32_t j = 0; j < question->at[i].devices; j++)
            device_marks_add(&marks, question->marks[own++]);
        for (size_t j = 0; j < answer_count; j++)
            merge_user_marks(&marks, &bodies[j]);
        question->at[i].devices = (uint32_t)marks.count;
    }
    free(bodies);
    free(marks.at);
}

static void presence_users_merged(struct peer_question *asked)
{
    struct presence_question *question = asked->owner;

    merge_presence(question, asked);
    presence_users_finish(question, peers_are_incomplete(asked));
    command_free(&asked->command);
}

static void presence_users_told(struct presence_question *question)
{
    struct http_exchange *exchange = question->owner;
    struct api           *api      = exchange->owner;

    if (!question->wants_marks) {
        presence_users_finish(question, false);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_USERS, question, presence_users_merged);
    bus_put_number(&asked->body, PEER_USERS_PRESENT);
    bus_put_number(&asked->body, question->count);
    for (size_t i = 0; i < question->count; i++)
        bus_put_text(&asked->body, question->at[i].user);
    shard_ask_peers(api->shard, asked);
}

static void peer_presence_told(struct presence_question *question)
{
    struct peer_call *call = question->owner;
    size_t            at   = 0;

    for (size_t i = 0; i < question->count; i++) {
        bus_put_number(&call->answer, question->at[i].devices);
        for (uint32_t j = 0; j < question->at[i].devices; j++)
            bus_put_number(&call->answer, question->marks[at++]);
    }
    command_free(&question->command);
    peer_call_done(call);
}

void serve_peer_presence(struct api *api, struct peer_call *call, struct span body)
{
    struct span users[PRESENCE_USERS_MAX];
    uint64_t    count, i = 0;

    if (!bus_get_number(&body, &count) || count == 0 || count > PRESENCE_USERS_MAX) {
        peer_call_unreadable(call);
        return;
    }
    while (i < count && bus_get_text(&body, USER_NAME_BYTES_MAX, &users[i]))
        i++;
    if (i < count) {
        peer_call_unreadable(call);
        return;
    }
    struct presence_question *question = presence_question_new(api->presence, api->devices, users, count);
    question->wants_marks              = true;
    question->owner                    = call;
    question->answered                 = peer_presence_told;
    shard_ask_presence(api->shard, question);
}

/* --- the call ---------------------------------------------------------------------------------------------------------- */

static void ask_presence_of(const struct presence_reading *reading)
{
    struct api               *api      = reading->call->api;
    struct presence_question *question = presence_question_new(api->presence, api->devices, reading->users, reading->count);

    question->wants_marks = api_has_peers(api);
    question->owner       = reading->call->exchange;
    question->answered    = presence_users_told;
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
