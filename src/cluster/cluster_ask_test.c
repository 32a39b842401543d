/* Questions between nodes: who is asked, what is missing, what is too much; and questions of others, in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster_ask.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };
static struct namespaces     spaces;

static struct node_id id_of(const char *name, uint64_t incarnation)
{
    struct node_id id = { .incarnation = incarnation };

    snprintf(id.name, sizeof id.name, "%s", name);
    return id;
}

/* --- a node with its three neighbours ------------------------------------------------------------------------------ */

struct fixture {
    struct registry         registry;
    struct writer           writer;      /* nothing of it is used but its ways out */
    struct writer_port      writer_port;
    struct node_id          self;
    struct cluster_counters counters;
    struct cluster_ask     *ask;
    char                    sent[4096];  /* what went to others, as text */
    struct buf              last_body;   /* of the parts sent last */
    bool                    is_stuck;    /* nothing can be sent */
    uint64_t                looked_up;
    struct peer_call       *served;
    struct peer_question   *ended;
    unsigned                ended_count;
};

static bool fixture_send(void *ctx, const struct node_id *to, const struct bus_item *item)
{
    struct fixture *fixture = ctx;
    size_t          len     = strlen(fixture->sent);

    if (fixture->is_stuck)
        return false;
    snprintf(fixture->sent + len, sizeof fixture->sent - len, "%s%llu<%s%llu t%u %.*s %zu@%llu%s; ", to->name,
             (unsigned long long)to->incarnation,
             item->kind == BUS_ANSWER ? "answer" : item->kind == BUS_NOTICE ? "notice" : "question",
             (unsigned long long)item->question, (unsigned)item->topic, SPAN_ARG(item->channel), item->body.len,
             (unsigned long long)item->offset, item->has_more ? "…" : "");
    if (item->offset == 0)
        buf_clear(&fixture->last_body);
    buf_put(&fixture->last_body, item->body);
    return true;
}

static void fixture_look_up(void *ctx, uint64_t question, struct channel_name *channel)
{
    struct fixture *fixture = ctx;

    assert_true(span_eq(channel_name_span(channel), SPAN("topic:a")));
    fixture->looked_up = question;
}

static void fixture_serve(void *ctx, struct peer_call *call)
{
    struct fixture *fixture = ctx;

    assert_null(fixture->served);
    fixture->served = call;
}

static const struct cluster_ask_port fixture_port = { fixture_send, fixture_look_up, fixture_serve };

static void fixture_to_loop(void *ctx, unsigned loop, struct command *command)
{
    struct fixture *fixture = ctx;

    assert_int_equal(loop, 3);
    if (fixture->ended != NULL)
        command_free(&fixture->ended->command);
    fixture->ended = container_of(command, struct peer_question, command);
    fixture->ended_count++;
}

static struct node_record record_of(const char *name, uint64_t incarnation)
{
    return (struct node_record){ .id = id_of(name, incarnation), .started = 1 };
}

static struct fixture *fixture_new(uint32_t questions_max)
{
    struct fixture    *fixture   = calloc(1, sizeof *fixture);
    struct node_record records[] = { record_of("a", 1), record_of("b", 2), record_of("c", 3), record_of("d", 4) };
    struct registry_lease leases[4];

    must(fixture != NULL);
    fixture->writer_port = (struct writer_port){ .send = fixture_to_loop };
    fixture->writer.port = &fixture->writer_port;
    fixture->writer.ctx  = fixture;
    fixture->self        = id_of("b", 2);
    buf_init(&fixture->last_body, PEER_BODY_BYTES_MAX);
    registry_init(&fixture->registry);
    for (size_t i = 0; i < 4; i++)
        leases[i] = (struct registry_lease){ &records[i], 10000 };
    registry_take(&fixture->registry, leases, 4, 1000, NULL, NULL);
    registry_take(&fixture->registry, leases, 3, 2000, NULL, NULL);  /* d is lost */
    fixture->ask = cluster_ask_new(&(struct cluster_ask_setup){
        .port = &fixture_port, .ctx = fixture, .writer = &fixture->writer, .registry = &fixture->registry,
        .self = &fixture->self, .counters = &fixture->counters, .questions_max = questions_max, .part_bytes_max = 1024,
    });
    cluster_ask_reach(fixture->ask, true);
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    cluster_ask_free(fixture->ask);
    if (fixture->ended != NULL)
        command_free(&fixture->ended->command);
    if (fixture->served != NULL)
        command_free(&fixture->served->command);
    buf_fini(&fixture->last_body);
    registry_fini(&fixture->registry);
    free(fixture);
}

static void expect_sent(struct fixture *fixture, const char *want)
{
    assert_string_equal(fixture->sent, want);
    fixture->sent[0] = '\0';
}

static struct peer_question *question_of(const char *node, const char *body)
{
    struct peer_question *question = peer_question_new(PEER_COUNT);

    question->command.loop = 3;
    snprintf(question->node, sizeof question->node, "%s", node);
    buf_put(&question->body, span_str(body));
    return question;
}

static void answer(struct fixture *fixture, const char *node, uint64_t incarnation, uint64_t number, struct span body)
{
    const struct node_id  from = id_of(node, incarnation);
    const struct bus_item item = { .kind = BUS_ANSWER, .question = number, .body = body };

    cluster_ask_take(fixture->ask, &from, &item, NULL, 0);
}

static void expect_ended(const struct fixture *fixture, const char *want)
{
    char text[512] = "";

    assert_non_null(fixture->ended);
    for (const struct peer_answer *at = fixture->ended->answers; at != NULL; at = at->next)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%.*s ", at->node, (int)at->len, at->body);
    snprintf(text + strlen(text), sizeof text - strlen(text), "asked %u missing %u%s", fixture->ended->asked,
             fixture->ended->missing, fixture->ended->is_unsure ? " unsure" : "");
    assert_string_equal(text, want);
}

/* --- who is asked ---------------------------------------------------------------------------------------------------- */

static void all_others_are_asked_and_answers_stand_in_their_order(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    expect_sent(fixture, "a1<question1 t1  1@0; c3<question1 t1  1@0; ");
    answer(fixture, "c", 3, 1, SPAN("cc"));
    answer(fixture, "c", 3, 1, SPAN("twice"));
    answer(fixture, "a", 9, 1, SPAN("of another incarnation"));
    answer(fixture, "d", 4, 1, SPAN("not asked"));
    answer(fixture, "a", 1, 7, SPAN("another question"));
    assert_null(fixture->ended);
    answer(fixture, "a", 1, 1, SPAN("aa"));
    expect_ended(fixture, "a:aa c:cc asked 2 missing 0");
    answer(fixture, "a", 1, 1, SPAN("late"));
    assert_int_equal(fixture->ended_count, 1);
    fixture_free(fixture);
}

static void one_node_is_asked(void **state)
{
    (void)state;
    static const struct { const char *name, *node; uint64_t incarnation; const char *sent, *ended; bool may_be_new; } rows[] = {
        { "by its name", "c", 0, "c3<question1 t1  1@0; ", NULL },
        { "by its incarnation", "c", 3, "c3<question1 t1  1@0; ", NULL },
        { "another incarnation", "c", 4, "", "asked 0 missing 0" },
        { "lost", "d", 0, "", "asked 0 missing 0" },
        { "unknown", "nosuch", 0, "", "asked 0 missing 0" },
        { "the own one", "b", 0, "", "asked 0 missing 0" },
        { "begun anew", "c", 4, "c4<question1 t1  1@0; ", NULL, true },
        { "just begun", "e", 5, "e5<question1 t1  1@0; ", NULL, true },
        { "lost lately", "d", 4, "", "asked 0 missing 0", true },
        { "whose end was seen", "f", 6, "", "asked 0 missing 0", true },
        { "of which only the name is known", "nosuch", 0, "", "asked 0 missing 0", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture       *fixture  = fixture_new(10);
        struct peer_question *question = question_of(rows[i].node, "q");
        const struct node_id  ended    = id_of("f", 6);
        question->incarnation          = rows[i].incarnation;
        question->may_be_new           = rows[i].may_be_new;
        cluster_ask_lost(fixture->ask, &ended);
        cluster_ask_put(fixture->ask, question, 0);
        expect_sent(fixture, rows[i].sent);
        if (rows[i].ended != NULL)
            expect_ended(fixture, rows[i].ended);
        else
            assert_null(fixture->ended);
        fixture_free(fixture);
    }
}

static struct peer_question *channel_question(bool is_notice)
{
    struct peer_question *question = question_of("", "q");

    assert_int_equal(channel_name_new(&spaces, &key, SPAN("topic:a"), &question->channel), CHANNEL_NAME_OK);
    question->is_notice = is_notice;
    return question;
}

static void those_who_follow_a_channel_are_asked(void **state)
{
    (void)state;
    struct fixture      *fixture = fixture_new(10);
    const struct node_id found[] = { id_of("c", 3), id_of("b", 2), id_of("c", 3), id_of("a", 1), id_of("d", 4), id_of("a", 9) };

    cluster_ask_put(fixture->ask, channel_question(false), 0);
    assert_int_equal(fixture->looked_up, 1);
    expect_sent(fixture, "");
    cluster_ask_found(fixture->ask, 1, found, 6, false);
    expect_sent(fixture, "c3<question1 t1 topic:a 1@0; a1<question1 t1 topic:a 1@0; ");
    cluster_ask_found(fixture->ask, 1, found, 4, false);
    expect_sent(fixture, "");
    answer(fixture, "a", 1, 1, SPAN(""));
    answer(fixture, "c", 3, 1, SPAN("x"));
    expect_ended(fixture, "a: c:x asked 2 missing 0");

    cluster_ask_put(fixture->ask, channel_question(false), 0);
    cluster_ask_found(fixture->ask, 2, &found[1], 1, false);
    expect_ended(fixture, "asked 0 missing 0");
    cluster_ask_put(fixture->ask, channel_question(false), 0);
    cluster_ask_found(fixture->ask, 3, NULL, 0, true);
    expect_ended(fixture, "asked 0 missing 0 unsure");
    cluster_ask_found(fixture->ask, 99, found, 4, false);
    fixture_free(fixture);
}

static void a_notice_ends_when_it_was_sent(void **state)
{
    (void)state;
    struct fixture      *fixture = fixture_new(10);
    const struct node_id found[] = { id_of("c", 3), id_of("c", 3) };

    cluster_ask_put(fixture->ask, channel_question(true), 0);
    cluster_ask_found(fixture->ask, 1, found, 2, false);
    expect_sent(fixture, "c3<notice1 t1 topic:a 1@0; ");
    expect_ended(fixture, "asked 1 missing 0");
    fixture_free(fixture);
}

/* A node that was killed and is back follows channels before the next list of nodes says so. */
static void a_notice_goes_to_a_start_that_is_not_known_yet(void **state)
{
    (void)state;
    struct fixture      *fixture = fixture_new(10);
    const struct node_id found[] = { id_of("c", 30), id_of("b", 2), id_of("d", 4), id_of("e", 5) };

    cluster_ask_put(fixture->ask, channel_question(true), 0);
    cluster_ask_found(fixture->ask, 1, found, 4, false);
    expect_sent(fixture, "c30<notice1 t1 topic:a 1@0; e5<notice1 t1 topic:a 1@0; ");
    expect_ended(fixture, "asked 2 missing 0");
    fixture_free(fixture);
}

/* --- what is missing --------------------------------------------------------------------------------------------------- */

static void time_ends_it(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    cluster_ask_put(fixture->ask, question_of("", "q"), 100);
    cluster_ask_put(fixture->ask, channel_question(false), 200);
    answer(fixture, "c", 3, 1, SPAN("cc"));
    cluster_ask_tick(fixture->ask, 100 + PEER_WAIT_MS_USUAL - 1);
    assert_null(fixture->ended);
    cluster_ask_tick(fixture->ask, 100 + PEER_WAIT_MS_USUAL);
    expect_ended(fixture, "c:cc asked 2 missing 1");
    cluster_ask_tick(fixture->ask, 200 + PEER_WAIT_MS_USUAL);
    expect_ended(fixture, "asked 0 missing 0 unsure");
    assert_int_equal(counter_get(&fixture->counters.missing_answers), 1);
    assert_int_equal(counter_get(&fixture->counters.questions), 2);
    fixture_free(fixture);
}

static void a_node_that_dies_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture      *fixture = fixture_new(10);
    const struct node_id a = id_of("a", 1), c = id_of("c", 3), newer = id_of("c", 30);

    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    cluster_ask_put(fixture->ask, channel_question(false), 0);
    answer(fixture, "a", 1, 1, SPAN("aa"));
    cluster_ask_lost(fixture->ask, &newer);
    cluster_ask_lost(fixture->ask, &a);
    assert_null(fixture->ended);
    cluster_ask_lost(fixture->ask, &c);
    expect_ended(fixture, "a:aa asked 2 missing 1");
    assert_int_equal(fixture->ended_count, 1);  /* the look-up of the other one goes on */
    fixture_free(fixture);
}

static void without_the_engine_all_are_missing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    cluster_ask_reach(fixture->ask, false);
    expect_ended(fixture, "asked 2 missing 2");
    fixture->sent[0] = '\0';
    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    expect_ended(fixture, "asked 2 missing 2 unsure");
    cluster_ask_put(fixture->ask, question_of("c", "q"), 0);
    expect_ended(fixture, "asked 1 missing 1 unsure");
    cluster_ask_put(fixture->ask, channel_question(false), 0);
    expect_ended(fixture, "asked 2 missing 2 unsure");
    expect_sent(fixture, "");
    cluster_ask_reach(fixture->ask, true);
    cluster_ask_put(fixture->ask, question_of("c", "q"), 0);
    expect_sent(fixture, "c3<question2 t1  1@0; ");
    fixture_free(fixture);
}

static void what_cannot_be_sent_is_missing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    fixture->is_stuck = true;
    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    expect_ended(fixture, "asked 2 missing 2");
    fixture_free(fixture);
}

static void too_many_questions_end_at_once(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(1);

    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    assert_null(fixture->ended);
    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    expect_ended(fixture, "asked 2 missing 2 unsure");
    fixture_free(fixture);
}

/* --- parts ----------------------------------------------------------------------------------------------------------- */

static void answer_part(struct fixture *fixture, const char *node, uint64_t incarnation, uint64_t offset,
                        struct span body, bool has_more)
{
    const struct node_id  from = id_of(node, incarnation);
    const struct bus_item item = { .kind = BUS_ANSWER, .question = 1, .offset = offset, .body = body,
                                   .has_more = has_more };

    cluster_ask_take(fixture->ask, &from, &item, NULL, 0);
}

static void long_answers_come_in_parts(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    cluster_ask_put(fixture->ask, question_of("", "q"), 0);
    answer_part(fixture, "a", 1, 0, SPAN("one "), true);
    answer_part(fixture, "c", 3, 0, SPAN("ONE "), true);
    answer_part(fixture, "a", 1, 4, SPAN("two"), false);
    answer_part(fixture, "c", 3, 7, SPAN("THREE"), false);  /* the second of three was lost */
    expect_ended(fixture, "a:one two asked 2 missing 1");
    fixture_free(fixture);
}

static void an_answer_beyond_the_bound_is_missing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);
    char           *half    = calloc(1, PEER_BODY_BYTES_MAX);

    cluster_ask_put(fixture->ask, question_of("c", "q"), 0);
    answer_part(fixture, "c", 3, 0, span_of(half, PEER_BODY_BYTES_MAX), true);
    answer_part(fixture, "c", 3, PEER_BODY_BYTES_MAX, SPAN("x"), false);
    expect_ended(fixture, "asked 1 missing 1");
    free(half);
    fixture_free(fixture);
}

/* --- what others ask ----------------------------------------------------------------------------------------------------- */

static void ask_part(struct fixture *fixture, enum bus_item_kind kind, uint64_t offset, struct span body, bool has_more)
{
    const struct node_id  from = id_of("a", 1);
    const struct bus_item item = { .kind = kind, .question = 77, .topic = PEER_USERS, .offset = offset, .body = body,
                                   .has_more = has_more };

    cluster_ask_take(fixture->ask, &from, &item, NULL, 0);
}

static void another_nodes_question_is_served_and_answered(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);
    char            bytes[2500];

    ask_part(fixture, BUS_QUESTION, 0, SPAN("one "), true);
    assert_null(fixture->served);
    ask_part(fixture, BUS_QUESTION, 4, SPAN("two"), false);
    struct peer_call *call = fixture->served;
    assert_non_null(call);
    fixture->served = NULL;
    assert_true(span_eq(buf_span(&call->body), SPAN("one two")));
    assert_int_equal(call->topic, PEER_USERS);
    assert_false(call->is_notice);
    memset(bytes, 'x', sizeof bytes);
    buf_put(&call->answer, span_of(bytes, sizeof bytes));
    cluster_ask_answer(fixture->ask, call);
    expect_sent(fixture, "a1<answer77 t0  1024@0…; a1<answer77 t0  1024@1024…; a1<answer77 t0  452@2048; ");
    assert_true(span_eq(buf_span(&fixture->last_body), span_of(bytes, sizeof bytes)));
    fixture_free(fixture);
}

static void what_is_unknown_or_a_notice_is_not_answered(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    ask_part(fixture, BUS_QUESTION, 0, SPAN("q"), false);
    fixture->served->is_unknown = true;
    cluster_ask_answer(fixture->ask, fixture->served);
    fixture->served = NULL;
    ask_part(fixture, BUS_NOTICE, 0, SPAN("q"), false);
    assert_true(fixture->served->is_notice);
    cluster_ask_answer(fixture->ask, fixture->served);
    fixture->served = NULL;
    expect_sent(fixture, "");
    fixture_free(fixture);
}

static void a_question_that_lost_a_part_is_not_served(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(10);

    ask_part(fixture, BUS_QUESTION, 4, SPAN("the second alone"), false);
    ask_part(fixture, BUS_QUESTION, 0, SPAN("one"), true);
    ask_part(fixture, BUS_QUESTION, 9, SPAN("three"), false);
    ask_part(fixture, BUS_QUESTION, 0, SPAN("never more"), true);
    cluster_ask_tick(fixture->ask, PEER_WAIT_MS_MAX);
    ask_part(fixture, BUS_QUESTION, 10, SPAN("too late"), false);
    assert_null(fixture->served);
    for (uint64_t i = 0; i <= CLUSTER_PARTS_MAX; i++) {
        const struct node_id  from = id_of("a", 1);
        const struct bus_item item = { .kind = BUS_QUESTION, .question = 100 + i, .body = SPAN("x"), .has_more = true };
        cluster_ask_take(fixture->ask, &from, &item, NULL, 0);
    }
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_others_are_asked_and_answers_stand_in_their_order),
        cmocka_unit_test(one_node_is_asked),
        cmocka_unit_test(those_who_follow_a_channel_are_asked),
        cmocka_unit_test(a_notice_ends_when_it_was_sent),
        cmocka_unit_test(a_notice_goes_to_a_start_that_is_not_known_yet),
        cmocka_unit_test(time_ends_it),
        cmocka_unit_test(a_node_that_dies_is_not_waited_for),
        cmocka_unit_test(without_the_engine_all_are_missing),
        cmocka_unit_test(what_cannot_be_sent_is_missing),
        cmocka_unit_test(too_many_questions_end_at_once),
        cmocka_unit_test(long_answers_come_in_parts),
        cmocka_unit_test(an_answer_beyond_the_bound_is_missing),
        cmocka_unit_test(another_nodes_question_is_served_and_answered),
        cmocka_unit_test(what_is_unknown_or_a_notice_is_not_answered),
        cmocka_unit_test(a_question_that_lost_a_part_is_not_served),
    };
    namespaces_init(&spaces);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
