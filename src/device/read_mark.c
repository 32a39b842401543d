#include "device/read_mark.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/group_spans.h"
#include "message/control_message.h"
#include "message/epoch.h"
#include "message/user_name.h"
#include "node/shard.h"

enum { MARK_ROWS_BYTES = 8192 };

/* What a change needs at the writer. */
struct read_mark_work {
    struct read_mark_command *mark;
    struct device_read        read;
    struct ledger_key         keys[2];     /* of the mark's row; of the user's in the group */
    struct device_heads       heads;
    struct store_head         head;
    uint64_t                  generation;  /* of the row: the mark; 0: there is none */
    uint64_t                  epoch;       /* … of this life of the log */
    unsigned                  tries;
    struct ledger_write       write;
    struct ledger_change      change;
    struct buf                value;
    char                      key_bytes[2][LEDGER_KEY_BYTES_MAX];
};

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void read_mark_work_free(struct read_mark_command *mark)
{
    if (mark->work == NULL)
        return;
    buf_fini(&mark->work->value);
    free(mark->work);
    mark->work = NULL;
    mark->devices->mark_count--;
}

static void mark_end(struct read_mark_work *work, enum read_mark_outcome outcome)
{
    struct read_mark_command *mark   = work->mark;
    struct writer            *writer = mark->devices->writer;

    mark->outcome = outcome;
    read_mark_work_free(mark);
    writer->port->send(writer->ctx, mark->command.loop, &mark->command);
}

/* The mark is this one now. */
static void mark_done(struct read_mark_work *work, uint64_t epoch, uint64_t seq)
{
    work->mark->epoch = epoch;
    work->mark->seq   = seq;
    mark_end(work, READ_MARK_DONE);
}

/* --- the append ------------------------------------------------------------------------------------------------- */

static void append_drop(struct command *command)
{
    struct publish_command   *publish = container_of(command, struct publish_command, command);
    struct read_mark_command *mark    = publish->owner;

    publish->owner = NULL;
    publish_kind.free(command);
    if (mark != NULL)
        command_free(&mark->command);
}

/* The writer has it from the start; if the writer ends before the store has it, the mark goes with it. */
static const struct command_kind read_mark_append_kind = { .name = "read mark append", .free = append_drop };

static void mark_read_rows(struct read_mark_work *work);

static void mark_settled(struct publish_command *publish, struct writer *writer)
{
    struct read_mark_command *mark    = publish->owner;
    struct read_mark_work    *work    = mark->work;
    enum publish_outcome      outcome = publish->outcome;

    (void)writer;
    publish->owner = NULL;
    command_free(&publish->command);
    switch (outcome) {
    case PUBLISH_DONE:
        counter_add(&mark->devices->counters.marks, 1);
        mark_done(work, work->head.epoch, work->change.generation);
        return;
    case PUBLISH_STALE: mark_read_rows(work); return;
    case PUBLISH_BUSY: mark_end(work, READ_MARK_BUSY); return;
    case PUBLISH_NO_SPACE: mark_end(work, READ_MARK_NO_SPACE); return;
    case PUBLISH_AWAY: mark_end(work, READ_MARK_AWAY); return;
    case PUBLISH_BROKEN: mark_end(work, READ_MARK_BROKEN); return;
    case PUBLISH_REPLAYED:
    case PUBLISH_KEY_CONFLICT:
    case PUBLISH_NO_TARGET:
    case PUBLISH_PURGED:
    case PUBLISH_NO_MEMBER:
    case PUBLISH_TOO_OFTEN:
    case PUBLISH_TOO_FAR:
        break;
    }
    must(!"an append without key and target ends otherwise");
}

static struct message *mark_message(const struct read_mark_command *mark, uint64_t epoch, uint64_t seq)
{
    struct buf object;

    buf_init(&object, MARK_ROWS_BYTES);
    buf_put_lit(&object, "{\"target_channel\":");
    control_put_string(&object, channel_name_span(mark->channel));
    buf_put_lit(&object, ",\"target_epoch\":\"");
    epoch_put(&object, epoch);
    buf_put_lit(&object, "\",\"target\":");
    buf_put_u64(&object, seq);
    if (mark->device_len > 0) {
        buf_put_lit(&object, ",\"device\":");
        control_put_string(&object, span_of(mark->device, mark->device_len));
    }
    buf_putc(&object, '}');
    must(!buf_is_over(&object));
    struct message *message = control_message_new(mark->user, SPAN("read"), buf_span(&object),
                                                  channel_name_span(mark->user));
    message->time = mark->devices->writer->wall;
    buf_fini(&object);
    return message;
}

static void mark_fill_row(struct read_mark_work *work, uint64_t seq)
{
    msec wall = work->mark->devices->writer->wall;

    buf_clear(&work->value);
    place_row_put(&work->value, &(struct place_row){ .epoch = work->head.epoch, .wall = wall });
    work->change = (struct ledger_change){
        .op             = LEDGER_PUT,
        .key            = work->keys[0],
        .value          = buf_span(&work->value),
        .generation     = seq,
        .expires_at     = wall + (msec)READ_MARK_KEEP_DAYS * 24 * 3600 * 1000,
        .is_conditional = true,
        .if_generation  = work->generation,
    };
    work->write = (struct ledger_write){ .changes = &work->change, .count = 1 };
}

static void mark_append(struct read_mark_work *work, uint64_t seq)
{
    struct read_mark_command *mark    = work->mark;
    struct message           *message = mark_message(mark, work->head.epoch, seq);
    struct publish_command   *publish = publish_command_new(&message, SPAN(""), SPAN(""));

    mark_fill_row(work, seq);
    publish->command      = (struct command){ .kind = &read_mark_append_kind, .loop = mark->command.loop };
    publish->append.write = &work->write;
    publish->settled      = mark_settled;
    publish->owner        = mark;
    publish_kind.at_writer(&publish->command, mark->devices->writer);
}

/* --- the head --------------------------------------------------------------------------------------------------- */

/* A mark of another life of the log counts as nothing; one beyond the head counts as the head. */
static uint64_t mark_wanted(const struct read_mark_work *work)
{
    const struct read_mark_command *mark = work->mark;
    const struct store_head        *head = &work->head;

    if (mark->epoch != 0 && mark->epoch != head->epoch)
        return 0;
    return mark->seq < head->head ? mark->seq : head->head;
}

static void mark_head_came(struct device_heads *heads)
{
    struct read_mark_work *work = container_of(heads, struct read_mark_work, heads);

    if (work->head.rc != RC_OK) {
        mark_end(work, work->head.rc == RC_FULL ? READ_MARK_BUSY : READ_MARK_AWAY);
        return;
    }
    uint64_t wanted = mark_wanted(work), stands = work->epoch == work->head.epoch ? work->generation : 0;
    if (wanted <= stands)
        mark_done(work, work->head.epoch, stands);
    else
        mark_append(work, wanted);
}

static void mark_ask_head(struct read_mark_work *work)
{
    struct read_mark_command *mark   = work->mark;
    const struct writer      *writer = mark->devices->writer;
    bool is_durable                  = mark->channel->space->durability == DURABLE;

    work->heads.came  = mark_head_came;
    work->heads.heads = (struct store_heads){ .names = &mark->channel, .heads = &work->head, .count = 1 };
    device_heads_send(mark->devices, is_durable ? writer->durable.store : writer->memory.store, &work->heads);
}

/* --- the rows --------------------------------------------------------------------------------------------------- */

static bool row_is_of_member(const struct ledger_row *row)
{
    struct group_spans spans;

    return row->generation != 0 && group_spans_get(row->value, &spans) && group_spans_is_member(&spans);
}

/* A row that can't be read, by its form, is overwritten. */
static void mark_note_row(struct read_mark_work *work, const struct ledger_row *row)
{
    struct place_row place;

    work->generation = row->generation;
    work->epoch      = row->generation != 0 && place_row_get(row->value, &place) ? place.epoch : 0;
}

static void mark_rows_came(struct device_read *read)
{
    struct read_mark_work *work      = container_of(read, struct read_mark_work, read);
    enum rc                rc        = read->read.rc;
    bool                   is_member = true;

    if (rc == RC_OK) {
        mark_note_row(work, &read->read.rows[0]);
        is_member = !work->mark->needs_member || row_is_of_member(&read->read.rows[1]);
    }
    ledger_read_fini(&read->read);
    if (rc != RC_OK)
        mark_end(work, rc == RC_FULL ? READ_MARK_BUSY : READ_MARK_AWAY);
    else if (!is_member)
        mark_end(work, READ_MARK_NO_MEMBER);
    else
        mark_ask_head(work);
}

static void mark_read_rows(struct read_mark_work *work)
{
    struct read_mark_command *mark = work->mark;

    if (work->tries++ > READ_MARK_TRIES_MAX) {
        mark_end(work, READ_MARK_BUSY);
        return;
    }
    work->read.came = mark_rows_came;
    work->read.read = (struct ledger_read){
        .way = LEDGER_GET, .keys = work->keys, .key_count = mark->needs_member ? 2 : 1, .bytes_max = MARK_ROWS_BYTES,
    };
    device_read_send(mark->devices, &work->read);
}

/* --- coming and going ------------------------------------------------------------------------------------------- */

static void mark_begin(struct read_mark_command *mark)
{
    struct read_mark_work *work = calloc(1, sizeof *work);
    struct span            user = channel_own_name(mark->user);

    must(work != NULL);
    mark->work = work;
    work->mark = mark;
    buf_init(&work->value, 64);
    work->keys[0] = (struct ledger_key){ ROW_READ_MARK, group_key(user, channel_name_span(mark->channel),
                                                                  work->key_bytes[0]) };
    work->keys[1] = (struct ledger_key){ ROW_GROUP, group_key(user, channel_own_name(mark->channel),
                                                              work->key_bytes[1]) };
    if (mark->devices->mark_count++ >= READ_MARKS_AWAY_MAX)
        mark_end(work, READ_MARK_BUSY);
    else if (mark->user->space->durability != DURABLE || mark->devices->writer->durable.store->ledger == NULL)
        mark_end(work, READ_MARK_NOT_DURABLE);
    else
        mark_read_rows(work);
}

static struct read_mark_command *mark_of(struct command *command)
{
    return container_of(command, struct read_mark_command, command);
}

static void mark_at_writer(struct command *command, struct writer *writer)
{
    (void)writer;
    mark_begin(mark_of(command));
}

static void mark_at_loop(struct command *command, struct shard *shard)
{
    struct read_mark_command *mark = mark_of(command);

    shard_end_question(shard);
    mark->answered(mark);
}

static void mark_free(struct command *command)
{
    struct read_mark_command *mark = mark_of(command);

    read_mark_work_free(mark);
    channel_name_unref(mark->user);
    channel_name_unref(mark->channel);
    free(mark);
}

static const struct command_kind read_mark_kind = {
    .name = "read mark", .free = mark_free, .at_loop = mark_at_loop, .at_writer = mark_at_writer,
};

struct read_mark_command *read_mark_command_new(struct devices *devices, struct span user, struct span device,
                                                struct channel_name *channel)
{
    struct read_mark_command *mark = calloc(1, sizeof *mark);
    char                      text[USER_NAME_BYTES_MAX + 8];

    must(mark != NULL && user.len <= USER_NAME_BYTES_MAX && device.len <= sizeof mark->device);
    memcpy(text, "user:", 5);
    memcpy(text + 5, user.at, user.len);
    must(channel_name_new(devices->namespaces, devices->hash_key, span_of(text, 5 + user.len), &mark->user) ==
         CHANNEL_NAME_OK);
    mark->command.kind = &read_mark_kind;
    mark->devices      = devices;
    mark->channel      = channel_name_ref(channel);
    mark->device_len   = device.len;
    if (device.len > 0)
        memcpy(mark->device, device.at, device.len);
    return mark;
}

void shard_set_read_mark(struct shard *shard, struct read_mark_command *mark)
{
    shard_ask_question(shard, &mark->command);
}
