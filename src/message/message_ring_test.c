/* The ring of messages against a plain array that does the same, through thousands of pushes, pops and swaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "message/message_ring.h"

#include <cmocka.h>

enum { MODEL_MAX = 200, STEPS = 20000, PAYLOAD_MAX = 40 };

struct model {
    struct message *at[MODEL_MAX];  /* borrowed from the ring */
    uint32_t        count;
    size_t          bytes;
};

static struct message *message_of(struct channel_name *channel, uint32_t payload_len)
{
    char payload[PAYLOAD_MAX] = { 0 };

    return message_new(channel, MESSAGE_PLAIN, payload, payload_len, SPAN(""), SPAN(""));
}

static void model_push(struct model *model, struct message_ring **ring, struct message *message)
{
    model->at[model->count++] = message;
    model->bytes += message_size(message);
    message_ring_push(ring, &message);
    assert_null(message);
}

static void model_pop(struct model *model, struct message_ring **ring)
{
    struct message *message = message_ring_pop(ring);

    assert_ptr_equal(message, model->at[0]);
    model->bytes -= message_size(message);
    memmove(model->at, model->at + 1, --model->count * sizeof model->at[0]);
    message_unref(message);
}

static void model_swap(struct model *model, struct message_ring *ring, uint32_t index, struct message *message)
{
    struct message *old = model->at[index];

    model->at[index] = message;
    model->bytes += message_size(message) - message_size(old);
    assert_ptr_equal(message_ring_swap(ring, index, &message), old);
    assert_null(message);
    message_unref(old);
}

static void expect_alike(const struct model *model, const struct message_ring *ring)
{
    assert_int_equal(message_ring_count(ring), model->count);
    assert_int_equal(ring == NULL ? 0 : ring->bytes, model->bytes);
    assert_true((ring == NULL) == (model->count == 0));
    assert_true(ring == NULL || ring->cap == 4 || ring->count > ring->cap / 4);
    for (uint32_t i = 0; i < model->count; i++)
        assert_ptr_equal(message_ring_at(ring, i), model->at[i]);
}

static void a_ring_is_a_row_whatever_happens_to_it(void **state)
{
    (void)state;
    static struct namespaces set;
    static const struct hash_key key     = { 1, 2 };
    struct channel_name         *channel = NULL;
    struct message_ring         *ring    = NULL;
    struct model                 model   = { 0 };
    struct rng                   rng     = { 11 };

    namespaces_init(&set);
    assert_int_equal(channel_name_new(&set, &key, SPAN("topic:a"), &channel), CHANNEL_NAME_OK);
    for (int step = 0; step < STEPS; step++) {
        /* Long phases of growth and of decline: the ring wraps, grows while wrapped, and becomes nothing. */
        bool     is_growing = (step / 700) % 2 == 0;
        uint64_t draw       = rng_below(&rng, 10);
        if (draw == 0 && model.count > 0)
            model_swap(&model, ring, (uint32_t)rng_below(&rng, model.count), message_of(channel, (uint32_t)draw));
        else if (model.count > 0 && (model.count == MODEL_MAX || (draw < 5) != is_growing))
            model_pop(&model, &ring);
        else
            model_push(&model, &ring, message_of(channel, (uint32_t)rng_below(&rng, PAYLOAD_MAX)));
        expect_alike(&model, ring);
    }
    message_ring_clear(&ring);
    assert_null(ring);
    message_ring_clear(&ring);
    channel_name_unref(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_ring_is_a_row_whatever_happens_to_it) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
