/* writer_follow.c - who follows which log, and where it ends: questions to the stores, many heads in each; the
 * heartbeat. */
#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

/* Questions under way at a time, to each store. What finds no room waits for an answer. */
enum { QUESTIONS_AWAY_MAX = 8, PACED_AWAY_MAX = 2,
       /* An answer that took so many ticks is slow; after so many quick ones the walk goes faster again. */
       SLOW_TICKS = 3, QUICK_ANSWERS = 8, SLOWNESS_MAX = 6 };

struct head_question {
    struct command       command;
    struct writer       *writer;
    struct writer_store *from;
    struct store_heads   heads;
    uint32_t             tick;                     /* when it was put */
    struct tail         *tails[STORE_HEADS_MAX];   /* being asked for, so that they stay until they are answered */
    struct channel_name *names[STORE_HEADS_MAX];   /* theirs */
    struct store_head    answers[STORE_HEADS_MAX];
};

/* An answer that shows more than was delivered, while the batch that may bring it is under way. */
struct held_answer {
    struct mail       mail;  /* in lane.held */
    struct tail      *tail;  /* ASKED still */
    struct store_head answer;
};

static const struct command_kind question_kind;

/* --- questions ------------------------------------------------------------------------------------------------ */

static void heads_done(struct store_heads *heads)
{
    struct head_question *question = container_of(heads, struct head_question, heads);
    question->writer->port->post(question->writer->ctx, &question->command);
}

static struct head_question *head_question_new(struct writer *writer, struct writer_store *from)
{
    struct head_question *question = malloc(sizeof *question);  /* not zeroed: most of it is never touched */

    must(question != NULL);
    question->command = (struct command){ .kind = &question_kind };
    question->writer  = writer;
    question->from    = from;
    question->heads   = (struct store_heads){ .names = question->names, .heads = question->answers,
                                              .done = heads_done };
    return question;
}

static void tail_move(struct writer *writer, struct tail *tail, enum head_event event);

static void head_question_put(struct writer *writer, struct writer_store *from)
{
    struct head_question *question = from->gathering;

    if (question == NULL)
        return;
    from->gathering      = NULL;
    question->heads.wall = writer->wall;
    question->tick       = writer->tick;
    for (size_t i = 0; i < question->heads.count; i++)
        tail_move(writer, question->tails[i], HEAD_PUT);
    from->away_count++;
    from->store->ops->heads(from->store, &question->heads);
}

void writer_put_questions(struct writer *writer)
{
    head_question_put(writer, &writer->durable);
    head_question_put(writer, &writer->memory);
}

static bool store_has_room(const struct writer_store *from)
{
    return from->gathering != NULL || from->away_count < QUESTIONS_AWAY_MAX;
}

static void head_question_add(struct writer *writer, struct tail *tail)
{
    struct writer_store *from = writer_store_of(writer, tail->entry.name);

    if (from->gathering == NULL)
        from->gathering = head_question_new(writer, from);
    struct head_question *question          = from->gathering;
    question->tails[question->heads.count]  = tail;
    question->names[question->heads.count]  = tail->entry.name;
    question->heads.count++;
    if (question->heads.count == STORE_HEADS_MAX)
        head_question_put(writer, from);
}

/* The one place where a head's state moves. */
static void tail_move(struct writer *writer, struct tail *tail, enum head_event event)
{
    enum head_state was = (enum head_state)tail->head_state;
    enum head_state now = head_state_after(was, event);

    tail->head_state = (uint8_t)now;
    if (now == HEAD_GATHERED && was != HEAD_GATHERED)
        head_question_add(writer, tail);
}

/* False: there is no room to ask. */
static bool tail_want(struct writer *writer, struct tail *tail)
{
    if (tail_is_asked(tail))
        return true;
    if (!store_has_room(writer_store_of(writer, tail->entry.name)))
        return false;
    tail_move(writer, tail, HEAD_WANT);
    return true;
}

void writer_outdate(struct writer *writer, struct tail *tail)
{
    tail_move(writer, tail, HEAD_OUTDATE);
    writer->doubt_ticks = 2 * HEARTBEAT_TICKS;
}

void writer_note_head(struct writer *writer, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct tail *tail;

    if (epoch == 0 || !tails_say_less(&writer->tails, name, epoch, head))
        return;
    tail = tails_find(&writer->tails, name);
    /* A question that is under way is put again by itself. */
    if (tail_is_asked(tail))
        tail_move(writer, tail, HEAD_OUTDATE);
    else
        writer_outdate(writer, tail);
}

void writer_note_heads(struct writer *writer, const struct store_heads *heads)
{
    for (size_t i = 0; i < heads->count; i++)
        if (heads->heads[i].rc == RC_OK)
            writer_note_head(writer, heads->names[i], heads->heads[i].epoch, heads->heads[i].head);
}

void writer_outdate_all(struct writer *writer, const struct writer_store *from)
{
    for (size_t i = 0; i < writer->tails.map.slot_count; i++) {
        for (struct near_map_node *node = near_map_first(&writer->tails.map, i), *next; node != NULL; node = next) {
            next = near_map_next(node);
            if (writer_store_of(writer, container_of(node, struct tail_entry, node)->name) == from)
                tail_move(writer, tails_unfold(&writer->tails, node), HEAD_OUTDATE);
        }
    }
    writer->doubt_ticks = 2 * HEARTBEAT_TICKS;
}

static void writer_outdate_slot(struct writer *writer, size_t slot)
{
    for (struct near_map_node *node = near_map_first(&writer->tails.map, slot); node != NULL; node = near_map_next(node)) {
        struct tail *tail = tail_at(node);
        if (tail != NULL && writer_store_of(writer, tail->entry.name)->is_shared)
            tail_move(writer, tail, HEAD_OUTDATE);
    }
}

static void writer_store_walk_all(struct writer *writer, struct writer_store *from)
{
    if (from->is_shared)
        from->slots_left = writer->tails.map.slot_count;
}

static void writer_compare_wide_slot(struct writer *writer, size_t slot)
{
    for (struct near_map_node *node = near_map_first(&writer->tails.map, slot); node != NULL; node = near_map_next(node)) {
        struct tail *tail = tail_at(node);
        if (tail == NULL || tail->entry.followers == 0 || !name_is_wide(tail->entry.name) || !writer_store_of(writer, tail->entry.name)->is_shared)
            continue;
        tail_move(writer, tail, HEAD_OUTDATE);
        tail_want(writer, tail);  /* where there is no room the walk comes to it */
    }
}

void writer_compare_wide(struct writer *writer)
{
    for (size_t slot = 0; slot < writer->tails.map.slot_count; slot++)
        writer_compare_wide_slot(writer, slot);
}

void writer_compare_all(struct writer *writer)
{
    for (size_t slot = 0; slot < writer->tails.map.slot_count; slot++)
        writer_outdate_slot(writer, slot);
    writer_compare_wide(writer);
    writer_store_walk_all(writer, &writer->durable);
    writer_store_walk_all(writer, &writer->memory);
    writer->doubt_ticks = 2 * HEARTBEAT_TICKS;
}

void writer_compare_memory(struct writer *writer)
{
    if (!writer->memory.is_shared || writer->memory.followed_count == 0)
        return;
    writer_outdate_all(writer, &writer->memory);
    writer_store_walk_all(writer, &writer->memory);
}

void writer_compare_each(struct writer *writer, uint32_t ticks)
{
    must(ticks >= 1);
    writer->compare_ticks = ticks;
}

void writer_compare_pace(struct writer *writer, uint32_t heads)
{
    writer->compare_pace = heads;
}

/* Is the head in memory the log's head? No if other processes append to the log, and no while the store may still show
 * a batch whose outcome it did not know. */
static bool writer_believes(struct writer *writer, const struct tail *tail)
{
    const struct writer_store *from = writer_store_of(writer, tail->entry.name);

    return tail->head_state == HEAD_KNOWN && from->store->has_one_writer && !from->is_doubtful;
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static void writer_tell_head(struct writer *writer, const struct tail *tail, struct follow_command *follow)
{
    follow->epoch = tail->epoch;
    follow->first = tail->first;
    follow->head  = tail->head;
    writer_send_view(writer, &follow->command);
}

/* Says which loops were told. */
static uint64_t writer_tell_askers(struct writer *writer, struct tail *tail)
{
    uint64_t told = 0;

    while (tail->owed != NULL && tail->owed->askers != NULL) {
        struct command *command = command_of(tail->owed->askers);
        tail->owed->askers      = command->mail.next;
        told |= UINT64_C(1) << command->loop;
        writer_tell_head(writer, tail, container_of(command, struct follow_command, command));
    }
    return told;
}

/* A read shows what the store has written before the batch completes. If the head were told now, it would overtake the
 * messages. */
static bool answer_is_ahead(struct writer *writer, const struct tail *tail, const struct store_head *answer)
{
    const struct lane *lane;

    if (answer->rc != RC_OK || answer->epoch != tail->epoch || answer->head <= tail->head)
        return false;
    lane = writer_lane_of(writer, tail->entry.name);
    return lane != NULL && !lane->is_late;
}

static void writer_hold_answer(struct writer *writer, struct tail *tail, const struct store_head *answer)
{
    struct lane         *lane  = writer_lane_of(writer, tail->entry.name);
    struct held_answer *held = malloc(sizeof *held);

    must(held != NULL);
    *held      = (struct held_answer){ .mail = { lane->held }, .tail = tail, .answer = *answer };
    lane->held = &held->mail;
}

/* Was it emptied, and nobody told it here? Where nothing is ever kept, each answer looks so. */
static bool answer_shows_purge(const struct tail *tail, const struct store_head *answer)
{
    return tail->entry.name->space->durability != NONE && tail->epoch == answer->epoch && tail->first <= tail->head &&
           answer->head >= tail->head && answer->first == answer->head + 1 && answer->head > 0;
}

/* The log has more than was delivered here. Loops that asked for the head are told at once. The process that appended
 * may still send the messages to the others: they are told a little later that the head has moved, in case those
 * messages are lost. Appends may have overtaken the answer: within one life of the log the head only goes forward. */
static void writer_adopt_head(struct writer *writer, struct tail *tail, const struct store_head *answer)
{
    bool     has_moved = tail->epoch != answer->epoch || tail->head < answer->head;
    uint64_t told;

    if (tail->entry.followers != 0 && writer_store_of(writer, tail->entry.name)->is_shared && answer_shows_purge(tail, answer))
        writer_purge_known(writer, tail, answer->epoch, answer->head);
    if (has_moved) {
        tail_empty(&writer->tails, tail);
        tail->head = answer->head;
    }
    /* An answer that a purge has overtaken says an old first seq. */
    if (tail->epoch != answer->epoch || tail->first < answer->first)
        tail->first = answer->first;
    tail->epoch = answer->epoch;
    told        = writer_tell_askers(writer, tail);
    if (has_moved)
        writer_owe_head(writer, tail, tail->entry.followers & ~told);
    tail_settle(tail);
}

static void writer_head_answered(struct writer *writer, struct tail *tail, const struct store_head *answer)
{
    must(tail_is_asked(tail));
    if (answer_is_ahead(writer, tail, answer)) {
        writer_hold_answer(writer, tail, answer);
        return;
    }
    if (answer->rc != RC_OK) {
        tail_move(writer, tail, HEAD_FAIL);
        writer->doubt_ticks = 2 * HEARTBEAT_TICKS;
    } else {
        tail_move(writer, tail, HEAD_ANSWER);
        if (tail->head_state == HEAD_KNOWN)
            writer_adopt_head(writer, tail, answer);
    }
    tail_let_go(&writer->tails, tail);
}

bool writer_rest(struct writer *writer, const struct channel_name *name, struct command *command)
{
    struct lane *lane = writer_lane_of(writer, name);

    if (lane == NULL || lane->is_late)
        return false;
    command->mail.next = lane->resting;
    lane->resting      = &command->mail;
    return true;
}

static void writer_take_resting(struct writer *writer, struct lane *lane)
{
    struct mail *mail = lane->resting;

    lane->resting = NULL;
    while (mail != NULL) {
        struct mail *next = mail->next;
        writer_take(writer, command_of(mail), writer->wall);
        mail = next;
    }
}

void writer_take_held(struct writer *writer, struct lane *lane)
{
    struct mail *mail = lane->held;

    lane->held = NULL;
    while (mail != NULL) {
        struct held_answer *held = container_of(mail, struct held_answer, mail);
        mail                       = mail->next;
        writer_head_answered(writer, held->tail, &held->answer);
        free(held);
    }
    writer_take_resting(writer, lane);
}

static void writer_ask_owed(struct writer *writer, struct writer_store *from)
{
    from->has_unasked = false;
    for (struct list *link = writer->tails.owed.next; link != &writer->tails.owed; link = link->next) {
        struct tail_owed *owed = container_of(link, struct tail_owed, link);
        if (owed->askers == NULL || writer_store_of(writer, owed->tail->entry.name) != from || tail_want(writer, owed->tail))
            continue;
        from->has_unasked = true;
        return;
    }
}

static void writer_walk(struct writer *writer, struct writer_store *from);

static bool walk_is_paced(const struct writer *writer, const struct writer_store *from)
{
    return writer->compare_pace > 0 && from->is_shared;
}

static bool question_is_answered(const struct head_question *question)
{
    for (size_t i = 0; i < question->heads.count; i++)
        if (question->answers[i].rc == RC_OK)
            return true;
    return false;
}

/* What was under way when the pace changed is as slow, and counts no more. */
static void walk_note_answer(const struct writer *writer, struct writer_store *from, uint32_t put_at)
{
    const uint32_t took = writer->tick - put_at;

    if (!walk_is_paced(writer, from))
        return;
    if (took < SLOW_TICKS) {
        if (from->compare_slowness == 0 || ++from->compare_quick < QUICK_ANSWERS)
            return;
        from->compare_slowness--;
    } else if (from->compare_slowness < SLOWNESS_MAX && writer->tick - from->compare_slow_at >= took) {
        from->compare_slowness++;
    } else {
        return;
    }
    from->compare_slow_at = writer->tick;
    from->compare_quick   = 0;
}

/* An answer makes room for the next question. Who waits for a head comes before what is compared. While the store can't
 * be read the next question waits for a tick: asked at once, the store would refuse it at once, and so on. */
static void writer_take_heads(struct command *command, struct writer *writer)
{
    struct head_question *question = container_of(command, struct head_question, command);
    struct writer_store  *from     = question->from;

    must(from->away_count > 0);
    from->away_count--;
    for (size_t i = 0; i < question->heads.count; i++)
        writer_head_answered(writer, question->tails[i], &question->answers[i]);
    bool is_answered = question_is_answered(question);
    walk_note_answer(writer, from, question->tick);
    free(question);
    if (is_answered && from->has_unasked)
        writer_ask_owed(writer, from);
    if (is_answered)
        writer_walk(writer, from);
}

static const struct command_kind question_kind = {
    .name = "heads", .free = never_free, .at_writer = writer_take_heads,
};

/* --- following ------------------------------------------------------------------------------------------------ */

/* Register first, then ask. If other processes append too, a question that is under way already is not recent enough:
 * its answer may lack later messages, and a reader that comes from another node may have received those. */
static void writer_register(struct writer *writer, struct tail *tail, unsigned loop)
{
    struct writer_store *from = writer_store_of(writer, tail->entry.name);

    bool is_first = tail->entry.followers == 0;

    from->followed_count += is_first;
    tail->entry.followers |= UINT64_C(1) << loop;
    if (!from->store->has_one_writer)
        tail_move(writer, tail, HEAD_OUTDATE);
    if (!is_first || !writer_is_routed(writer, tail->entry.name))
        return;
    tail_move(writer, tail, HEAD_ROUTE);
    writer->cluster->follow(writer->cluster_ctx, tail->entry.name);
}

void writer_routed(struct writer *writer, struct channel_name *channel)
{
    struct tail *tail = tails_find(&writer->tails, channel);

    if (tail == NULL)
        return;
    tail_move(writer, tail, HEAD_ROUTED);
    if (tail->owed != NULL && tail->owed->askers != NULL && !tail_want(writer, tail))
        writer_store_of(writer, channel)->has_unasked = true;
    tail_let_go(&writer->tails, tail);
}

void writer_take_follow(struct command *command, struct writer *writer)
{
    struct follow_command *follow = container_of(command, struct follow_command, command);
    struct tail           *tail   = tails_get(&writer->tails, follow->channel);

    must(command->loop < writer->loop_count);
    writer_register(writer, tail, command->loop);
    if (writer_believes(writer, tail)) {
        writer_tell_head(writer, tail, follow);
        return;
    }
    struct tail_owed *owed = tail_owe(&writer->tails, tail);
    command->mail.next     = owed->askers;
    owed->askers           = &command->mail;
    if (!tail_want(writer, tail))
        writer_store_of(writer, tail->entry.name)->has_unasked = true;
}

/* An unfollow no longer waits for the channel's head. While the store can't be read, waiting commands would pile up in
 * the writer without bound. */
static void owed_forget_loop(struct tail_owed *owed, unsigned loop)
{
    struct mail **at = &owed->askers;

    while (*at != NULL) {
        struct command *command = command_of(*at);
        if (command->loop == loop) {
            *at = command->mail.next;
            command_free(command);
        } else {
            at = &command->mail.next;
        }
    }
    owed->moved &= ~(UINT64_C(1) << loop);
}

/* No loop follows the channel, so no process sends us what is appended elsewhere, and the head in memory becomes
 * old. */
static void writer_unregister(struct writer *writer, struct tail *tail)
{
    struct writer_store *from = writer_store_of(writer, tail->entry.name);

    must(from->followed_count > 0);
    from->followed_count--;
    if (writer_is_routed(writer, tail->entry.name))
        writer->cluster->unfollow(writer->cluster_ctx, tail->entry.name);
    if (from->store->has_one_writer)
        return;
    tail_move(writer, tail, HEAD_OUTDATE);
    tail_empty(&writer->tails, tail);
}

void writer_take_unfollow(struct command *command, struct writer *writer)
{
    struct follow_command *unfollow = container_of(command, struct follow_command, command);
    struct tail           *tail     = tails_find(&writer->tails, unfollow->channel);
    uint64_t               bit      = UINT64_C(1) << command->loop;

    if (tail != NULL && (tail->entry.followers & bit) != 0) {
        tail->entry.followers &= ~bit;
        if (tail->owed != NULL)
            owed_forget_loop(tail->owed, command->loop);
        tail_settle(tail);
        if (tail->entry.followers == 0)
            writer_unregister(writer, tail);
        tail_let_go(&writer->tails, tail);
    }
    command_free(command);
}

/* --- the heartbeat -------------------------------------------------------------------------------------------- */

static bool writer_is_in_doubt(const struct writer *writer, const struct writer_store *from)
{
    return writer->doubt_ticks > 0 || from->is_doubtful;
}

static bool writer_has_to_compare(const struct writer *writer, const struct writer_store *from)
{
    return writer_is_in_doubt(writer, from) || (!from->store->has_one_writer && from->followed_count > 0);
}

/* While the walk is fast because of a doubt, and would be slow otherwise, it asks for what is in doubt alone. */
static bool writer_has_to_ask(struct writer *writer, const struct writer_store *from, const struct tail *tail)
{
    bool is_resting = from->is_shared && writer->compare_ticks > HEARTBEAT_TICKS;

    /* Where a batch's outcome is not known, every head may move when the store reopens. */
    if (is_resting && writer_is_in_doubt(writer, from) && !from->is_doubtful)
        return tail->head_state != HEAD_KNOWN;
    return !writer_believes(writer, tail);
}

/* A folded one is not compared: nobody is in doubt. False: there is no room to ask for it. */
static bool writer_compare_tail(struct writer *writer, struct writer_store *from, struct tail *tail)
{
    if (tail == NULL || tail->entry.followers == 0 || writer_store_of(writer, tail->entry.name) != from || tail_is_asked(tail) ||
        !writer_has_to_ask(writer, from, tail))
        return true;
    if (!tail_want(writer, tail))
        return false;
    from->compare_credit--;
    return true;
}

/* False: there is no room to ask for all of them. */
static bool writer_compare_slot(struct writer *writer, struct writer_store *from)
{
    for (struct near_map_node *node = near_map_first(&writer->tails.map, from->slot); node != NULL; node = near_map_next(node))
        if (!writer_compare_tail(writer, from, tail_at(node)))
            return false;
    return true;
}

/* A slot is asked for as a whole, so the credit may be overdrawn; the next tick has less then. */
static bool walk_may_go_on(const struct writer *writer, const struct writer_store *from)
{
    return !walk_is_paced(writer, from) ||
           (from->compare_credit > 0 && (from->gathering != NULL || from->away_count < PACED_AWAY_MAX));
}

static void walk_take_credit(const struct writer *writer, struct writer_store *from)
{
    const uint32_t slower = writer->compare_pace >> from->compare_slowness;
    const uint32_t pace   = slower == 0 && writer->compare_pace > 0 ? 1 : slower;

    from->compare_credit += pace;
    if (from->compare_credit > pace)
        from->compare_credit = pace;
}

/* Walks the slots that are due. If there is no room to ask, the walk stops and goes on with the next answer, so that no
 * head is skipped. A map that grows meanwhile doubles its slots: tails in slots that were still to come stay in slots
 * that are still to come. */
static void writer_walk(struct writer *writer, struct writer_store *from)
{
    for (; from->slots_left > 0; from->slots_left--) {
        if (from->slot >= writer->tails.map.slot_count)
            from->slot = 0;
        if (!walk_may_go_on(writer, from) || !writer_compare_slot(writer, from))
            return;
        from->slot++;
    }
}

/* How many slots more are due, so that all are in `ticks`; rounded up at first, and down in sum. */
static size_t store_slots_due(struct writer_store *from, size_t count, uint32_t ticks)
{
    size_t due = from->slots_credit + count;

    from->slots_credit = due % ticks;
    return due / ticks;
}

/* Doubts that come again and again don't keep the slow walk from going on: what it comes to is in doubt, too. */
static void writer_outdate_slowly(struct writer *writer, struct writer_store *from)
{
    size_t count = writer->tails.map.slot_count;
    size_t due   = from->slow_credit + count;

    from->slow_credit = due % writer->compare_ticks;
    for (due /= writer->compare_ticks; due > 0; due--) {
        if (from->slow_slot >= count)
            from->slow_slot = 0;
        writer_outdate_slot(writer, from->slow_slot++);
    }
}

/* The store has one writer no more (a log in memory that held nothing was let go, and may begin again): what was folded before is compared
 * like the rest from now on. */
static void writer_unfold_all(struct writer *writer, const struct writer_store *from)
{
    if (from->store->has_one_writer || writer->tails.folded_counts[from == &writer->durable] == 0)
        return;
    for (size_t i = 0; i < writer->tails.map.slot_count; i++) {
        for (struct near_map_node *node = near_map_first(&writer->tails.map, i), *next; node != NULL; node = next) {
            next = near_map_next(node);
            if (writer_store_of(writer, container_of(node, struct tail_entry, node)->name) == from)
                tails_unfold(&writer->tails, node);
        }
    }
}

/* Another slice is due. */
static void writer_tick_store_heads(struct writer *writer, struct writer_store *from)
{
    size_t   count   = writer->tails.map.slot_count;
    bool     is_slow = from->is_shared && !(writer->compare_ticks > HEARTBEAT_TICKS && writer_is_in_doubt(writer, from));
    uint32_t ticks   = is_slow ? writer->compare_ticks : HEARTBEAT_TICKS;

    writer_unfold_all(writer, from);
    writer_ask_owed(writer, from);
    if (from->is_shared && !is_slow)
        writer_outdate_slowly(writer, from);
    if (writer_has_to_compare(writer, from))
        from->slots_left += store_slots_due(from, count, ticks);
    if (from->slots_left > count)
        from->slots_left = count;
    walk_take_credit(writer, from);
    writer_walk(writer, from);
}

/* --- folding -------------------------------------------------------------------------------------------------- */

/* Only where nobody else appends, and the store is not in doubt: so whoever follows has been told of all there is, and what
 * is appended from now on comes by here. A walk that is under way may come to a head that was in doubt a moment ago. */
static bool writer_may_fold(struct writer *writer, const struct tail *tail)
{
    const struct writer_store *from = writer_store_of(writer, tail->entry.name);

    return tail_may_fold(tail) && from->store->has_one_writer && from->slots_left == 0 && !writer_is_in_doubt(writer, from);
}

static void writer_fold_slot(struct writer *writer, size_t slot)
{
    for (struct near_map_node *node = near_map_first(&writer->tails.map, slot), *next; node != NULL; node = next) {
        struct tail *tail = tail_at(node);
        next              = near_map_next(node);
        if (tail != NULL && writer_may_fold(writer, tail))
            tail_fold(&writer->tails, tail);
    }
}

static void writer_tick_folding(struct writer *writer)
{
    size_t count = writer->tails.map.slot_count;

    if (writer->limits.fold_ticks == 0)
        return;
    for (size_t due = (count + writer->limits.fold_ticks - 1) / writer->limits.fold_ticks; due > 0; due--) {
        if (writer->fold_slot >= count)
            writer->fold_slot = 0;
        writer_fold_slot(writer, writer->fold_slot++);
    }
}

void writer_tick_heads(struct writer *writer)
{
    writer_tick_store_heads(writer, &writer->durable);
    writer_tick_store_heads(writer, &writer->memory);
    writer_tick_folding(writer);
    if (writer->doubt_ticks > 0)
        writer->doubt_ticks--;
}

void writer_follow_fini(struct writer *writer)
{
    must(writer->durable.away_count == 0 && writer->memory.away_count == 0);
    free(writer->durable.gathering);
    free(writer->memory.gathering);
}
