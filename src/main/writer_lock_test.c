/* Whose turn it is at the writer: what a loop may do in it, and when. Two loops; the test is all the threads. */
#include "main/writer_lock.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "node/request_command.h"
#include "store/mem.h"

#include <cmocka.h>

enum { LOOPS = 2, WALL = 1000, NOW = 77, BUSY_FOR_GOOD = 1000000 };

static const struct hash_key key = { 1, 2 };

struct stage {
    struct namespaces    spaces;
    struct channel_name *live, *kept;
    struct store        *memory, *durable;
    struct writer        writer;
    struct mailbox       mailbox, mailboxes[LOOPS];  /* the writer's; the loops' */
    struct bundle        said[LOOPS];                /* by the writer, to each loop */
    struct bundle        bundle;                     /* of loop 0, to the writer */
    struct writer_lock   lock;
    unsigned             whole_count;                /* turns that a loop made */
};

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    bundle_add(&((struct stage *)ctx)->said[loop], &command->mail);
}

static void on_post(void *ctx, struct command *command)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, &command->mail);
    mailbox_put(&((struct stage *)ctx)->mailbox, &one);
}

static void post(void *ctx)
{
    struct stage *stage = ctx;

    for (unsigned i = 0; i < LOOPS; i++)
        mailbox_put(&stage->mailboxes[i], &stage->said[i]);
}

static struct stage *stage_new(void)
{
    static const struct writer_port   port   = { .send = on_send, .post = on_post };
    static const struct writer_limits limits = {
        .waiting_count_max = 100, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
        .tail_bytes_max = 1 << 20, .tail_messages_max = 100, .deadline_ticks = 5, .delivery_count_max = 100,
        .delivery_bytes_max = 1 << 20,
    };
    const struct mem_store_options options = { .epoch_first = 1, .id_first = 1, .hash_key = key };
    struct stage                  *stage   = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("live:a"), &stage->live), CHANNEL_NAME_OK);
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("topic:a"), &stage->kept), CHANNEL_NAME_OK);
    stage->memory  = mem_store_new(&options);
    stage->durable = mem_store_new(&options);
    writer_init(&stage->writer, &port, stage, stage->durable, stage->memory, &limits, LOOPS);
    must(mailbox_init(&stage->mailbox) == RC_OK);
    for (unsigned i = 0; i < LOOPS; i++)
        must(mailbox_init(&stage->mailboxes[i]) == RC_OK);
    writer_lock_init(&stage->lock, &stage->writer, &stage->mailbox);
    return stage;
}

/* Frees it all; returns how many there were. */
static unsigned commands_free(struct mail *mail)
{
    unsigned count = 0;

    for (; mail != NULL; count++) {
        struct mail *next = mail->next;
        command_free(command_of(mail));
        mail = next;
    }
    return count;
}

static void stage_free(struct stage *stage)
{
    commands_free(bundle_take(&stage->bundle));
    commands_free(mailbox_take(&stage->mailbox));
    mailbox_fini(&stage->mailbox);
    writer_lock_fini(&stage->lock);
    writer_fini(&stage->writer);
    for (unsigned i = 0; i < LOOPS; i++) {
        commands_free(bundle_take(&stage->said[i]));
        commands_free(mailbox_take(&stage->mailboxes[i]));
        mailbox_fini(&stage->mailboxes[i]);
    }
    stage->memory->ops->close(stage->memory);
    stage->durable->ops->close(stage->durable);
    channel_name_unref(stage->live);
    channel_name_unref(stage->kept);
    free(stage);
}

static void says_publish(struct stage *stage, struct channel_name *channel)
{
    struct message *message = message_new(channel, MESSAGE_PLAIN, "x", 1, SPAN(""), SPAN(""));

    bundle_add(&stage->bundle, &publish_command_new(&message, SPAN(""), SPAN(""))->command.mail);
}

static struct mail *follow_of(struct channel_name *channel, unsigned loop)
{
    struct follow_command *follow = calloc(1, sizeof *follow);

    must(follow != NULL);
    follow->command = (struct command){ .kind = &follow_kind, .loop = loop };
    follow->channel = channel_name_ref(channel);
    return &follow->command.mail;
}

/* The writer's thread reads its mail until there is none. */
static void writer_turns(struct stage *stage)
{
    for (struct mail *mail; (mail = mailbox_take(&stage->mailbox)) != NULL;) {
        while (mail != NULL) {
            struct mail *next = mail->next;
            writer_take(&stage->writer, command_of(mail), WALL);
            mail = next;
        }
        writer_turn_end(&stage->writer, WALL);
        post(stage);
    }
}

static void test_publish(void *ctx, struct mail *commands, msec now, msec wall)
{
    struct stage *stage = ctx;

    assert_int_equal(now, NOW);
    writer_publish_at_once(&stage->writer, commands, wall);
    post(stage);
}

static void test_whole(void *ctx, struct mail *commands, msec now, msec wall)
{
    struct stage *stage = ctx;

    assert_int_equal(now, NOW);
    stage->whole_count++;
    while (commands != NULL) {
        struct mail *next = commands->next;
        writer_take(&stage->writer, command_of(commands), wall);
        commands = next;
    }
    writer_turn_end(&stage->writer, wall);
    post(stage);
}

static const struct writer_turn test_turn = { .publish = test_publish, .whole = test_whole };

/* --- another visitor, who has the lock for so many looks ---------------------------------------------------------------- */

static struct {
    unsigned busy;   /* looks that find the lock taken … */
    unsigned looks;  /* … of so many so far */
    unsigned mail_at;  /* at this look somebody speaks to the writer; 0: nobody does */
    struct stage *stage;
} visitor;

static void loop_1_follows(struct stage *stage);

/* In the place of the C library's. */
int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *mutex);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_trylock");
    if (++visitor.looks == visitor.mail_at)
        loop_1_follows(visitor.stage);
    return visitor.looks <= visitor.busy ? EBUSY : real(mutex);
}

static void visitor_comes(struct stage *stage, unsigned busy, unsigned mail_at)
{
    visitor.busy    = busy;
    visitor.looks   = 0;
    visitor.mail_at = mail_at;
    visitor.stage   = stage;
}

static void visitor_leaves(void)
{
    visitor_comes(NULL, 0, 0);
}

static bool loop_publishes(struct stage *stage)
{
    return writer_lock_visit(&stage->lock, &stage->bundle, &test_turn, stage, NOW, WALL);
}

static void loop_1_follows(struct stage *stage)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, follow_of(stage->live, 1));
    mailbox_put(&stage->mailbox, &one);
}

static void a_loop_publishes_while_the_writer_rests(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    loop_1_follows(stage);
    writer_turns(stage);
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[1])), 1);

    says_publish(stage, stage->live);
    says_publish(stage, stage->live);
    assert_true(loop_publishes(stage));
    assert_null(stage->bundle.newest);
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[0])), 2);  /* the answers */
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[1])), 1);  /* both messages */
    stage_free(stage);
}

static void what_needs_the_writers_thread_goes_there(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    says_publish(stage, stage->live);
    says_publish(stage, stage->kept);
    assert_false(loop_publishes(stage));
    assert_int_equal(commands_free(bundle_take(&stage->bundle)), 2);  /* as it was */

    says_publish(stage, stage->live);
    bundle_add(&stage->bundle, follow_of(stage->live, 0));
    assert_false(loop_publishes(stage));
    assert_int_equal(commands_free(bundle_take(&stage->bundle)), 2);
    stage_free(stage);
}

/* A loop that follows and then publishes gets its message: what it said first is carried out first. */
static void nothing_overtakes_what_was_said_before(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    loop_1_follows(stage);
    says_publish(stage, stage->live);
    assert_false(loop_publishes(stage));
    writer_turns(stage);
    assert_true(loop_publishes(stage));
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[1])), 2);  /* the head, then the message */
    stage_free(stage);
}

/* A request to a back end, as the writer has none: it is answered. */
static void says_cancel(struct stage *stage)
{
    bundle_add(&stage->bundle, &request_cancel_new(stage->live, SPAN("u"), SPAN("d"), 7, SPAN("id"))->command.mail);
}

static void a_loop_makes_a_turn_for_what_is_brief(void **state)
{
    static const struct cluster_port nobodys_cluster = { 0 };

    (void)state;
    struct stage *stage = stage_new();

    says_cancel(stage);
    says_publish(stage, stage->live);
    assert_true(loop_publishes(stage));
    assert_int_equal(stage->whole_count, 1);
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[0])), 2);

    says_publish(stage, stage->live);
    assert_true(loop_publishes(stage));
    assert_int_equal(stage->whole_count, 1);  /* a publish alone needs less */
    commands_free(mailbox_take(&stage->mailboxes[0]));

    says_cancel(stage);
    says_publish(stage, stage->kept);
    assert_false(loop_publishes(stage));  /* a log on the disk is the thread's */
    commands_free(bundle_take(&stage->bundle));

    says_cancel(stage);
    stage->writer.cluster = &nobodys_cluster;
    assert_false(loop_publishes(stage));
    stage->writer.cluster = NULL;
    stage_free(stage);
}

static void a_loop_does_not_wait_for_the_writer(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    says_publish(stage, stage->live);
    writer_lock_take(&stage->lock);
    assert_false(loop_publishes(stage));
    writer_lock_give(&stage->lock);
    assert_true(loop_publishes(stage));
    stage_free(stage);
}

/* docs/decisions/0160: another visitor's turn is shorter than a wake of the writer's thread. */
static void a_loop_looks_again_while_another_has_its_turn(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    says_publish(stage, stage->live);
    visitor_comes(stage, 20, 0);
    assert_true(loop_publishes(stage));
    assert_int_equal(visitor.looks, 21);

    visitor_comes(stage, 20, 0);
    assert_true(writer_lock_try(&stage->lock));
    assert_int_equal(visitor.looks, 21);
    visitor_leaves();
    writer_lock_give(&stage->lock);
    stage_free(stage);
}

static void a_loop_looks_no_more_once_mail_lies_there(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    says_publish(stage, stage->live);
    visitor_comes(stage, BUSY_FOR_GOOD, 5);
    assert_false(loop_publishes(stage));
    assert_int_equal(visitor.looks, 5);

    visitor_comes(stage, BUSY_FOR_GOOD, 0);
    assert_false(loop_publishes(stage));
    assert_int_equal(visitor.looks, 1);
    assert_false(writer_lock_try(&stage->lock));
    assert_int_equal(visitor.looks, 2);
    visitor_leaves();

    writer_turns(stage);
    assert_true(loop_publishes(stage));  /* its bundle is as it was */
    stage_free(stage);
}

/* Whoever has the lock may not be running at all. */
static void a_loop_looks_for_a_moment_only(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    says_publish(stage, stage->live);
    visitor_comes(stage, BUSY_FOR_GOOD, 0);
    assert_false(loop_publishes(stage));
    assert_in_range(visitor.looks, 100, 1000);
    visitor_leaves();
    assert_true(loop_publishes(stage));
    stage_free(stage);
}

/* A thread of the store: what was said before it goes first, and it does not wait. */
static void the_store_has_a_turn_while_the_writer_rests(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    assert_true(writer_lock_try(&stage->lock));
    assert_false(writer_lock_try(&stage->lock));  /* somebody has it */
    writer_lock_give(&stage->lock);

    loop_1_follows(stage);
    assert_false(writer_lock_try(&stage->lock));
    writer_turns(stage);
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[1])), 1);
    assert_true(writer_lock_try(&stage->lock));
    writer_lock_give(&stage->lock);

    writer_lock_take(&stage->lock);
    assert_false(writer_lock_try(&stage->lock));
    writer_lock_give(&stage->lock);
    says_publish(stage, stage->live);
    assert_true(loop_publishes(stage));  /* nobody has kept it */
    assert_int_equal(commands_free(mailbox_take(&stage->mailboxes[0])), 1);
    stage_free(stage);
}

/* While the writer sleeps: is its thread woken for what the loop says? */
static bool tells_and_wakes(struct stage *stage)
{
    uint64_t rings = 0;

    assert_true(mailbox_is_empty(&stage->mailbox));
    assert_true(mailbox_may_sleep(&stage->mailbox));
    writer_lock_tell(&stage->lock, &stage->bundle);
    assert_null(stage->bundle.newest);
    bool has_rung = read(stage->mailbox.bell, &rings, sizeof rings) == sizeof rings;
    mailbox_is_awake(&stage->mailbox);
    assert_true(commands_free(mailbox_take(&stage->mailbox)) > 0);  /* it is there in any case */
    return has_rung;
}

static void publishes_that_only_wait_wake_nobody(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    stage->durable->batch_least = 64;
    writer_lock_note(&stage->lock);
    says_publish(stage, stage->kept);
    assert_true(tells_and_wakes(stage));  /* nothing is under way */

    atomic_store(&stage->lock.leave, 3);
    says_publish(stage, stage->kept);
    says_publish(stage, stage->kept);
    assert_false(tells_and_wakes(stage));
    says_publish(stage, stage->kept);
    assert_false(tells_and_wakes(stage));
    says_publish(stage, stage->kept);
    assert_true(tells_and_wakes(stage));

    atomic_store(&stage->lock.leave, 3);
    says_publish(stage, stage->kept);
    bundle_add(&stage->bundle, follow_of(stage->live, 0));
    assert_true(tells_and_wakes(stage));
    says_publish(stage, stage->live);
    assert_true(tells_and_wakes(stage));
    stage->durable->batch_least = 0;  /* a batch takes whatever waits */
    says_publish(stage, stage->kept);
    assert_true(tells_and_wakes(stage));
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_publishes_while_the_writer_rests),
        cmocka_unit_test(what_needs_the_writers_thread_goes_there),
        cmocka_unit_test(nothing_overtakes_what_was_said_before),
        cmocka_unit_test(a_loop_makes_a_turn_for_what_is_brief),
        cmocka_unit_test(a_loop_does_not_wait_for_the_writer),
        cmocka_unit_test(a_loop_looks_again_while_another_has_its_turn),
        cmocka_unit_test(a_loop_looks_no_more_once_mail_lies_there),
        cmocka_unit_test(a_loop_looks_for_a_moment_only),
        cmocka_unit_test(the_store_has_a_turn_while_the_writer_rests),
        cmocka_unit_test(publishes_that_only_wait_wake_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
