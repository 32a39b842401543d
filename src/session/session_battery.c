#include "session/session_battery.h"

#include <stdlib.h>

#include "base/must.h"
#include "lib/held_identifier.h"

enum { STAGE_BEGINS_MS = 1000 };

#define STAGE_BEGINS_WALL_MS INT64_C(1700000000000)

static const struct hash_key stage_key = { 1, 2 };

/* --- the writer ---------------------------------------------------------------------------------------------- */

static void stage_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    command->mail.next = NULL;
    *stage->newest     = &command->mail;
    stage->newest      = &command->mail.next;
    stage->read_count += command->kind == &read_kind;
}

static void stage_ready(void *ctx, struct subscription *sub)
{
    struct stage *stage = ctx;
    session_worker_ready(&stage->worker, sub);
}

static const struct shard_port stage_shard_port = { .send = stage_send, .ready = stage_ready };

static struct stage_log *log_of(struct stage *stage, const struct channel_name *name)
{
    for (size_t i = 0; i < stage->log_count; i++)
        if (channel_name_eq(stage->logs[i].name, name))
            return &stage->logs[i];
    return stage_log(stage, name->text, 1, 0);
}

void stage_payload(struct buf *buf, uint64_t seq)
{
    size_t len = seq % 23 == 0 ? 70000 : seq % 7 == 0 ? 3000 : seq % 50;

    buf_put_u64(buf, seq);
    buf_putc(buf, ' ');
    for (size_t i = 0; i < len; i++)
        buf_putc(buf, (char)('a' + (seq + i) % 26));
}

static struct message *message_of(const struct stage_log *log, uint64_t seq)
{
    struct buf payload;

    buf_init(&payload, 1 << 20);
    stage_payload(&payload, seq);
    struct message *message = message_new(log->name, MESSAGE_PLAIN, payload.at, (uint32_t)payload.len,
                                          SPAN("text/plain"), SPAN(""));
    buf_fini(&payload);
    message->epoch = log->epoch;
    message->seq   = seq;
    message->id    = seq;
    message->time  = log->time;
    return message;
}

static void answer_read(struct stage *stage, struct store_read *read)
{
    const struct stage_log *log   = log_of(stage, read->channel);
    uint64_t                seq   = read->bound + 1;
    size_t                  bytes = 0;

    read->rc = stage->is_unreadable ? RC_IO : RC_OK;
    if (read->rc != RC_OK)
        return;
    read->epoch   = log->epoch;
    read->first   = log->first;
    read->head    = log->head;
    read->entries = calloc(read->limit, sizeof read->entries[0]);
    must(read->entries != NULL);
    if (seq < log->first) {
        read->entries[read->entry_count++].gap = (struct gap){ seq, log->first - 1, GAP_TRIMMED };
        seq                                    = log->first;
    }
    for (; seq <= log->head && read->entry_count < read->limit && bytes < read->bytes_max; seq++) {
        struct message *message                    = message_of(log, seq);
        read->entries[read->entry_count++].message = message;
        bytes += message_size(message);
    }
}

static void deliver(struct stage *stage, struct message *message)
{
    struct deliver_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->hint.command.kind = &deliver_kind;
    command->hint.count        = 1;
    command->hint.number       = ++stage->hint_number;
    command->messages[0]       = message;
    shard_take(&stage->shard, &command->hint.command);
}

void stage_publish(struct stage *stage, struct stage_log *log)
{
    log->head++;
    if (log->is_followed)
        deliver(stage, message_of(log, log->head));
}

static void stage_answer_follow(struct stage *stage, struct follow_command *follow)
{
    struct stage_log *log = log_of(stage, follow->channel);

    log->is_followed = true;
    follow->epoch    = log->epoch;
    follow->first    = log->first;
    follow->head     = log->head;
    shard_take(&stage->shard, &follow->command);
}

static void stage_answer_publish(struct stage *stage, struct publish_command *publish)
{
    struct stage_log *log = log_of(stage, publish->append.message->channel);

    stage_publish(stage, log);
    publish->outcome = PUBLISH_DONE;
    publish->answer  = (struct append_answer){ log->epoch, log->head, log->head, 1 };
    shard_take(&stage->shard, &publish->command);
}

static void stage_answer(struct stage *stage, struct command *command)
{
    if (command->kind == &follow_kind) {
        stage_answer_follow(stage, container_of(command, struct follow_command, command));
    } else if (command->kind == &unfollow_kind) {
        log_of(stage, container_of(command, struct follow_command, command)->channel)->is_followed = false;
        command_free(command);
    } else if (command->kind == &read_kind) {
        stage->read_count--;
        answer_read(stage, &container_of(command, struct read_command, command)->read);
        shard_take(&stage->shard, command);
    } else if (command->kind == &heartbeat_kind) {
        container_of(command, struct heartbeat_command, command)->number = stage->hint_number;
        shard_take(&stage->shard, command);
    } else if (command->kind != &publish_kind) {
        must(stage->other != NULL);
        stage->other(stage, command);
    } else {
        stage_answer_publish(stage, container_of(command, struct publish_command, command));
    }
}

/* What FOLLOW, UNFOLLOW and PUBLISH say is answered in the order of asking; pages may come late. */
static void stage_answer_all(struct stage *stage)
{
    struct mail *mail = stage->oldest;

    stage->oldest = NULL;
    stage->newest = &stage->oldest;
    while (mail != NULL) {
        struct command *command = command_of(mail);
        mail                    = mail->next;
        if (command->kind == &read_kind && stage->patience > 1 && rng_below(&stage->rng, stage->patience) != 0) {
            stage->read_count--;
            stage_send(stage, command);
        } else {
            stage_answer(stage, command);
        }
    }
}

/* --- the loop ------------------------------------------------------------------------------------------------ */

static void on_turn_begin(void *ctx)
{
    struct stage *stage = ctx;

    shard_turn_begin(&stage->shard, stage->sim.loop.now, stage->sim.loop.wall);
    if (!stage->is_writer_stuck)
        stage_answer_all(stage);
}

static void on_turn_end(void *ctx)
{
    struct stage *stage = ctx;

    if (stage->is_writer_quick)
        stage_answer_all(stage);
    shard_tell(&stage->shard);
    do {
        session_worker_turn_end(&stage->worker);
        http_server_turn_end(&stage->http);
    } while (!near_list_is_empty(&stage->worker.lists->dirty) || !list_is_empty(&stage->http.dirty));
    shard_turn_end(&stage->shard);
}

static const struct loop_hooks stage_hooks = { .turn_begin = on_turn_begin, .turn_end = on_turn_end };

void stage_turn(struct stage *stage)
{
    loop_sim_turn(&stage->sim, stage->sim.loop.now);
}

void stage_pass(struct stage *stage, msec ms)
{
    stage->sim.loop.now += ms;
    wheel_turn(&stage->sim.loop.wheel, stage->sim.loop.now);
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static struct http_caller stage_caller(const struct identified *answer)
{
    return (struct http_caller){ answer->identity, answer->refusal.status, answer->refusal.reason };
}

static void stage_identified(void *owner, const struct identified *answer)
{
    struct http_caller caller = stage_caller(answer);
    http_identified(owner, &caller);
}

static void *stage_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                            struct http_caller *ret)
{
    struct stage     *stage      = ctx;
    struct credential credential = { .kind = CREDENTIAL_NONE };
    struct identified answer;

    (void)request;
    void *under_way = identify(&stage->identifier->identifier, &credential, stage->sim.loop.now, stage_identified, sender,
                               &answer);
    *ret            = stage_caller(&answer);
    return under_way;
}

static void stage_cancel_identify(void *ctx, void *identification)
{
    (void)ctx;
    identify_cancel(identification);
}

static void stage_forget(void *ctx, struct identity *identity)
{
    (void)ctx;
    identity_unref(identity);
}

static uint64_t stage_new_key(void *ctx)
{
    struct stage *stage = ctx;
    return ++stage->key;
}

static const struct session_port stage_session_port = { .new_key = stage_new_key };

static struct http_plan stage_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    if (span_eq(request->path, SPAN("/v1/subscribe")))
        return session_plan_subscribe(request);
    return (struct http_plan){ .is_alone = true, .needs_caller = true };
}

static void stage_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct stage *stage = ctx;

    if (span_eq(request->path, SPAN("/v1/ws")))
        session_serve_ws(&stage->worker, exchange, request);
    else
        session_serve_subscribe(&stage->worker, exchange, request);
}

static const struct http_service stage_service = {
    .plan = stage_plan, .identify = stage_identify, .cancel_identify = stage_cancel_identify, .forget = stage_forget,
    .serve = stage_serve,
};

/* --- links --------------------------------------------------------------------------------------------------- */

static const struct sim_wire stage_wire = { .room_bytes = STAGE_ROOM_BYTES };

struct sim_link *stage_stream(struct stage *stage, struct stream **ret)
{
    return sim_link_new(&stage->sim, &stage_wire, ret);
}

struct sim_link *stage_link(struct stage *stage, const struct sim_wire *wire)
{
    struct stream   *stream;
    struct sim_link *far = sim_link_new(&stage->sim, wire, &stream);

    http_server_open(&stage->http, stream);
    return far;
}

struct sim_link *stage_connect(struct stage *stage)
{
    return stage_link(stage, &stage_wire);
}

bool stage_read(struct sim_link *far, struct buf *into)
{
    sim_take(far, into, SIZE_MAX);
    return sim_link_end(far) == SIM_OPEN;
}

/* --- setting up ---------------------------------------------------------------------------------------------- */

struct stage_log *stage_log(struct stage *stage, const char *channel, uint64_t first, uint64_t head)
{
    must(stage->log_count < STAGE_LOGS_MAX);
    struct stage_log *log = &stage->logs[stage->log_count++];
    *log                  = (struct stage_log){ .epoch = 9, .first = first, .head = head, .time = 1 };
    must(channel_name_new(&stage->spaces, &stage_key, span_str(channel), &log->name) == CHANNEL_NAME_OK);
    return log;
}

static void stage_furnish_worker(struct stage *stage)
{
    stage->worker.loop       = &stage->sim.loop;
    stage->worker.server     = &stage->http;
    stage->worker.shard      = &stage->shard;
    stage->worker.namespaces = &stage->spaces;
    stage->worker.hash_key   = &stage_key;
    stage->worker.port       = &stage_session_port;
    stage->worker.ctx        = stage;
    stage->worker.limits     = (struct session_limits){
        .heartbeat = { .asked_ms = 25000, .pong_timeout_ms = 10000, .least_ms = 10000, .most_ms = 1800000,
                       .offered_ms = 120000 },
        .slow_reader_timeout_ms = 3600000, .poll_wait_ms = 25000,
        .poll_wait_ms_max = 60000, .sse_retry_ms = 1000, .reconnect = { 1000, 60000, 200, 50 }, .close_timeout_ms = 5000,
        .connect_timeout_ms = 10000,
        .poll_store_timeout_ms = 5000, .echo_silence_ms = 3600000, .channels_max = 1000,
        .frame_bytes_max = 1 << 20, .gathered_bytes_max = 1 << 20, .gather_timeout_ms = 30000,
        .waiting_publishes_max = 256,
    };
    stage->worker.identifier = &stage->identifier->identifier;
    session_worker_init(&stage->worker);
}

void stage_init(struct stage *stage, uint64_t seed)
{
    static const struct http_limits http = {
        .h1 = { 8192, 16384 }, .pipeline_max = 16, .answer_bytes_max = 1 << 20, .request_timeout_ms = 30000,
        .head_timeout_ms = 30000,
        .keepalive_timeout_ms = 30000, .body_bytes_max = 1 << 20, .owed_bytes_max = 1 << 26,
        .ease_bytes_max = 1 << 26, .stuck_ms = 2000, .taken_bytes_min = 1,
        .linger_ms = 2000,
    };
    static const struct shard_limits shard = {
        .hub = { .window_messages_max = 32, .window_bytes_max = 1 << 20, .linger_ms = 100 },
        .page_count_max = 16, .page_bytes_max = 64 * 1024, .pages_away_max = 64, .pages_store_away_max = 16,
        .publish_count_max = 16, .publish_bytes_max = 1 << 20,
    };

    *stage        = (struct stage){ .rng = { seed }, .patience = 1 };
    stage->newest = &stage->oldest;
    namespaces_init(&stage->spaces);
    namespaces_find(&stage->spaces, SPAN("topic"))->keep_ms = 0;  /* messages are of 1970 */
    loop_sim_init(&stage->sim, &stage_hooks, stage, STAGE_BEGINS_MS, STAGE_BEGINS_WALL_MS);
    stage->identifier = malloc(sizeof *stage->identifier);
    must(stage->identifier != NULL);
    held_identifier_init(stage->identifier, &stage->sim.loop.wheel, HELD_MAX, 5000);
    http_server_init(&stage->http, &stage->sim.loop, &http, &stage_service, stage);
    shard_init(&stage->shard, 0, &stage_shard_port, stage, &shard);
    stage_furnish_worker(stage);
}

void stage_fini(struct stage *stage)
{
    session_worker_close_all(&stage->worker);
    http_server_fini(&stage->http);
    stage->patience        = 1;
    stage->is_writer_stuck = false;
    stage_turn(stage);  /* what was under way is answered, to nobody */
    session_worker_fini(&stage->worker);
    held_identifier_fini(stage->identifier);
    free(stage->identifier);
    shard_fini(&stage->shard);
    while (stage->oldest != NULL) {
        struct mail *next = stage->oldest->next;
        command_free(command_of(stage->oldest));
        stage->oldest = next;
    }
    for (size_t i = 0; i < stage->log_count; i++)
        channel_name_unref(stage->logs[i].name);
    loop_sim_fini(&stage->sim);
}
