/* Sets of devices, and those who are told of changes, on a clock that the test moves. */
#include "device/presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "device/presence_command.h"
#include "device/presence_move.h"

#include <cmocka.h>

enum { LOOPS = 2, RETURN_MS = 3000, POLL_MS = 60000, FRAMES = 100 };

static const struct hash_key key = { 1, 2 };

/* A presence, and loops whose only client writes down what it is told of the channel. */
struct presence_stage {
    struct namespaces    spaces;
    struct presence      presence;
    struct presence_home homes[LOOPS];
    struct bundle        sent;
    struct channel_name *room;
    msec                 now;
    struct buf           told;   /* of all loops: "0:+ann/phone=1 " */
};

static struct presence_stage *stage_now;

static void stage_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    bundle_add(&((struct presence_stage *)ctx)->sent, &command->mail);
}

static const struct writer_port stage_port = { stage_send, NULL };

static void stage_told(struct presence_home *home, const struct presence_news *news)
{
    for (uint32_t i = 0; i < news->note_count; i++) {
        const struct presence_note *note = &news->notes[i];
        assert_true(span_eq(note->channel, channel_name_span(news->name)));
        buf_putf(&stage_now->told, "%u:", home->loop);
        if (note->user.len == 0)
            buf_putf(&stage_now->told, "%s=%llu ", note->is_beginning ? "begin" : "number", (unsigned long long)note->count);
        else
            buf_putf(&stage_now->told, "%c%.*s/%.*s=%llu ", note->is_join ? '+' : '-', SPAN_ARG(note->user),
                     SPAN_ARG(note->device), (unsigned long long)note->count);
    }
}

static struct channel_name *room_name(struct presence_stage *stage, const char *text)
{
    struct channel_name *name;

    must(channel_name_new(&stage->spaces, &key, span_str(text), &name) == CHANNEL_NAME_OK);
    return name;
}

static void stage_open(struct presence_stage *stage)
{
    const struct presence_limits limits = { .members_max = 1000, .frames_per_s = FRAMES, .return_ms = RETURN_MS,
                                            .poll_lease_ms = POLL_MS };

    *stage = (struct presence_stage){ .now = 1000 };
    namespaces_init(&stage->spaces);
    stage->room = room_name(stage, "topic:room");
    presence_init(&stage->presence, &stage_port, stage, LOOPS, &key, &limits);
    presence_tick(&stage->presence, stage->now, 5000000 + stage->now);
    for (unsigned i = 0; i < LOOPS; i++)
        stage->homes[i] = (struct presence_home){ stage_told, i };
    buf_init(&stage->told, 1 << 20);
    stage_now = stage;
}

/* The end of a turn; then the loops take what was sent. */
static void stage_turn(struct presence_stage *stage)
{
    presence_turn_end(&stage->presence);
    for (struct mail *mail = bundle_take(&stage->sent), *next; mail != NULL; mail = next) {
        next = mail->next;
        command_of(mail)->kind->at_loop(command_of(mail), NULL);
    }
}

static void stage_close(struct presence_stage *stage)
{
    stage_turn(stage);
    presence_fini(&stage->presence);
    channel_name_unref(stage->room);
    buf_fini(&stage->told);
}

static void stage_wait(struct presence_stage *stage, msec ms)
{
    for (msec end = stage->now + ms; stage->now < end;) {
        stage->now += 100;
        presence_tick(&stage->presence, stage->now, 5000000 + stage->now);
        stage_turn(stage);
    }
}

static struct presence_who who_of(const char *user, const char *device, uint64_t link)
{
    return (struct presence_who){ span_str(user), span_str(device), link, "websocket" };
}

static void come(struct presence_stage *stage, const char *user, const char *device, uint64_t link)
{
    struct presence_who who = who_of(user, device, link);

    presence_come(&stage->presence, stage->room, &who);
}

static void go(struct presence_stage *stage, const char *user, const char *device, uint64_t link, enum presence_end end)
{
    struct presence_who who = who_of(user, device, link);

    presence_go(&stage->presence, stage->room, &who, end);
}

static void expect_told(struct presence_stage *stage, const char *want)
{
    stage_turn(stage);
    buf_put(&stage->told, span_of("", 1));
    assert_string_equal(stage->told.at, want);
    buf_clear(&stage->told);
}

/* The page behind `after`: "ann/phone bob/web |2|7" with the number of the whole and where it goes on. */
static void expect_page(struct presence_stage *stage, uint64_t after, uint32_t limit, const char *want)
{
    struct presence_listing *listing = presence_listing_new(&stage->presence, stage->room, after, limit);
    struct buf               text;

    buf_init(&text, 1 << 16);
    presence_list(&stage->presence, listing);
    for (uint32_t i = 0; i < listing->at_count; i++)
        buf_putf(&text, "%s/%s ", listing->at[i].user, listing->at[i].device);
    buf_putf(&text, "|%llu|%llu", (unsigned long long)listing->count, (unsigned long long)listing->next);
    buf_putc(&text, '\0');
    assert_string_equal(text.at, want);
    buf_fini(&text);
    command_free(&listing->command);
}

#define EXPECT_SET(stage, want) expect_page(stage, 0, 1000, want)

/* --- the set ---------------------------------------------------------------------------------------------------- */

static void a_device_is_there_while_it_follows(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    EXPECT_SET(&stage, "|0|0");
    come(&stage, "ann", "phone", 1);
    come(&stage, "bob", "web", 2);
    EXPECT_SET(&stage, "ann/phone bob/web |2|0");
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);
    EXPECT_SET(&stage, "bob/web |1|0");
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);  /* said again */
    go(&stage, "eve", "phone", 9, PRESENCE_END_NOW);  /* was never there */
    come(&stage, "bob", "web", 2);
    EXPECT_SET(&stage, "bob/web |1|0");
    go(&stage, "bob", "web", 2, PRESENCE_END_NOW);
    EXPECT_SET(&stage, "|0|0");
    assert_int_equal(counter_get(&stage.presence.counters.channels), 0);
    assert_int_equal(counter_get(&stage.presence.counters.members), 0);
    stage_close(&stage);
}

static void several_links_count_once(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    come(&stage, "ann", "phone", 1);
    come(&stage, "ann", "phone", 2);
    come(&stage, "ann", "pad", 3);
    EXPECT_SET(&stage, "ann/phone ann/pad |2|0");
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);
    EXPECT_SET(&stage, "ann/phone ann/pad |2|0");
    go(&stage, "ann", "phone", 2, PRESENCE_END_NOW);
    EXPECT_SET(&stage, "ann/pad |1|0");
    stage_close(&stage);
}

static void who_was_cut_stays_for_a_while(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    presence_watch(&stage.presence, stage.room, &stage.homes[0]);
    expect_told(&stage, "0:begin=0 ");
    come(&stage, "ann", "phone", 1);
    expect_told(&stage, "0:+ann/phone=1 ");
    go(&stage, "ann", "phone", 1, PRESENCE_END_CUT);
    stage_wait(&stage, RETURN_MS - 100);
    EXPECT_SET(&stage, "ann/phone |1|0");
    come(&stage, "ann", "phone", 2);
    stage_wait(&stage, 10 * RETURN_MS);
    expect_told(&stage, "");
    assert_int_equal(counter_get(&stage.presence.counters.returns), 1);
    go(&stage, "ann", "phone", 2, PRESENCE_END_CUT);
    stage_wait(&stage, RETURN_MS - 100);
    expect_told(&stage, "");
    stage_wait(&stage, 100);
    expect_told(&stage, "0:-ann/phone=0 ");
    EXPECT_SET(&stage, "|0|0");
    presence_unwatch(&stage.presence, stage.room, 0);
    stage_close(&stage);
}

static void a_poller_is_there_between_polls(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    for (uint64_t link = 1; link <= 5; link++) {
        come(&stage, "ann", "phone", link);
        go(&stage, "ann", "phone", link, PRESENCE_END_POLLED);
        stage_wait(&stage, POLL_MS - 100);
        EXPECT_SET(&stage, "ann/phone |1|0");
    }
    assert_int_equal(presence_user(&stage.presence, SPAN("ann"), NULL, NULL), 1);
    stage_wait(&stage, 100);
    EXPECT_SET(&stage, "|0|0");
    assert_int_equal(counter_get(&stage.presence.counters.joins), 1);
    stage_close(&stage);
}

static void users_are_there_by_links_and_polls(void **state)
{
    struct presence_stage stage;
    struct channel_name  *other;
    struct presence_who   phone = who_of("ann", "phone", 1);

    (void)state;
    stage_open(&stage);
    other = room_name(&stage, "topic:other");
    come(&stage, "ann", "phone", 1);
    presence_come(&stage.presence, other, &phone);
    come(&stage, "ann", "pad", 2);
    come(&stage, "anna", "phone", 3);
    assert_int_equal(presence_user(&stage.presence, SPAN("ann"), NULL, NULL), 2);
    go(&stage, "ann", "pad", 2, PRESENCE_END_CUT);  /* in the set, but nobody can reach it */
    assert_int_equal(presence_user(&stage.presence, SPAN("ann"), NULL, NULL), 1);
    assert_int_equal(presence_user(&stage.presence, SPAN("bob"), NULL, NULL), 0);
    channel_name_unref(other);
    stage_close(&stage);
}

static void a_set_comes_in_pages(void **state)
{
    struct presence_stage stage;
    char                  user[16];

    (void)state;
    stage_open(&stage);
    for (uint64_t i = 1; i <= 100; i++) {
        snprintf(user, sizeof user, "u%llu", (unsigned long long)i);
        come(&stage, user, "d", i);
    }
    for (uint64_t i = 1; i <= 97; i++) {
        snprintf(user, sizeof user, "u%llu", (unsigned long long)i);
        if (i != 50)
            go(&stage, user, "d", i, PRESENCE_END_NOW);
    }
    expect_page(&stage, 0, 2, "u50/d u98/d |4|98");
    expect_page(&stage, 98, 2, "u99/d u100/d |4|0");
    expect_page(&stage, 98, 1, "u99/d |4|99");
    expect_page(&stage, 70, 9, "u98/d u99/d u100/d |4|0");  /* the one that the last page ended with has left */
    expect_page(&stage, 100, 9, "|4|0");
    stage_close(&stage);
}

static void beyond_the_maximum_nobody_is_noted(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    stage.presence.limits.members_max = 1;
    come(&stage, "ann", "phone", 1);
    come(&stage, "bob", "phone", 2);
    EXPECT_SET(&stage, "ann/phone |1|0");
    go(&stage, "bob", "phone", 2, PRESENCE_END_CUT);
    assert_int_equal(counter_get(&stage.presence.counters.refused), 1);
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);
    come(&stage, "bob", "phone", 3);
    EXPECT_SET(&stage, "bob/phone |1|0");
    stage_close(&stage);
}

/* --- what is told ----------------------------------------------------------------------------------------------- */

static void changes_of_a_turn_are_told_together(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    come(&stage, "ann", "phone", 1);
    presence_watch(&stage.presence, stage.room, &stage.homes[1]);
    expect_told(&stage, "1:begin=1 ");
    come(&stage, "bob", "web", 2);
    come(&stage, "eve", "web", 3);
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);
    go(&stage, "eve", "web", 3, PRESENCE_END_NOW);  /* came and went in one turn */
    expect_told(&stage, "1:+bob/web=2 1:-ann/phone=1 ");
    come(&stage, "ann", "phone", 4);
    go(&stage, "bob", "web", 2, PRESENCE_END_NOW);
    come(&stage, "bob", "web", 5);  /* went and came */
    expect_told(&stage, "1:+ann/phone=2 ");
    presence_unwatch(&stage.presence, stage.room, 1);
    go(&stage, "bob", "web", 5, PRESENCE_END_NOW);
    expect_told(&stage, "");
    stage_close(&stage);
}

/* Who comes and asks in one turn is in the number, and no change of that turn comes behind it. */
static void who_begins_is_told_the_number_behind_the_changes(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    presence_watch(&stage.presence, stage.room, &stage.homes[0]);
    expect_told(&stage, "0:begin=0 ");
    come(&stage, "ann", "phone", 1);
    presence_watch(&stage.presence, stage.room, &stage.homes[0]);
    come(&stage, "bob", "web", 2);
    expect_told(&stage, "0:+ann/phone=1 0:+bob/web=2 0:begin=2 ");
    presence_unwatch(&stage.presence, stage.room, 0);
    presence_unwatch(&stage.presence, stage.room, 0);
    stage_close(&stage);
}

static void each_loop_that_asked_is_told(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    presence_watch(&stage.presence, stage.room, &stage.homes[0]);
    presence_watch(&stage.presence, stage.room, &stage.homes[1]);
    presence_watch(&stage.presence, stage.room, &stage.homes[1]);
    expect_told(&stage, "0:begin=0 1:begin=0 ");
    come(&stage, "ann", "phone", 1);
    expect_told(&stage, "0:+ann/phone=1 1:+ann/phone=1 ");
    presence_unwatch(&stage.presence, stage.room, 1);
    presence_unwatch(&stage.presence, stage.room, 0);
    go(&stage, "ann", "phone", 1, PRESENCE_END_NOW);
    expect_told(&stage, "1:-ann/phone=0 ");
    presence_unwatch(&stage.presence, stage.room, 1);
    assert_int_equal(counter_get(&stage.presence.counters.channels), 0);
    stage_close(&stage);
}

static void watchers_of(struct presence_stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        presence_watch(&stage->presence, stage->room, &stage->homes[0]);
    stage_turn(stage);
    buf_clear(&stage->told);
}

/* 30 clients: three changes fit into the 100 frames of a second. */
static void changes_wait_for_their_second(void **state)
{
    struct presence_stage stage;

    (void)state;
    stage_open(&stage);
    watchers_of(&stage, 30);
    come(&stage, "a", "d", 1);
    come(&stage, "b", "d", 2);
    expect_told(&stage, "0:+a/d=1 0:+b/d=2 ");
    come(&stage, "c", "d", 3);
    expect_told(&stage, "0:+c/d=3 ");
    come(&stage, "e", "d", 4);
    expect_told(&stage, "");
    stage_wait(&stage, 100);
    expect_told(&stage, "");
    stage_wait(&stage, 100);
    expect_told(&stage, "0:+e/d=4 ");
    for (unsigned i = 0; i < 30; i++)
        presence_unwatch(&stage.presence, stage.room, 0);
    stage_close(&stage);
}

static void a_storm_is_told_as_a_number(void **state)
{
    struct presence_stage stage;
    char                  user[16];

    (void)state;
    stage_open(&stage);
    watchers_of(&stage, 30);
    for (uint64_t i = 1; i <= 500; i++) {
        snprintf(user, sizeof user, "u%llu", (unsigned long long)i);
        come(&stage, user, "d", i);
    }
    expect_told(&stage, "0:number=500 ");
    go(&stage, "u1", "d", 1, PRESENCE_END_NOW);
    expect_told(&stage, "0:-u1/d=499 ");
    assert_int_equal(counter_get(&stage.presence.counters.counts_told), 1);
    for (unsigned i = 0; i < 30; i++)
        presence_unwatch(&stage.presence, stage.room, 0);
    stage_close(&stage);
}

/* With more clients than frames a second, the number comes as often as the frames allow. */
static void a_crowd_is_told_numbers_alone(void **state)
{
    struct presence_stage stage;
    char                  user[16];

    (void)state;
    stage_open(&stage);
    watchers_of(&stage, 10 * FRAMES);
    come(&stage, "ann", "d", 1);
    expect_told(&stage, "0:number=1 ");
    for (uint64_t i = 2; i <= 101; i++) {
        snprintf(user, sizeof user, "u%llu", (unsigned long long)i);
        come(&stage, user, "d", i);
        stage_wait(&stage, 100);
    }
    expect_told(&stage, "0:number=101 ");
    for (unsigned i = 0; i < 10 * FRAMES; i++)
        presence_unwatch(&stage.presence, stage.room, 0);
    stage_close(&stage);
}

/* --- links at random ---------------------------------------------------------------------------------------------------- */

enum { PEOPLE = 12, LINKS = 3, STEPS = 4000 };

/* What a client makes of what it is told: it asks for the set whenever it is told a number alone, or a change that makes its
 * set another size than it says. */
struct follower {
    bool has[PEOPLE];
    bool must_ask;
};

static unsigned follower_size(const struct follower *follower)
{
    unsigned size = 0;

    for (unsigned i = 0; i < PEOPLE; i++)
        size += follower->has[i];
    return size;
}

static void follower_hear(struct follower *follower, const char *word)
{
    unsigned           loop, person;
    unsigned long long count;
    char               what;

    if (sscanf(word, "%u:%cu%u/d=%llu", &loop, &what, &person, &count) != 4) {
        follower->must_ask = true;
        return;
    }
    assert_true(person < PEOPLE);
    follower->has[person] = what == '+';
    if (follower_size(follower) != count)
        follower->must_ask = true;
}

static void follower_hear_all(struct follower *follower, struct presence_stage *stage)
{
    buf_putc(&stage->told, '\0');
    for (char *rest, *word = strtok_r(stage->told.at, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        if (word[0] == '0')
            follower_hear(follower, word);
    buf_clear(&stage->told);
}

static void read_set(struct presence_stage *stage, bool has[PEOPLE])
{
    struct presence_listing *listing = presence_listing_new(&stage->presence, stage->room, 0, PRESENCE_LIST_MAX);

    memset(has, 0, PEOPLE * sizeof has[0]);
    presence_list(&stage->presence, listing);
    for (uint32_t i = 0; i < listing->at_count; i++)
        has[strtoul(listing->at[i].user + 1, NULL, 10)] = true;
    command_free(&listing->command);
}

/* Links come and go at random; one client follows. At the end, and at each quiet moment, its set is the true one, and the true
 * one is that of the links. */
static void a_follower_has_the_set(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct presence_stage stage;
        struct follower       follower               = { .must_ask = true };
        bool                  links[PEOPLE][LINKS]   = { 0 };
        bool                  truth[PEOPLE];
        struct rng            rng                    = { seed };
        char                  user[16];

        stage_open(&stage);
        stage.presence.limits.frames_per_s = seed % 3 == 0 ? 5 : 1000;
        watchers_of(&stage, 1);
        for (unsigned step = 0; step < STEPS; step++) {
            unsigned person = (unsigned)rng_below(&rng, PEOPLE), link = (unsigned)rng_below(&rng, LINKS);
            snprintf(user, sizeof user, "u%u", person);
            if (links[person][link])
                go(&stage, user, "d", link + 1, rng_below(&rng, 2) == 0 ? PRESENCE_END_NOW : PRESENCE_END_CUT);
            else
                come(&stage, user, "d", link + 1);
            links[person][link] = !links[person][link];
            if (rng_below(&rng, 3) == 0)
                stage_wait(&stage, 100 * (msec)rng_below(&rng, 20));
            follower_hear_all(&follower, &stage);
            if (follower.must_ask && rng_below(&rng, 3) == 0) {
                read_set(&stage, follower.has);
                follower.must_ask = false;
            }
        }
        stage_wait(&stage, 10 * RETURN_MS);
        follower_hear_all(&follower, &stage);
        read_set(&stage, truth);
        if (!follower.must_ask)
            assert_memory_equal(follower.has, truth, sizeof truth);
        for (unsigned person = 0; person < PEOPLE; person++)
            assert_int_equal(truth[person], links[person][0] || links[person][1] || links[person][2]);
        presence_unwatch(&stage.presence, stage.room, 0);
        stage_close(&stage);
    }
}

/* --- another process ---------------------------------------------------------------------------------------------- */

struct told_presence {
    struct presence_stage *to;
    struct channel_name   *room;
};

static void tell_channel(void *ctx, const struct channel_name *name, bool is_not_told)
{
    struct told_presence *told = ctx;

    channel_name_unref(told->room);
    must(channel_name_new(&told->to->spaces, &key, channel_name_span(name), &told->room) == CHANNEL_NAME_OK);
    presence_take_channel(&told->to->presence, told->room, is_not_told);
}

static void tell_member(void *ctx, const struct presence_who *who, msec since)
{
    struct told_presence *told = ctx;

    assert_true(presence_take_member(&told->to->presence, told->room, who, since));
    assert_false(presence_take_member(&told->to->presence, told->room, who, since));
}

/* What `from` knows goes on in `to`, which is opened; their channels have one name. */
static void stage_move(const struct presence_stage *from, struct presence_stage *to)
{
    static const struct presence_visitor visitor = { tell_channel, tell_member };
    struct told_presence                 told    = { .to = to };

    stage_open(to);
    presence_visit_all(&from->presence, &visitor, &told);
    channel_name_unref(told.room);
}

static void nobody_is_told_of_a_take_over(void **state)
{
    struct presence_stage old, new;

    (void)state;
    stage_open(&old);
    presence_watch(&old.presence, old.room, &old.homes[0]);
    come(&old, "ann", "phone", 1);
    come(&old, "bob", "web", 2);
    come(&old, "eve", "pad", 3);
    expect_told(&old, "0:+ann/phone=1 0:+bob/web=2 0:+eve/pad=3 0:begin=3 ");
    stage_move(&old, &new);
    presence_watch_on(&new.presence, new.room, &new.homes[0]);
    expect_page(&new, 0, 10, "ann/phone bob/web eve/pad |3|0");
    come(&new, "ann", "phone", 1);
    come(&new, "bob", "web", 2);
    expect_told(&new, "");
    go(&new, "bob", "web", 2, PRESENCE_END_NOW);
    expect_told(&new, "0:-bob/web=2 ");
    stage_wait(&new, 9000);   /* eve's link did not move, and it does not come */
    expect_told(&new, "");
    stage_wait(&new, 2000);
    expect_told(&new, "0:-eve/pad=1 ");
    stage_now = &old;
    stage_close(&old);
    stage_now = &new;
    stage_close(&new);
}

/* A change of which nobody was told yet: the number says that there was one. */
static void what_was_not_told_yet_is_told_as_a_number(void **state)
{
    struct presence_stage old, new;

    (void)state;
    stage_open(&old);
    presence_watch(&old.presence, old.room, &old.homes[0]);
    come(&old, "ann", "phone", 1);
    expect_told(&old, "0:+ann/phone=1 0:begin=1 ");
    old.presence.is_holding = true;
    come(&old, "bob", "web", 2);
    expect_told(&old, "");
    stage_move(&old, &new);
    presence_watch_on(&new.presence, new.room, &new.homes[0]);
    expect_told(&new, "0:number=2 ");
    stage_now = &old;
    old.presence.is_holding = false;  /* the other one did not serve */
    expect_told(&old, "0:+bob/web=2 ");
    stage_close(&old);
    stage_now = &new;
    stage_close(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_there_while_it_follows),
        cmocka_unit_test(several_links_count_once),
        cmocka_unit_test(who_was_cut_stays_for_a_while),
        cmocka_unit_test(a_poller_is_there_between_polls),
        cmocka_unit_test(users_are_there_by_links_and_polls),
        cmocka_unit_test(nobody_is_told_of_a_take_over),
        cmocka_unit_test(what_was_not_told_yet_is_told_as_a_number),
        cmocka_unit_test(a_set_comes_in_pages),
        cmocka_unit_test(beyond_the_maximum_nobody_is_noted),
        cmocka_unit_test(changes_of_a_turn_are_told_together),
        cmocka_unit_test(who_begins_is_told_the_number_behind_the_changes),
        cmocka_unit_test(each_loop_that_asked_is_told),
        cmocka_unit_test(changes_wait_for_their_second),
        cmocka_unit_test(a_storm_is_told_as_a_number),
        cmocka_unit_test(a_crowd_is_told_numbers_alone),
        cmocka_unit_test(a_follower_has_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
