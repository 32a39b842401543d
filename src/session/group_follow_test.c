/* A link of a session and the groups of its user: what it is given of each group is what was published while the user was a
 * member, whatever came in the same turn and however often the log of the user is heard. */
#include "session/group_follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "session/device_link.h"
#include "session/serve.h"
#include "session/session_battery.h"

#include <cmocka.h>

enum { EPOCH = 9, TOLD_BYTES_MAX = 4096 };  /* EPOCH: of the logs of the stage */

struct follower {
    struct stage     *stage;
    struct link       link;
    struct reader     reader;
    struct sim_link  *far;
    struct stage_log *user, *lobby;
    struct buf        told;   /* "lobby 3, " … */
    unsigned          placed; /* channels that have answered */
};

static struct follower *follower_of(struct link *link)
{
    return container_of(link, struct follower, link);
}

static struct frame *on_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    struct buf *told = &follower_of(link)->told;

    buf_put(told, channel_own_name(subscription_name(&sub->sub)));
    device_link_note_moved(sub);
    if (entry->message != NULL)
        buf_putf(told, " %llu, ", (unsigned long long)entry->message->seq);
    else
        buf_putf(told, " gap %llu-%llu, ", (unsigned long long)entry->gap.from, (unsigned long long)entry->gap.to);
    return frame_new(SPAN("x"));
}

static void on_placed(struct link *link, struct reader_sub *sub)
{
    (void)sub;
    follower_of(link)->placed++;
}

static void on_left(struct link *link, struct reader_sub *sub)
{
    buf_put_lit(&follower_of(link)->told, "left, ");
    link_unfollow(link, sub);
}

static void on_lost(struct link *link)
{
    (void)link;
    must(!"the other end reads all");
}

static const struct link_kind kind = { .encode = on_encode, .placed = on_placed, .left = on_left, .lost = on_lost, .leave = on_lost };

static void on_readable(struct stream *stream, void *owner)
{
    (void)owner;
    must(stream_drain(stream));
}

static void on_writable(struct stream *stream, void *owner)
{
    struct follower *follower = owner;

    (void)stream;
    link_on_writable(&follower->link);
}

static const struct stream_events events = { .on_readable = on_readable, .on_writable = on_writable };

/* A link of ann's session, that follows her log from its head on. `first`: what it followed before that; NULL: nothing. */
static struct follower *follower_new_behind(struct stage *stage, const char *first)
{
    struct follower *follower = calloc(1, sizeof *follower);

    must(follower != NULL);
    stage_init(stage, 1);
    namespaces_find(&stage->spaces, SPAN("user"))->keep_ms = namespaces_find(&stage->spaces, SPAN("group"))->keep_ms = 0;
    follower->stage = stage;
    follower->user  = stage_log(stage, "user:ann", 1, 0);
    follower->lobby = stage_log(stage, "group:lobby", 1, 0);
    buf_init(&follower->told, TOLD_BYTES_MAX);
    reader_init(&follower->reader);
    link_init(&follower->link, &stage->worker, &kind, &follower->reader, TRANSPORT_NDJSON, ENCODING_NDJSON, 0);
    link_take_holder(&follower->link, identity_new(&(struct identity_facts){ .user = SPAN("ann") }));
    link_set_device(&follower->link, pool_take(&stage->worker.device_links));
    struct stream *stream;
    follower->far = stage_stream(stage, &stream);
    link_set_stream(&follower->link, stream);
    stream_start(link_stream(&follower->link), &events, follower);
    if (first != NULL)
        device_link_follow(&follower->link, &(struct session_place){ .name = stage_log(stage, first, 1, 0)->name,
                                                                     .epoch = EPOCH });
    device_link_follow(&follower->link, &(struct session_place){ .name = follower->user->name, .epoch = EPOCH });
    stage_turn(stage);
    stage_turn(stage);
    return follower;
}

static struct follower *follower_new(struct stage *stage)
{
    return follower_new_behind(stage, NULL);
}

static void follower_free(struct follower *follower)
{
    struct device_link *device = link_device(&follower->link);

    for (uint32_t i = 0; device->acks != NULL && i < device->acks->count; i++)
        channel_name_unref(device->acks->acks[i].name);
    if (device->acks != NULL)
        list_take(&device->acks->in_acking);
    free(device->acks);
    group_follow_fini(&device->groups);
    pool_give(&follower->stage->worker.device_links, device);
    link_set_device(&follower->link, NULL);  /* its standing is the devices', and there are none here */
    stream_close(link_stream(&follower->link));
    link_fini(&follower->link);
    reader_fini(&follower->reader, &follower->stage->worker.readers, follower->stage->sim.loop.now);
    sim_link_free(follower->far);
    buf_fini(&follower->told);
    stage_fini(follower->stage);
    free(follower);
}

/* Some turns later: all that came has been told, and this is it. */
static void expect_told(struct follower *follower, const char *want)
{
    struct buf read;

    buf_init(&read, 1 << 20);
    for (int turn = 0; turn < 6; turn++) {
        stage_turn(follower->stage);
        assert_true(stage_read(follower->far, &read));
    }
    buf_fini(&read);
    buf_putc(&follower->told, '\0');
    assert_string_equal(follower->told.at, want);
    buf_clear(&follower->told);
}

/* A membership message in the log of the user: at this place of the group's log. */
static void say_membership(struct follower *follower, bool joined, uint64_t place)
{
    struct stage           *stage   = follower->stage;
    struct deliver_command *command = calloc(1, sizeof *command);
    struct buf              object;

    must(command != NULL);
    buf_init(&object, 1024);
    buf_putf(&object, "{\"group\":\"lobby\",\"joined\":%s,", joined ? "true" : "false");
    control_put_place(&object, EPOCH, place);
    buf_putc(&object, '}');
    struct message *message = control_message_new(follower->user->name, SPAN("membership"), buf_span(&object), SPAN(""));
    message->epoch          = EPOCH;
    message->id             = message->seq = ++follower->user->head;
    message->time           = 1;
    buf_fini(&object);
    command->hint.command.kind = &deliver_kind;
    command->hint.count        = 1;
    command->hint.number       = ++stage->hint_number;
    command->messages[0]       = message;
    shard_take(&stage->shard, &command->hint.command);
}

static void publish(struct follower *follower, unsigned count)
{
    while (count-- > 0)
        stage_publish(follower->stage, follower->lobby);
}

static void follow_lobby(struct follower *follower, const struct group_spans *spans, uint64_t after)
{
    device_link_follow(&follower->link, &(struct session_place){
        .name = follower->lobby->name, .epoch = EPOCH, .seq = after, .spans = (struct group_spans *)spans });
}

static bool follows_lobby(const struct follower *follower)
{
    return reader_find(&follower->reader, SPAN("group:lobby")) != NULL;
}

static void who_joins_begins_at_the_place_of_the_join(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 4;
    say_membership(follower, true, 2);
    expect_told(follower, "ann 1, lobby 3, lobby 4, ");
    publish(follower, 1);
    expect_told(follower, "lobby 5, ");
    follower_free(follower);
}

/* What the log says is older than the link: the session was given more of the group, and the user has left it since. */
static void old_news_of_a_join_begin_where_the_session_stands(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 4;
    group_follow_note_over(&link_device(&follower->link)->groups, follower->lobby->name, EPOCH, 4);
    say_membership(follower, true, 2);
    expect_told(follower, "ann 1, ");
    say_membership(follower, false, 4);
    expect_told(follower, "ann 2, left, ");
    publish(follower, 1);
    expect_told(follower, "");
    follower_free(follower);
}

/* The client names an earlier place of the log: what that says of groups, up to where the link was, is known. */
static void news_that_are_told_again_are_passed_over(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 4;
    group_follow_know(&link_device(&follower->link)->groups, EPOCH, 0, 1);
    follower->user->head = 2;
    struct reader_sub *user = reader_find(&follower->reader, SPAN("user:ann"));
    must(subscription_is_placed(&user->sub));
    user->sub.next = 3;
    device_link_move(&follower->link, user, (struct start){ START_AFTER, 0, EPOCH });
    follower->user->head = 0;
    say_membership(follower, false, 1);
    say_membership(follower, true, 2);
    expect_told(follower, "ann 1, ann 2, ");
    say_membership(follower, false, 3);
    say_membership(follower, true, 3);
    expect_told(follower, "ann 3, ann 4, lobby 4, ");
    follower_free(follower);
}

static void the_log_of_another_user_says_nothing_of_her_groups(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new_behind(&stage, "user:aaron");

    (void)state;
    follower->lobby->head = 4;
    say_membership(follower, true, 2);
    expect_told(follower, "ann 1, lobby 3, lobby 4, ");
    follower_free(follower);
}

/* Another reader of this loop follows the group already, so the hub knows it. */
static void who_joins_is_told_so_before_any_message(void **state)
{
    struct stage       stage;
    struct follower   *follower = follower_new(&stage);
    struct reader      other;
    struct reader_sub *sub;

    (void)state;
    reader_init(&other);
    sub = reader_follow(&other, &stage.worker.readers, follower->lobby->name, (struct start){ .kind = START_NOW });
    expect_told(follower, "");
    assert_true(subscription_is_placed(&sub->sub));
    assert_int_equal(follower->placed, 1);  /* user:ann */
    say_membership(follower, true, 0);
    expect_told(follower, "ann 1, ");
    assert_int_equal(follower->placed, 2);
    reader_fini(&other, &stage.worker.readers, stage.sim.loop.now);
    follower_free(follower);
}

static void who_leaves_gets_all_before_and_nothing_behind(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    publish(follower, 2);
    say_membership(follower, false, 2);
    publish(follower, 2);
    expect_told(follower, "ann 1, lobby 1, lobby 2, left, ");
    assert_false(follows_lobby(follower));
    publish(follower, 1);
    expect_told(follower, "");
    follower_free(follower);
}

static size_t owed_places(const struct follower *follower, struct place *ret)
{
    return group_follow_put_left(&link_device(&follower->link)->groups, &follower->reader, ret, 4);
}

static void what_was_given_before_the_leave_can_be_acknowledged(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);
    struct link     *link     = &follower->link;
    struct place     owed[4];
    uint64_t         counts;

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    publish(follower, 2);
    expect_told(follower, "lobby 1, lobby 2, ");
    assert_false(device_link_acknowledge_left(link, SPAN("group:lobby"), EPOCH, 1, &counts));  /* it is followed still */
    say_membership(follower, false, 2);
    expect_told(follower, "ann 1, left, ");
    assert_int_equal(owed_places(follower, owed), 1);
    assert_true(span_eq(owed[0].channel, SPAN("group:lobby")) && owed[0].epoch == EPOCH && owed[0].seq == 2);
    assert_false(device_link_acknowledge_left(link, SPAN("group:other"), 0, 1, &counts));
    assert_true(device_link_acknowledge_left(link, SPAN("group:lobby"), EPOCH + 1, 2, &counts));
    assert_int_equal(counts, 0);
    assert_null(link_device(link)->acks);
    assert_true(device_link_acknowledge_left(link, SPAN("group:lobby"), 0, 1, &counts));
    assert_int_equal(counts, 1);
    assert_int_equal(owed_places(follower, owed), 1);
    assert_true(device_link_acknowledge_left(link, SPAN("group:lobby"), EPOCH, 99, &counts));
    assert_int_equal(counts, 2);
    assert_int_equal(link_device(link)->acks->acks[0].seq, 2);
    assert_int_equal(owed_places(follower, owed), 0);
    follower_free(follower);
}

/* A link that another process has taken over has delivered what is before its places, though no channel has answered yet. */
static void a_channel_that_has_not_answered_is_acknowledged_up_to_its_place(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 5;
    follow_lobby(follower, NULL, 3);
    struct reader_sub *sub = reader_find(&follower->reader, SPAN("group:lobby"));
    assert_false(subscription_is_placed(&sub->sub));
    assert_false(device_link_acknowledge_known(&follower->link, sub, EPOCH, 4));
    assert_false(device_link_acknowledge_known(&follower->link, sub, EPOCH + 1, 3));
    assert_null(link_device(&follower->link)->acks);
    assert_true(device_link_acknowledge_known(&follower->link, sub, 0, 3));
    assert_int_equal(link_device(&follower->link)->acks->acks[0].seq, 3);
    assert_int_equal(link_device(&follower->link)->acks->acks[0].epoch, EPOCH);
    follower_free(follower);
}

/* In a cluster the log of the user may be slower than the group's: what the link was given too much does not come once more. */
static void what_came_before_a_late_leave_does_not_come_again(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    publish(follower, 5);
    expect_told(follower, "lobby 1, lobby 2, lobby 3, lobby 4, lobby 5, ");
    say_membership(follower, false, 2);
    expect_told(follower, "ann 1, left, ");
    say_membership(follower, true, 3);
    publish(follower, 1);
    expect_told(follower, "ann 2, lobby 6, ");
    say_membership(follower, false, 6);
    expect_told(follower, "ann 3, left, ");
    say_membership(follower, true, 6);
    publish(follower, 1);
    expect_told(follower, "ann 4, lobby 7, ");
    follower_free(follower);
}

/* The client asks to follow the group before its session has heard that the user is a member (member_subscribe.h). */
static void who_asked_as_a_member_is_given_all_until_the_leave(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    struct reader_sub *sub = link_follow(&follower->link, follower->lobby->name, (struct start){ .kind = START_NOW });
    sub->sub.is_bounded    = true;
    expect_told(follower, "");
    publish(follower, 2);
    expect_told(follower, "lobby 1, lobby 2, ");
    say_membership(follower, true, 0);
    publish(follower, 1);
    expect_told(follower, "ann 1, lobby 3, ");
    say_membership(follower, false, 3);
    publish(follower, 1);
    expect_told(follower, "ann 2, left, ");
    follower_free(follower);
}

/* What is published behind the leave may come in the same turn, and stand before it in the mail. */
static void the_log_of_the_user_comes_first(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    publish(follower, 3);
    say_membership(follower, false, 1);
    expect_told(follower, "ann 1, lobby 1, left, ");
    follower_free(follower);
}

static void spans_of_a_device_that_was_away(void **state)
{
    const struct group_spans spans = { 2, { { EPOCH, 1, 3, 1 }, { EPOCH, 5, GROUP_SPAN_OPEN, 0 } } };
    struct stage             stage;
    struct follower         *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 7;
    follow_lobby(follower, &spans, 0);
    expect_told(follower, "lobby 2, lobby 3, lobby 6, lobby 7, ");
    publish(follower, 1);
    expect_told(follower, "lobby 8, ");
    follower_free(follower);
}

static void a_span_that_is_over_ends_with_it(void **state)
{
    const struct group_spans spans = { 1, { { EPOCH, 1, 3, 1 } } };
    struct stage             stage;
    struct follower         *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 5;
    follow_lobby(follower, &spans, 1);
    expect_told(follower, "lobby 2, lobby 3, left, ");
    assert_false(follows_lobby(follower));
    follower_free(follower);
}

static void who_comes_back_gets_what_is_theirs(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    publish(follower, 1);
    say_membership(follower, false, 1);
    publish(follower, 2);              /* not theirs */
    say_membership(follower, true, 3);
    publish(follower, 1);
    expect_told(follower, "ann 1, ann 2, lobby 1, lobby 4, ");
    follower_free(follower);
}

/* A session that begins a little behind hears a change that its rows hold already. */
static void what_is_heard_again_changes_nothing(void **state)
{
    const struct group_spans spans = { 1, { { EPOCH, 2, GROUP_SPAN_OPEN, 0 } } };
    struct stage             stage;
    struct follower         *follower = follower_new(&stage);

    (void)state;
    follower->lobby->head = 3;
    follow_lobby(follower, &spans, 2);
    say_membership(follower, true, 2);
    say_membership(follower, true, 2);
    expect_told(follower, "ann 1, ann 2, lobby 3, ");
    say_membership(follower, false, 3);
    say_membership(follower, false, 3);
    publish(follower, 1);
    expect_told(follower, "ann 3, ann 4, left, ");
    follower_free(follower);
}

static void a_fenced_link_is_given_nothing(void **state)
{
    struct stage     stage;
    struct follower *follower = follower_new(&stage);

    (void)state;
    follow_lobby(follower, NULL, 0);
    expect_told(follower, "");
    follower->link.is_fenced = true;
    publish(follower, 1);
    say_membership(follower, true, 1);
    expect_told(follower, "");
    follower_free(follower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_joins_begins_at_the_place_of_the_join),
        cmocka_unit_test(the_log_of_another_user_says_nothing_of_her_groups),
        cmocka_unit_test(who_joins_is_told_so_before_any_message),
        cmocka_unit_test(who_leaves_gets_all_before_and_nothing_behind),
        cmocka_unit_test(what_was_given_before_the_leave_can_be_acknowledged),
        cmocka_unit_test(a_channel_that_has_not_answered_is_acknowledged_up_to_its_place),
        cmocka_unit_test(what_came_before_a_late_leave_does_not_come_again),
        cmocka_unit_test(who_asked_as_a_member_is_given_all_until_the_leave),
        cmocka_unit_test(the_log_of_the_user_comes_first),
        cmocka_unit_test(spans_of_a_device_that_was_away),
        cmocka_unit_test(a_span_that_is_over_ends_with_it),
        cmocka_unit_test(old_news_of_a_join_begin_where_the_session_stands),
        cmocka_unit_test(news_that_are_told_again_are_passed_over),
        cmocka_unit_test(who_comes_back_gets_what_is_theirs),
        cmocka_unit_test(what_is_heard_again_changes_nothing),
        cmocka_unit_test(a_fenced_link_is_given_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
