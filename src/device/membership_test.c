/* Joins, leaves and questions: one commit each, whatever else comes at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/membership.h"
#include "message/control_message.h"
#include "store/mem.h"

#include <cmocka.h>

enum { WALL = 1000, DEADLINE_TICKS = 100 };

/* A writer over stores in memory, and one loop. Who asks here is the test itself: commands go to the writer as if the
 * loop had sent them, and answers are counted. */
struct groups_bench {
    struct namespaces          spaces;
    struct store              *durable, *memory;
    struct writer              writer;
    struct memberships         memberships;
    struct bundle              posted, sent;
    struct membership_command *answer;      /* the last one */
    struct membership_list    *list;
    unsigned                   answer_count, left_count;
};

static const struct hash_key key = { 1, 2 };
static struct groups_bench  *bench_now;

static void bench_send(void *ctx, unsigned loop, struct command *command)
{
    assert_int_equal(loop, 0);
    bundle_add(&((struct groups_bench *)ctx)->sent, &command->mail);
}

static void bench_post(void *ctx, struct command *command)
{
    bundle_add(&((struct groups_bench *)ctx)->posted, &command->mail);
}

static const struct writer_port bench_port = { bench_send, bench_post };

static void bench_open(struct groups_bench *bench)
{
    const struct mem_store_options options = { .epoch_first = 5, .id_first = 1, .hash_key = key };
    const struct writer_limits     limits  = {
             .waiting_count_max = 100, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
             .deadline_ticks = DEADLINE_TICKS, .delivery_count_max = 100, .delivery_bytes_max = 1 << 20,
             .tail_bytes_max = 1 << 20, .tail_messages_max = 100,
    };

    *bench = (struct groups_bench){ 0 };
    namespaces_init(&bench->spaces);
    bench->durable = mem_store_new(&options);
    bench->memory  = mem_store_new(&options);
    writer_init(&bench->writer, &bench_port, bench, bench->durable, bench->memory, &limits, 1);
    memberships_init(&bench->memberships);
    bench_now = bench;
}

static void bench_forget(struct groups_bench *bench)
{
    if (bench->answer != NULL)
        command_free(&bench->answer->command);
    if (bench->list != NULL)
        command_free(&bench->list->command);
    bench->answer = NULL;
    bench->list   = NULL;
}

static void bench_close(struct groups_bench *bench)
{
    bench_forget(bench);
    assert_true(writer_is_idle(&bench->writer));
    writer_fini(&bench->writer);
    memberships_fini(&bench->memberships);
    bench->durable->ops->close(bench->durable);
    bench->memory->ops->close(bench->memory);
}

static void bench_answered(struct membership_command *command)
{
    if (bench_now->answer != NULL)
        command_free(&bench_now->answer->command);
    bench_now->answer = command;
    bench_now->answer_count++;
}

static void bench_listed(struct membership_list *list)
{
    bench_now->list = list;
}

static void bench_left(void *ctx, struct channel_name *user, struct channel_name *group)
{
    (void)ctx, (void)user, (void)group;
    bench_now->left_count++;
}

/* Turns of the writer until nothing moves any more. */
static void bench_run(struct groups_bench *bench)
{
    static const struct shard_port port  = { .left = bench_left };
    struct shard                   shard = { .away_count = 1000, .port = &port };

    for (unsigned turn = 0; turn < 200; turn++) {
        struct mail *mail = bundle_take(&bench->posted);
        for (struct mail *next; mail != NULL; mail = next) {
            next = mail->next;
            writer_take(&bench->writer, command_of(mail), WALL);
        }
        writer_turn_end(&bench->writer, WALL);
    }
    struct mail *mail = bundle_take(&bench->sent);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        command_of(mail)->kind->at_loop(command_of(mail), &shard);
    }
}

static struct channel_name *bench_name(struct groups_bench *bench, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&bench->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static void bench_ask(struct groups_bench *bench, enum membership_request request, const char *user, const char *group)
{
    struct channel_name       *user_name = bench_name(bench, user), *group_name = bench_name(bench, group);
    struct membership_command *command   = membership_command_new(&bench->memberships, request, user_name, group_name,
                                                                  SPAN("shop"));

    channel_name_unref(user_name);
    channel_name_unref(group_name);
    command->answered = bench_answered;
    bench_post(bench, &command->command);
}

static void bench_expect(struct groups_bench *bench, enum membership_request request, const char *user, const char *group,
                         enum membership_outcome outcome, bool is_member, uint64_t seq)
{
    unsigned before = bench->answer_count;

    bench_ask(bench, request, user, group);
    bench_run(bench);
    assert_int_equal(bench->answer_count, before + 1);
    assert_int_equal(bench->answer->outcome, outcome);
    assert_int_equal(bench->answer->is_member, is_member);
    assert_int_equal(bench->answer->seq, seq);
}

static void on_publish(struct publish_command *publish)
{
    assert_int_equal(publish->outcome, PUBLISH_DONE);
    command_free(&publish->command);
}

static void bench_publish(struct groups_bench *bench, const char *channel)
{
    struct channel_name    *name    = bench_name(bench, channel);
    struct message         *message = message_new(name, MESSAGE_PLAIN, "x", 1, SPAN("text/plain"), SPAN(""));
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));

    channel_name_unref(name);
    publish->answered = on_publish;
    bench_post(bench, &publish->command);
    bench_run(bench);
}

static void on_read(struct store_read *read)
{
    (void)read;
}

/* Says of a log "kind of the first message|of the second …". */
static const char *bench_log(struct groups_bench *bench, const char *channel)
{
    static char       text[1000];
    struct store_read read = { .channel = bench_name(bench, channel), .limit = 100, .bytes_max = 1 << 20, .wall = WALL,
                               .done = on_read };
    size_t            len  = 0;

    bench->durable->ops->read(bench->durable, &read);
    text[0] = '\0';
    for (size_t i = 0; i < read.entry_count; i++) {
        struct span payload = message_payload(read.entries[i].message);
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*s|", SPAN_ARG(payload));
    }
    store_read_fini(&read);
    channel_name_unref(read.channel);
    return text;
}

/* The names of a page, each with a `|` behind it. */
static const char *bench_list(struct groups_bench *bench, const char *of, bool is_of_group, const char *after,
                              uint32_t limit)
{
    static char             text[1000];
    struct channel_name    *name = bench_name(bench, of);
    struct membership_list *list = membership_list_new(name, is_of_group, span_str(after), limit);
    size_t                  len = 0, at = 0;
    struct span             item;

    bench_forget(bench);
    channel_name_unref(name);
    list->answered = bench_listed;
    bench_post(bench, &list->command);
    bench_run(bench);
    assert_non_null(bench->list);
    assert_int_equal(bench->list->rc, RC_OK);
    text[0] = '\0';
    while (membership_list_next(bench->list, &at, &item))
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*s|", SPAN_ARG(item));
    return text;
}

static void a_change_is_made_once(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_ASK, "user:ann", "group:a", MEMBERSHIP_DONE, false, 0);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 0);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_ASK, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_publish(&bench, "group:a");
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 2);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 2);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 3);
    assert_string_equal(bench_log(&bench, "user:ann"),
                        "{\"group\":\"a\",\"joined\":true,\"place\":{\"epoch\":\"0000000000000005\",\"seq\":0}}|"
                        "{\"group\":\"a\",\"joined\":false,\"place\":{\"epoch\":\"0000000000000005\",\"seq\":1}}|"
                        "{\"group\":\"a\",\"joined\":true,\"place\":{\"epoch\":\"0000000000000005\",\"seq\":1}}|");
    bench_close(&bench);
}

/* Nobody was told of a leave of which nobody knew whether it was written. Who asks for it once more is answered when all were. */
static void a_leave_that_was_made_already_is_told_again(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 0);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    assert_int_equal(bench.left_count, 0);  /* who never was a member has left nothing */
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 2);
    assert_int_equal(bench.left_count, 1);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a", MEMBERSHIP_DONE, false, 2);
    assert_int_equal(bench.left_count, 2);
    bench_expect(&bench, MEMBERSHIP_ASK, "user:ann", "group:a", MEMBERSHIP_DONE, false, 2);
    assert_int_equal(bench.left_count, 2);
    bench_close(&bench);
}

/* Turns until the store has committed; the writer has not heard of it. */
static struct mail *bench_commits(struct groups_bench *bench)
{
    for (;;) {
        struct mail *mail = bundle_take(&bench->posted);
        assert_non_null(mail);
        assert_null(mail->next);
        if (strcmp(command_of(mail)->kind->name, "committed") == 0)
            return mail;
        writer_take(&bench->writer, command_of(mail), WALL);
        writer_turn_end(&bench->writer, WALL);
    }
}

/* The store has made the first leave, and the writer has not heard of it. */
static void a_leave_that_is_being_made_is_not_confirmed_before_it_is_told(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_ask(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a");
    struct mail *committed = bench_commits(&bench);
    bench_ask(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a");
    bench_run(&bench);
    assert_int_equal(bench.answer_count, 1);
    assert_int_equal(bench.left_count, 0);
    bundle_add(&bench.posted, committed);
    bench_run(&bench);
    assert_int_equal(bench.answer_count, 3);
    assert_int_equal(bench.left_count, 2);
    assert_int_equal(bench.answer->seq, 2);
    bench_close(&bench);
}

/* The store takes longer than anybody waits. */
static void a_leave_of_which_nobody_knows_is_counted(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_ask(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a");
    struct mail *committed = bench_commits(&bench);
    for (unsigned i = 0; i <= DEADLINE_TICKS; i++)
        writer_tick(&bench.writer, WALL);
    bench_run(&bench);
    assert_int_equal(bench.answer->outcome, MEMBERSHIP_BROKEN);
    assert_int_equal(counter_get(&bench.memberships.unknown_leaves), 1);
    assert_int_equal(bench.left_count, 0);
    bundle_add(&bench.posted, committed);
    bench_run(&bench);
    bench_close(&bench);
}

static void lists_are_in_the_order_of_names(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:b", "group:x", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:x", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:w", MEMBERSHIP_DONE, true, 2);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:xy", MEMBERSHIP_DONE, true, 3);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ab", "group:x", MEMBERSHIP_DONE, true, 1);
    assert_string_equal(bench_list(&bench, "group:x", true, "", 100), "a|ab|b|");
    assert_string_equal(bench_list(&bench, "group:x", true, "", 2), "a|ab|");
    assert_true(span_eq(membership_list_more(bench.list), SPAN("ab")));
    assert_string_equal(bench_list(&bench, "group:x", true, "ab", 2), "b|");
    assert_int_equal(membership_list_more(bench.list).len, 0);
    assert_string_equal(bench_list(&bench, "user:a", false, "", 100), "w|x|xy|");
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:a", "group:x", MEMBERSHIP_DONE, false, 4);
    assert_string_equal(bench_list(&bench, "user:a", false, "", 100), "w|xy|");
    assert_string_equal(bench_list(&bench, "group:x", true, "", 100), "ab|b|");
    assert_string_equal(bench_list(&bench, "group:none", true, "", 100), "");
    bench_close(&bench);
}

/* All at once: one of them makes the change, the others see it. */
static void changes_race(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    for (unsigned i = 0; i < 20; i++)
        bench_ask(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a");
    bench_run(&bench);
    assert_int_equal(bench.answer_count, 20);
    assert_int_equal(bench.answer->outcome, MEMBERSHIP_DONE);
    assert_true(bench.answer->is_member && bench.answer->seq == 1);
    for (unsigned i = 0; i < 5; i++) {
        bench_ask(&bench, MEMBERSHIP_LEAVE, "user:ann", "group:a");
        bench_ask(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a");
    }
    bench_run(&bench);
    assert_int_equal(bench.answer_count, 30);
    bench_ask(&bench, MEMBERSHIP_ASK, "user:ann", "group:a");
    bench_run(&bench);
    bool is_member = bench.answer->is_member;
    assert_string_equal(bench_list(&bench, "group:a", true, "", 10), is_member ? "ann|" : "");
    assert_string_equal(bench_list(&bench, "user:ann", false, "", 10), is_member ? "a|" : "");
    bench_close(&bench);
}

static void groups_and_users_have_maxima(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench.memberships.members_max = 2;
    bench.memberships.groups_max  = 3;
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:1", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:b", "group:1", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:c", "group:1", MEMBERSHIP_GROUP_FULL, false, 0);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:b", "group:1", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:2", MEMBERSHIP_DONE, true, 2);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:3", MEMBERSHIP_DONE, true, 3);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:4", MEMBERSHIP_USER_FULL, false, 0);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:a", "group:1", MEMBERSHIP_DONE, false, 4);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:c", "group:1", MEMBERSHIP_DONE, true, 1);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:a", "group:4", MEMBERSHIP_DONE, true, 5);
    bench_close(&bench);
}

/* 2,000 members: a message is one entry of one log. */
static void counts_are_read_page_by_page(void **state)
{
    struct groups_bench bench;
    char                text[32];

    (void)state;
    bench_open(&bench);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "user:u%04u", i);
        bench_ask(&bench, MEMBERSHIP_JOIN, text, "group:a");
        if (i % 50 == 49)
            bench_run(&bench);
    }
    assert_int_equal(bench.answer_count, 2000);
    memberships_fini(&bench.memberships);  /* as after a start: counts are read again */
    memberships_init(&bench.memberships);
    bench.memberships.members_max = 2000;
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:one-more", "group:a", MEMBERSHIP_GROUP_FULL, false, 0);
    bench_expect(&bench, MEMBERSHIP_LEAVE, "user:u0007", "group:a", MEMBERSHIP_DONE, false, 2);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:one-more", "group:a", MEMBERSHIP_DONE, true, 1);
    bench_close(&bench);
}

static void names_may_hold_what_json_escapes(void **state)
{
    struct groups_bench bench;

    (void)state;
    bench_open(&bench);
    bench_expect(&bench, MEMBERSHIP_JOIN, "user:ann", "group:a\"\\b", MEMBERSHIP_DONE, true, 1);
    assert_string_equal(bench_log(&bench, "user:ann"), "{\"group\":\"a\\\"\\\\b\",\"joined\":true,"
                                                       "\"place\":{\"epoch\":\"0000000000000005\",\"seq\":0}}|");
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_made_once),
        cmocka_unit_test(a_leave_that_was_made_already_is_told_again),
        cmocka_unit_test(a_leave_that_is_being_made_is_not_confirmed_before_it_is_told),
        cmocka_unit_test(a_leave_of_which_nobody_knows_is_counted),
        cmocka_unit_test(lists_are_in_the_order_of_names),
        cmocka_unit_test(changes_race),
        cmocka_unit_test(groups_and_users_have_maxima),
        cmocka_unit_test(counts_are_read_page_by_page),
        cmocka_unit_test(names_may_hold_what_json_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
