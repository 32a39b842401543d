/* A loop's door: commands go out with its number and come back to who asked, or to nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/shard.h"

#include <cmocka.h>

enum { LOOP = 3, COMMANDS_MAX = 16 };

struct stage {
    struct namespaces    spaces;
    struct channel_name *name;
    struct shard         shard;
    struct subscription  sub;
    struct command       *sent[COMMANDS_MAX];
    size_t               sent_count;
    struct heartbeat_command *heartbeat;  /* under way, or NULL */
    unsigned             ready_count;
};

static const struct hash_key key = { 1, 2 };

static void on_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    assert_true(stage->sent_count < COMMANDS_MAX);
    assert_int_equal(command->loop, LOOP);
    if (command->kind == &heartbeat_kind) {
        assert_null(stage->heartbeat);
        stage->heartbeat = container_of(command, struct heartbeat_command, command);
        return;
    }
    stage->sent[stage->sent_count++] = command;
}

static void on_ready(void *ctx, struct subscription *sub)
{
    struct stage *stage = ctx;

    assert_ptr_equal(near_get(sub->owner), stage);
    stage->ready_count++;
}

static const struct shard_port port = { .send = on_send, .ready = on_ready };

static struct stage *stage_new(void)
{
    static const struct shard_limits limits = {
        .hub = { .window_messages_max = 8, .window_bytes_max = 1 << 20, .linger_ms = 100 },
        .page_count_max = 7, .page_bytes_max = 777, .pages_away_max = 3, .pages_store_away_max = 1,
        .publish_count_max = 2, .publish_bytes_max = 4096,
    };
    struct stage *stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    assert_int_equal(channel_name_new(&stage->spaces, &key, SPAN("topic:a"), &stage->name), CHANNEL_NAME_OK);
    shard_init(&stage->shard, LOOP, &port, stage, &limits);
    shard_turn_begin(&stage->shard, 1000, 500000);
    return stage;
}

static void stage_free(struct stage *stage)
{
    subscription_close(&stage->sub, &stage->shard.hub, 0);
    shard_fini(&stage->shard);
    for (size_t i = 0; i < stage->sent_count; i++)
        command_free(stage->sent[i]);
    if (stage->heartbeat != NULL)
        command_free(&stage->heartbeat->command);
    channel_name_unref(stage->name);
    free(stage);
}

/* The one command that was sent since, now the caller's. */
static struct command *sent(struct stage *stage, const struct command_kind *kind)
{
    assert_int_equal(stage->sent_count, 1);
    stage->sent_count = 0;
    assert_ptr_equal(stage->sent[0]->kind, kind);
    return stage->sent[0];
}

/* Follows the channel, whose log ends at 5, from behind 3 on. */
static void stage_follow(struct stage *stage)
{
    subscription_open(&stage->sub, &stage->shard.hub, stage->name, (struct start){ START_AFTER, 3 }, stage);
    struct command        *command = sent(stage, &follow_kind);
    struct follow_command *follow = container_of(command, struct follow_command, command);
    assert_true(channel_name_eq(follow->channel, stage->name));
    follow->epoch = 9;
    follow->first = 1;
    follow->head  = 5;
    shard_take(&stage->shard, command);
    assert_int_equal(stage->ready_count, 1);
}

/* The channel is followed already: it knows its place at once. */
static void wants_a_page(struct stage *stage, struct subscription *sub)
{
    struct entry entry;

    if (sub != &stage->sub)
        subscription_open(sub, &stage->shard.hub, stage->name, (struct start){ START_AFTER, 3 }, stage);
    assert_int_equal(subscription_look(sub, 0, &entry), LOOK_UNREAD);
    subscription_read(sub, &stage->shard.hub);
    assert_int_equal(subscription_look(sub, 0, &entry), LOOK_READING);
}

/* A subscription that waits for its first page. */
static struct read_command *stage_reading(struct stage *stage)
{
    stage_follow(stage);
    wants_a_page(stage, &stage->sub);
    shard_turn_end(&stage->shard);
    return container_of(sent(stage, &read_kind), struct read_command, command);
}

static struct message *message_of(struct stage *stage, uint64_t seq)
{
    struct message *message = message_new(stage->name, MESSAGE_PLAIN, "hello", 5, SPAN(""), SPAN(""));

    message->epoch = 9;
    message->seq   = seq;
    return message;
}

static void page_answers(struct stage *stage, struct read_command *command, uint64_t seq)
{
    command->read.rc          = RC_OK;
    command->read.epoch       = 9;
    command->read.head        = 5;
    command->read.entries     = calloc(1, sizeof *command->read.entries);
    command->read.entry_count = 1;
    must(command->read.entries != NULL);
    command->read.entries[0].message = message_of(stage, seq);
}

/* What a loop may keep back, and must keep back together. */
static void some_commands_speak_of_logs(void **state)
{
    (void)state;
    static const struct { const struct command_kind *kind; bool want; } rows[] = {
        { &deliver_kind, true }, { &follow_kind, true }, { &read_kind, true },
        { &publish_kind, false }, { &stats_kind, false }, { &count_kind, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(rows[i].kind->is_of_log, rows[i].want);
}

static void a_page_is_asked_for_within_bounds_and_dealt_out(void **state)
{
    (void)state;
    struct stage       *stage  = stage_new();
    struct read_command *command = stage_reading(stage);
    struct entry        entry;

    assert_int_equal(command->read.way, READ_AFTER);
    assert_int_equal(command->read.bound, 3);
    assert_int_equal(command->read.limit, 7);
    assert_int_equal(command->read.bytes_max, 777);
    assert_int_equal(command->read.wall, 500000);
    assert_int_equal(command->source, READ_TAIL_OR_STORE);
    assert_int_equal(stage->shard.away_count, 1);
    page_answers(stage, command, 4);
    shard_take(&stage->shard, &command->command);
    assert_int_equal(stage->shard.away_count, 0);
    assert_int_equal(stage->ready_count, 2);
    assert_int_equal(subscription_look(&stage->sub, 0, &entry), LOOK_ENTRY);
    assert_int_equal(entry.message->seq, 4);
    stage_free(stage);
}

static void a_page_for_one_who_left_is_freed(void **state)
{
    (void)state;
    struct stage       *stage  = stage_new();
    struct read_command *command = stage_reading(stage);

    subscription_close(&stage->sub, &stage->shard.hub, 0);
    page_answers(stage, command, 4);
    shard_take(&stage->shard, &command->command);
    assert_int_equal(stage->shard.away_count, 0);
    assert_int_equal(stage->ready_count, 1);
    stage_free(stage);
}

static void a_failed_page_is_no_news(void **state)
{
    (void)state;
    struct stage       *stage  = stage_new();
    struct read_command *command = stage_reading(stage);

    command->read.rc = RC_IO;
    shard_take(&stage->shard, &command->command);
    assert_int_equal(stage->ready_count, 1);
    shard_tick(&stage->shard);
    command_free(sent(stage, &follow_kind));
    stage->shard.away_count = 0;
    stage_free(stage);
}

/* The read commands sent since, as words: "any" may come from the store, "memory" not. They are the caller's now. */
static void sent_reads(struct stage *stage, struct read_command *ret_commands[COMMANDS_MAX], const char *want)
{
    char words[256] = "";

    for (size_t i = 0; i < stage->sent_count; i++) {
        assert_ptr_equal(stage->sent[i]->kind, &read_kind);
        ret_commands[i] = container_of(stage->sent[i], struct read_command, command);
        strcat(words, ret_commands[i]->source == READ_MEMORY ? " memory" : " any");
    }
    stage->sent_count = 0;
    assert_string_equal(words, want);
}

static void page_comes(struct stage *stage, struct read_command *command)
{
    page_answers(stage, command, 4);
    shard_take(&stage->shard, &command->command);
}

static void page_is_cold(struct stage *stage, struct read_command *command)
{
    command->read.rc = RC_BUSY;
    shard_take(&stage->shard, &command->command);
}

/* Three at a time, one of them from the store (threat 34). */
static void pages_wait_for_their_turn(void **state)
{
    (void)state;
    struct stage       *stage   = stage_new();
    struct subscription subs[4] = { 0 };
    struct read_command *one[COMMANDS_MAX], *two[COMMANDS_MAX];

    stage_follow(stage);
    wants_a_page(stage, &stage->sub);
    for (size_t i = 0; i < 4; i++)
        wants_a_page(stage, &subs[i]);
    shard_turn_end(&stage->shard);
    sent_reads(stage, one, " any memory memory");

    /* What memory has not got waits for the store's place, and takes none of the others'. */
    page_is_cold(stage, one[1]);
    shard_turn_end(&stage->shard);
    sent_reads(stage, two, " memory");
    page_comes(stage, two[0]);
    page_comes(stage, one[0]);
    shard_turn_end(&stage->shard);
    sent_reads(stage, two, " any memory");
    page_comes(stage, two[0]);
    page_comes(stage, two[1]);
    page_comes(stage, one[2]);
    assert_int_equal(stage->ready_count, 5 + 5);
    for (size_t i = 0; i < 4; i++)
        subscription_close(&subs[i], &stage->shard.hub, 0);
    stage_free(stage);
}

/* Whoever goes while its page waits, on its way or in line, leaves nothing behind. */
static void pages_of_those_who_left_are_not_asked_for(void **state)
{
    (void)state;
    struct stage       *stage   = stage_new();
    struct subscription subs[3] = { 0 };
    struct read_command *one[COMMANDS_MAX];

    stage_follow(stage);
    wants_a_page(stage, &stage->sub);
    for (size_t i = 0; i < 3; i++)
        wants_a_page(stage, &subs[i]);
    shard_turn_end(&stage->shard);
    sent_reads(stage, one, " any memory memory");
    page_is_cold(stage, one[1]);
    for (size_t i = 0; i < 3; i++)
        subscription_close(&subs[i], &stage->shard.hub, 0);
    page_is_cold(stage, one[2]);
    page_comes(stage, one[0]);
    shard_turn_end(&stage->shard);
    assert_int_equal(stage->sent_count, 0);
    assert_int_equal(stage->shard.away_count, 0);
    stage_free(stage);
}

static void deliveries_are_heard_once_a_turn_and_let_go(void **state)
{
    (void)state;
    struct stage          *stage   = stage_new();
    struct read_command    *command  = stage_reading(stage);
    struct deliver_command *deliver = calloc(1, sizeof *deliver);
    struct entry           entry;

    must(deliver != NULL);
    page_answers(stage, command, 4);
    shard_take(&stage->shard, &command->command);
    deliver->hint.command.kind = &deliver_kind;
    deliver->hint.count       = 2;
    deliver->messages[0] = message_of(stage, 6);
    deliver->messages[1] = message_of(stage, 7);
    stage->ready_count   = 0;
    subscription_look(&stage->sub, 0, &entry);
    shard_take(&stage->shard, &deliver->hint.command);
    assert_int_equal(stage->ready_count, 0);
    shard_tell(&stage->shard);
    assert_int_equal(stage->ready_count, 1);
    shard_turn_end(&stage->shard);
    assert_int_equal(subscription_head(&stage->sub), 7);
    stage_free(stage);
}

/* --- answers --- */

static struct publish_command *answered_publish;
static struct stats_command   *answered_stats;

static void on_published(struct publish_command *command)
{
    answered_publish = command;
}

static void on_stats(struct stats_command *command)
{
    answered_stats = command;
}

static void a_publish_comes_back_though_its_asker_is_gone(void **state)
{
    (void)state;
    struct stage          *stage   = stage_new();
    struct message        *message = message_of(stage, 0);
    struct publish_command *command  = publish_command_new(&message, SPAN("key"), SPAN("publisher"));

    assert_null(message);
    assert_true(span_eq(command->append.key, SPAN("key")));
    assert_true(span_eq(command->append.publisher, SPAN("publisher")));
    command->answered = on_published;
    command->owner    = stage;
    shard_publish(&stage->shard, command);
    command->owner = NULL;
    shard_take(&stage->shard, sent(stage, &publish_kind));
    assert_ptr_equal(answered_publish, command);
    assert_null(answered_publish->owner);
    assert_int_equal(stage->shard.away_count, 0);
    command_free(&answered_publish->command);
    stage_free(stage);
}

static void count_busy(struct publish_command *command)
{
    unsigned *busy_count = command->owner;

    *busy_count += command->outcome == PUBLISH_BUSY;
    command_free(&command->command);
}

static void publish_bytes(struct stage *stage, uint32_t bytes, unsigned *busy_count)
{
    struct message        *message = message_new(stage->name, MESSAGE_PLAIN, NULL, bytes, SPAN(""), SPAN(""));
    struct publish_command *command  = publish_command_new(&message, SPAN(""), SPAN(""));

    memset(command->append.message->bytes, 'x', bytes);
    command->owner    = busy_count;
    command->answered = count_busy;
    shard_publish(&stage->shard, command);
}

/* Threats 21, 36: what is on its way from one loop is bounded, in number and in bytes, whatever the namespace. */
static void too_much_on_its_way_is_answered_busy_at_once(void **state)
{
    (void)state;
    struct stage *stage      = stage_new();
    unsigned      busy_count = 0;

    publish_bytes(stage, 10, &busy_count);
    publish_bytes(stage, 10, &busy_count);
    assert_int_equal(busy_count, 0);
    publish_bytes(stage, 10, &busy_count);
    assert_int_equal(busy_count, 1);
    assert_int_equal(counter_get(&stage->shard.refused), 1);
    while (stage->sent_count > 0)
        shard_take(&stage->shard, stage->sent[--stage->sent_count]);
    assert_int_equal(stage->shard.publish_bytes, 0);
    publish_bytes(stage, 10, &busy_count);  /* may not overtake what was refused in this turn */
    assert_int_equal(busy_count, 2);
    shard_turn_begin(&stage->shard, 1001, 500001);

    publish_bytes(stage, 3900, &busy_count);
    publish_bytes(stage, 200, &busy_count);
    assert_int_equal(busy_count, 3);
    shard_take(&stage->shard, sent(stage, &publish_kind));
    shard_turn_begin(&stage->shard, 1002, 500002);
    publish_bytes(stage, 200, &busy_count);
    assert_int_equal(busy_count, 3);
    shard_take(&stage->shard, sent(stage, &publish_kind));
    stage_free(stage);
}

static void numbers_are_asked_for_and_told(void **state)
{
    (void)state;
    struct stage        *stage  = stage_new();
    struct stats_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->answered = on_stats;
    shard_ask_stats(&stage->shard, command);
    assert_int_equal(stage->shard.away_count, 1);
    shard_take(&stage->shard, sent(stage, &stats_kind));
    assert_ptr_equal(answered_stats, command);
    command_free(&command->command);
    stage_free(stage);
}

static struct count_command *answered_count;

static void on_counted(struct count_command *command)
{
    answered_count = command;
}

/* A question that goes round: this loop adds its own, whoever asked, and the asker alone is answered. */
static void subscribers_are_counted_on_the_way(void **state)
{
    (void)state;
    struct stage        *stage  = stage_new();
    struct count_command *command = count_command_new(stage->name);

    subscription_open(&stage->sub, &stage->shard.hub, stage->name, (struct start){ START_NOW }, stage);
    command_free(sent(stage, &follow_kind));
    assert_int_equal(stage->shard.away_count, 0);  /* a store that can't be read may never answer that */
    command->answered = on_counted;
    shard_count(&stage->shard, command);
    assert_int_equal(stage->shard.away_count, 1);
    assert_int_equal(command->asker, LOOP);
    command->is_going = true;
    command->count    = 4;
    shard_take(&stage->shard, sent(stage, &count_kind));
    assert_ptr_equal(sent(stage, &count_kind), &command->command);
    assert_int_equal(command->count, 5);
    assert_null(answered_count);
    command->is_home = true;
    shard_take(&stage->shard, &command->command);
    assert_ptr_equal(answered_count, command);
    assert_int_equal(stage->shard.away_count, 0);
    command_free(&command->command);
    stage_free(stage);
}

static void a_lonely_channel_is_unfollowed_by_a_command_without_answer(void **state)
{
    (void)state;
    struct stage       *stage  = stage_new();
    struct read_command *command = stage_reading(stage);

    subscription_close(&stage->sub, &stage->shard.hub, 1000);
    command_free(&command->command);
    shard_turn_begin(&stage->shard, 1100, 500100);
    shard_tick(&stage->shard);
    command_free(sent(stage, &unfollow_kind));
    assert_int_equal(stage->shard.away_count, 1);  /* the page's command, which this test ate */
    stage_free(stage);
}

static void hint_comes(struct stage *stage, uint64_t number, uint64_t seq)
{
    struct deliver_command *deliver = calloc(1, sizeof *deliver);

    must(deliver != NULL);
    deliver->hint        = (struct hint){ .command = { .kind = &deliver_kind }, .number = number, .count = 1 };
    deliver->messages[0] = message_of(stage, seq);
    shard_take(&stage->shard, &deliver->hint.command);
}

/* The heartbeat costs one command. It says that a hint is missing if a number was skipped, or if the writer has sent
 * more than came. */
static void a_heartbeat_finds_out_that_a_hint_was_lost(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t hints[4], sent; bool is_lost_before, is_lost_after; } rows[] = {
        { "nothing was sent", { 0 }, 0, false, false },
        { "all came", { 1, 2, 3 }, 3, false, false },
        { "one is skipped", { 1, 3 }, 3, true, false },
        { "twice, and late", { 1, 2, 2, 1 }, 2, false, false },
        { "the last is missing", { 1, 2 }, 3, false, true },
        { "the only one is missing", { 0 }, 1, false, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        for (size_t j = 0; j < 4 && rows[i].hints[j] != 0; j++)
            hint_comes(stage, rows[i].hints[j], 6);
        shard_tick(&stage->shard);
        shard_tick(&stage->shard);  /* one at a time */
        struct heartbeat_command *heartbeat = stage->heartbeat;
        stage->heartbeat                    = NULL;
        if (heartbeat->is_hint_lost != rows[i].is_lost_before)
            fail_msg("%s: before", rows[i].name);
        heartbeat->number = rows[i].sent;
        shard_take(&stage->shard, &heartbeat->command);
        if ((stage->heartbeat != NULL && stage->heartbeat->is_hint_lost) != rows[i].is_lost_after)
            fail_msg("%s: after", rows[i].name);
        stage_free(stage);
    }
}

/* The loop counts what it has taken, however it lets go of it. */
static void what_is_taken_is_counted(void **state)
{
    (void)state;
    struct stage           *stage   = stage_new();
    struct loop_account     account = { 0 };
    struct deliver_command *deliver = calloc(1, sizeof *deliver);
    struct moved_command   *moved   = calloc(1, sizeof *moved);

    must(deliver != NULL && moved != NULL);
    deliver->hint = (struct hint){ { .kind = &deliver_kind }, .account = &account, .number = 1, .bytes = 70,
                                   .count = 1 };
    deliver->messages[0] = message_of(stage, 6);
    moved->hint = (struct hint){ { .kind = &moved_kind }, .account = &account, .number = 2, .bytes = 30, .count = 1 };
    moved->heads[0] = (struct moved_head){ channel_name_ref(stage->name), 9, 1, 7 };
    shard_take(&stage->shard, &deliver->hint.command);
    assert_int_equal(counter_get(&account.taken_count), 1);
    assert_int_equal(counter_get(&account.taken_bytes), 70);
    command_free(&moved->hint.command);
    assert_int_equal(counter_get(&account.taken_count), 2);
    assert_int_equal(counter_get(&account.taken_bytes), 100);
    stage_free(stage);
}

static void a_moved_head_makes_readers_read(void **state)
{
    (void)state;
    struct stage         *stage = stage_new();
    struct moved_command *moved = calloc(1, sizeof *moved);
    struct entry          entry;

    must(moved != NULL);
    subscription_open(&stage->sub, &stage->shard.hub, stage->name, (struct start){ START_NOW }, stage);
    struct follow_command *follow = container_of(sent(stage, &follow_kind), struct follow_command, command);
    follow->epoch                 = 9;
    follow->first                 = 1;
    follow->head                  = 5;
    shard_take(&stage->shard, &follow->command);
    assert_int_equal(subscription_look(&stage->sub, 0, &entry), LOOK_WAIT);
    moved->hint     = (struct hint){ { .kind = &moved_kind }, .number = 1, .count = 1 };
    moved->heads[0] = (struct moved_head){ channel_name_ref(stage->name), 9, 1, 7 };
    shard_take(&stage->shard, &moved->hint.command);
    assert_int_equal(subscription_look(&stage->sub, 0, &entry), LOOK_UNREAD);
    stage_free(stage);
}

static void commands_free_all_that_they_own(void **state)
{
    (void)state;
    struct stage       *stage = stage_new();
    struct read_command *read  = read_command_new(stage->name);
    struct message     *empty = message_of(stage, 0);

    command_free(NULL);
    page_answers(stage, read, 4);
    command_free(&read->command);
    command_free(&publish_command_new(&empty, SPAN(""), SPAN(""))->command);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_commands_speak_of_logs),
        cmocka_unit_test(a_page_is_asked_for_within_bounds_and_dealt_out),
        cmocka_unit_test(pages_wait_for_their_turn),
        cmocka_unit_test(pages_of_those_who_left_are_not_asked_for),
        cmocka_unit_test(a_page_for_one_who_left_is_freed),
        cmocka_unit_test(a_failed_page_is_no_news),
        cmocka_unit_test(deliveries_are_heard_once_a_turn_and_let_go),
        cmocka_unit_test(a_publish_comes_back_though_its_asker_is_gone),
        cmocka_unit_test(too_much_on_its_way_is_answered_busy_at_once),
        cmocka_unit_test(numbers_are_asked_for_and_told),
        cmocka_unit_test(subscribers_are_counted_on_the_way),
        cmocka_unit_test(a_lonely_channel_is_unfollowed_by_a_command_without_answer),
        cmocka_unit_test(a_heartbeat_finds_out_that_a_hint_was_lost),
        cmocka_unit_test(what_is_taken_is_counted),
        cmocka_unit_test(a_moved_head_makes_readers_read),
        cmocka_unit_test(commands_free_all_that_they_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
