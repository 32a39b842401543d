/* sys:control as one loop follows it: a revocation ends the links that it is meant for, once, whichever way it comes; what
 * was missed is read from the rows. The writer is this test's. */
#include "main/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "session/link.h"

#include <cmocka.h>

enum { EPOCH = 7, LINKS = 3, SENT_MAX = 8 };

static const msec wall = INT64_C(1800000000000);

/* The ledger and its writer, as far as rows need them. */
struct rows_stage {
    struct ledger ledger;
    struct store  store;
    struct writer writer;
    enum rc       rc;
    unsigned      read_count;
};

struct stage {
    struct namespaces     spaces;
    struct rows_stage     rows;
    struct hash_key       key;
    struct shard          shard;
    struct session_worker sessions;
    struct revocations    revocations;
    struct control        control;
    struct command       *sent[SENT_MAX];
    size_t                sent_count;
    struct pool           link_pool;
    struct link          *links[LINKS];  /* of ann, of ann and of bob */
    unsigned              ended[LINKS];
};

static struct stage *the_stage;  /* of the links, which know only their own kind */

static void on_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    must(stage->sent_count < SENT_MAX);
    stage->sent[stage->sent_count++] = command;
}

static void on_ready(void *ctx, struct subscription *sub)
{
    struct stage *stage = ctx;
    assert_true(control_take_ready(&stage->control, sub));
}

static void on_end(struct link *link, enum link_end why)
{
    assert_int_equal(why, LINK_END_REVOKED);
    size_t at = 0;
    while (the_stage->links[at] != link)
        at++;
    the_stage->ended[at]++;
    link->is_over = true;
}

static const struct shard_port port = { .send = on_send, .ready = on_ready };
static const struct link_kind  kind = { .end = on_end };

/* The one command that was sent since. */
static struct command *sent(struct stage *stage)
{
    assert_int_equal(stage->sent_count, 1);
    stage->sent_count = 0;
    return stage->sent[0];
}

static void link_begin(struct stage *stage, size_t at, const char *user)
{
    struct link *link = stage->links[at] = pool_take(&stage->link_pool);

    link->kind   = &kind;
    link->key    = 100 + at;
    link->holder = identity_new(&(struct identity_facts){ .user = span_str(user), .issued_at = 50 * 1000 });
    near_list_push(&stage->sessions.lists->links, &link->in_worker);
}

static void follow(struct stage *stage, uint64_t head)
{
    struct command        *command = sent(stage);
    struct follow_command *answer  = container_of(command, struct follow_command, command);

    must(command->kind == &follow_kind);
    answer->epoch = EPOCH;
    answer->first = 1;
    answer->head  = head;
    shard_take(&stage->shard, command);
}

/* The loops follow from behind `seen`; the log has messages up to `head`. */
static struct stage *stage_new(uint64_t seen, uint64_t head)
{
    static const struct shard_limits limits = {
        .hub = { .window_messages_max = 8, .window_bytes_max = 1 << 20, .linger_ms = 100 },
        .page_count_max = 16, .page_bytes_max = 64 * 1024, .pages_away_max = 4, .pages_store_away_max = 4,
        .publish_count_max = 2, .publish_bytes_max = 4096,
    };
    struct stage *stage = the_stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    shard_init(&stage->shard, 0, &port, stage, &limits);
    shard_turn_begin(&stage->shard, 1000, wall);
    pool_init(&stage->link_pool, sizeof(struct link));
    pool_init(&stage->sessions.link_lists, sizeof(struct link_lists));
    stage->sessions.lists = pool_take(&stage->sessions.link_lists);
    near_list_init(&stage->sessions.lists->links);
    near_list_init(&stage->sessions.lists->polls);
    stage->sessions.namespaces = &stage->spaces;
    stage->sessions.hash_key   = &stage->key;
    revocations_init(&stage->revocations, &stage->key);
    link_begin(stage, 0, "ann");
    link_begin(stage, 1, "ann");
    link_begin(stage, 2, "bob");
    control_open(&stage->control, &stage->shard, &stage->sessions, &stage->revocations, (struct start){ START_AFTER, seen, EPOCH });
    follow(stage, head);
    control_read(&stage->control, wall);
    return stage;
}

static void stage_free(struct stage *stage)
{
    control_close(&stage->control, 1000);
    control_close(&stage->control, 1000);  /* twice is fine */
    for (size_t i = 0; i < LINKS; i++) {
        near_list_take(&stage->links[i]->in_worker);
        identity_unref(stage->links[i]->holder);
        pool_give(&stage->link_pool, stage->links[i]);
    }
    pool_fini(&stage->link_pool);
    pool_give(&stage->sessions.link_lists, stage->sessions.lists);
    pool_fini(&stage->sessions.link_lists);
    shard_fini(&stage->shard);
    for (size_t i = 0; i < stage->sent_count; i++)
        command_free(stage->sent[i]);
    revocations_fini(&stage->revocations);
    free(stage);
}

static struct message *said(struct stage *stage, uint64_t seq, const char *type, const char *object)
{
    struct message *message = control_message_new(stage->control.name, span_str(type), span_str(object), SPAN("admin"));

    message->epoch = EPOCH;
    message->seq   = seq;
    message->id    = seq;
    message->time  = wall;
    return message;
}

/* As worker_turn.c does. */
static void end_turn(struct stage *stage)
{
    shard_tell(&stage->shard);
    control_read(&stage->control, wall);
    shard_turn_end(&stage->shard);
}

static void deliver(struct stage *stage, uint64_t seq, const char *type, const char *object)
{
    struct deliver_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->hint.command.kind = &deliver_kind;
    command->hint.count        = 1;
    command->hint.number       = seq;
    command->messages[0]       = said(stage, seq, type, object);
    shard_take(&stage->shard, &command->hint.command);
    end_turn(stage);
}

static bool refuses(const struct stage *stage, const char *user, uint64_t issued_at)
{
    return revocations_refuse(&stage->revocations, &(struct revocable){ .user = span_str(user), .issued_at = issued_at });
}

static void a_message_is_carried_out(void **state)
{
    struct stage *stage = stage_new(0, 0);

    (void)state;
    deliver(stage, 1, "revocation", "{\"user\":\"ann\",\"until\":60,\"reason\":\"lost\"}");
    assert_int_equal(stage->ended[0], 1);
    assert_int_equal(stage->ended[1], 1);
    assert_int_equal(stage->ended[2], 0);
    assert_true(refuses(stage, "ann", 60));
    assert_false(refuses(stage, "ann", 61));
    assert_int_equal(counter_get(&stage->control.revoked), 1);
    assert_int_equal(counter_get(&stage->control.cut), 2);
    stage_free(stage);
}

/* Each kind names what it means; a link is ended by its connection whatever its token says. */
static void each_kind_of_revocation(void **state)
{
    static const struct { const char *object; unsigned ended[LINKS]; } rows[] = {
        { "{\"user\":\"bob\",\"until\":60}", { 0, 0, 1 } },
        { "{\"user\":\"bob\",\"until\":49}", { 0, 0, 0 } },          /* issued later */
        { "{\"device\":\"bob/phone\",\"until\":60}", { 0, 0, 0 } },  /* their token names no device */
        { "{\"jti\":\"x\",\"until\":60}", { 0, 0, 0 } },
        { "{\"connection\":\"0000000000000065\",\"until\":1}", { 0, 1, 0 } },  /* 101 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new(0, 0);
        print_message("%s\n", rows[i].object);
        deliver(stage, 1, "revocation", rows[i].object);
        assert_memory_equal(stage->ended, rows[i].ended, sizeof stage->ended);
        assert_int_equal(stage->revocations.count, 1);
        stage_free(stage);
    }
}

/* The command of the loop that was asked may come before the message or behind it. */
static void the_message_and_the_command_are_one(void **state)
{
    const struct revocation ann = { REVOKED_USER, SPAN("ann"), 60 };

    (void)state;
    for (int message_first = 0; message_first < 2; message_first++) {
        struct stage *stage = stage_new(0, 0);
        if (message_first)
            deliver(stage, 1, "revocation", "{\"user\":\"ann\",\"until\":60}");
        assert_int_equal(control_revoke(&stage->control, 1, &ann), 2);  /* the number, though nothing is left to do */
        if (!message_first)
            deliver(stage, 1, "revocation", "{\"user\":\"ann\",\"until\":60}");
        assert_int_equal(stage->ended[0], 1);
        assert_int_equal(counter_get(&stage->control.revoked), 1);
        assert_int_equal(counter_get(&stage->control.cut), 2);
        stage_free(stage);
    }
}

/* A copy of the database that was promoted lacks the newest messages, and gives their seqs to others. */
static void a_seq_that_is_given_again_is_another_revocation(void **state)
{
    static const struct revocation others[] = {
        { REVOKED_USER, SPAN("bob"), 60 }, { REVOKED_USER, SPAN("ann"), 70 }, { REVOKED_JTI, SPAN("ann"), 60 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct stage *stage = stage_new(0, 0);
        assert_int_equal(control_revoke(&stage->control, 5, &(struct revocation){ REVOKED_USER, SPAN("ann"), 60 }), 2);
        control_revoke(&stage->control, 5, &others[i]);
        assert_int_equal(counter_get(&stage->control.revoked), 2);
        stage_free(stage);
    }
    struct stage *stage = stage_new(0, 0);
    control_revoke(&stage->control, 1, &(struct revocation){ REVOKED_USER, SPAN("ann"), 60 });
    deliver(stage, 1, "revocation", "{\"user\":\"bob\",\"until\":60}");
    assert_int_equal(stage->ended[2], 1);
    assert_true(refuses(stage, "bob", 60));
    stage_free(stage);
}

static void what_cant_be_read_is_passed_over(void **state)
{
    static const char *const rows[] = {
        "{}", "{\"user\":\"ann\"}", "{\"until\":60}", "{\"user\":\"\",\"until\":60}", "{\"user\":7,\"until\":60}",
        "{\"user\":\"ann\",\"until\":\"60\"}", "{\"planet\":\"mars\",\"until\":60}",
    };
    struct stage *stage = stage_new(0, 0);
    uint64_t      seq   = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        deliver(stage, ++seq, "revocation", rows[i]);
    deliver(stage, ++seq, "drain", "{\"node\":\"b\"}");  /* of a newer node */
    assert_int_equal(stage->revocations.count, 0);
    deliver(stage, ++seq, "revocation", "{\"user\":\"bob\",\"until\":60}");
    assert_int_equal(stage->ended[2], 1);
    stage_free(stage);
}

/* Messages that this loop has missed are read from the log, in order. */
static void what_was_missed_is_read(void **state)
{
    struct stage *stage = stage_new(1, 3);

    (void)state;
    shard_turn_end(&stage->shard);
    struct command      *command = sent(stage);
    struct read_command *read    = container_of(command, struct read_command, command);
    must(command->kind == &read_kind && read->read.bound == 1);
    read->read.rc          = RC_OK;
    read->read.epoch       = EPOCH;
    read->read.first       = 1;
    read->read.head        = 3;
    read->read.entries     = calloc(2, sizeof read->read.entries[0]);
    read->read.entry_count = 2;
    must(read->read.entries != NULL);
    read->read.entries[0].message = said(stage, 2, "revocation", "{\"user\":\"ann\",\"until\":60}");
    read->read.entries[1].message = said(stage, 3, "revocation", "{\"user\":\"bob\",\"until\":60}");
    shard_take(&stage->shard, command);
    control_read(&stage->control, wall);
    assert_int_equal(stage->ended[0] + stage->ended[1] + stage->ended[2], 3);
    stage_free(stage);
}

static void on_read_rows(struct ledger *ledger, struct ledger_read *read)
{
    struct rows_stage *rows = container_of(ledger, struct rows_stage, ledger);

    rows->read_count++;
    read->rc = rows->rc;
    read->done(read);
}

static void on_post(void *ctx, struct command *command)
{
    struct stage *stage = ctx;
    command->kind->at_writer(command, &stage->rows.writer);
}

static void on_answer(void *ctx, unsigned loop, struct command *command)
{
    struct stage *stage = ctx;

    (void)loop;
    shard_take(&stage->shard, command);
}

/* The one command that was sent asks for rows, and the ledger answers so. */
static void answer_rows(struct stage *stage, enum rc rc)
{
    static const struct ledger_ops  ledger_ops  = { .read = on_read_rows };
    static const struct writer_port writer_port = { .send = on_answer, .post = on_post };
    struct rows_stage              *rows        = &stage->rows;
    struct command                 *command     = sent(stage);

    assert_string_equal(command->kind->name, "rows");
    rows->ledger               = (struct ledger){ &ledger_ops };
    rows->store.ledger         = &rows->ledger;
    rows->writer.port          = &writer_port;
    rows->writer.ctx           = stage;
    rows->writer.durable.store = &rows->store;
    rows->rc                   = rc;
    command->kind->at_writer(command, &rows->writer);
    assert_int_equal(rows->writer.read_count, 0);
}

/* The one command that was sent asks for messages, and the log has lost them. */
static void answer_gap(struct stage *stage, uint64_t from, uint64_t to)
{
    struct command      *command = sent(stage);
    struct read_command *read    = container_of(command, struct read_command, command);

    must(command->kind == &read_kind && read->read.bound == from - 1);
    read->read.rc          = RC_OK;
    read->read.epoch       = EPOCH;
    read->read.first       = to + 1;
    read->read.head        = to;
    read->read.entries     = calloc(1, sizeof read->read.entries[0]);
    read->read.entry_count = 1;
    must(read->read.entries != NULL);
    read->read.entries[0].gap = (struct gap){ from, to, GAP_TRIMMED };
    shard_take(&stage->shard, command);
    control_read(&stage->control, wall);
}

/* The log has lost what this loop has not read. */
static struct stage *stage_with_gap(void)
{
    struct stage *stage = stage_new(1, 3);

    shard_turn_end(&stage->shard);
    answer_gap(stage, 2, 3);
    assert_true(stage->control.is_reading);
    return stage;
}

/* The rows say what is revoked. They are asked for once at a time. */
static void a_gap_reads_the_rows_anew(void **state)
{
    struct stage *stage = stage_with_gap();

    (void)state;
    assert_int_equal(stage->sent_count, 1);
    deliver(stage, 4, "revocation", "{\"user\":\"bob\",\"until\":60}");  /* and the log goes on */
    assert_int_equal(stage->ended[2], 1);
    answer_rows(stage, RC_OK);
    assert_false(stage->control.is_reading);
    control_tick(&stage->control, wall, 1000);
    assert_int_equal(stage->sent_count, 0);
    stage_free(stage);
}

/* A store that is away now answers later. What is damaged stays so, and is not asked for again. */
static void rows_that_could_not_be_read_are_asked_for_again(void **state)
{
    static const enum rc later[] = { RC_IO, RC_FULL };

    (void)state;
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        struct stage *stage = stage_with_gap();
        answer_rows(stage, later[i]);
        assert_int_equal(stage->sent_count, 0);  /* not at once */
        control_tick(&stage->control, wall, 1000);
        answer_rows(stage, RC_CORRUPT);
        control_tick(&stage->control, wall, 1000);
        assert_int_equal(stage->sent_count, 0);
        assert_int_equal(stage->rows.read_count, 2);
        stage_free(stage);
    }
}

/* The rows that are read just now may have been passed by already. */
static void a_gap_while_rows_are_read_reads_them_once_more(void **state)
{
    struct stage *stage = stage_with_gap();

    (void)state;
    struct command *rows = sent(stage);
    deliver(stage, 6, "drain", "{}");
    answer_gap(stage, 4, 5);
    assert_int_equal(stage->sent_count, 0);
    stage->sent[stage->sent_count++] = rows;
    answer_rows(stage, RC_OK);
    answer_rows(stage, RC_OK);
    assert_int_equal(stage->sent_count, 0);
    stage_free(stage);
}

static void what_is_older_than_any_token_is_forgotten(void **state)
{
    struct stage *stage = stage_new(0, 0);

    (void)state;
    deliver(stage, 1, "revocation", "{\"user\":\"ann\",\"until\":60}");
    control_tick(&stage->control, (60 + 1000) * 1000 - 1, 1000);
    assert_int_equal(stage->revocations.count, 1);
    control_tick(&stage->control, (60 + 1000) * 1000, 1000);
    assert_int_equal(stage->revocations.count, 0);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_carried_out),
        cmocka_unit_test(each_kind_of_revocation),
        cmocka_unit_test(the_message_and_the_command_are_one),
        cmocka_unit_test(a_seq_that_is_given_again_is_another_revocation),
        cmocka_unit_test(what_cant_be_read_is_passed_over),
        cmocka_unit_test(what_was_missed_is_read),
        cmocka_unit_test(a_gap_reads_the_rows_anew),
        cmocka_unit_test(rows_that_could_not_be_read_are_asked_for_again),
        cmocka_unit_test(a_gap_while_rows_are_read_reads_them_once_more),
        cmocka_unit_test(what_is_older_than_any_token_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
