/* revocation.c - POST /v1/revocations: refuses what was issued before now, and cuts live links.
 *
 * The message in `sys:control` and the row of the ledger are one commit. When that is durable every loop carries it out,
 * and then the answer says how many links were cut. */
#include <stdlib.h>

#include "api/peers.h"
#include "auth/revocations.h"
#include "base/must.h"
#include "base/utf8.h"
#include "device/row.h"
#include "device/row_kind.h"
#include "message/control_message.h"
#include "message/user_name.h"
#include "node/connection_key.h"
#include "publish/publish_check.h"

/* A request as it was read; the texts point into `strings` or into the body. */
struct revocation_request {
    struct revocation revocation;
    struct span       reason;
    struct buf        strings;
};

/* --- reading ------------------------------------------------------------------------------------------------- */

static bool is_plain_line(struct span text, size_t bytes_max)
{
    return text.len <= bytes_max && !span_has_control(text) && utf8_is_valid(text);
}

static bool is_device_of_user(struct span name)
{
    struct span user;

    return span_cut(&name, '/', &user) && user_name_is_valid(user) && device_name_is_valid(name);
}

/* NULL: the name is fine. */
static const char *name_fault(const struct revocation *revocation)
{
    uint64_t key;

    switch (revocation->kind) {
    case REVOKED_USER: return user_name_is_valid(revocation->name) ? NULL : "`user` is no user's name: " USER_NAMES_ARE;
    case REVOKED_DEVICE:
        return is_device_of_user(revocation->name) ? NULL : "`device` is written USER/DEVICE: " USER_NAMES_ARE;
    case REVOKED_JTI:
        return revocation->name.len > 0 && is_plain_line(revocation->name, REVOKED_NAME_BYTES_MAX)
                   ? NULL : "`jti` is 1 to 256 bytes of UTF-8 without control characters";
    case REVOKED_CONNECTION:
        return connection_key_read(revocation->name, &key) ? NULL : "`connection` is a key of 16 hexadecimal digits";
    case REVOKED_KIND_COUNT: break;
    }
    return "name one of user, device, jti, connection";
}

/* A key's letters in lower case, as clients were told it. */
static struct span one_spelling(struct revocation_request *request, struct span key_text)
{
    uint64_t key = 0;

    must(connection_key_read(key_text, &key));
    buf_clear(&request->strings);
    connection_key_put(&request->strings, key);
    return buf_span(&request->strings);
}

/* Exactly one of the four. NULL: it is read. */
static const char *read_what(struct json_doc *doc, struct revocation_request *request)
{
    struct revocation *revocation = &request->revocation;
    unsigned           count      = 0;

    for (int kind = 0; kind < REVOKED_KIND_COUNT; kind++) {
        const struct json_token *name = json_member(doc, json_root(doc), span_str(revoked_kind_text(kind)));
        if (name == NULL)
            continue;
        count++;
        revocation->kind = (enum revoked_kind)kind;
        if (!json_string(name, &request->strings, &revocation->name))
            return "what is revoked is named by a string";
    }
    if (count != 1)
        return "name exactly one of user, device, jti, connection";
    const char *fault = name_fault(revocation);
    if (fault == NULL && revocation->kind == REVOKED_CONNECTION)
        revocation->name = one_spelling(request, revocation->name);
    return fault;
}

static const char *read_reason(struct json_doc *doc, struct revocation_request *request)
{
    const struct json_token *reason = json_member(doc, json_root(doc), SPAN("reason"));

    if (reason == NULL || reason->type == JSON_NULL)
        return NULL;
    return json_string(reason, &request->strings, &request->reason) &&
                   is_plain_line(request->reason, REVOCATION_REASON_BYTES_MAX)
               ? NULL : "`reason` is a string of at most 200 bytes without control characters";
}

static const struct span revocation_words[] = { SPAN("user"), SPAN("device"), SPAN("jti"), SPAN("connection"),
                                                SPAN("reason") };

/* False: answered with 400. */
static bool read_request(struct call *call, struct revocation_request *request)
{
    static const struct json_limits limits = { .depth_kept = 1 };
    struct json_doc                *doc    = &call->api->doc;
    char                            text[JSON_FAULT_BYTES], unknown[UNKNOWN_WORD_BYTES];

    if (!json_parse(json_skip_mark(call->request->body), &limits, doc)) {
        call_refuse(call, 400, json_fault_say("the body is not JSON", &doc->fault, text));
        return false;
    }
    const struct json_token *stranger = json_unknown_member(doc, json_root(doc), KNOWN_WORDS(revocation_words));
    const char              *fault    = NULL;
    if (json_root(doc)->type != JSON_OBJECT)
        fault = "the body is one JSON object";
    else if (stranger != NULL)
        fault = unknown_word_say("member", span_of(stranger->raw.at + 1, stranger->raw.len - 2),
                                 KNOWN_WORDS(revocation_words), unknown);
    if (fault == NULL)
        fault = read_what(doc, request);
    if (fault == NULL)
        fault = read_reason(doc, request);
    if (fault != NULL)
        call_refuse(call, 400, fault);
    return fault == NULL;
}

/* --- storing ------------------------------------------------------------------------------------------------- */

/* The row, and the memory that it lies in. */
struct revocation_row_write {
    struct ledger_write  write;
    struct ledger_change change;
    char                 key[LEDGER_KEY_BYTES_MAX];
    char                 value[1 + REVOCATION_REASON_BYTES_MAX];
};

enum { REVOCATION_ROW_VERSION = 1 };

static struct span keep_text(char *into, const struct buf *text)
{
    memcpy(into, text->at, text->len);
    return span_of(into, text->len);
}

static struct revocation_row_write *row_write_new(const struct revocation_request *request, int64_t token_life_s)
{
    const struct revocation     *revocation = &request->revocation;
    struct revocation_row_write *row        = calloc(1, sizeof *row);
    struct buf                   text;

    must(row != NULL);
    row->change = (struct ledger_change){
        .op         = LEDGER_RAISE,
        .key        = { .kind = ROW_REVOCATION },
        .generation = revocation->second,
        .expires_at = ((msec)revocation->second + token_life_s + 1) * 1000,
    };
    buf_init(&text, LEDGER_KEY_BYTES_MAX);
    row_key_put(&text, span_str(revoked_kind_text(revocation->kind)), revocation->name);
    row->change.key.bytes = keep_text(row->key, &text);
    buf_clear(&text);
    buf_putc(&text, REVOCATION_ROW_VERSION);
    buf_put(&text, request->reason);
    row->change.value = keep_text(row->value, &text);
    must(!buf_is_over(&text));
    buf_fini(&text);
    row->write = (struct ledger_write){ .changes = &row->change, .count = 1 };
    return row;
}

static struct message *revocation_message_new(const struct call *call, const struct revocation_request *request,
                                              struct channel_name *control)
{
    struct buf *object = &call->api->scratch;

    buf_clear(object);
    buf_putf(object, "{\"%s\":", revoked_kind_text(request->revocation.kind));
    json_put_string(object, request->revocation.name);
    buf_put_lit(object, ",\"until\":");
    buf_put_u64(object, request->revocation.second);
    if (request->reason.len > 0) {
        buf_put_lit(object, ",\"reason\":");
        json_put_string(object, request->reason);
    }
    buf_putc(object, '}');
    struct message *message = control_message_new(control, SPAN("revocation"), buf_span(object),
                                                  identity_from(call->identity));
    message->time = call->api->shard->wall;
    return message;
}

/* --- answering ----------------------------------------------------------------------------------------------- */

/* It is carried out on this node, and on the others, at the same time. */
struct revocation_round {
    struct api           *api;
    struct http_exchange *exchange;
    uint64_t              cut;
    unsigned              awaited;
    bool                  is_incomplete;
};

static void revocation_told(struct revocation_round *round)
{
    struct api *api = round->api;

    if (--round->awaited > 0)
        return;
    buf_clear(&api->scratch);
    buf_put_lit(&api->scratch, "{\"cut\":");
    buf_put_u64(&api->scratch, round->cut);
    put_incomplete(&api->scratch, round->is_incomplete);
    buf_putc(&api->scratch, '}');
    http_answer(api->server, round->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    free(round);
}

static void revocation_carried_out(void *owner, uint64_t cut)
{
    struct revocation_round *round = owner;

    round->cut += cut;
    revocation_told(round);
}

static void revocation_carried_out_elsewhere(struct peer_question *asked)
{
    struct revocation_round *round = asked->owner;
    struct span              body;
    uint64_t                 cut;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        if (peer_answer_open(answer, &body) && bus_get_number(&body, &cut))
            round->cut += cut;
    round->is_incomplete = peers_are_incomplete(asked);
    command_free(&asked->command);
    revocation_told(round);
}

/* Each node reads it in sys:control as well, so one that does not answer cuts all the same; only nobody can say how many. */
static void revoke_everywhere(struct api *api, struct http_exchange *exchange, const struct revocation *revocation, uint64_t seq)
{
    struct revocation_round *round = malloc(sizeof *round);

    must(round != NULL);
    *round = (struct revocation_round){ .api = api, .exchange = exchange, .awaited = 1 };
    if (api_has_peers(api)) {
        struct peer_question *asked = peers_question_new(PEER_REVOCATION, round, revocation_carried_out_elsewhere);
        round->awaited++;
        bus_put_text(&asked->body, span_str(revoked_kind_text(revocation->kind)));
        bus_put_text(&asked->body, revocation->name);
        bus_put_number(&asked->body, revocation->second);
        bus_put_number(&asked->body, seq);
        shard_ask_peers(api->shard, asked);
    }
    api->port->revoke(api->ctx, revocation, seq, revocation_carried_out, round);
}

static void peer_revocation_carried_out(void *owner, uint64_t cut)
{
    struct peer_call *call = owner;

    bus_put_number(&call->answer, cut);
    peer_call_done(call);
}

void serve_peer_revocation(struct api *api, struct peer_call *call, struct span body)
{
    struct revocation revocation = { .second = 0 };
    struct span       kind;
    uint64_t          seq;

    if (bus_get_text(&body, 32, &kind) && revoked_kind_read(kind, &revocation.kind) &&
        bus_get_text(&body, REVOKED_NAME_BYTES_MAX, &revocation.name) && revocation.name.len > 0 &&
        bus_get_number(&body, &revocation.second) && bus_get_number(&body, &seq))
        api->port->revoke(api->ctx, &revocation, seq, peer_revocation_carried_out, call);
    else
        peer_call_unreadable(call);
}

/* What was revoked stands in the row that the append carried. */
static void revocation_stored(struct publish_command *command)
{
    struct http_exchange              *exchange = command->owner;
    struct api                        *api      = exchange->owner;
    const struct revocation_row_write *row      = command->rows;
    unsigned                           status;
    const char                        *why = publish_explain_sent(api->shard, command, &status);

    if (why != NULL) {
        http_problem(api->server, exchange, status, NULL, why, retry_after(status));
    } else {
        struct span       kind, name = row->change.key.bytes;
        struct revocation revocation = { .second = row->change.generation };
        must(span_cut(&name, '\0', &kind) && revoked_kind_read(kind, &revocation.kind));
        revocation.name = name;
        revoke_everywhere(api, exchange, &revocation, command->answer.seq);
    }
    command_free(&command->command);
}

static bool revocation_has_room(const struct call *call)
{
    const struct api *api = call->api;

    if (api->revocations->count < api->limits.revocations_max)
        return true;
    http_problem(api->server, call->exchange, 507, NULL,
                 "so many revocations are kept already (revocations_max); nothing was revoked", HTTP_NO_FIELDS);
    return false;
}

static void revoke(struct call *call, const struct revocation_request *request)
{
    struct channel_name *control;

    must(channel_name_new(call->api->namespaces, call->api->hash_key, SPAN("sys:control"), &control) ==
         CHANNEL_NAME_OK);
    struct message         *message = revocation_message_new(call, request, control);
    struct publish_command *command = publish_command_new(&message, SPAN(""), identity_from(call->identity));
    struct revocation_row_write *row = row_write_new(request, call->api->limits.token_life_s);

    command->rows         = row;
    command->append.write = &row->write;
    command->owner        = call->exchange;
    command->answered     = revocation_stored;
    shard_publish(call->api->shard, command);
    channel_name_unref(control);
}

void serve_revocation(struct call *call)
{
    struct revocation_request request = { .revocation.second = (uint64_t)(call->api->shard->wall / 1000),
                                          .reason = SPAN("") };

    if (!call_passes(call, may(call->identity, NULL, ACTION_REVOKE)) || !call_body_is_plain(call) ||
        !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    buf_init(&request.strings, SIZE_MAX / 2);
    buf_extend(&request.strings, call->request->body.len + CONNECTION_KEY_DIGITS);
    request.strings.len = 0;  /* there is room for all that comes: what is read does not move */
    if (read_request(call, &request) && revocation_has_room(call))
        revoke(call, &request);
    buf_fini(&request.strings);
}
