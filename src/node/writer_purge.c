/* writer_purge.c - a purge visits the loops that follow before it is answered. */
#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

static void purged_go_on(struct writer *writer, struct purged_command *purged)
{
    struct publish_command *publish = purged->publish;

    if (purged->to_visit != 0) {
        purged->command.loop = (unsigned)__builtin_ctzll(purged->to_visit);
        purged->to_visit &= purged->to_visit - 1;
        writer_send_view(writer, &purged->command);
        return;
    }
    purged->publish = NULL;
    command_free(&purged->command);
    if (publish != NULL)
        writer_answer(writer, publish, PUBLISH_PURGED);
}

/* publish NULL: nobody waits for the answer. */
static void writer_spread_purge(struct writer *writer, struct channel_name *name, uint64_t epoch, uint64_t head,
                                struct publish_command *publish)
{
    struct purged_command *purged = calloc(1, sizeof *purged);
    struct tail           *tail   = tails_find(&writer->tails, name);

    must(purged != NULL);
    purged->command = (struct command){ .kind = &purged_kind };
    purged->channel = channel_name_ref(name);
    purged->epoch   = epoch;
    purged->head    = head;
    purged->publish = publish;
    if (tail != NULL) {
        purged->to_visit = tail->entry.followers;
        tail_purge(&writer->tails, tail, epoch, head);
        tail_let_go(&writer->tails, tail);
    }
    purged_go_on(writer, purged);
}

void writer_purge_known(struct writer *writer, struct tail *tail, uint64_t epoch, uint64_t head)
{
    writer_spread_purge(writer, tail->entry.name, epoch, head, NULL);
}

void writer_hear_purge(struct writer *writer, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct tail *tail = tails_find(&writer->tails, name);

    must(epoch != 0);
    if (tail == NULL || tail->entry.followers == 0)
        return;
    if (tail->epoch != epoch)
        writer_outdate(writer, tail);
    else
        writer_purge_known(writer, tail, epoch, head);
}

void writer_take_purge(struct writer *writer, struct publish_command *publish, bool is_late)
{
    struct channel_name       *name   = publish->append.message->channel;
    const struct purge_answer *answer = &publish->append.purged;

    if (writer_is_routed(writer, name))
        writer->cluster->purged(writer->cluster_ctx, name, answer->epoch, answer->head);
    writer_spread_purge(writer, name, answer->epoch, answer->head, is_late ? NULL : publish);
    if (is_late)
        command_free(&publish->command);  /* it was answered; the loop gives up its part, too */
}

void writer_take_purged(struct command *command, struct writer *writer)
{
    purged_go_on(writer, container_of(command, struct purged_command, command));
}
