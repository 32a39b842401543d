/* Read marks: they rise, stop at the head, are told in the user's log in the commit that stores them, whatever else comes at
 * the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/devices.h"
#include "device/membership.h"
#include "device/read_mark.h"
#include "store/mem.h"

#include <cmocka.h>

enum { WALL = 1000, DEADLINE_TICKS = 100 };

/* A writer over stores in memory; who asks is the test itself. */
struct marks_bench {
    struct namespaces         spaces;
    struct store             *durable, *memory;
    struct writer             writer;
    struct memberships        memberships;
    struct devices            devices;
    struct bundle             posted, sent;
    struct read_mark_command *answer;  /* the last one */
    unsigned                  answer_count;
};

static const struct hash_key key = { 1, 2 };
static struct marks_bench   *bench_now;

static void bench_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    bundle_add(&((struct marks_bench *)ctx)->sent, &command->mail);
}

static void bench_post(void *ctx, struct command *command)
{
    bundle_add(&((struct marks_bench *)ctx)->posted, &command->mail);
}

static const struct writer_port bench_port = { bench_send, bench_post };

static void bench_open(struct marks_bench *bench)
{
    const struct mem_store_options durable = { .epoch_first = 5, .id_first = 1, .hash_key = key };
    const struct mem_store_options memory  = { .epoch_first = 9, .id_first = 1, .hash_key = key };
    const struct devices_limits    devices = { .session_ttl_ms = 1000, .devices_max = 10, .opens_max = 10, .waiting_max = 10,
                                               .idle_max = 10 };
    const struct writer_limits     limits  = {
             .waiting_count_max = 100, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
             .deadline_ticks = DEADLINE_TICKS, .delivery_count_max = 100, .delivery_bytes_max = 1 << 20,
             .tail_bytes_max = 1 << 20, .tail_messages_max = 100,
    };

    *bench = (struct marks_bench){ 0 };
    namespaces_init(&bench->spaces);
    bench->durable = mem_store_new(&durable);
    bench->memory  = mem_store_new(&memory);
    writer_init(&bench->writer, &bench_port, bench, bench->durable, bench->memory, &limits, 1);
    bench->writer.wall = WALL;
    memberships_init(&bench->memberships);
    devices_init(&bench->devices, &bench->writer, &bench->spaces, &key, &devices);
    bench_now = bench;
}

static void bench_forget(struct marks_bench *bench)
{
    if (bench->answer != NULL)
        command_free(&bench->answer->command);
    bench->answer = NULL;
}

static void bench_close(struct marks_bench *bench)
{
    bench_forget(bench);
    assert_int_equal(bench->devices.mark_count, 0);
    assert_true(devices_is_idle(&bench->devices));
    devices_fini(&bench->devices);
    writer_fini(&bench->writer);
    memberships_fini(&bench->memberships);
    bench->durable->ops->close(bench->durable);
    bench->memory->ops->close(bench->memory);
}

static void bench_answered(struct read_mark_command *mark)
{
    bench_forget(bench_now);
    bench_now->answer = mark;
    bench_now->answer_count++;
}

/* Turns of the writer until nothing moves any more. */
static void bench_run(struct marks_bench *bench)
{
    static const struct shard_port no_port = { 0 };
    struct shard                   shard   = { .away_count = 1000, .port = &no_port };

    for (unsigned turn = 0; turn < 200; turn++) {
        struct mail *mail = bundle_take(&bench->posted);
        for (struct mail *next; mail != NULL; mail = next) {
            next = mail->next;
            writer_take(&bench->writer, command_of(mail), WALL);
        }
        devices_turn_end(&bench->devices);
        writer_turn_end(&bench->writer, WALL);
    }
    struct mail *mail = bundle_take(&bench->sent);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        command_of(mail)->kind->at_loop(command_of(mail), &shard);
    }
}

static struct channel_name *bench_name(struct marks_bench *bench, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&bench->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static struct read_mark_command *bench_ask(struct marks_bench *bench, const char *device, const char *channel, uint64_t epoch,
                                           uint64_t seq)
{
    struct channel_name      *name = bench_name(bench, channel);
    struct read_mark_command *mark = read_mark_command_new(&bench->devices, SPAN("ann"), span_str(device), name);

    channel_name_unref(name);
    mark->epoch    = epoch;
    mark->seq      = seq;
    mark->answered = bench_answered;
    bench_post(bench, &mark->command);
    return mark;
}

/* Sets a mark, and says what it is then. */
static uint64_t bench_mark(struct marks_bench *bench, const char *channel, uint64_t epoch, uint64_t seq)
{
    unsigned before = bench->answer_count;

    bench_ask(bench, "phone", channel, epoch, seq);
    bench_run(bench);
    assert_int_equal(bench->answer_count, before + 1);
    assert_int_equal(bench->answer->outcome, READ_MARK_DONE);
    return bench->answer->seq;
}

static void on_publish(struct publish_command *publish)
{
    assert_int_equal(publish->outcome, PUBLISH_DONE);
    command_free(&publish->command);
}

static void bench_publish(struct marks_bench *bench, const char *channel, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct channel_name    *name    = bench_name(bench, channel);
        struct message         *message = message_new(name, MESSAGE_PLAIN, "x", 1, SPAN("text/plain"), SPAN(""));
        struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
        channel_name_unref(name);
        publish->answered = on_publish;
        bench_post(bench, &publish->command);
    }
    bench_run(bench);
}

static void on_read(struct store_read *read)
{
    (void)read;
}

static void on_append(struct append_batch *batch)
{
    (void)batch;
}

/* The payloads of the log of ann, each with a `|` behind it. */
static const char *bench_log(struct marks_bench *bench)
{
    static char       text[1000];
    struct store_read read = { .channel = bench_name(bench, "user:ann"), .limit = 100, .bytes_max = 1 << 20, .wall = WALL,
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

static void a_mark_rises_and_is_told(void **state)
{
    struct marks_bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_mark(&bench, "topic:a", 0, 3), 0);  /* nothing was published: there is nothing to read */
    bench_publish(&bench, "topic:a", 5);
    assert_int_equal(bench_mark(&bench, "topic:a", 0, 3), 3);
    assert_int_equal(bench.answer->epoch, 5);
    assert_int_equal(bench_mark(&bench, "topic:a", 5, 2), 3);   /* never back */
    assert_int_equal(bench_mark(&bench, "topic:a", 5, 3), 3);   /* nothing new */
    assert_int_equal(bench_mark(&bench, "topic:a", 5, 99), 5);  /* beyond the head counts as the head */
    assert_int_equal(bench_mark(&bench, "topic:a", 6, 5), 5);   /* of another life of the log: counts as nothing */
    assert_string_equal(bench_log(&bench),
                        "{\"target_channel\":\"topic:a\",\"target_epoch\":\"0000000000000005\",\"target\":3,"
                        "\"device\":\"phone\"}|"
                        "{\"target_channel\":\"topic:a\",\"target_epoch\":\"0000000000000005\",\"target\":5,"
                        "\"device\":\"phone\"}|");
    assert_int_equal(counter_get(&bench.devices.counters.marks), 2);
    bench_close(&bench);
}

/* A channel in memory begins anew at each start: the mark of its earlier life is overwritten, though it was higher. */
static void a_mark_ends_with_its_log(void **state)
{
    struct marks_bench             bench;
    const struct mem_store_options again = { .epoch_first = 10, .id_first = 1, .hash_key = key };

    (void)state;
    bench_open(&bench);
    bench_publish(&bench, "live:a", 5);
    assert_int_equal(bench_mark(&bench, "live:a", 0, 5), 5);
    assert_int_equal(bench.answer->epoch, 9);
    bench.memory->ops->close(bench.memory);
    bench.memory              = mem_store_new(&again);
    bench.writer.memory.store = bench.memory;
    assert_int_equal(bench_mark(&bench, "live:a", 9, 5), 0);
    struct channel_name *name    = bench_name(&bench, "live:a");
    struct message      *message = message_new(name, MESSAGE_PLAIN, "x", 1, SPAN("text/plain"), SPAN(""));
    struct append        append  = { .message = message };
    struct append_batch  batch   = { .count = 1, .wall = WALL };
    batch.done                   = on_append;
    list_init(&batch.appends);
    list_push(&batch.appends, &append.link);
    bench.memory->ops->append(bench.memory, &batch);
    message_unref(message);
    channel_name_unref(name);
    assert_int_equal(bench_mark(&bench, "live:a", 0, 4), 1);
    assert_int_equal(bench.answer->epoch, 10);
    bench_close(&bench);
}

/* All at once: each is answered, the highest stays, and the log has no mark that goes back. */
static void marks_race(void **state)
{
    static const uint64_t seqs[] = { 3, 9, 4, 7, 9, 1 };
    struct marks_bench    bench;

    (void)state;
    bench_open(&bench);
    bench_publish(&bench, "topic:a", 9);
    for (size_t i = 0; i < sizeof seqs / sizeof seqs[0]; i++)
        bench_ask(&bench, "", "topic:a", 0, seqs[i]);
    bench_run(&bench);
    assert_int_equal(bench.answer_count, 6);
    assert_int_equal(bench.answer->outcome, READ_MARK_DONE);
    assert_int_equal(bench_mark(&bench, "topic:a", 0, 1), 9);
    unsigned last = 0, target;
    for (const char *at = bench_log(&bench); (at = strstr(at, "\"target\":")) != NULL; last = target) {
        target = (unsigned)strtoul(at += 9, NULL, 10);
        assert_true(target > last);
    }
    assert_int_equal(last, 9);
    bench_close(&bench);
}

static void joined(struct membership_command *command)
{
    assert_int_equal(command->outcome, MEMBERSHIP_DONE);
    command_free(&command->command);
}

static void bench_join(struct marks_bench *bench, enum membership_request request)
{
    struct channel_name       *user = bench_name(bench, "user:ann"), *group = bench_name(bench, "group:g");
    struct membership_command *join = membership_command_new(&bench->memberships, request, user, group, SPAN(""));

    channel_name_unref(user);
    channel_name_unref(group);
    join->answered = joined;
    bench_post(bench, &join->command);
    bench_run(bench);
}

static enum read_mark_outcome bench_mark_as_member(struct marks_bench *bench)
{
    bench_ask(bench, "", "group:g", 0, 1)->needs_member = true;
    bench_run(bench);
    return bench->answer->outcome;
}

static void only_a_member_marks_a_group(void **state)
{
    struct marks_bench bench;

    (void)state;
    bench_open(&bench);
    bench_publish(&bench, "group:g", 1);
    assert_int_equal(bench_mark_as_member(&bench), READ_MARK_NO_MEMBER);
    bench_join(&bench, MEMBERSHIP_JOIN);
    assert_int_equal(bench_mark_as_member(&bench), READ_MARK_DONE);
    bench_join(&bench, MEMBERSHIP_LEAVE);
    assert_int_equal(bench_mark_as_member(&bench), READ_MARK_NO_MEMBER);
    bench_close(&bench);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    struct marks_bench bench;

    (void)state;
    bench_open(&bench);
    struct namespace *space = NULL;
    for (size_t i = 0; i < bench.spaces.count; i++)
        if (strcmp(bench.spaces.at[i].name, "user") == 0)
            space = &bench.spaces.at[i];
    must(space != NULL);
    space->durability = MEMORY;
    bench_ask(&bench, "", "topic:a", 0, 1);
    bench_run(&bench);
    assert_int_equal(bench.answer->outcome, READ_MARK_NOT_DURABLE);
    space->durability        = DURABLE;
    bench.devices.mark_count = READ_MARKS_AWAY_MAX;
    bench_ask(&bench, "", "topic:a", 0, 1);
    bench_run(&bench);
    assert_int_equal(bench.answer->outcome, READ_MARK_BUSY);
    assert_int_equal(bench.devices.mark_count, READ_MARKS_AWAY_MAX);
    bench.devices.mark_count = 0;
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_rises_and_is_told),
        cmocka_unit_test(a_mark_ends_with_its_log),
        cmocka_unit_test(marks_race),
        cmocka_unit_test(only_a_member_marks_a_group),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
