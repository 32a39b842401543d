#include "node/writer.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/command_priv.h"

/* A group of appends on its way, and the command that tells of its end. */
struct writer_batch {
    struct append_batch appends;
    struct command       committed;
    struct writer      *writer;
};

/* A head that the store is asked for. */
struct head_question {
    struct command     command;
    struct store_read read;     /* read.channel: owns a reference */
    struct writer    *writer;
};

/* What the stores send the writer. */
static const struct command_kind committed_kind;
static const struct command_kind head_kind;

static void head_question_free(struct head_question *question)
{
    channel_name_unref(question->read.channel);
    free(question);
}

static struct publish_command *publish_of(struct list *link)
{
    return container_of(link, struct publish_command, append.link);
}

static struct writer_batch *writer_batch_new(struct writer *writer, void (*done)(struct append_batch *))
{
    struct writer_batch *batch = calloc(1, sizeof *batch);

    must(batch != NULL);
    batch->writer         = writer;
    batch->committed.kind = &committed_kind;
    batch->appends.done   = done;
    list_init(&batch->appends.appends);
    return batch;
}

static void writer_commit_done(struct append_batch *appends);
static void writer_quick_done(struct append_batch *appends);

void writer_init(struct writer *writer, const struct writer_port *port, void *ctx, struct store *durable,
                 struct store *memory, const struct writer_limits *limits, unsigned loop_count)
{
    must(loop_count >= 1 && loop_count <= LOOPS_MAX);
    *writer = (struct writer){
        .port = port, .ctx = ctx, .durable = durable, .memory = memory, .limits = *limits, .loop_count = loop_count,
    };
    tails_init(&writer->tails, limits->tail_bytes_max, limits->tail_messages_max);
    list_init(&writer->waiting);
    writer->batch = writer_batch_new(writer, writer_commit_done);
    writer->quick = writer_batch_new(writer, writer_quick_done);
}

static void free_publishes(struct list *appends)
{
    struct list *link;
    while ((link = list_pop(appends)) != NULL)
        command_free(&publish_of(link)->command);
}

void writer_fini(struct writer *writer)
{
    must(!writer->is_busy && writer->asking_count == 0);
    for (unsigned i = 0; i < writer->loop_count; i++)
        if (writer->delivers[i] != NULL)
            command_free(&writer->delivers[i]->command);
    free_publishes(&writer->waiting);
    free_publishes(&writer->quick->appends.appends);
    while (writer->unanswered != NULL) {
        struct command *command = command_of(writer->unanswered);
        writer->unanswered      = command->mail.next;
        head_question_free(container_of(command, struct head_question, command));
    }
    free(writer->batch);
    free(writer->quick);
    tails_fini(&writer->tails);
}

bool writer_is_idle(const struct writer *writer)
{
    return !writer->is_busy && writer->waiting_count == 0 && writer->asking_count == 0 &&
           writer->quick->appends.count == 0;
}

static bool name_is_durable(const struct channel_name *name)
{
    return name->space->durability == DURABLE;
}

static struct store *writer_store_of(const struct writer *writer, const struct channel_name *name)
{
    return name_is_durable(name) ? writer->durable : writer->memory;
}

/* --- publishing --- */

static void writer_answer(struct writer *writer, struct publish_command *command, enum publish_outcome outcome)
{
    command->outcome = outcome;
    writer->port->send(writer->ctx, command->command.loop, &command->command);
}

void writer_take_publish(struct command *command, struct writer *writer)
{
    struct publish_command *publish = container_of(command, struct publish_command, command);
    struct append          *append  = &publish->append;

    append->outcome = APPEND_WAITING;
    if (!name_is_durable(append->message->channel)) {
        list_push(&writer->quick->appends.appends, &append->link);
        writer->quick->appends.count++;
        return;
    }
    size_t bytes = message_size(append->message);
    if (writer->waiting_count >= writer->limits.waiting_count_max ||
        writer->waiting_bytes + bytes > writer->limits.waiting_bytes_max)
        writer->is_refusing = true;
    if (writer->is_refusing) {
        counter_add(&writer->refused, 1);
        writer_answer(writer, publish, PUBLISH_BUSY);
        return;
    }
    list_push(&writer->waiting, &append->link);
    writer->waiting_count++;
    writer->waiting_bytes += bytes;
}

static void writer_submit(struct writer *writer, msec wall)
{
    struct append_batch *batch = &writer->batch->appends;
    size_t               bytes = 0;

    if (writer->is_busy || list_is_empty(&writer->waiting))
        return;
    batch->count = 0;
    batch->wall  = wall;
    while (!list_is_empty(&writer->waiting) && batch->count < writer->limits.batch_count_max &&
           bytes < writer->limits.batch_bytes_max) {
        struct publish_command *command = publish_of(list_pop(&writer->waiting));
        size_t                 size   = message_size(command->append.message);
        bytes += size;
        writer->waiting_bytes -= size;
        writer->waiting_count--;
        list_push(&batch->appends, &command->append.link);
        batch->count++;
    }
    writer->is_busy     = true;
    writer->busy_at     = wall;
    writer->batch_bytes = bytes;
    writer->durable->ops->append(writer->durable, batch);
}

/* On a thread of the store. */
static void writer_commit_done(struct append_batch *appends)
{
    struct writer_batch *batch = container_of(appends, struct writer_batch, appends);
    batch->writer->port->post(batch->writer->ctx, &batch->committed);
}

static void writer_send_delivery(struct writer *writer, unsigned loop)
{
    struct deliver_command *deliver = writer->delivers[loop];

    if (deliver == NULL)
        return;
    writer->delivers[loop] = NULL;
    writer->port->send(writer->ctx, loop, &deliver->command);
}

/* A head or a page, behind the messages of this turn that it knows of: before them it would make old news of them, and
 * all readers of that loop would ask the log. */
static void writer_send_view(struct writer *writer, struct command *command)
{
    writer_send_delivery(writer, command->loop);
    writer->port->send(writer->ctx, command->loop, command);
}

static void writer_deliver_to(struct writer *writer, unsigned loop, struct message *message)
{
    struct deliver_command *deliver = writer->delivers[loop];

    if (deliver == NULL) {
        deliver = malloc(sizeof *deliver);
        must(deliver != NULL);
        deliver->command = (struct command){ .kind = &deliver_kind, .loop = loop };
        deliver->count  = 0;
        writer->delivers[loop] = deliver;
    }
    deliver->messages[deliver->count++] = message_ref(message);
    if (deliver->count == DELIVER_MESSAGES_MAX)
        writer_send_delivery(writer, loop);
}

/* A message that its store has numbered and, if it's durable, synced. */
static void writer_spread(struct writer *writer, struct message *message)
{
    bool         is_durable = name_is_durable(message->channel);
    struct tail *tail       = is_durable ? tails_get(&writer->tails, message->channel)
                                         : tails_find(&writer->tails, message->channel);
    if (tail == NULL)
        return;

    tail_take(&writer->tails, tail, message, is_durable);
    for (uint64_t left = tail->followers; left != 0; left &= left - 1)
        writer_deliver_to(writer, (unsigned)__builtin_ctzll(left), message);
    tail_let_go(&writer->tails, tail);
}

static enum publish_outcome outcome_of(const struct append *append)
{
    switch (append->outcome) {
    case APPEND_DONE: return PUBLISH_DONE;
    case APPEND_REPLAYED: return PUBLISH_REPLAYED;
    case APPEND_KEY_CONFLICT: return PUBLISH_KEY_CONFLICT;
    case APPEND_NO_TARGET: return PUBLISH_NO_TARGET;
    case APPEND_NO_SPACE: return PUBLISH_NO_SPACE;
    case APPEND_STALE: must(!"a publish carries no ledger write"); break;
    case APPEND_AWAY: return PUBLISH_AWAY;
    case APPEND_WAITING: must(!"a store completes every append of a batch"); break;
    case APPEND_BROKEN: break;
    }
    return PUBLISH_BROKEN;
}

/* What a broken store said not to know may be in the log all the same, and turn up when it has reopened: no head that
 * was learnt before its first good word can be trusted, or a message might wait unseen until the next one comes. */
static void writer_weigh(struct writer *writer, const struct append *append)
{
    bool is_broken = append->outcome == APPEND_BROKEN;

    if (is_broken == writer->is_doubtful || append->outcome == APPEND_NO_SPACE)
        return;
    writer->is_doubtful = is_broken;
    writer->trust++;
}

static void writer_weigh_all(struct writer *writer, const struct append_batch *batch)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        writer_weigh(writer, &publish_of(link)->append);
}

static void writer_finish(struct writer *writer, struct append_batch *batch)
{
    struct list *link;

    while ((link = list_pop(&batch->appends)) != NULL) {
        struct publish_command *command  = publish_of(link);
        struct message        *message = command->append.message;

        if (command->append.outcome == APPEND_DONE) {
            command->answer = (struct append_answer){ message->epoch, message->seq, message->id, message->time };
            writer_spread(writer, message);
        } else {
            command->answer = command->append.first;
        }
        writer_answer(writer, command, outcome_of(&command->append));
    }
    batch->count = 0;
}

static void writer_quick_done(struct append_batch *appends)
{
    writer_finish(container_of(appends, struct writer_batch, appends)->writer, appends);
}

static void writer_submit_quick(struct writer *writer, msec wall)
{
    struct append_batch *batch = &writer->quick->appends;

    if (batch->count == 0)
        return;
    batch->wall = wall;
    writer->memory->ops->append(writer->memory, batch);
}

/* --- following --- */

static void writer_tell_head(struct writer *writer, struct tail *tail, struct follow_command *command)
{
    command->epoch = tail->epoch;
    command->first = tail->first;
    command->head  = tail->head;
    writer_send_view(writer, &command->command);
}

static void head_done(struct store_read *read)
{
    struct head_question *question = container_of(read, struct head_question, read);
    question->writer->port->post(question->writer->ctx, &question->command);
}

static void writer_put_question(struct writer *writer, struct head_question *question)
{
    struct store *store = writer_store_of(writer, question->read.channel);

    question->read.wall = writer->wall;
    writer->asking_count++;
    store->ops->read(store, &question->read);
}

static void writer_ask_head(struct writer *writer, struct tail *tail)
{
    struct head_question *question = calloc(1, sizeof *question);

    must(question != NULL);
    question->command.kind = &head_kind;
    question->writer       = writer;
    question->read.channel = channel_name_ref(tail->name);
    question->read.way     = READ_AFTER;
    question->read.done    = head_done;
    tail->is_asked         = true;
    tail->trust            = writer->trust;
    writer_put_question(writer, question);
}

static void question_keep(struct head_question *question, struct mail **list)
{
    question->command.mail.next = *list;
    *list                       = &question->command.mail;
}

/* More than was spread so far, because the store shows what it has written before it has said so? Told now, it would
 * overtake the messages themselves. */
static bool writer_is_head_early(const struct writer *writer, const struct tail *tail, const struct store_read *read)
{
    return writer->is_busy && read->rc == RC_OK && tail->epoch == read->epoch && tail->head < read->head;
}

/* A store that can't be read just now: the askers stay in line until writer_tick() asks again. */
static void writer_head_unread(struct writer *writer, struct tail *tail, struct head_question *question)
{
    if (tail->asking != NULL) {
        question_keep(question, &writer->unanswered);
        return;
    }
    tail->is_asked = tail->is_outdated = false;
    tail->first    = 0;
    tail_let_go(&writer->tails, tail);
    head_question_free(question);
}

static void writer_take_head(struct command *command, struct writer *writer)
{
    struct head_question *question = container_of(command, struct head_question, command);
    struct store_read    *read     = &question->read;
    struct tail          *tail     = tails_find(&writer->tails, read->channel);

    must(tail != NULL && tail->is_asked);
    if (writer_is_head_early(writer, tail, read)) {
        question_keep(question, &writer->early);
        return;
    }
    writer->asking_count--;
    if (read->rc != RC_OK) {
        writer_head_unread(writer, tail, question);
        return;
    }
    if (tail->is_outdated) {
        tail->is_outdated = false;
        writer_put_question(writer, question);
        return;
    }
    /* Appends may have overtaken the answer: within a life the head only goes forward. */
    if (tail->epoch != read->epoch || tail->head < read->head) {
        tail_empty(&writer->tails, tail);
        tail->head = read->head;
    }
    tail->is_asked = false;
    tail->epoch    = read->epoch;
    tail->first    = read->first;
    while (tail->asking != NULL) {
        struct command *follow = command_of(tail->asking);
        tail->asking           = follow->mail.next;
        writer_tell_head(writer, tail, container_of(follow, struct follow_command, command));
    }
    tail_let_go(&writer->tails, tail);
    head_question_free(question);
}

static void writer_look_at_early(struct writer *writer)
{
    struct mail *mail = writer->early;

    writer->early = NULL;
    while (mail != NULL) {
        struct mail *next = mail->next;
        writer_take_head(command_of(mail), writer);
        mail = next;
    }
}

/* Only the durable store is so slow to ask that its word is kept; the other one may begin a log anew unasked, and a
 * broken one reopen. */
static bool writer_knows_head(const struct writer *writer, const struct tail *tail)
{
    return tail->first != 0 && !tail->is_asked && !writer->is_doubtful && tail->trust == writer->trust &&
           name_is_durable(tail->name);
}

void writer_take_follow(struct command *command, struct writer *writer)
{
    struct follow_command *follow = container_of(command, struct follow_command, command);
    struct tail           *tail   = tails_get(&writer->tails, follow->channel);

    if (tail->followers == 0)
        writer->tails.followed_count++;
    tail->followers |= UINT64_C(1) << command->loop;
    if (writer_knows_head(writer, tail)) {
        writer_tell_head(writer, tail, follow);
        return;
    }
    command->mail.next = tail->asking;
    tail->asking       = &command->mail;
    if (!tail->is_asked)
        writer_ask_head(writer, tail);
}

/* Nobody on that loop waits for the head any more. Kept, all that comes and goes while the store can't be read would
 * gather here. */
static void tail_forget_askers(struct tail *tail, unsigned loop)
{
    struct mail **at = &tail->asking;

    while (*at != NULL) {
        struct command *command = command_of(*at);
        if (command->loop == loop) {
            *at = command->mail.next;
            command_free(command);
        } else {
            at = &command->mail.next;
        }
    }
}

void writer_take_unfollow(struct command *command, struct writer *writer)
{
    struct follow_command *unfollow = container_of(command, struct follow_command, command);
    struct tail           *tail     = tails_find(&writer->tails, unfollow->channel);

    if (tail != NULL && tail->followers != 0) {
        tail->followers &= ~(UINT64_C(1) << command->loop);
        if (tail->followers == 0)
            writer->tails.followed_count--;
        tail_forget_askers(tail, command->loop);
        tail_let_go(&writer->tails, tail);
    }
    command_free(command);
}

/* --- reading --- */

static void read_done(struct store_read *read)
{
    struct read_command *command = container_of(read, struct read_command, read);
    command->writer->port->post(command->writer->ctx, &command->command);
}

void writer_take_read(struct command *command, struct writer *writer)
{
    struct read_command *asked = container_of(command, struct read_command, command);
    struct store_read   *read  = &asked->read;
    struct tail         *tail  = tails_find(&writer->tails, read->channel);

    if (asked->is_done) {
        writer->asking_count--;
        /* The log has more than was spread here: the next loop that asks for the head shall hear of it. */
        if (tail != NULL && read->rc == RC_OK && read->epoch == tail->epoch && read->head > tail->head) {
            tail->first       = 0;
            tail->is_outdated = tail->is_asked;
        }
        writer_send_view(writer, command);
        return;
    }
    if (tail != NULL && asked->source != READ_STORE && tail_read(tail, read)) {
        writer_send_view(writer, command);
        return;
    }
    if (asked->source == READ_MEMORY && name_is_durable(read->channel)) {
        read->rc = RC_BUSY;
        writer_send_view(writer, command);
        return;
    }
    asked->is_done = true;
    asked->writer  = writer;
    read->done      = read_done;
    writer->asking_count++;

    struct store *store = writer_store_of(writer, read->channel);
    store->ops->read(store, read);
}

/* --- turns --- */

void writer_tick(struct writer *writer, msec wall)
{
    struct mail *mail = writer->unanswered;

    writer->wall       = wall;
    writer->unanswered = NULL;
    while (mail != NULL) {
        struct mail *next = mail->next;
        writer_put_question(writer, container_of(command_of(mail), struct head_question, command));
        mail = next;
    }
    writer->durable->ops->tick(writer->durable, wall);
    writer->memory->ops->tick(writer->memory, wall);
}

void writer_take_stats(struct command *command, struct writer *writer)
{
    struct stats_command *stats = container_of(command, struct stats_command, command);

    stats->stats = (struct writer_stats){
        .waiting_count  = writer->waiting_count + (writer->is_busy ? writer->batch->appends.count : 0),
        .waiting_bytes  = writer->waiting_bytes + (writer->is_busy ? writer->batch_bytes : 0),
        .busy_ms        = writer->is_busy && writer->wall > writer->busy_at ? writer->wall - writer->busy_at : 0,
        .tail_count     = writer->tails.map.count,
        .tail_bytes     = writer->tails.bytes,
        .followed_count = writer->tails.followed_count,
    };
    writer->port->send(writer->ctx, command->loop, command);
}

void writer_take_count(struct command *command, struct writer *writer)
{
    struct count_command *count = container_of(command, struct count_command, command);

    if (!count->is_going) {
        const struct tail *tail = tails_find(&writer->tails, count->channel);
        count->is_going         = true;
        count->to_visit         = tail == NULL ? 0 : tail->followers;
    }
    count->is_home = count->to_visit == 0;
    unsigned loop  = count->is_home ? count->asker : (unsigned)__builtin_ctzll(count->to_visit);
    count->to_visit &= count->to_visit - 1;
    writer->port->send(writer->ctx, loop, command);
}

/* The durable store has done with the group under way. */
static void writer_take_committed(struct command *command, struct writer *writer)
{
    must(command == &writer->batch->committed);
    writer->is_busy = false;
    writer_weigh_all(writer, &writer->batch->appends);
    writer_finish(writer, &writer->batch->appends);
    writer_look_at_early(writer);
}

/* These two live inside the writer's own structures and come back to it always. */
static void never_free(struct command *command)
{
    (void)command;
    must(!"the writer takes what the stores send it");
}

static const struct command_kind committed_kind = { "committed", never_free, NULL, writer_take_committed, false };
static const struct command_kind head_kind      = { "head", never_free, NULL, writer_take_head, false };

void writer_take(struct writer *writer, struct command *command, msec wall)
{
    must(command->kind->at_writer != NULL);
    writer->wall = wall;
    command->kind->at_writer(command, writer);
}

void writer_turn_end(struct writer *writer, msec wall)
{
    writer->is_refusing = false;
    writer_submit(writer, wall);
    writer_submit_quick(writer, wall);
    for (unsigned loop = 0; loop < writer->loop_count; loop++)
        writer_send_delivery(writer, loop);
}
