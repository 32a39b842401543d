/* Receipts over a ledger in memory: pages, loops that answer late or never, and too many who ask. */
#include "device/receipts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/device_look.h"
#include "device/group_spans.h"
#include "device/session_listing.h"
#include "device/why.h"
#include "store/mem.h"

#include <cmocka.h>

enum { LOOPS = 2, WALL = 1000000, EPOCH = 7, ANSWERS_MAX = 64 };

static const struct hash_key hash_key = { 1, 2 };

struct bench {
    struct namespaces        spaces;
    struct store            *durable, *memory;
    struct ledger           *real, away;
    struct writer            writer;
    struct devices           devices;
    struct bundle            posted, sent[LOOPS];
    struct device_home       homes[LOOPS];
    struct shard             shards[LOOPS];
    bool                     is_silent[LOOPS];  /* takes no mail */
    uint64_t                 seen;              /* of all links */
    size_t                   cost;              /* … of a look at one */
    unsigned                 look_count, ask_count;
    struct receipts_command *answers[ANSWERS_MAX];
    size_t                   answer_count;
    struct session_open     *opened[ANSWERS_MAX * 8];
    size_t                   open_count;
};

static struct bench *bench_now;

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    struct bench *bench = ctx;

    bench->ask_count += strcmp(command->kind->name, "link_ask") == 0;
    bundle_add(&bench->sent[loop], &command->mail);
}

static void on_post(void *ctx, struct command *command)
{
    bundle_add(&((struct bench *)ctx)->posted, &command->mail);
}

static const struct writer_port writer_port_here = { .send = on_send, .post = on_post };

static void shard_on_send(void *ctx, struct command *command)
{
    (void)ctx;
    bundle_add(&bench_now->posted, &command->mail);
}

static const struct shard_port shard_port_here = { .send = shard_on_send };

static void on_fence(struct device_home *home, uint64_t key, enum fence_reason reason)
{
    (void)home;
    (void)key;
    (void)reason;
}

static size_t on_look(struct device_home *home, uint64_t key, const struct channel_name *channel, struct link_view *ret)
{
    (void)home;
    (void)key;
    (void)channel;
    bench_now->look_count++;
    *ret = (struct link_view){ .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH, .seen = bench_now->seen };
    return bench_now->cost;
}

static void away_read(struct ledger *ledger, struct ledger_read *read)
{
    (void)ledger;
    read->rc = RC_IO;
    read->done(read);
}

static const struct ledger_ops away_ops = { .name = "away", .read = away_read };

static struct store *mem_new(uint64_t epoch)
{
    const struct mem_store_options options = { .epoch_first = epoch, .id_first = 1, .hash_key = hash_key };
    return mem_store_new(&options);
}

static void bench_open(struct bench *bench)
{
    const struct writer_limits limits = {
        .waiting_count_max = 1000, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
        .deadline_ticks = 100, .delivery_count_max = 1000, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
        .tail_messages_max = 100,
    };
    const struct devices_limits devices = { .session_ttl_ms = 5000, .poll_lease_ms = 60, .devices_max = 1000,
                                            .opens_max = 2, .waiting_max = 1000, .idle_max = 1000 };

    *bench    = (struct bench){ .seen = UINT64_MAX / 4, .cost = 1 };
    bench_now = bench;
    namespaces_init(&bench->spaces);
    bench->durable = mem_new(EPOCH);
    bench->memory  = mem_new(900);
    bench->real    = bench->durable->ledger;
    bench->away    = (struct ledger){ &away_ops };
    writer_init(&bench->writer, &writer_port_here, bench, bench->durable, bench->memory, &limits, LOOPS);
    bench->writer.wall = WALL;
    devices_init(&bench->devices, &bench->writer, &bench->spaces, &hash_key, &devices);
    for (unsigned i = 0; i < LOOPS; i++) {
        const struct shard_limits none = { .page_count_max = 1 };
        bench->homes[i] = (struct device_home){ on_fence, on_look, i };
        shard_init(&bench->shards[i], i, &shard_port_here, bench, &none);
    }
}

static void take_mail(struct bench *bench, struct bundle *bundle, struct shard *shard)
{
    for (struct mail *mail = bundle_take(bundle), *next; mail != NULL; mail = next) {
        next = mail->next;
        if (shard == NULL)
            writer_take(&bench->writer, command_of(mail), WALL);
        else
            shard_take(shard, command_of(mail));
    }
}

static bool is_moving(const struct bench *bench)
{
    for (unsigned i = 0; i < LOOPS; i++)
        if (!bench->is_silent[i] && bench->sent[i].newest != NULL)
            return true;
    return bench->posted.newest != NULL;
}

static void settle(struct bench *bench)
{
    do {
        take_mail(bench, &bench->posted, NULL);
        devices_turn_end(&bench->devices);
        writer_turn_end(&bench->writer, WALL);
        for (unsigned i = 0; i < LOOPS; i++)
            if (!bench->is_silent[i])
                take_mail(bench, &bench->sent[i], &bench->shards[i]);
    } while (is_moving(bench));
}

static void tick(struct bench *bench, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        devices_tick(&bench->devices);
        settle(bench);
    }
}

static void bench_close(struct bench *bench)
{
    for (size_t i = 0; i < bench->answer_count; i++)
        command_free(&bench->answers[i]->command);
    for (size_t i = 0; i < bench->open_count; i++)
        command_free(&bench->opened[i]->command);
    devices_fini(&bench->devices);
    writer_fini(&bench->writer);
    for (unsigned i = 0; i < LOOPS; i++) {
        for (struct mail *mail = bundle_take(&bench->sent[i]), *next; mail != NULL; mail = next) {
            next = mail->next;
            command_free(command_of(mail));
        }
        shard_fini(&bench->shards[i]);
    }
    bench->durable->ops->close(bench->durable);
    bench->memory->ops->close(bench->memory);
}

/* --- what loops do ------------------------------------------------------------------------------------------------ */

static void on_opened(struct session_open *open)
{
    must(bench_now->open_count < ANSWERS_MAX * 8);
    bench_now->opened[bench_now->open_count++] = open;
}

static struct session_open *opens(struct bench *bench, const char *user, const char *device, unsigned loop)
{
    static uint64_t      key;
    struct session_open *open = session_open_new(&bench->devices, span_str(user), span_str(device), SPAN(""));

    open->home         = &bench->homes[loop];
    open->command.loop = loop;
    open->key          = ++key;
    open->way          = OPEN_NEWER;
    open->answered     = on_opened;
    bundle_add(&bench->posted, &open->command.mail);
    settle(bench);
    assert_int_equal(open->outcome, OPEN_DONE);
    return open;
}

static void closes(struct bench *bench, const struct session_open *open)
{
    struct session_close *close = session_close_new(&bench->devices, open->standing, open->key, open->generation);

    bundle_add(&bench->posted, &close->command.mail);
    settle(bench);
}

static struct channel_name *name_of(struct bench *bench, const char *text)
{
    struct channel_name *name;

    must(channel_name_new(&bench->spaces, &hash_key, span_str(text), &name) == CHANNEL_NAME_OK);
    return name;
}

static void acks(struct bench *bench, const struct session_open *open, const char *channel, uint64_t seq)
{
    struct session_acks *told = session_acks_new(&bench->devices);

    told->acks[told->count++] = (struct session_ack){ open->standing, open->generation, name_of(bench, channel), EPOCH, seq,
                                                      ACK_PLACE };
    bundle_add(&bench->posted, &told->command.mail);
    settle(bench);
}

static void swallow(struct ledger_batch *batch)
{
    (void)batch;
}

/* Both rows of a membership that begins behind `after`. */
static void is_member(struct bench *bench, const char *group, const char *user, uint64_t after)
{
    char       group_bytes[LEDGER_KEY_BYTES_MAX], member_bytes[LEDGER_KEY_BYTES_MAX];
    struct buf value;

    buf_init(&value, GROUP_SPANS_BYTES_MAX);
    group_spans_put(&(struct group_spans){ 1, { { EPOCH, after, GROUP_SPAN_OPEN, 0 } } }, &value);
    struct ledger_change changes[] = {
        { .op = LEDGER_PUT, .key = { ROW_GROUP, group_key(span_str(user), span_str(group), group_bytes) },
          .value = buf_span(&value), .generation = 1 },
        { .op = LEDGER_PUT, .key = { ROW_MEMBER, member_key(span_str(group), span_str(user), member_bytes) }, .generation = 1 },
    };
    struct ledger_write write = { .changes = changes, .count = 2 };
    struct ledger_batch batch = { .change_count = 2, .wall = WALL, .done = swallow };
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    bench->real->ops->write(bench->real, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    buf_fini(&value);
}

static void on_answered(struct receipts_command *command)
{
    must(bench_now->answer_count < ANSWERS_MAX);
    bench_now->answers[bench_now->answer_count++] = command;
}

static struct receipts_command *asks(struct bench *bench, const char *channel, uint64_t seq, uint32_t limit, const char *place)
{
    struct channel_name     *name    = name_of(bench, channel);
    struct receipts_command *command = receipts_command_new(&bench->devices, name);

    channel_name_unref(name);
    command->message  = (struct receipt_message){ EPOCH, seq, WALL + 1 };
    command->limit    = limit;
    command->answered = on_answered;
    assert_true(place[0] == '\0' || receipts_set_place(command, span_str(place)));
    shard_ask_receipts(&bench->shards[0], command);
    return command;
}

/* "user/device:state …" of the answer. */
static const char *text_of(const struct receipts_command *command)
{
    static char text[4096];
    size_t      at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < command->count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s/%s:%s", i == 0 ? "" : " ", command->at[i].facts.user,
                               command->at[i].facts.device, receipt_state_text(command->at[i].state));
    return text;
}

static struct receipts_command *asked(struct bench *bench, const char *channel, uint64_t seq, uint32_t limit,
                                      const char *place)
{
    struct receipts_command *command = asks(bench, channel, seq, limit, place);

    settle(bench);
    return command;
}

/* --- the tests ------------------------------------------------------------------------------------------------------ */

static void three_devices_in_three_states(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    struct session_open *phone = opens(&bench, "ann", "phone", 0), *tablet = opens(&bench, "ann", "tablet", 1);
    opens(&bench, "ann", "watch", 1);
    opens(&bench, "annabel", "phone", 1);
    acks(&bench, phone, "user:ann", 4);
    closes(&bench, tablet);
    struct receipts_command *answer = asked(&bench, "user:ann", 4, 100, "");
    assert_int_equal(answer->outcome, RECEIPTS_DONE);
    assert_string_equal(text_of(answer), "ann/phone:acknowledged ann/tablet:pending ann/watch:written");
    assert_string_equal(answer->place, "");
    assert_int_equal(bench.look_count, 1);  /* who has acknowledged it is not looked at */
    bench.seen = 3;
    assert_string_equal(text_of(asked(&bench, "user:ann", 4, 100, "")),
                        "ann/phone:acknowledged ann/tablet:pending ann/watch:pending");
    bench_close(&bench);
}

static void a_user_page_by_page(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    for (const char *const *device = (const char *const[]){ "a", "b", "c", NULL }; *device != NULL; device++)
        opens(&bench, "ann", *device, 0);
    struct receipts_command *page = asked(&bench, "user:ann", 4, 2, "");
    assert_string_equal(text_of(page), "ann/a:written ann/b:written");
    assert_string_equal(page->place, "ann/b");
    page = asked(&bench, "user:ann", 4, 2, page->place);
    assert_string_equal(text_of(page), "ann/c:written");
    assert_string_equal(page->place, "");
    assert_string_equal(asked(&bench, "user:ann", 4, 3, "")->place, "");
    assert_string_equal(text_of(asked(&bench, "device:ann/b", 4, 1, "")), "ann/b:written");
    assert_string_equal(text_of(asked(&bench, "device:ann", 4, 1, "")), "");
    bench_close(&bench);
}

/* 600 members, of whom every fiftieth has two devices, and whoever stands behind them joined later. */
static void a_group_page_by_page(void **state)
{
    struct bench bench;
    char         user[32], place[RECEIPTS_PLACE_MAX + 1] = "";
    size_t       count = 0, pages = 0;

    (void)state;
    bench_open(&bench);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(user, sizeof user, "u%03u", i);
        is_member(&bench, "g", user, i < 500 ? 3 : 4);
        for (unsigned device = 0; i % 50 == 0 && device < 2; device++)
            opens(&bench, user, device == 0 ? "a" : "b", i % LOOPS);
    }
    do {
        struct receipts_command *page = asked(&bench, "group:g", 4, 3, place);
        assert_int_equal(page->outcome, RECEIPTS_DONE);
        for (size_t i = 0; i < page->count; i++, count++) {
            snprintf(user, sizeof user, "u%03zu", count / 2 * 50);
            assert_string_equal(page->at[i].facts.user, user);
            assert_string_equal(page->at[i].facts.device, count % 2 == 0 ? "a" : "b");
        }
        snprintf(place, sizeof place, "%s", page->place);
    } while (++pages < 50 && place[0] != '\0');
    assert_int_equal(count, 20);
    assert_in_range(pages, 7, 10);
    bench_close(&bench);
}

/* Each loop is asked in parts, and stops where the part has cost it enough. */
static void a_loop_never_looks_for_long(void **state)
{
    struct bench bench;
    char         device[32];

    (void)state;
    bench_open(&bench);
    for (unsigned i = 0; i < 3 * LINK_ASK_MAX; i++) {
        snprintf(device, sizeof device, "d%03u", i);
        opens(&bench, "ann", device, 0);
    }
    assert_int_equal(asked(&bench, "user:ann", 4, 500, "")->count, 3 * LINK_ASK_MAX);
    assert_int_equal(bench.ask_count, 3);
    bench.ask_count = bench.look_count = 0;
    bench.cost      = LINK_ASK_COST_MAX / 2;
    struct receipts_command *answer = asked(&bench, "user:ann", 4, 500, "");
    for (size_t i = 0; i < answer->count; i++)
        assert_int_equal(answer->at[i].state, RECEIPT_WRITTEN);
    assert_int_equal(bench.look_count, 3 * LINK_ASK_MAX);
    assert_int_equal(bench.ask_count, 3 * LINK_ASK_MAX / 2);  /* two links a time */
    bench_close(&bench);
}

static void a_loop_that_does_not_answer_is_not_waited_for(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    opens(&bench, "ann", "a", 0);
    opens(&bench, "ann", "b", 1);
    bench.is_silent[1] = true;
    asked(&bench, "user:ann", 4, 100, "");
    tick(&bench, LOOK_TICKS - 1);
    assert_int_equal(bench.answer_count, 0);
    tick(&bench, 1);
    assert_int_equal(bench.answer_count, 1);
    assert_string_equal(text_of(bench.answers[0]), "ann/a:written ann/b:pending");
    bench.is_silent[1] = false;  /* its answer comes late, and nobody wants it */
    settle(&bench);
    assert_string_equal(text_of(asked(&bench, "user:ann", 4, 100, "")), "ann/a:written ann/b:written");
    bench_close(&bench);
}

static void too_many_are_refused(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    opens(&bench, "ann", "a", 1);
    bench.is_silent[1] = true;
    for (unsigned i = 0; i < RECEIPTS_AWAY_MAX + 1; i++)
        asks(&bench, "user:ann", 4, 100, "");
    settle(&bench);
    assert_int_equal(bench.answer_count, 1);
    assert_int_equal(bench.answers[0]->outcome, RECEIPTS_BUSY);
    bench.is_silent[1] = false;
    settle(&bench);
    assert_int_equal(bench.answer_count, RECEIPTS_AWAY_MAX + 1);
    assert_int_equal(asked(&bench, "user:ann", 4, 100, "")->outcome, RECEIPTS_DONE);
    bench_close(&bench);
}

static void a_ledger_that_can_not_be_read(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    is_member(&bench, "g", "ann", 0);
    bench.durable->ledger = &bench.away;
    for (const char *const *channel = (const char *const[]){ "user:ann", "device:ann/a", "group:g", NULL }; *channel != NULL;
         channel++)
        assert_int_equal(asked(&bench, *channel, 4, 100, "")->outcome, RECEIPTS_AWAY);
    assert_int_equal(bench.devices.looks.receipt_count, 0);
    bench.durable->ledger = bench.real;
    bench_close(&bench);
}

/* What was handed to a link, and not acknowledged when it ended, comes again. */
static void redeliveries_are_counted(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    struct session_open  *phone = opens(&bench, "ann", "phone", 0);
    acks(&bench, phone, "user:ann", 4);
    struct session_close *close = session_close_new(&bench.devices, phone->standing, phone->key, phone->generation);
    close->delivered_count      = 3;
    close->delivered            = calloc(3, sizeof close->delivered[0]);
    must(close->delivered != NULL);
    close->delivered[0] = (struct session_place){ .name = name_of(&bench, "user:ann"), .epoch = EPOCH, .seq = 9 };
    close->delivered[1] = (struct session_place){ .name = name_of(&bench, "device:ann/phone"), .epoch = EPOCH + 1, .seq = 9 };
    close->delivered[2] = (struct session_place){ .name = name_of(&bench, "group:never"), .epoch = EPOCH, .seq = 9 };
    bundle_add(&bench.posted, &close->command.mail);
    settle(&bench);
    assert_int_equal(counter_get(&bench.devices.counters.redeliveries), 5);
    bench_close(&bench);
}

/* The server ends while a loop is asked that does not answer any more. */
static void the_end_frees_what_waits(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    opens(&bench, "ann", "a", 1);
    bench.is_silent[1] = true;
    asked(&bench, "user:ann", 4, 100, "");
    assert_int_equal(bench.answer_count, 0);
    assert_true(devices_is_idle(&bench.devices));
    bench.shards[0].away_count = 0;
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_devices_in_three_states),
        cmocka_unit_test(a_user_page_by_page),
        cmocka_unit_test(a_group_page_by_page),
        cmocka_unit_test(a_loop_never_looks_for_long),
        cmocka_unit_test(a_loop_that_does_not_answer_is_not_waited_for),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(a_ledger_that_can_not_be_read),
        cmocka_unit_test(redeliveries_are_counted),
        cmocka_unit_test(the_end_frees_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
