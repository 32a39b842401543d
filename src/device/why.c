#include "device/why.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/device_look.h"

enum { WHY_READ_BYTES_MAX = 64 * 1024 };

enum why_row { WHY_SESSION, WHY_GROUP, WHY_ROWS };

struct why_work {
    struct why_command *command;
    struct device_read  read;
    struct ledger_key   keys[WHY_ROWS];
    size_t              key_count, read_at;
    char                bytes[WHY_ROWS][LEDGER_KEY_BYTES_MAX];
    struct device_look  look;
};

static struct why_command *why_of(struct command *command)
{
    return container_of(command, struct why_command, command);
}

static void why_work_free(struct why_command *command)
{
    struct why_work *work = command->work;

    if (work == NULL)
        return;
    ledger_read_fini(&work->read.read);
    device_look_fini(&work->look);
    free(work);
    command->work = NULL;
}

static void why_free(struct command *command)
{
    struct why_command *mine = why_of(command);

    why_work_free(mine);
    channel_name_unref(mine->channel);
    free(mine);
}

static void why_answer(struct why_command *command, enum why_outcome outcome)
{
    struct writer *writer = command->devices->writer;

    if (command->work != NULL)
        command->devices->looks.why_count--;
    why_work_free(command);
    command->outcome = outcome;
    writer->port->send(writer->ctx, command->command.loop, &command->command);
}

static void why_drop(struct device_look *look)
{
    command_free(&container_of(look, struct why_work, look)->command->command);
}

static void why_looked(struct device_look *look, enum rc rc)
{
    why_answer(container_of(look, struct why_work, look)->command, rc == RC_OK ? WHY_DONE : WHY_AWAY);
}

static void why_look(struct why_work *work)
{
    struct why_command *command = work->command;

    work->look = (struct device_look){
        .devices = command->devices, .channel = command->channel, .message = command->message, .at = &command->facts,
        .count = command->facts.generation != 0, .done = why_looked, .drop = why_drop,
    };
    device_look_begin(&work->look);
}

static void why_take_session(struct why_command *command, const struct ledger_row *row)
{
    struct device_facts facts;
    struct session_row  session;

    if (device_session_of(command->devices, span_str(command->facts.user), row, &facts)) {
        command->facts = facts;
    } else if (row->generation != 0 && session_row_get(row->value, &session)) {
        command->has_ended   = true;
        command->facts.since = session.since;
        command->facts.seen  = session.seen;
    }
}

static void why_take_spans(struct why_command *command, const struct ledger_row *row)
{
    struct group_spans spans;

    if (row->generation == 0 || !group_spans_get(row->value, &spans))
        return;
    command->spans     = spans;
    command->spans_seq = row->generation;
}

static void why_read(struct why_work *work);

static void why_came(struct device_read *asked)
{
    struct why_work    *work = container_of(asked, struct why_work, read);
    struct ledger_read *read = &asked->read;
    enum rc             rc   = read->rc;

    for (size_t i = 0; rc == RC_OK && i < read->row_count; i++, work->read_at++) {
        if (work->read_at == WHY_SESSION)
            why_take_session(work->command, &read->rows[i]);
        else
            why_take_spans(work->command, &read->rows[i]);
    }
    if (rc == RC_CORRUPT)
        work->read_at++;  /* as if the row were not there */
    ledger_read_fini(read);
    if (rc != RC_OK && rc != RC_CORRUPT)
        why_answer(work->command, WHY_AWAY);
    else
        why_read(work);
}

static void why_read(struct why_work *work)
{
    if (work->read_at == work->key_count) {
        why_look(work);
        return;
    }
    work->read.came = why_came;
    work->read.read = (struct ledger_read){
        .way = LEDGER_GET, .keys = work->keys + work->read_at, .key_count = work->key_count - work->read_at,
        .bytes_max = WHY_READ_BYTES_MAX,
    };
    device_read_send(work->command->devices, &work->read);
}

static void why_at_writer(struct command *command, struct writer *writer)
{
    struct why_command *mine = why_of(command);
    struct span         user = span_str(mine->facts.user), device = span_str(mine->facts.device);

    (void)writer;
    if (mine->devices->looks.why_count == WHYS_AWAY_MAX) {
        why_answer(mine, WHY_BUSY);
        return;
    }
    mine->devices->looks.why_count++;
    struct why_work *work = calloc(1, sizeof *work);
    must(work != NULL);
    mine->work              = work;
    work->command           = mine;
    work->key_count         = 1;
    work->keys[WHY_SESSION] = (struct ledger_key){ ROW_SESSION, group_key(user, device, work->bytes[WHY_SESSION]) };
    if (strcmp(mine->channel->space->name, "group") == 0) {
        work->keys[WHY_GROUP] = (struct ledger_key){ ROW_GROUP, group_key(user, channel_own_name(mine->channel),
                                                                         work->bytes[WHY_GROUP]) };
        work->key_count       = WHY_ROWS;
    }
    why_read(work);
}

static void why_at_loop(struct command *command, struct shard *shard)
{
    struct why_command *mine = why_of(command);

    shard_end_question(shard);
    mine->answered(mine);
}

static const struct command_kind why_kind = {
    .name = "why", .free = why_free, .at_loop = why_at_loop, .at_writer = why_at_writer,
};

struct why_command *why_command_new(struct devices *devices, struct channel_name *channel, struct span user,
                                    struct span device)
{
    struct why_command *command = calloc(1, sizeof *command);

    must(command != NULL && user.len < sizeof command->facts.user && device.len < sizeof command->facts.device);
    command->command.kind = &why_kind;
    command->devices      = devices;
    command->channel      = channel_name_ref(channel);
    memcpy(command->facts.user, user.at, user.len);
    memcpy(command->facts.device, device.at, device.len);
    return command;
}

void shard_ask_why(struct shard *shard, struct why_command *command)
{
    shard_ask_question(shard, &command->command);
}
