/* follow.c - a program for test/system/client_driver.py: follows channels and publishes as it is told, and says what came. It
 * speaks as clients/js/test/follow.js does.
 *
 * usage: follow '{"url":…, "options":{…}, "channels":{"topic:a":{…}}, "handlerMs"?, "storeFile"?}'
 *
 * Reads commands from standard input and writes events to standard output, one JSON object a line. handlerMs: how long the
 * callback takes for each message. storeFile: keeps the places of all channels in that file, as an application does that has no
 * session. */
#include <errno.h>
#include <longwire.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "codec/json/json.h"
#include "message/epoch.h"

enum { CHANNELS_MAX = 64, LINE_BYTES_MAX = 4 << 20 };

struct follower {
    char     name[256];
    bool     is_answered;  /* on this link */
    bool     is_gone;
    bool     has_place;
    uint64_t epoch, seq;
    bool     has_snapshot;
    uint64_t snapshot_epoch, snapshot_seq;
    unsigned snapshots;    /* asked for so often */
};

struct program {
    struct lw      *lw;
    long            handler_ms;
    char            store_file[1024];
    struct follower at[CHANNELS_MAX];
    size_t          count;
    bool            is_connected, is_live, has_ended;
    struct buf      out, strings, input;
};

/* --- JSON ------------------------------------------------------------------------------------------------------------ */

/* A document that holds its own copy of the text. */
struct parsed {
    struct json_doc doc;
    char           *text;
};

static void parse(struct parsed *parsed, struct span text, uint32_t depth)
{
    const struct json_limits limits = { .depth_kept = depth };

    parsed->text = strndup(text.len > 0 ? text.at : "", text.len);
    json_doc_init(&parsed->doc);
    must(parsed->text != NULL && json_parse(span_of(parsed->text, text.len), &limits, &parsed->doc));
}

static void parsed_fini(struct parsed *parsed)
{
    json_doc_fini(&parsed->doc);
    free(parsed->text);
}

/* Copies a text member into `into`; "" where there is none. */
static void take_text(const struct parsed *parsed, const struct json_token *object, const char *name, char *into, size_t max)
{
    struct buf  scratch;
    struct span text = SPAN("");

    buf_init(&scratch, LINE_BYTES_MAX);
    (void)json_string(json_member(&parsed->doc, object, span_str(name)), &scratch, &text);
    must(text.len < max);
    snprintf(into, max, "%.*s", SPAN_ARG(text));
    buf_fini(&scratch);
}

static bool take_number(const struct parsed *parsed, const struct json_token *object, const char *name, uint64_t *ret)
{
    return json_u64(json_member(&parsed->doc, object, span_str(name)), ret);
}

static bool take_flag(const struct parsed *parsed, const struct json_token *object, const char *name)
{
    const struct json_token *flag = json_member(&parsed->doc, object, span_str(name));

    return flag != NULL && flag->type == JSON_TRUE;
}

static void say(struct program *program)
{
    buf_putc(&program->out, '\n');
    must(fwrite(program->out.at, 1, program->out.len, stdout) == program->out.len && fflush(stdout) == 0);
}

static void begin(struct program *program, const char *event, const char *channel)
{
    buf_clear(&program->out);
    buf_putf(&program->out, "{\"event\":\"%s\"", event);
    if (channel != NULL) {
        buf_put_lit(&program->out, ",\"channel\":");
        json_put_string(&program->out, span_str(channel));
    }
}

static void put_epoch(struct program *program, uint64_t epoch)
{
    buf_put_lit(&program->out, ",\"epoch\":\"");
    epoch_put(&program->out, epoch);
    buf_putc(&program->out, '"');
}

/* --- channels and their places ------------------------------------------------------------------------------------------ */

static struct follower *find(struct program *program, const char *name)
{
    for (size_t i = 0; i < program->count; i++)
        if (strcmp(program->at[i].name, name) == 0)
            return &program->at[i];
    must(program->count < CHANNELS_MAX);
    struct follower *follower = &program->at[program->count++];
    snprintf(follower->name, sizeof follower->name, "%s", name);
    follower->is_gone = true;
    return follower;
}

static void store(struct program *program)
{
    struct buf text;
    char       new_path[1100];

    if (program->store_file[0] == '\0')
        return;
    buf_init(&text, LINE_BYTES_MAX);
    buf_put_lit(&text, "{\"places\":{");
    for (size_t i = 0, count = 0; i < program->count; i++) {
        const struct follower *follower = &program->at[i];
        if (!follower->has_place)
            continue;
        if (count++ > 0)
            buf_putc(&text, ',');
        json_put_string(&text, span_str(follower->name));
        buf_putf(&text, ":{\"seq\":%llu,\"epoch\":\"%016llx\"}", (unsigned long long)follower->seq,
                 (unsigned long long)follower->epoch);
    }
    buf_put_lit(&text, "}}");
    snprintf(new_path, sizeof new_path, "%s.new", program->store_file);
    FILE *file = fopen(new_path, "we");
    must(file != NULL && fwrite(text.at, 1, text.len, file) == text.len && fclose(file) == 0);
    must(rename(new_path, program->store_file) == 0);
    buf_fini(&text);
}

static void set_place(struct program *program, struct follower *follower, uint64_t epoch, uint64_t seq)
{
    follower->has_place = true;
    follower->epoch     = epoch;
    follower->seq       = seq;
    store(program);
}

static void load(struct program *program)
{
    char          text[65536], epoch[32];
    FILE         *file = program->store_file[0] != '\0' ? fopen(program->store_file, "re") : NULL;
    struct parsed parsed;

    if (file == NULL)
        return;
    parse(&parsed, span_of(text, fread(text, 1, sizeof text, file)), 4);
    fclose(file);
    const struct json_token *places = json_member(&parsed.doc, json_root(&parsed.doc), SPAN("places")), *place;
    for (const struct json_token *name = json_first(&parsed.doc, places); name != NULL;
         name = json_next(&parsed.doc, places, place)) {
        char channel[256];
        place = json_next(&parsed.doc, places, name);
        snprintf(channel, sizeof channel, "%.*s", (int)name->raw.len - 2, name->raw.at + 1);
        struct follower *follower = find(program, channel);
        follower->has_place       = take_number(&parsed, place, "seq", &follower->seq);
        take_text(&parsed, place, "epoch", epoch, sizeof epoch);
        follower->epoch = strtoull(epoch, NULL, 16);
    }
    parsed_fini(&parsed);
}

/* "live" once all channels have answered on this link. */
static void judge_live(struct program *program)
{
    bool is_live = program->is_connected;

    for (size_t i = 0; i < program->count; i++)
        is_live &= program->at[i].is_gone || program->at[i].is_answered;
    if (is_live && !program->is_live) {
        begin(program, "state", NULL);
        buf_put_lit(&program->out, ",\"name\":\"live\",\"transport\":\"native\",\"fallBacks\":[]}");
        say(program);
    }
    program->is_live = is_live;
}

/* --- callbacks ------------------------------------------------------------------------------------------------------------ */

static void put_data(struct program *program, const struct lw_message *message)
{
    struct span data = span_of(message->data, message->data_len);

    if (json_is_media(span_str(message->media)) && data.len > 0) {
        buf_put_lit(&program->out, ",\"data\":");
        buf_put(&program->out, data);
    } else if (utf8_is_valid(data)) {
        buf_put_lit(&program->out, ",\"data\":");
        json_put_string(&program->out, data);
    } else {
        buf_put_lit(&program->out, ",\"data_base64\":\"");
        base64_put(&program->out, data);
        buf_putc(&program->out, '"');
    }
}

static void on_message(void *arg, const struct lw_message *message)
{
    struct program *program = arg;

    if (program->handler_ms > 0)
        nanosleep(&(struct timespec){ .tv_nsec = program->handler_ms * 1000000 }, NULL);  /* the work of an application */
    begin(program, message->kind == LW_RECALL ? "recall" : "message", message->channel);
    put_epoch(program, message->epoch);
    buf_putf(&program->out, ",\"seq\":%llu", (unsigned long long)message->seq);
    if (message->kind == LW_MESSAGE)
        put_data(program, message);
    buf_putc(&program->out, '}');
    say(program);
    set_place(program, find(program, message->channel), message->epoch, message->seq);
}

static void on_gap(void *arg, const struct lw_gap *gap)
{
    static const char *const whys[]  = { "expired", "trimmed", "epoch", "ahead", "corrupt", "collapsed", "unfollowed", "other" };
    struct program          *program = arg;

    begin(program, "gap", gap->channel);
    put_epoch(program, gap->epoch);
    buf_putf(&program->out, ",\"from\":%llu,\"to\":%llu,\"why\":\"%s\"}", (unsigned long long)gap->from,
             (unsigned long long)gap->to, whys[gap->why]);
    say(program);
    set_place(program, find(program, gap->channel), gap->epoch, gap->why == LW_GAP_AHEAD ? gap->from - 1 : gap->to);
}

static void on_subscription(void *arg, const struct lw_subscription *subscription)
{
    struct program  *program  = arg;
    struct follower *follower = find(program, subscription->channel);

    if (!subscription->is_followed && subscription->code == 0)
        return;
    if (subscription->is_followed) {
        begin(program, "ready", subscription->channel);
        if (!follower->has_place && !follower->has_snapshot)
            set_place(program, follower, subscription->epoch, subscription->head);
    } else {
        follower->is_gone = true;
    }
    if (!subscription->is_followed)
        begin(program, "refused", subscription->channel);
    buf_putf(&program->out, ",\"code\":%u}", subscription->code);
    say(program);
    follower->is_answered = true;
    judge_live(program);
}

static void on_control(void *arg, const struct lw_control *control)
{
    struct program *program = arg;

    begin(program, control->type, control->channel);
    buf_putf(&program->out, ",\"joined\":%s,\"seq\":%llu}", control->has_joined ? "true" : "false",
             (unsigned long long)control->seq);
    say(program);
}

static void on_notify(void *arg, const char *channel, uint64_t epoch, uint64_t head)
{
    struct program *program = arg;

    begin(program, "notify", channel);
    put_epoch(program, epoch);
    buf_putf(&program->out, ",\"head\":%llu}", (unsigned long long)head);
    say(program);
}

static void on_presence(void *arg, const struct lw_presence *presence)
{
    static const char *const kinds[] = { "join", "leave", "presence" };
    struct program          *program = arg;

    begin(program, kinds[presence->kind], presence->channel);
    if (presence->user != NULL) {
        buf_put_lit(&program->out, ",\"user\":");
        json_put_string(&program->out, span_str(presence->user));
        buf_put_lit(&program->out, ",\"device\":");
        json_put_string(&program->out, span_str(presence->device));
    }
    buf_putf(&program->out, ",\"count\":%llu}", (unsigned long long)presence->count);
    say(program);
}

static void on_token(void *arg, unsigned in_s)
{
    struct program *program = arg;

    begin(program, "expiring", NULL);
    buf_putf(&program->out, ",\"in\":%u}", in_s);
    say(program);
}

static void on_ticket(void *arg, const char *ticket)
{
    struct program *program = arg;

    begin(program, "ticket", NULL);
    buf_put_lit(&program->out, ",\"ticket\":");
    json_put_string(&program->out, span_str(ticket == NULL ? "" : ticket));
    buf_putc(&program->out, '}');
    say(program);
}

static void on_snapshot(void *arg, const char *channel)
{
    struct program  *program  = arg;
    struct follower *follower = find(program, channel);

    begin(program, "state asked", channel);
    buf_putf(&program->out, ",\"why\":\"%s\"}", follower->snapshots++ == 0 ? "first" : "gap");
    say(program);
    must(lw_snapshot_taken(program->lw, channel, follower->snapshot_epoch, follower->snapshot_seq) == LW_OK);
}

static void on_state(void *arg, const struct lw_status *status)
{
    struct program *program = arg;

    program->is_connected = status->state == LW_CONNECTED;
    program->has_ended |= status->state == LW_ENDED;
    if (status->state == LW_CONNECTED) {
        begin(program, "connected", NULL);
        buf_putf(&program->out, ",\"connection\":\"%s\",\"resumed\":%s%s,\"generation\":%llu,\"user\":\"%s\",\"device\":\"%s\"}",
                 status->connection, status->is_resumed ? "true" : "false", status->is_unfenced ? ",\"fenced\":false" : "", (unsigned long long)status->generation,
                 status->user == NULL ? "" : status->user, status->device == NULL ? "" : status->device);
        say(program);
    }
    if (status->state == LW_CONNECTED || status->state == LW_CONNECTING) {
        judge_live(program);
        return;
    }
    for (size_t i = 0; i < program->count; i++)
        program->at[i].is_answered = false;
    program->is_live = false;
    begin(program, "state", NULL);
    buf_putf(&program->out, ",\"name\":\"%s\",\"code\":%u}", program->has_ended ? "closed" : "away", status->code);
    say(program);
}

/* A publish that waits for its answer: the text comes back in the event. */
struct published_text {
    struct program *program;
    char            data[];
};

static void on_published(void *arg, const struct lw_published *published)
{
    struct published_text *text    = arg;
    struct program        *program = text->program;

    begin(program, published->code == 0 ? "published" : "not published", published->channel);
    buf_put_lit(&program->out, ",\"data\":");
    json_put_string(&program->out, span_str(text->data));
    buf_putf(&program->out, ",\"seq\":%llu,\"code\":%u}", (unsigned long long)published->seq, published->code);
    say(program);
    free(text);
}

static void on_response(void *arg, const struct lw_response *response)
{
    struct program *program = arg;
    const char     *media   = lw_response_header(response, "content-type");

    begin(program, "response", NULL);
    buf_put_lit(&program->out, ",\"id\":");
    json_put_string(&program->out, span_str(response->id));
    buf_putf(&program->out, ",\"status\":%u,\"code\":%u,\"replayed\":%s,\"body\":", response->status, response->code,
             response->is_replayed ? "true" : "false");
    json_put_string(&program->out, span_of(response->body, response->body_len));
    buf_put_lit(&program->out, ",\"media\":");
    json_put_string(&program->out, span_str(media == NULL ? "" : media));
    buf_put_lit(&program->out, ",\"reason\":");
    json_put_string(&program->out, span_str(response->reason == NULL ? "" : response->reason));
    buf_putc(&program->out, '}');
    say(program);
}

/* --- commands ------------------------------------------------------------------------------------------------------------------ */

static void follow(struct program *program, const struct parsed *parsed, const struct json_token *how, const char *channel)
{
    struct follower         *follower  = find(program, channel);
    struct lw_subscribe      subscribe = { .channel = channel };
    const struct json_token *state     = json_member(&parsed->doc, how, SPAN("state"));
    char                     epoch[32], mode[16];

    take_text(parsed, how, "mode", mode, sizeof mode);
    subscribe.mode = strcmp(mode, "notify") == 0 ? LW_NOTIFY : LW_PUSH;
    subscribe.keep     = take_flag(parsed, how, "keep");
    subscribe.presence = take_flag(parsed, how, "presence");
    follower->is_gone  = follower->is_answered = false;
    if (take_number(parsed, how, "after", &subscribe.seq)) {
        subscribe.place = LW_AFTER;
        take_text(parsed, how, "epoch", epoch, sizeof epoch);
        subscribe.epoch = strtoull(epoch, NULL, 16);
    } else if (take_number(parsed, how, "last", &subscribe.seq))
        subscribe.place = LW_LAST;
    else if (follower->has_place) {
        subscribe.place = LW_AFTER;
        subscribe.seq   = follower->seq;
        subscribe.epoch = follower->epoch;
    }
    if (state != NULL) {
        follower->has_snapshot = subscribe.needs_snapshot = true;
        must(take_number(parsed, state, "seq", &follower->snapshot_seq));
        take_text(parsed, state, "epoch", epoch, sizeof epoch);
        follower->snapshot_epoch = strtoull(epoch, NULL, 16);
    }
    must(lw_subscribe(program->lw, &subscribe) == LW_OK);
}

static void publish(struct program *program, const struct parsed *parsed, const char *channel)
{
    char                   data[65536], collapse[128], priority[16];
    struct published_text *text;

    take_text(parsed, json_root(&parsed->doc), "data", data, sizeof data);
    text = malloc(sizeof *text + strlen(data) + 1);
    must(text != NULL);
    text->program = program;
    strcpy(text->data, data);
    take_text(parsed, json_root(&parsed->doc), "collapseKey", collapse, sizeof collapse);
    take_text(parsed, json_root(&parsed->doc), "priority", priority, sizeof priority);
    must(lw_publish(program->lw, &(struct lw_publish){
        .channel = channel, .data = data, .data_len = strlen(data), .collapse_key = collapse[0] != '\0' ? collapse : NULL,
        .priority = strcmp(priority, "beat") == 0 ? LW_BEAT : LW_NOW,
    }, on_published, text) == LW_OK);
}

static void ask(struct program *program, const struct parsed *parsed)
{
    const struct json_token *root = json_root(&parsed->doc);
    char                     id[256], method[32], path[1024], body[65536];
    uint64_t                 timeout_ms = 0;

    take_text(parsed, root, "id", id, sizeof id);
    take_text(parsed, root, "method", method, sizeof method);
    take_text(parsed, root, "path", path, sizeof path);
    take_text(parsed, root, "body", body, sizeof body);
    (void)take_number(parsed, root, "timeoutMs", &timeout_ms);
    must(lw_request(program->lw, &(struct lw_request){
        .path = path, .method = method[0] != '\0' ? method : NULL, .id = id[0] != '\0' ? id : NULL, .body = body,
        .body_len = strlen(body), .timeout_ms = (int64_t)timeout_ms,
    }, on_response, program) == LW_OK);
}

static void carry_out(struct program *program, struct span line)
{
    struct parsed parsed;
    char          command[32], channel[256];
    uint64_t      seq = 0;

    parse(&parsed, line, 3);
    const struct json_token *root = json_root(&parsed.doc);
    take_text(&parsed, root, "command", command, sizeof command);
    take_text(&parsed, root, "channel", channel, sizeof channel);
    (void)take_number(&parsed, root, "seq", &seq);
    if (strcmp(command, "publish") == 0) {
        publish(program, &parsed, channel);
    } else if (strcmp(command, "request") == 0) {
        ask(program, &parsed);
    } else if (strcmp(command, "cancel") == 0) {
        char id[256];
        take_text(&parsed, root, "id", id, sizeof id);
        must(lw_cancel(program->lw, id) == LW_OK);
    } else if (strcmp(command, "subscribe") == 0) {
        follow(program, &parsed, root, channel);
    } else if (strcmp(command, "unsubscribe") == 0) {
        find(program, channel)->is_gone   = true;
        find(program, channel)->has_place = false;
        must(lw_unsubscribe(program->lw, channel) == LW_OK);
    } else if (strcmp(command, "token") == 0) {
        char token[16384];
        take_text(&parsed, root, "token", token, sizeof token);
        must(lw_set_token(program->lw, token) == LW_OK);
    } else if (strcmp(command, "read") == 0) {
        must(lw_read(program->lw, channel, seq) == LW_OK);
    } else if (strcmp(command, "ack") == 0) {
        must(lw_ack(program->lw, channel, seq) == LW_OK);
    } else {
        must(strcmp(command, "close") == 0);
        (void)lw_close(program->lw);
    }
    parsed_fini(&parsed);
}

/* --- running -------------------------------------------------------------------------------------------------------------------- */

static void read_commands(struct program *program)
{
    char    piece[65536];
    ssize_t got = read(STDIN_FILENO, piece, sizeof piece);
    char   *end;

    must(got >= 0);
    if (got == 0) {
        (void)lw_close(program->lw);
        close(STDIN_FILENO);
        return;
    }
    buf_put(&program->input, span_of(piece, (size_t)got));
    while ((end = memchr(program->input.at, '\n', program->input.len)) != NULL) {
        size_t len = (size_t)(end - program->input.at);
        carry_out(program, span_head(buf_span(&program->input), len));
        buf_drop(&program->input, len + 1);
    }
}

static void run(struct program *program)
{
    struct pollfd fds[] = { { .fd = lw_fd(program->lw), .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };

    while (lw_process(program->lw) == LW_OK) {
        must(poll(fds, 2, lw_timeout(program->lw)) >= 0 || errno == EINTR);
        if ((fds[1].revents & (POLLIN | POLLHUP)) == 0)
            continue;
        read_commands(program);
        if (program->input.len == 0 && (fds[1].revents & POLLIN) == 0)
            fds[1].fd = -1;
    }
}

static struct lw_backoff backoff_of(const struct parsed *parsed, const struct json_token *options)
{
    const struct json_token *said = json_member(&parsed->doc, options, SPAN("backOff"));
    uint64_t                 base = 0, cap = 0;

    if (said == NULL)
        return (struct lw_backoff){ 0 };
    must(take_number(parsed, said, "base_ms", &base) && take_number(parsed, said, "cap_ms", &cap));
    return (struct lw_backoff){ .base_ms = (int64_t)base, .cap_ms = (int64_t)cap, .factor = 2, .jitter = 1 };
}

/* "http://HOST:PORT" of a test's link means the same address here. */
static const char *address_of(char url[256])
{
    return strncmp(url, "http://", 7) == 0 ? url + 7 : url;
}

static void start(struct program *program, const struct parsed *parsed)
{
    const struct json_token *root     = json_root(&parsed->doc);
    const struct json_token *options  = json_member(&parsed->doc, root, SPAN("options"));
    const struct json_token *channels = json_member(&parsed->doc, root, SPAN("channels")), *how;
    char                     url[1024], allocate[256], user[256], device[256], ticket[16384], token[16384];
    uint64_t                 handler_ms = 0, heartbeat_s = 0;

    take_text(parsed, root, "url", url, sizeof url);
    take_text(parsed, root, "storeFile", program->store_file, sizeof program->store_file);
    take_text(parsed, options, "allocate", allocate, sizeof allocate);
    take_text(parsed, options, "user", user, sizeof user);
    take_text(parsed, options, "device", device, sizeof device);
    take_text(parsed, options, "ticket", ticket, sizeof ticket);
    take_text(parsed, options, "token", token, sizeof token);
    (void)take_number(parsed, root, "handlerMs", &handler_ms);
    if (take_number(parsed, options, "silenceMs", &heartbeat_s))
        heartbeat_s = (heartbeat_s + 999) / 1000;  /* the server allows no less than 10 */
    const struct json_token *hand    = json_member(&parsed->doc, options, SPAN("ackByHand"));
    const bool               wants_token = json_member(&parsed->doc, options, SPAN("asksForTokens")) != NULL;
    (void)take_number(parsed, options, "heartbeat", &heartbeat_s);
    const struct json_token *session = json_member(&parsed->doc, options, SPAN("session"));
    program->handler_ms = (long)handler_ms;
    program->lw         = lw_new(&(struct lw_options){
        .servers     = address_of(url),
        .allocate    = allocate[0] != '\0' ? allocate : NULL,
        .backoff     = backoff_of(parsed, options),
        .user        = user[0] != '\0' ? user : NULL,
        .device      = device[0] != '\0' ? device : NULL,
        .ticket      = ticket[0] != '\0' ? ticket : NULL,
        .token       = token[0] != '\0' ? token : NULL,
        .has_session = session != NULL && session->type == JSON_TRUE,
        .ack_mode    = hand != NULL && hand->type == JSON_TRUE ? LW_ACK_BY_HAND : LW_ACK_AFTER_CALLBACK,
        .heartbeat_s = (unsigned)heartbeat_s,
        .on = { .message = on_message, .gap = on_gap, .state = on_state, .subscription = on_subscription,
                .snapshot = on_snapshot, .control = on_control, .notify = on_notify, .presence = on_presence, .ticket = on_ticket,
                .token = wants_token ? on_token : NULL },
        .arg = program,
    }, NULL);
    must(program->lw != NULL);
    load(program);
    for (const struct json_token *name = json_first(&parsed->doc, channels); name != NULL;
         name = json_next(&parsed->doc, channels, how)) {
        char channel[256];
        how = json_next(&parsed->doc, channels, name);
        snprintf(channel, sizeof channel, "%.*s", (int)name->raw.len - 2, name->raw.at + 1);
        follow(program, parsed, how, channel);
    }
}

int main(int argc, char **argv)
{
    static struct program program;
    struct parsed         parsed;

    must(argc == 2);
    buf_init(&program.out, LINE_BYTES_MAX);
    buf_init(&program.input, LINE_BYTES_MAX);
    parse(&parsed, span_str(argv[1]), 5);
    start(&program, &parsed);
    run(&program);
    lw_free(program.lw);
    parsed_fini(&parsed);
    buf_fini(&program.out);
    buf_fini(&program.input);
    return 0;
}
