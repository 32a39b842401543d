/* A reader alone, with a hub and nothing else: no link, no loop, no clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/reader.h"

#include <cmocka.h>

enum { CHANNELS = 12, HEAD = 3 };

struct reader_stage {
    struct namespaces    spaces;
    struct hub           hub;
    struct hub_limits    limits;
    struct reader_shared shared;
    struct pool          readers;          /* a subscription's owner lives in a pool */
    struct reader       *reader;
    struct channel_name *names[CHANNELS];
    struct subscription *reads[CHANNELS];  /* pages asked for */
    unsigned             read_count;
    struct reader       *link;             /* stands for one: the reader's owner while it has one */
};

static void on_follow(void *ctx, struct channel_name *name, uint64_t question)
{
    (void)ctx, (void)name, (void)question;
}

static void on_unfollow(void *ctx, struct channel_name *name)
{
    (void)ctx, (void)name;
}

static void on_read(void *ctx, struct subscription *sub, uint64_t after, void **ret_ticket)
{
    struct reader_stage *stage = ctx;

    (void)after;
    *ret_ticket                       = sub;
    stage->reads[stage->read_count++] = sub;
}

static void on_cancel(void *ctx, void *ticket)
{
    (void)ctx, (void)ticket;
}

static void on_ready(void *ctx, struct subscription *sub)
{
    struct reader_stage *stage = ctx;
    assert_ptr_equal(reader_ready(sub), stage->reader);
}

static const struct hub_port port = {
    .follow = on_follow, .unfollow = on_unfollow, .read = on_read, .cancel = on_cancel, .ready = on_ready,
};

static const struct hash_key key = { 1, 2 };

static void stage_set_up(struct reader_stage *stage)
{
    char text[] = "topic:a";

    *stage        = (struct reader_stage){ .limits = { .window_messages_max = 4, .window_bytes_max = 1 << 20 } };
    namespaces_init(&stage->spaces);
    hub_init(&stage->hub, &port, stage, &stage->limits);
    reader_shared_init(&stage->shared, &stage->hub);
    pool_init(&stage->readers, sizeof(struct reader));
    stage->reader = pool_take(&stage->readers);
    stage->link   = pool_take(&stage->readers);
    reader_init(stage->reader);
    for (int i = 0; i < CHANNELS; i++, text[6]++)
        must(channel_name_new(&stage->spaces, &key, span_str(text), &stage->names[i]) == CHANNEL_NAME_OK);
}

static void stage_tear_down(struct reader_stage *stage)
{
    stage->reader->owner = near_to(NULL);
    reader_fini(stage->reader, &stage->shared, 0);
    pool_give(&stage->readers, stage->link);
    pool_give(&stage->readers, stage->reader);
    pool_fini(&stage->readers);
    reader_shared_fini(&stage->shared);
    hub_fini(&stage->hub);
    for (int i = 0; i < CHANNELS; i++)
        channel_name_unref(stage->names[i]);
}

static void follows(struct reader_stage *stage, int count, uint64_t after)
{
    for (int i = 0; i < count; i++) {
        reader_follow(stage->reader, &stage->shared, stage->names[i], (struct start){ START_AFTER, after, 0 });
        hub_followed(&stage->hub, stage->names[i], stage->hub.question, 9, 1, HEAD);
    }
}

static struct message *message_of(struct channel_name *name, uint64_t seq)
{
    struct message *message = message_new(name, MESSAGE_PLAIN, "x", 1, SPAN("text/plain"), SPAN(""));

    message->epoch = 9;
    message->seq   = seq;
    return message;
}

static void page_comes(struct reader_stage *stage, struct subscription *sub)
{
    struct entry *entries = calloc(HEAD, sizeof *entries);

    must(entries != NULL);
    for (uint64_t seq = 1; seq <= HEAD; seq++)
        entries[seq - 1].message = message_of(subscription_name(sub), seq);
    subscription_read_done(sub, &stage->hub, 9, HEAD, &entries, HEAD);
}

static struct reader_sub *looks(struct reader_stage *stage, struct entry *ret_entry)
{
    return reader_look(stage->reader, &stage->shared, 0, READER_READS_MAX, ret_entry);
}

/* A page may come when the link that wanted it is gone: it is not kept. The place is, and the next link reads again. */
static void without_a_link_a_reader_holds_no_page(void **state)
{
    (void)state;
    struct reader_stage stage;
    struct entry        entry;

    stage_set_up(&stage);
    stage.reader->owner = near_to(stage.link);
    follows(&stage, 1, 1);
    assert_null(looks(&stage, &entry));
    assert_int_equal(stage.read_count, 1);
    stage.reader->owner = near_to(NULL);
    page_comes(&stage, stage.reads[0]);
    assert_true(subscription_is_lean(&reader_subs(stage.reader)->sub));
    stage.reader->owner = near_to(stage.link);
    assert_null(looks(&stage, &entry));
    page_comes(&stage, stage.reads[1]);
    assert_ptr_equal(looks(&stage, &entry), reader_subs(stage.reader));
    assert_int_equal(entry.message->seq, 2);
    stage_tear_down(&stage);
}

/* Drawn by one link, taken back, drawn again by the next. */
static void what_is_taken_back_is_next_again(void **state)
{
    (void)state;
    struct reader_stage stage;
    struct entry        entry;

    stage_set_up(&stage);
    stage.reader->owner = near_to(stage.link);
    follows(&stage, 1, 0);
    looks(&stage, &entry);
    page_comes(&stage, stage.reads[0]);
    struct reader_sub       *sub  = looks(&stage, &entry);
    struct subscription_mark mark = subscription_mark(&sub->sub);
    for (uint64_t seq = 1; seq <= HEAD; seq++) {
        assert_ptr_equal(looks(&stage, &entry), sub);
        assert_int_equal(entry.message->seq, seq);
        subscription_step(&sub->sub, &entry);
    }
    assert_null(looks(&stage, &entry));
    assert_null(reader_first(stage.reader));
    reader_rewind(stage.reader, &stage.shared, sub, &mark);
    assert_ptr_equal(reader_first(stage.reader), sub);
    assert_true(reader_is_behind(stage.reader));
    assert_null(looks(&stage, &entry));
    page_comes(&stage, stage.reads[1]);
    looks(&stage, &entry);
    assert_int_equal(entry.message->seq, 1);
    stage_tear_down(&stage);
}

/* Only so many pages are on their way for one reader, however many channels it is behind in. */
static void a_few_pages_are_on_their_way(void **state)
{
    (void)state;
    static const unsigned reads_max[] = { 1, 3, CHANNELS };
    for (size_t i = 0; i < sizeof reads_max / sizeof reads_max[0]; i++) {
        struct reader_stage stage;
        struct entry        entry;

        stage_set_up(&stage);
        stage.reader->owner = near_to(stage.link);
        follows(&stage, CHANNELS, 1);
        assert_null(reader_look(stage.reader, &stage.shared, 0, reads_max[i], &entry));
        assert_int_equal(stage.read_count, reads_max[i]);
        stage_tear_down(&stage);
    }
}

static void a_channel_is_noted_as_placed_once(void **state)
{
    (void)state;
    struct reader_stage stage;

    stage_set_up(&stage);
    reader_follow(stage.reader, &stage.shared, stage.names[0], (struct start){ .kind = START_NOW });
    struct reader_sub *sub = reader_find(stage.reader, SPAN("topic:a"));
    assert_non_null(sub);
    assert_null(reader_find(stage.reader, SPAN("topic:b")));
    assert_false(reader_note_placed(stage.reader, sub));
    assert_false(reader_is_up_to_date(stage.reader));
    hub_followed(&stage.hub, stage.names[0], stage.hub.question, 9, 1, HEAD);
    assert_true(reader_note_placed(stage.reader, sub));
    assert_false(reader_note_placed(stage.reader, sub));
    assert_true(reader_is_up_to_date(stage.reader));
    assert_int_equal(stage.reader->unplaced_count, 0);
    stage_tear_down(&stage);
}

static unsigned hold_count;

static void on_hold(struct reader *reader)
{
    (void)reader;
    hold_count++;
}

static void next_message(struct reader_stage *stage, uint64_t seq)
{
    struct message *message = message_of(stage->names[0], seq);

    hub_deliver(&stage->hub, message);
    message_unref(message);
    hub_tell(&stage->hub);
    hub_turn_end(&stage->hub);
}

/* In mode notify all that is new is one entry, and the next one comes when the quiet time is over. Nothing is read. */
static void a_notify_stands_for_all_that_is_new(void **state)
{
    (void)state;
    struct reader_stage stage;
    struct entry        entry;

    stage_set_up(&stage);
    stage.reader->owner = near_to(stage.link);
    stage.shared.hold  = on_hold;
    stage.shared.now   = ((msec)1 << 32) - 500;  /* its low bits begin anew within the quiet time */
    hold_count         = 0;
    follows(&stage, 1, 1);
    struct reader_sub *sub = reader_subs(stage.reader);
    sub->sub.is_notify     = true;
    assert_ptr_equal(looks(&stage, &entry), sub);
    assert_true(reader_entry_is_notify(sub, &entry));
    assert_int_equal(entry.gap.from, 2);
    assert_int_equal(entry.gap.to, HEAD);
    struct subscription_mark mark = subscription_mark(&sub->sub);
    subscription_step(&sub->sub, &entry);
    reader_note_told(sub, &stage.shared, 1000);
    assert_null(looks(&stage, &entry));
    for (uint64_t seq = HEAD + 1; seq <= HEAD + 3; seq++) {
        next_message(&stage, seq);
        assert_null(looks(&stage, &entry));
    }
    assert_int_equal(hold_count, 1);  /* the hub says `ready` once, because nobody has looked */
    stage.shared.now += 1001;
    reader_look_again(stage.reader);
    assert_ptr_equal(looks(&stage, &entry), sub);
    assert_int_equal(entry.gap.to, HEAD + 3);
    reader_rewind(stage.reader, &stage.shared, sub, &mark);  /* neither of them has left */
    assert_ptr_equal(looks(&stage, &entry), sub);
    assert_int_equal(entry.gap.from, 2);
    assert_int_equal(stage.read_count, 0);
    stage_tear_down(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_link_a_reader_holds_no_page),
        cmocka_unit_test(what_is_taken_back_is_next_again),
        cmocka_unit_test(a_few_pages_are_on_their_way),
        cmocka_unit_test(a_channel_is_noted_as_placed_once),
        cmocka_unit_test(a_notify_stands_for_all_that_is_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
