/* sub_native.c - `longwire sub` over the native protocol, with the client library (clients/c/longwire.h). What it prints is
 * the same as over HTTP: each entry is made the JSON object that the server would have sent.
 *
 * A message is acknowledged once it is written out, so a session sends again what was not. */
#include <errno.h>
#include <fcntl.h>
#include <longwire.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "longwire/native_wait.h"
#include "longwire/sub.h"
#include "message/epoch.h"

enum { LEAVE_MS = 5000, TICKET_FILE_BYTES_MAX = 64 * 1024, PATH_LENGTH_MAX = 4096, MARKS_MAX = 4096 };

/* Up to where a channel was printed since the last flush. */
struct sub_mark {
    char    *channel;  /* owned */
    uint64_t seq;
};

struct native_run {
    struct sub      *sub;
    struct lw       *lw;
    struct sub_mark *marks;
    size_t           mark_count;
    struct buf       line;
    size_t           followed_count;
    bool             was_connected;
    bool             has_left;   /* LW_ENDED */
};

/* --- the command line ---------------------------------------------------------------------------------------------- */

static bool take_mode(struct sub_native *native, const char *value)
{
    native->is_notify = strcmp(value, "notify") == 0;
    if (native->is_notify || strcmp(value, "push") == 0)
        return true;
    say("--mode is push or notify, not \"%s\"", value);
    return false;
}

bool sub_native_option(struct sub_native *native, int option, const char *value)
{
    switch (option) {
    case OPTION_USER: native->user = value; return true;
    case OPTION_DEVICE: native->device = value; return true;
    case OPTION_SESSION: native->has_session = true; return true;
    case OPTION_TICKET_FILE: native->ticket_file = value; return true;
    default: must(option == OPTION_MODE); return take_mode(native, value);
    }
}

bool sub_native_is_asked(const struct sub_native *native)
{
    return native->user != NULL || native->device != NULL || native->ticket_file != NULL || native->has_session ||
           native->is_notify;
}

bool sub_native_is_sound(const struct sub *sub)
{
    if (sub->since != NULL || sub->cursor.len > 0 || sub->has_silence) {
        say("--since, --cursor and --silence need HTTP: --server http://HOST:8080");
        return false;
    }
    if (sub->channel_count == 0 && !sub->native.has_session) {
        say("which channel? For instance: longwire sub topic:prices; or --session, for a user's own ones");
        return false;
    }
    if (sub->native.ticket_file != NULL && !sub->native.has_session) {
        say("--ticket-file goes with --session");
        return false;
    }
    return true;
}

/* --- the ticket's file ---------------------------------------------------------------------------------------------- */

/* NULL: there is none. The caller frees it. */
static char *ticket_read(const char *path)
{
    char   *text = path == NULL ? NULL : calloc(1, TICKET_FILE_BYTES_MAX + 1);
    FILE   *file = path == NULL ? NULL : fopen(path, "re");
    size_t  len  = 0;

    if (file != NULL && text != NULL) {
        len = fread(text, 1, TICKET_FILE_BYTES_MAX, file);
        while (len > 0 && text[len - 1] == '\n')
            text[--len] = '\0';
    }
    if (file != NULL)
        (void)fclose(file);
    if (len > 0)
        return text;
    free(text);
    return NULL;
}

/* Into a new file, which then takes the old one's name: a crash leaves one of them whole. */
static bool ticket_write(const char *path, const char *ticket)
{
    char new_path[PATH_LENGTH_MAX];
    int  len = snprintf(new_path, sizeof new_path, "%s.new", path);
    int  fd  = len > 0 && (size_t)len < sizeof new_path ? open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                                                        : -1;
    if (fd < 0)
        return false;
    bool is_written = dprintf(fd, "%s\n", ticket) > 0;
    is_written      = close(fd) == 0 && is_written;
    return is_written && rename(new_path, path) == 0;
}

static void on_ticket(void *arg, const char *ticket)
{
    const char *path = ((struct native_run *)arg)->sub->native.ticket_file;

    if (path == NULL)
        return;
    if (ticket == NULL)
        (void)unlink(path);
    else if (!ticket_write(path, ticket))
        say("the ticket can't be written to %s: %s", path, strerror(errno));
}

/* --- what comes in ------------------------------------------------------------------------------------------------------ */

static void put_head(struct buf *line, struct span type, const char *channel, uint64_t epoch)
{
    buf_clear(line);
    buf_putf(line, "{\"type\":\"%.*s\",\"channel\":", SPAN_ARG(type));
    json_put_string(line, span_str(channel));
    buf_put_lit(line, ",\"epoch\":\"");
    epoch_put(line, epoch);
    buf_put_lit(line, "\"");
}

static void put_on_one_line(struct buf *line, struct span json)
{
    size_t at = line->len;

    buf_put(line, json);
    for (; at < line->len; at++)
        if (line->at[at] == '\n' || line->at[at] == '\r')
            line->at[at] = ' ';
}

/* "membership" of "application/vnd.longwire.membership+json", whose data is an object; empty: an ordinary message. Such media
 * types are the server's own. */
static struct span control_type(const struct lw_message *message)
{
    static const struct span head = SPAN("application/vnd.longwire."), tail = SPAN("+json");
    struct span              media = span_str(message->media), data = span_of(message->data, message->data_len);

    if (message->kind != LW_MESSAGE || media.len <= head.len + tail.len || !span_starts(media, head) ||
        !span_eq(span_skip(media, media.len - tail.len), tail) || data.len < 2 || data.at[0] != '{' || data.at[data.len - 1] != '}')
        return SPAN("");
    return span_of(media.at + head.len, media.len - head.len - tail.len);
}

/* Its members stand beside those of the message, as in the frames of JSON. */
static void put_control(struct buf *line, const struct lw_message *message)
{
    struct span inside = span_of((const char *)message->data + 1, message->data_len - 2);

    if (inside.len > 0)
        buf_putc(line, ',');
    put_on_one_line(line, inside);
}

/* As JSON itself, as text, or as base64; on one line. */
static void put_data(struct buf *line, const struct lw_message *message)
{
    struct span data = span_of(message->data, message->data_len);

    if (json_is_media(span_str(message->media)) && data.len > 0) {
        buf_put_lit(line, ",\"data\":");
        put_on_one_line(line, data);
    } else if (utf8_is_valid(data)) {
        buf_put_lit(line, ",\"data\":");
        json_put_string(line, data);
    } else {
        buf_put_lit(line, ",\"data_base64\":\"");
        base64_put(line, data);
        buf_putc(line, '"');
    }
}

static void put_rest(struct buf *line, const struct lw_message *message)
{
    switch (message->kind) {
    case LW_RECALL: buf_putf(line, ",\"target\":%llu", (unsigned long long)message->target); return;
    case LW_RECALLED: buf_put_lit(line, ",\"recalled\":true"); return;
    case LW_MESSAGE: break;
    }
    buf_put_lit(line, ",\"media\":");
    json_put_string(line, span_str(message->media));
    if (message->event != NULL) {
        buf_put_lit(line, ",\"event\":");
        json_put_string(line, span_str(message->event));
    }
    put_data(line, message);
}

static void put_message(struct buf *line, const struct lw_message *message)
{
    struct span control = control_type(message);

    put_head(line, message->kind == LW_RECALL ? SPAN("recall") : control.len > 0 ? control : SPAN("message"), message->channel,
             message->epoch);
    buf_putf(line, ",\"seq\":%llu,\"id\":%llu,\"time\":%lld,\"from\":", (unsigned long long)message->seq,
             (unsigned long long)message->id, (long long)message->time_ms);
    if (message->from != NULL)
        json_put_string(line, span_str(message->from));
    else
        buf_put_lit(line, "null");
    if (control.len > 0)
        put_control(line, message);
    else
        put_rest(line, message);
    buf_putc(line, '}');
}

/* Prints the object in run->line. True: it was a message that counts. */
static bool print_line(struct native_run *run)
{
    struct entry_view entry;

    buf_clear(&run->sub->decoded);
    if (!entry_read(buf_span(&run->line), &run->sub->decoded, &entry))
        return false;
    printer_put(&run->sub->printer, &entry);
    return entry.type == ENTRY_MESSAGE;
}

static void keep_mark(struct native_run *run, const char *channel, uint64_t seq)
{
    size_t at = 0;

    while (at < run->mark_count && strcmp(run->marks[at].channel, channel) != 0)
        at++;
    if (at == MARKS_MAX)
        return;  /* that channel is acknowledged with its next message */
    if (at == run->mark_count) {
        run->marks[at].channel = strdup(channel);
        must(run->marks[at].channel != NULL);
        run->mark_count++;
    }
    run->marks[at].seq = seq;
}

static void on_message(void *arg, const struct lw_message *message)
{
    struct native_run *run = arg;
    struct sub        *sub = run->sub;

    if (sub->is_over)
        return;  /* not printed, and not acknowledged */
    put_message(&run->line, message);
    bool counts = print_line(run);
    keep_mark(run, message->channel, message->seq);
    if (counts && ++sub->count == sub->count_max)
        sub_leave(sub, EXIT_FINE);
}

static void on_gap(void *arg, const struct lw_gap *gap)
{
    static const char *const whys[] = { "expired", "trimmed", "epoch", "ahead", "corrupt", "collapsed", "unfollowed", "other" };
    struct native_run       *run    = arg;

    if (run->sub->is_over)
        return;
    put_head(&run->line, SPAN("gap"), gap->channel, gap->epoch);
    buf_putf(&run->line, ",\"from\":%llu,\"to\":%llu,\"why\":\"%s\"}", (unsigned long long)gap->from,
             (unsigned long long)gap->to, whys[gap->why]);
    (void)print_line(run);
}

static void on_notify(void *arg, const char *channel, uint64_t epoch, uint64_t head)
{
    struct native_run *run = arg;

    if (run->sub->is_over)
        return;
    put_head(&run->line, SPAN("notify"), channel, epoch);
    buf_putf(&run->line, ",\"head\":%llu}\n", (unsigned long long)head);
    if (run->sub->printer.format == FORMAT_JSON)
        printer_write(&run->sub->printer, buf_span(&run->line));
    else
        say("%s: messages up to %llu", channel, (unsigned long long)head);
    if (++run->sub->count == run->sub->count_max)
        sub_leave(run->sub, EXIT_FINE);
}

static void on_subscription(void *arg, const struct lw_subscription *subscription)
{
    struct native_run *run = arg;

    if (run->sub->is_over)
        return;
    if (subscription->code != 0) {
        say("%s can't be followed: %s (%u)", subscription->channel, subscription->reason, subscription->code);
        sub_leave(run->sub, EXIT_REFUSED);
        return;
    }
    run->followed_count += subscription->is_followed;
    if (run->followed_count == run->sub->channel_count && run->sub->start == NULL && isatty(STDERR_FILENO) == 1)
        say("following from now on; Ctrl-C ends");
}

/* --- the link ----------------------------------------------------------------------------------------------------------- */

static void on_connected(struct native_run *run, const struct lw_status *status, bool is_verbose)
{
    if (run->sub->is_away)
        say("connected again");
    if (is_verbose && status->user != NULL)
        say("connected to %s as %s/%s, generation %llu%s", status->server, status->user, status->device,
            (unsigned long long)status->generation, status->is_resumed ? ", resumed" : "");
    run->sub->is_away  = false;
    run->was_connected = true;
}

static void on_waiting(struct native_run *run, const struct lw_status *status)
{
    struct sub *sub         = run->sub;
    bool        may_go_away = run->was_connected || native_is_put_off(status) || sub->has_patience;

    if (!run->was_connected && status->wait_ms == 0)
        return;  /* another server is tried at once */
    if (sub->is_once || !may_go_away) {
        say("%s: %s", native_waits_because(status, run->was_connected), status->reason);
        sub_leave(sub, EXIT_UNREACHED);
        return;
    }
    native_say_waiting(status, run->was_connected);
    sub->is_away = true;
}

static void on_state(void *arg, const struct lw_status *status)
{
    struct native_run *run = arg;

    switch (status->state) {
    case LW_CONNECTING: break;
    case LW_CONNECTED: on_connected(run, status, run->sub->http.is_verbose); break;
    case LW_WAITING:
        if (!run->sub->is_over)
            on_waiting(run, status);
        break;
    case LW_ENDED:
        run->has_left = true;
        if (run->sub->is_over)
            break;
        say("the server has ended it: %s (%u)", status->reason, status->code);
        sub_leave(run->sub, EXIT_REFUSED);
        break;
    }
}

/* --- running ---------------------------------------------------------------------------------------------------------------- */

static void acknowledge(struct native_run *run)
{
    bool is_written = sub_flush(run->sub);

    for (size_t i = 0; i < run->mark_count; i++) {
        if (is_written)
            (void)lw_ack(run->lw, run->marks[i].channel, run->marks[i].seq);  /* full or closed: it comes again */
        free(run->marks[i].channel);
    }
    run->mark_count = 0;
}

static int wait_ms(const struct native_run *run, msec until)
{
    int  timeout = lw_timeout(run->lw);
    msec left    = until - msec_now();

    if (until == 0 || (timeout >= 0 && timeout <= left))
        return timeout;
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* One turn, until `until` at most (0: no limit). `stop_fd` -1: nobody stops it. */
static void turn(struct native_run *run, int stop_fd, msec until)
{
    struct pollfd fds[] = { { .fd = lw_fd(run->lw), .events = POLLIN }, { .fd = stop_fd, .events = POLLIN } };

    must(poll(fds, 2, wait_ms(run, until)) >= 0 || errno == EINTR);
    if (fds[1].revents != 0)
        sub_leave(run->sub, EXIT_FINE);
    (void)lw_process(run->lw);
    acknowledge(run);
}

static void follow(struct native_run *run)
{
    struct sub    *sub = run->sub;
    struct lw_subscribe how = { .mode = sub->native.is_notify ? LW_NOTIFY : LW_PUSH };

    if (sub->start != NULL) {
        how.place = strcmp(sub->start, "last") == 0 ? LW_LAST : LW_AFTER;
        how.seq   = sub->start_seq;
    }
    for (size_t i = 0; i < sub->channel_count && !sub->is_over; i++) {
        how.channel = sub->channels[i];
        if (lw_subscribe(run->lw, &how) != LW_OK) {
            say("\"%s\" can't be a channel's name", sub->channels[i]);
            sub_leave(sub, EXIT_USAGE);
        }
    }
}

static void run_until_over(struct native_run *run, int stop_fd)
{
    struct sub *sub = run->sub;

    follow(run);
    while (!sub->is_over) {
        turn(run, stop_fd, sub->until);
        if (sub->until != 0 && msec_now() >= sub->until && !sub->is_over)
            sub_leave(sub, sub->count_max > 0 ? EXIT_TIMEOUT : EXIT_FINE);
    }
    msec give_up = msec_now() + LEAVE_MS;
    (void)lw_close(run->lw);
    while (!run->has_left && msec_now() < give_up)
        turn(run, -1, give_up);
}

void sub_native_run(struct sub *sub, const struct target *target, int stop_fd)
{
    struct native_run  run    = { .sub = sub };
    const char        *fault  = NULL;
    char              *ticket = ticket_read(sub->native.ticket_file);
    struct lw_options  options = {
        .servers     = target->server,
        .token       = target->key,
        .user        = sub->native.user,
        .device      = sub->native.device,
        .has_session = sub->native.has_session,
        .ticket      = ticket,
        .ack_mode    = LW_ACK_BY_HAND,
        .mode        = sub->native.is_notify ? LW_NOTIFY : LW_PUSH,
        .message_bytes_max = ENTRY_BYTES_MAX,
        .channel_count_max = sub->channel_count + MARKS_MAX,
        .on = { .message = on_message, .gap = on_gap, .state = on_state, .subscription = on_subscription,
                .notify = on_notify, .ticket = on_ticket },
        .arg = &run,
    };

    buf_init(&run.line, (size_t)2 * ENTRY_BYTES_MAX);
    run.marks = calloc(MARKS_MAX, sizeof run.marks[0]);
    must(run.marks != NULL);
    sub->http.is_verbose = target->is_verbose;
    run.lw               = lw_new(&options, &fault);
    if (run.lw != NULL) {
        run_until_over(&run, stop_fd);
    } else {
        say("%s", fault);
        sub_leave(sub, EXIT_USAGE);
    }
    lw_free(run.lw);
    free(run.marks);
    buf_fini(&run.line);
    free(ticket);
}
