#include "session/instruction.h"

#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "session/device_link.h"
#include "session/subscribe_request.h"

enum { INSTRUCTION_TEXTS_BYTES = 64 * 1024 };

/* A response that was drawn in this turn, and may hold instructions. */
struct instruction {
    struct list     in_worker;
    struct link    *link;
    struct message *message;  /* owns a reference */
};

bool link_is_home(const struct link *link, const struct channel_name *name)
{
    struct span own = channel_own_name(name), user, device;

    if (link->holder == NULL || !span_eq(span_str(name->space->name), SPAN("device")))
        return false;
    user   = identity_user(link->holder);
    device = link_device(link) != NULL ? device_link_device(link_device(link)) : identity_device(link->holder);
    return user.len > 0 && device.len > 0 && own.len == user.len + 1 + device.len && span_starts(own, user) &&
           own.at[user.len] == '/' && span_eq(span_skip(own, user.len + 1), device);
}

static bool link_takes_commands(const struct link *link)
{
    return link->transport == TRANSPORT_WS || link->transport == TRANSPORT_NATIVE;
}

/* A stream or a poll without a session names its channels in its URL. */
static bool link_takes_instructions(const struct link *link)
{
    return link_device(link) != NULL || link_takes_commands(link);
}

/* Few responses have any, and this is cheaper than to take each apart. */
static bool may_instruct(const struct message *message)
{
    struct span payload = message_payload(message), word = SPAN("subscribe\":[");

    return span_eq(control_message_type(message), SPAN("response")) && memmem(payload.at, payload.len, word.at, word.len) != NULL;
}

void instruction_note(struct link *link, struct message *message)
{
    if (!may_instruct(message) || !link_takes_instructions(link))
        return;
    struct instruction *instruction = calloc(1, sizeof *instruction);
    must(instruction != NULL);
    instruction->link    = link;
    instruction->message = message_ref(message);
    list_push(&link->worker->instructions, &instruction->in_worker);
}

static void instruction_free(struct instruction *instruction)
{
    list_take(&instruction->in_worker);
    message_unref(instruction->message);
    free(instruction);
}

/* --- subscribe and unsubscribe ------------------------------------------------------------------------------------- */

static void keep_for_session(struct link *link, struct reader_sub *sub)
{
    if (link_device(link) != NULL && !sub->sub.is_own && link_own_count(link, true) < link->worker->limits.channels_max)
        device_link_keep(link, sub);
}

static void instruct_subscribe(struct link *link, struct span channel)
{
    struct reader_sub        *sub = reader_find(link_reader(link), channel);
    struct subscribe_requests requests;

    if (sub == NULL && !identity_is_revoked(link->holder) &&
        link_own_count(link, link_device(link) != NULL) < link->worker->limits.channels_max) {
        subscribe_requests_init(&requests);
        subscribe_requests_give(&requests, link->worker, channel, link->holder);
        if (requests.count > 0)
            sub = link_follow(link, requests.at[0].name, requests.at[0].start);
        subscribe_requests_fini(&requests);
    }
    if (sub != NULL)
        keep_for_session(link, sub);
}

/* What the URL of a stream or a poll names is named again by the next one: only what the session keeps can be left there. */
static bool may_be_left(const struct link *link, const struct reader_sub *sub)
{
    return !sub->sub.is_unasked && !sub->sub.is_heard && (sub->sub.is_kept || link_takes_commands(link));
}

static void instruct_unsubscribe(struct link *link, struct span channel)
{
    struct reader_sub *sub = reader_find(link_reader(link), channel);

    if (sub == NULL || !may_be_left(link, sub) || !device_link_may_leave(link, sub))
        return;
    if (link->kind->left != NULL)
        link->kind->left(link, sub);
    else
        link_unfollow(link, sub);
}

/* The list stands below what is kept of a response, whose body may be long. */
static void instruct_each(struct link *link, const struct json_doc *response, struct span member,
                          void (*instruct)(struct link *link, struct span channel))
{
    static const struct json_limits limits = { .depth_kept = 1 };
    const struct json_token        *list   = json_member(response, json_root(response), member);
    struct json_doc                 doc;
    struct span                     channel;
    struct buf                      text;

    if (list == NULL || list->type != JSON_ARRAY)
        return;
    json_doc_init(&doc);
    buf_init(&text, INSTRUCTION_TEXTS_BYTES);
    must(json_parse(list->raw, &limits, &doc));
    for (const struct json_token *at = json_first(&doc, json_root(&doc)); at != NULL; at = json_next(&doc, json_root(&doc), at)) {
        buf_clear(&text);
        if (json_string(at, &text, &channel))
            instruct(link, channel);
    }
    buf_fini(&text);
    json_doc_fini(&doc);
}

static void instruction_carry_out(struct link *link, const struct message *message)
{
    static const struct json_limits members = { .depth_kept = 1 };
    struct json_doc                 doc;

    json_doc_init(&doc);
    if (!link->is_over && link->holder != NULL && json_parse(message_payload(message), &members, &doc)) {
        instruct_each(link, &doc, SPAN("unsubscribe"), instruct_unsubscribe);
        instruct_each(link, &doc, SPAN("subscribe"), instruct_subscribe);
        link_mark(link);
    }
    json_doc_fini(&doc);
}

bool instructions_carry_out(struct session_worker *worker)
{
    struct list *at;

    if (list_is_empty(&worker->instructions))
        return false;
    frame_batch_clear(&worker->batch);  /* it must not hold a subscription that ends here */
    while ((at = list_pop(&worker->instructions)) != NULL) {
        struct instruction *instruction = container_of(at, struct instruction, in_worker);
        instruction_carry_out(instruction->link, instruction->message);
        instruction_free(instruction);
    }
    return true;
}

bool instructions_wait(const struct link *link)
{
    const struct list *all = &link->worker->instructions;

    for (const struct list *at = all->next; at != all; at = at->next)
        if (container_of(at, struct instruction, in_worker)->link == link)
            return true;
    return false;
}

void instructions_forget(struct link *link)
{
    struct list *all = &link->worker->instructions;

    for (struct list *at = all->next, *next; at != all; at = next) {
        struct instruction *instruction = container_of(at, struct instruction, in_worker);
        next                            = at->next;
        if (instruction->link == link)
            instruction_free(instruction);
    }
}
