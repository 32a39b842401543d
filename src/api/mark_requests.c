#include "api/mark_requests.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/read_mark.h"

/* --- reading ---------------------------------------------------------------------------------------------------- */

static const char marks_are[] =
    "read is an object of 1 to 100 whole numbers from 1: {\"read\":{\"topic:news\":42}}";

static bool refuse_mark(const struct call *call, unsigned status, const char *detail)
{
    call_refuse(call, status, detail);
    return false;
}

static bool mark_request_may(struct mark_request *request, const struct call *call)
{
    struct verdict verdict = may(call->identity, request->name, ACTION_SUBSCRIBE);

    request->needs_member = verdict.status != 0 && verdict.needs_member;
    return request->needs_member || call_passes(call, verdict);
}

static bool mark_request_read(struct mark_requests *requests, const struct call *call, const struct json_token *name,
                      const struct json_token *seq, struct buf *strings)
{
    struct api       *api  = call->api;
    struct mark_request *request = &requests->at[requests->count];
    struct span       text;

    if (!json_string(name, strings, &text) || !json_u64(seq, &request->seq) || request->seq == 0)
        return refuse_mark(call, 400, marks_are);
    if (!call_passes(call, may_name(call->identity, ACTION_SUBSCRIBE, api->namespaces, api->hash_key, text, &request->name)))
        return false;
    request->of = requests;
    requests->count++;
    return mark_request_may(request, call);
}

bool mark_requests_read(struct mark_requests *requests, const struct call *call, struct span raw, struct buf *strings)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = MARKS_A_CALL_MAX };
    struct json_doc                *doc    = &call->api->inner_doc;

    if (!json_parse(raw, &limits, doc) || json_root(doc)->type != JSON_OBJECT || json_root(doc)->count == 0)
        return refuse_mark(call, 400, marks_are);
    const struct json_token *root = json_root(doc);
    requests->at                    = calloc(root->count, sizeof requests->at[0]);
    must(requests->at != NULL);
    for (const struct json_token *name = json_first(doc, root), *seq; name != NULL; name = json_next(doc, root, seq)) {
        seq = json_next(doc, root, name);
        if (!mark_request_read(requests, call, name, seq, strings))
            return false;
    }
    return true;
}

void mark_requests_fini(struct mark_requests *requests)
{
    for (size_t i = 0; i < requests->count; i++)
        channel_name_unref(requests->at[i].name);
    free(requests->at);
}

/* --- setting ---------------------------------------------------------------------------------------------------- */

static const struct { unsigned status; const char *detail; } mark_refusals[] = {
    [READ_MARK_DONE]        = { 200, NULL },
    [READ_MARK_NO_MEMBER]   = { 403, "you may not follow this channel, or there is none" },
    [READ_MARK_BUSY]        = { 429, "too many read marks are being set; send it again a little later" },
    [READ_MARK_NO_SPACE]    = { 507, "the disk is full; a mark was not set; free some space, then send it again" },
    [READ_MARK_AWAY]        = { 503, "the store can't be asked now; a mark was not set; send it again a little later" },
    [READ_MARK_BROKEN]      = { 503, "the store can't be written to now; whether a mark was set is not known: send it again" },
    [READ_MARK_NOT_DURABLE] = { 409, "the configuration says that the namespace user is not durable; marks can't be kept" },
};

static void mark_request_answered(struct read_mark_command *mark)
{
    struct mark_request   *request   = mark->owner;
    struct mark_requests *requests = request->of;

    request->seq = mark->seq;
    if (mark->outcome != READ_MARK_DONE && requests->status == 200) {
        requests->status = mark_refusals[mark->outcome].status;
        requests->detail = mark_refusals[mark->outcome].detail;
        requests->is_engine_away = mark->outcome == READ_MARK_AWAY || mark->outcome == READ_MARK_BROKEN;
    }
    command_free(&mark->command);
    if (--requests->waiting == 0)
        requests->done(requests);
}

void mark_requests_set(struct mark_requests *requests, struct api *api, struct span user, struct span device)
{
    requests->status         = 200;
    requests->is_engine_away = false;
    requests->waiting = requests->count;
    for (size_t i = 0; i < requests->count; i++) {
        struct mark_request         *request = &requests->at[i];
        struct read_mark_command *mark = read_mark_command_new(api->devices, user, device, request->name);
        mark->seq                      = request->seq;
        mark->needs_member             = request->needs_member;
        mark->owner                    = request;
        mark->answered                 = mark_request_answered;
        shard_set_read_mark(api->shard, mark);
    }
    if (requests->count == 0)
        requests->done(requests);
}

void mark_requests_put(const struct mark_requests *requests, struct buf *buf)
{
    buf_putc(buf, '{');
    for (size_t i = 0; i < requests->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, channel_name_span(requests->at[i].name));
        buf_putc(buf, ':');
        buf_put_u64(buf, requests->at[i].seq);
    }
    buf_putc(buf, '}');
}
