/* Tails: how the ring grows and is bounded, what can be read from memory, what is let go first. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/tail.h"

#include <cmocka.h>

enum { EPOCH = 9, PAYLOAD = 100, PLENTY = 1 << 20 };

struct stage {
    struct namespaces    spaces;
    struct channel_name *names[3];
    struct tails         tails;
};

static const struct hash_key key = { 1, 2 };

static struct stage *stage_new(size_t bytes_max, uint32_t messages_max)
{
    static const char *const texts[] = { "topic:a", "topic:b", "topic:c" };
    struct stage            *stage   = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    for (int i = 0; i < 3; i++)
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(texts[i]), &stage->names[i]), CHANNEL_NAME_OK);
    tails_init(&stage->tails, bytes_max, messages_max);
    return stage;
}

static void stage_free(struct stage *stage)
{
    tails_fini(&stage->tails);
    for (int i = 0; i < 3; i++)
        channel_name_unref(stage->names[i]);
    free(stage);
}

static struct message *message_of(struct stage *stage, int channel, uint64_t seq)
{
    struct message *message = message_new(stage->names[channel], MESSAGE_PLAIN, NULL, PAYLOAD, SPAN(""), SPAN(""));

    memset(message->bytes, 'x', PAYLOAD);
    message->epoch = EPOCH;
    message->seq   = seq;
    return message;
}

static size_t one_size(void)
{
    return sizeof(struct message) + PAYLOAD;
}

/* Takes seqs from … to of a channel. */
static void takes(struct stage *stage, int channel, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        struct message *message = message_of(stage, channel, seq);
        tail_take(&stage->tails, tails_get(&stage->tails, stage->names[channel]), message, true);
        message_unref(message);
    }
}

static uint32_t kept(const struct stage *stage, int channel)
{
    const struct tail *tail = tails_look(&stage->tails, stage->names[channel]);
    return tail == NULL || tail->ring == NULL ? 0 : message_ring_count(tail->ring->messages);
}

/* The page as "4 5 6", or "store" if memory can't tell. */
static void reads(struct stage *stage, int channel, struct store_read ask, char ret_words[256])
{
    struct store_read  read = ask;
    const struct tail *tail = tails_look(&stage->tails, stage->names[channel]);
    size_t             len  = 0;

    assert_non_null(tail);
    ret_words[0] = '\0';
    if (!tail_read(tail, &read)) {
        assert_null(read.entries);
        strcpy(ret_words, "store");
        return;
    }
    assert_int_equal(read.rc, RC_OK);
    assert_int_equal(read.epoch, EPOCH);
    assert_int_equal(read.head, tail->head);
    for (size_t i = 0; i < read.entry_count; i++)
        len += (size_t)snprintf(ret_words + len, 256 - len, "%s%" PRIu64, i == 0 ? "" : " ",
                                read.entries[i].message->seq);
    store_read_fini(&read);
}

static void memory_answers_as_far_back_as_it_reaches(void **state)
{
    (void)state;
    static const struct { const char *name; struct store_read ask; const char *want; } rows[] = {
        { "the whole ring", { .bound = 10, .limit = 100, .bytes_max = PLENTY }, "11 12 13 14 15" },
        { "one further back", { .bound = 9, .limit = 100, .bytes_max = PLENTY }, "store" },
        { "from the start", { .bound = 0, .limit = 100, .bytes_max = PLENTY }, "store" },
        { "the last one", { .bound = 14, .limit = 100, .bytes_max = PLENTY }, "15" },
        { "nothing new", { .bound = 15, .limit = 100, .bytes_max = PLENTY }, "store" },
        { "beyond the head", { .bound = 99, .limit = 100, .bytes_max = PLENTY }, "store" },
        { "a limit", { .bound = 11, .limit = 2, .bytes_max = PLENTY }, "12 13" },
        { "only the head is wanted", { .bound = 11, .limit = 0, .bytes_max = PLENTY }, "store" },
        { "bytes for one and a bit", { .bound = 11, .limit = 9, .bytes_max = sizeof(struct message) + PAYLOAD + 1 },
          "12 13" },
        { "bytes for one", { .bound = 11, .limit = 9, .bytes_max = sizeof(struct message) + PAYLOAD }, "12" },
        { "bytes for none: one all the same", { .bound = 11, .limit = 9 }, "12" },
        { "backwards", { .way = READ_BEFORE, .bound = 14, .limit = 9, .bytes_max = PLENTY }, "store" },
    };
    struct stage *stage = stage_new(PLENTY, 5);
    char          words[256];

    takes(stage, 0, 1, 15);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reads(stage, 0, rows[i].ask, words);
        if (strcmp(words, rows[i].want) != 0)
            fail_msg("%s: \"%s\"", rows[i].name, words);
    }
    stage_free(stage);
}

/* Grown and wrapped at every size, the ring gives back what went in. */
static void the_ring_grows_to_its_maximum_and_wraps(void **state)
{
    (void)state;
    const struct store_read all = { .limit = 100, .bytes_max = PLENTY };

    for (uint32_t max = 1; max <= 40; max++) {
        struct stage *stage = stage_new(PLENTY, max);
        for (uint64_t seq = 1; seq <= 100; seq++) {
            char              words[256], want[16];
            struct store_read last = all;
            takes(stage, 0, seq, seq);
            uint64_t count = seq < max ? seq : max;
            assert_int_equal(kept(stage, 0), count);
            assert_int_equal(stage->tails.bytes, count * one_size());
            last.bound = seq - count;
            last.limit = 1;
            reads(stage, 0, last, words);
            snprintf(want, sizeof want, "%" PRIu64, seq - count + 1);
            assert_string_equal(words, want);
        }
        stage_free(stage);
    }
}

static void the_channel_written_least_lately_makes_room(void **state)
{
    (void)state;
    struct stage *stage = stage_new(4 * one_size(), 100);

    takes(stage, 0, 1, 2);
    takes(stage, 1, 1, 1);
    takes(stage, 0, 3, 3);
    takes(stage, 2, 1, 1);  /* one too many: b is the oldest */
    assert_int_equal(kept(stage, 0), 3);
    assert_null(tails_find(&stage->tails, stage->names[1]));
    assert_int_equal(kept(stage, 2), 1);
    assert_int_equal(stage->tails.bytes, 4 * one_size());
    stage_free(stage);
}

static void a_channel_that_is_written_all_the_time_keeps_its_place(void **state)
{
    (void)state;
    struct stage *stage = stage_new(80 * one_size(), 1000);

    takes(stage, 0, 1, 1);
    takes(stage, 1, 1, 1);
    takes(stage, 2, 1, 70);
    takes(stage, 0, 2, 2);  /* more than an eighth later: from now on b is the oldest */
    takes(stage, 2, 71, 78);
    assert_int_equal(kept(stage, 0), 2);
    assert_null(tails_find(&stage->tails, stage->names[1]));
    assert_int_equal(kept(stage, 2), 78);
    stage_free(stage);
}

/* Threat 21. */
static void a_lower_limit_holds_at_once(void **state)
{
    (void)state;
    struct stage *stage = stage_new(4 * one_size(), 100);

    takes(stage, 0, 1, 2);
    takes(stage, 1, 1, 2);
    tails_limit(&stage->tails, 2 * one_size());
    assert_null(tails_find(&stage->tails, stage->names[0]));
    assert_int_equal(kept(stage, 1), 2);
    tails_limit(&stage->tails, 0);
    assert_int_equal(stage->tails.bytes, 0);
    takes(stage, 1, 3, 4);
    assert_int_equal(stage->tails.bytes, 0);
    tails_limit(&stage->tails, 4 * one_size());
    takes(stage, 1, 5, 8);
    assert_int_equal(kept(stage, 1), 4);
    stage_free(stage);
}

static void a_followed_tail_is_emptied_but_not_forgotten(void **state)
{
    (void)state;
    struct stage *stage = stage_new(1 * one_size(), 100);

    takes(stage, 0, 1, 1);
    tails_find(&stage->tails, stage->names[0])->entry.followers = 1;
    takes(stage, 1, 1, 1);
    assert_int_equal(kept(stage, 0), 0);
    assert_int_equal(tails_find(&stage->tails, stage->names[0])->head, 1);
    stage_free(stage);
}

static void a_lone_channel_drops_its_oldest(void **state)
{
    (void)state;
    struct stage *stage = stage_new(2 * one_size() + 1, 100);

    takes(stage, 0, 1, 5);
    assert_int_equal(kept(stage, 0), 2);
    stage_free(stage);

    stage = stage_new(one_size() - 1, 100);  /* not even one fits: nothing is kept, nothing breaks */
    takes(stage, 0, 1, 3);
    assert_int_equal(kept(stage, 0), 0);
    assert_int_equal(stage->tails.bytes, 0);
    assert_int_equal(tails_find(&stage->tails, stage->names[0])->head, 3);
    stage_free(stage);
}

static void a_hole_or_a_new_life_empties_it_first(void **state)
{
    (void)state;
    struct stage   *stage = stage_new(PLENTY, 100);
    struct tail    *tail;
    struct message *message;

    takes(stage, 0, 1, 3);
    takes(stage, 0, 6, 6);
    assert_int_equal(kept(stage, 0), 1);

    tail           = tails_get(&stage->tails, stage->names[0]);
    message        = message_of(stage, 0, 7);
    message->epoch = EPOCH + 1;
    tail_take(&stage->tails, tail, message, true);
    message_unref(message);
    assert_int_equal(kept(stage, 0), 1);
    assert_int_equal(tail->epoch, EPOCH + 1);
    assert_int_equal(stage->tails.bytes, one_size());
    stage_free(stage);
}

static void what_is_not_kept_moves_the_head_alone(void **state)
{
    (void)state;
    struct stage   *stage   = stage_new(PLENTY, 100);
    struct message *message = message_of(stage, 0, 4);
    struct tail    *tail    = tails_get(&stage->tails, stage->names[0]);

    tail_take(&stage->tails, tail, message, false);
    message_unref(message);
    assert_int_equal(tail->head, 4);
    assert_int_equal(kept(stage, 0), 0);
    stage_free(stage);
}

static void a_recall_takes_the_payload_out_of_memory(void **state)
{
    (void)state;
    struct stage     *stage  = stage_new(PLENTY, 4);
    struct message   *recall = message_new(stage->names[0], MESSAGE_RECALL, NULL, 0, SPAN(""), SPAN(""));
    struct tail      *tail   = tails_get(&stage->tails, stage->names[0]);
    struct store_read read   = { .bound = 7, .limit = 9, .bytes_max = PLENTY };

    takes(stage, 0, 1, 9);  /* 6 to 9 are kept */
    recall->epoch  = EPOCH;
    recall->seq    = 10;
    recall->target = 8;
    tail_take(&stage->tails, tail, recall, true);
    assert_true(tail_read(tail, &read));
    assert_int_equal(read.entry_count, 3);
    assert_int_equal(read.entries[0].message->seq, 8);
    assert_int_equal(read.entries[0].message->kind, MESSAGE_RECALLED);
    assert_int_equal(read.entries[0].message->target, 10);
    assert_int_equal(read.entries[0].message->payload_len, 0);
    assert_int_equal(read.entries[1].message->kind, MESSAGE_PLAIN);
    store_read_fini(&read);
    assert_int_equal(stage->tails.bytes, 2 * one_size() + 2 * sizeof(struct message));

    recall->seq    = 11;
    recall->target = 2;  /* not here any more */
    tail_take(&stage->tails, tail, recall, true);
    message_unref(recall);
    stage_free(stage);
}

static void a_tail_that_knows_nothing_is_let_go(void **state)
{
    (void)state;
    struct stage *stage = stage_new(PLENTY, 100);
    struct tail  *tail  = tails_get(&stage->tails, stage->names[0]);

    assert_ptr_equal(tails_get(&stage->tails, stage->names[0]), tail);
    tail->head_state = HEAD_ASKED;
    tail_let_go(&stage->tails, tail);
    assert_non_null(tails_find(&stage->tails, stage->names[0]));
    tail->head_state = HEAD_KNOWN;
    tail_let_go(&stage->tails, tail);
    assert_null(tails_find(&stage->tails, stage->names[0]));
    stage_free(stage);
}

/* Whoever reads a name from a wire finds the one that stands there, whether the tail is folded or not. */
static void a_name_is_found_by_its_text(void **state)
{
    struct stage      *stage = stage_new(PLENTY, 100);
    const struct span  text  = channel_name_span(stage->names[0]);
    const uint64_t     hash  = hash_bytes(&key, text);

    (void)state;
    assert_null(tails_name(&stage->tails, hash, text));
    struct tail *tail = tails_get(&stage->tails, stage->names[0]);
    assert_ptr_equal(tails_name(&stage->tails, hash, text), stage->names[0]);
    assert_null(tails_name(&stage->tails, hash, channel_name_span(stage->names[1])));
    tail->entry.followers = 1;
    tail->epoch           = EPOCH;
    assert_true(tail_may_fold(tail));
    tail_fold(&stage->tails, tail);
    assert_ptr_equal(tails_name(&stage->tails, hash, text), stage->names[0]);
    assert_null(tails_look(&stage->tails, stage->names[0]));
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_answers_as_far_back_as_it_reaches),
        cmocka_unit_test(the_ring_grows_to_its_maximum_and_wraps),
        cmocka_unit_test(the_channel_written_least_lately_makes_room),
        cmocka_unit_test(a_channel_that_is_written_all_the_time_keeps_its_place),
        cmocka_unit_test(a_lower_limit_holds_at_once),
        cmocka_unit_test(a_followed_tail_is_emptied_but_not_forgotten),
        cmocka_unit_test(a_lone_channel_drops_its_oldest),
        cmocka_unit_test(a_hole_or_a_new_life_empties_it_first),
        cmocka_unit_test(what_is_not_kept_moves_the_head_alone),
        cmocka_unit_test(a_recall_takes_the_payload_out_of_memory),
        cmocka_unit_test(a_tail_that_knows_nothing_is_let_go),
        cmocka_unit_test(a_name_is_found_by_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
