#include "node/head_ear.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

struct heard_command {
    struct command       command;
    struct head_ear     *ear;
    struct channel_name *name;  /* owns a reference; NULL: something was missed */
    uint64_t             epoch, head;
};

static void heard_free(struct command *command)
{
    struct heard_command *heard = container_of(command, struct heard_command, command);

    channel_name_unref(heard->name);
    free(heard);
}

static void writer_take_heard(struct command *command, struct writer *writer)
{
    struct heard_command *heard = container_of(command, struct heard_command, command);

    atomic_fetch_sub(&heard->ear->waiting_count, 1);
    writer_hear_head(writer, heard->name, heard->epoch, heard->head);
    heard_free(command);
}

static void writer_take_missed(struct command *command, struct writer *writer)
{
    struct heard_command *missed = container_of(command, struct heard_command, command);

    atomic_store(&missed->ear->has_missed, false);
    writer_compare_all(writer);
    heard_free(command);
}

static const struct command_kind heard_kind  = { .name = "heard", .free = heard_free, .at_writer = writer_take_heard };
static const struct command_kind missed_kind = { .name = "missed", .free = heard_free, .at_writer = writer_take_missed };

static void ear_post(struct head_ear *ear, const struct heard_command *what)
{
    struct heard_command *command = malloc(sizeof *command);

    must(command != NULL);
    *command = *what;
    ear->writer->port->post(ear->writer->ctx, &command->command);
}

static void ear_missed(void *ctx)
{
    struct head_ear *ear = ctx;

    if (!atomic_exchange(&ear->has_missed, true))
        ear_post(ear, &(struct heard_command){ .command = { .kind = &missed_kind }, .ear = ear });
}

static void ear_heard(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct head_ear *ear = ctx;

    if (atomic_fetch_add(&ear->waiting_count, 1) < HEAD_EAR_MAX) {
        ear_post(ear, &(struct heard_command){ .command = { .kind = &heard_kind }, .ear = ear,
                                               .name = channel_name_ref(name), .epoch = epoch, .head = head });
        return;
    }
    atomic_fetch_sub(&ear->waiting_count, 1);
    ear_missed(ear);
}

void head_ear_begin(struct head_ear *ear, struct writer *writer)
{
    struct store *store = writer->durable.store;

    *ear = (struct head_ear){ .writer = writer };
    if (store->ops->hear != NULL)
        store->ops->hear(store, &(struct store_ear){ .heard = ear_heard, .missed = ear_missed, .ctx = ear });
}
