/* control_round.c - the command that carries a revocation to all loops, by way of the writer, and comes home with the
 * number of links that were cut. */
#include <stdlib.h>

#include "base/must.h"
#include "main/control.h"
#include "main/worker.h"
#include "node/writer.h"

struct round_command {
    struct command    command;
    uint64_t          seq;
    uint64_t          to_visit;  /* a bit a loop */
    bool              is_going;  /* has been to the writer */
    bool              is_home;
    unsigned          asker;
    uint64_t          cut;
    void            (*answered)(void *owner, uint64_t cut);
    void             *owner;
    struct revocation revocation;
    char              name[];
};

static void round_free(struct command *command)
{
    free(container_of(command, struct round_command, command));
}

static void round_at_loop(struct command *command, struct shard *shard)
{
    struct round_command *round  = container_of(command, struct round_command, command);
    struct worker        *worker = container_of(shard, struct worker, shard);

    if (round->is_home) {
        shard_end_question(shard);
        round->answered(round->owner, round->cut);
        free(round);
        return;
    }
    round->cut += control_revoke(&worker->control, round->seq, &round->revocation);
    shard->port->send(shard->ctx, command);
}

static void round_at_writer(struct command *command, struct writer *writer)
{
    struct round_command *round = container_of(command, struct round_command, command);

    if (!round->is_going) {
        round->is_going = true;
        round->to_visit = writer->loop_count == 64 ? UINT64_MAX : (UINT64_C(1) << writer->loop_count) - 1;
    }
    round->is_home = round->to_visit == 0;
    unsigned loop  = round->is_home ? round->asker : (unsigned)__builtin_ctzll(round->to_visit);
    round->to_visit &= round->to_visit - 1;
    writer->port->send(writer->ctx, loop, command);
}

static const struct command_kind round_kind = {
    .name = "round", .free = round_free, .at_loop = round_at_loop, .at_writer = round_at_writer,
};

void control_send_round(struct shard *shard, const struct revocation *revocation, uint64_t seq,
                        void (*answered)(void *owner, uint64_t cut), void *owner)
{
    struct round_command *round = calloc(1, sizeof *round + revocation->name.len);

    must(round != NULL);
    memcpy(round->name, revocation->name.at, revocation->name.len);
    round->command.kind    = &round_kind;
    round->seq             = seq;
    round->asker           = shard->loop;
    round->answered        = answered;
    round->owner           = owner;
    round->revocation      = *revocation;
    round->revocation.name = span_of(round->name, revocation->name.len);
    shard_ask_question(shard, &round->command);
}
