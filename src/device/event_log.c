#include "device/event_log.h"

#include <stdlib.h>

#include "base/must.h"

static void note_free(struct command *command)
{
    free(container_of(command, struct event_note, command));
}

static void note_at_writer(struct command *command, struct writer *writer)
{
    struct event_note *note = container_of(command, struct event_note, command);

    (void)writer;
    event_outbox_take(note->outbox, note);
    command_free(command);
}

static const struct command_kind event_note_kind = { .name = "event", .free = note_free, .at_writer = note_at_writer };

static void note_send(struct event_log *log, const struct event_facts *facts, bool is_told, enum event_row_way way)
{
    struct event_note *note;
    struct buf         text;

    buf_init(&text, EVENT_TEXT_BYTES);
    if (is_told)
        event_facts_put(&text, facts, log->shard->wall);
    must(!buf_is_over(&text));
    note = malloc(sizeof *note + facts->user.len + facts->device.len + text.len);
    must(note != NULL);
    *note = (struct event_note){ .command = { .kind = &event_note_kind }, .outbox = log->outbox, .kind = facts->kind,
                                 .log = event_facts_log(facts), .order = event_order_of(facts), .time = log->shard->wall,
                                 .way = way, .connection = facts->connection, .user_len = (uint8_t)facts->user.len,
                                 .device_len = (uint8_t)facts->device.len, .text_len = (uint32_t)text.len };
    must(facts->user.len <= UINT8_MAX && facts->device.len <= UINT8_MAX);
    struct span parts[] = { facts->user, facts->device, buf_span(&text) };
    char       *at      = note->bytes;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; at += parts[i].len, i++)
        if (parts[i].len > 0)
            memcpy(at, parts[i].at, parts[i].len);
    buf_fini(&text);
    shard_send_own(log->shard, &note->command);
}

void event_log_note(struct event_log *log, const struct event_facts *facts)
{
    if (event_log_wants(log, facts->kind))
        note_send(log, facts, true, EVENT_ROW_NONE);
}

void event_log_note_begin(struct event_log *log, const struct event_facts *facts, bool *has_row)
{
    const struct event_facts nobody = { .kind = facts->kind, .connection = facts->connection };

    if (log == NULL)
        return;
    bool is_told = event_log_wants(log, EVENT_KIND_CONNECTED), wants_row = event_log_wants(log, EVENT_KIND_DISCONNECTED);
    if (is_told || wants_row)
        note_send(log, facts, is_told, wants_row ? EVENT_ROW_BEGIN : EVENT_ROW_NONE);
    if (*has_row)
        note_send(log, &nobody, false, EVENT_ROW_END);
    *has_row = wants_row;
}

void event_log_note_end(struct event_log *log, const struct event_facts *facts, bool has_row)
{
    bool is_told = event_log_wants(log, EVENT_KIND_DISCONNECTED);

    if (is_told || has_row)
        note_send(log, facts, is_told, has_row ? EVENT_ROW_END : EVENT_ROW_NONE);
}
