/* The one rule: where a reader begins, what it is given next and from where, and what it is told when that is gone.
 *
 * Logs and what readers are given are written as words: `7` a message, `!7` a recall, `~7` what remains of a message
 * taken back, `t3-5` a gap (t trimmed, e expired, c corrupt, a ahead, E epoch, k collapsed); `.` up to date, `?` waits for a page.
 * What the hub asks of the server is written down too: "follow", "unfollow", "read 3" (what stands behind 3),
 * "cancel", "ready". */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "hub/hub.h"

#include <cmocka.h>

enum { READERS = 4, ROUND = 1000, WALL = 5000 };

struct stage {
    struct namespaces    spaces;
    struct channel_name *name;
    struct hub_limits    limits;
    struct hub           hub;
    struct subscription  subs[READERS];
    char                 asked[4096];
    char                 drawn[4096];
    unsigned             follow_count;  /* counted, for long rounds */
    bool                 is_counting;
};

static const struct hash_key key = { 1, 2 };

/* --- the server --- */

static void note(char text[4096], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(char text[4096], const char *format, ...)
{
    size_t  len = strlen(text);
    va_list args;

    if (len > 0)
        len += (size_t)snprintf(text + len, 4096 - len, " ");
    va_start(args, format);
    vsnprintf(text + len, 4096 - len, format, args);
    va_end(args);
}

static void on_follow(void *ctx, struct channel_name *name, uint64_t question)
{
    struct stage *stage = ctx;

    (void)name, (void)question;
    stage->follow_count++;
    if (!stage->is_counting)
        note(stage->asked, "follow");
}

static void on_unfollow(void *ctx, struct channel_name *name)
{
    struct stage *stage = ctx;

    (void)name;
    if (!stage->is_counting)
        note(stage->asked, "unfollow");
}

static void on_read(void *ctx, struct subscription *sub, uint64_t after, void **ret_ticket)
{
    *ret_ticket = sub;
    note(((struct stage *)ctx)->asked, "read %" PRIu64, after);
}

static void on_cancel(void *ctx, void *ticket)
{
    assert_non_null(ticket);
    note(((struct stage *)ctx)->asked, "cancel");
}

static void on_ready(void *ctx, struct subscription *sub)
{
    (void)sub;
    note(((struct stage *)ctx)->asked, ((struct stage *)ctx)->hub.is_patient ? "ready patiently" : "ready");
}

static const struct hub_port port = {
    .follow = on_follow, .unfollow = on_unfollow, .read = on_read, .cancel = on_cancel, .ready = on_ready,
};

static struct channel_name *name_of(struct stage *stage, const char *text)
{
    struct channel_name *name = NULL;
    assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static struct stage *stage_new(void)
{
    struct stage *stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    stage->name   = name_of(stage, "topic:a");
    stage->limits = (struct hub_limits){ .window_messages_max = 4, .window_bytes_max = 1 << 20, .linger_ms = 100 };
    hub_init(&stage->hub, &port, stage, &stage->limits);
    return stage;
}

static void stage_free(struct stage *stage)
{
    for (int i = 0; i < READERS; i++)
        subscription_close(&stage->subs[i], &stage->hub, 0);
    hub_fini(&stage->hub);
    channel_name_unref(stage->name);
    free(stage);
}

static void asked_is(struct stage *stage, const char *want)
{
    assert_string_equal(stage->asked, want);
    stage->asked[0] = '\0';
}

static void opens(struct stage *stage, int reader, struct start start)
{
    subscription_open(&stage->subs[reader], &stage->hub, stage->name, start, stage);
}

static void followed(struct stage *stage, uint64_t epoch, uint64_t first, uint64_t head)
{
    hub_followed(&stage->hub, stage->name, stage->hub.question, epoch, first, head);
}

static struct message *message_of(struct stage *stage, enum message_kind kind, uint64_t epoch, uint64_t seq)
{
    struct message *message = message_new(stage->name, kind, "hello", 5, SPAN("text/plain"), SPAN(""));

    message->epoch = epoch;
    message->seq   = seq;
    return message;
}

static struct message *tagged_of(struct stage *stage, uint64_t epoch, uint64_t seq, char key_letter, bool waits)
{
    const struct message_tags tags    = { .collapse_key = span_of(&key_letter, key_letter != '\0'), .waits_for_beat = waits };
    struct message           *message = message_new_tagged(stage->name, MESSAGE_PLAIN, "hello", 5, SPAN("text/plain"),
                                                           SPAN(""), &tags);

    message->epoch = epoch;
    message->seq   = seq;
    return message;
}

/* With a collapse key of one letter, or none. */
static void delivered_tagged(struct stage *stage, uint64_t epoch, uint64_t seq, char key_letter, bool waits)
{
    struct message *message = tagged_of(stage, epoch, seq, key_letter, waits);

    hub_deliver(&stage->hub, message);
    message_unref(message);
}

static void delivered(struct stage *stage, uint64_t epoch, uint64_t seq)
{
    struct message *message = message_of(stage, MESSAGE_PLAIN, epoch, seq);

    hub_deliver(&stage->hub, message);
    message_unref(message);
}

static void delivered_recall(struct stage *stage, uint64_t epoch, uint64_t seq, uint64_t target)
{
    struct message *message = message_of(stage, MESSAGE_RECALL, epoch, seq);

    message->target = target;
    hub_deliver(&stage->hub, message);
    message_unref(message);
}

static enum gap_why why_of(char command)
{
    switch (command) {
    case 't': return GAP_TRIMMED;
    case 'e': return GAP_EXPIRED;
    case 'c': return GAP_CORRUPT;
    default: fail_msg("no gap of a page: %c", command); return GAP_EPOCH;
    }
}

/* Answers the reader's page with the log that `words` writes; behind a seq an 'x': it has expired, an 'o': it's older
 * than what is kept, a capital letter: its collapse key. */
static void page_comes(struct stage *stage, int reader, uint64_t epoch, uint64_t head, const char *words)
{
    struct entry *entries = calloc(64, sizeof *entries);
    size_t        count   = 0;

    must(entries != NULL);
    for (const char *at = words; *at != '\0'; at += strcspn(at, " "), at += strspn(at, " ")) {
        struct entry *entry = &entries[count++];
        char         *end;
        if (*at >= '0' && *at <= '9') {
            uint64_t seq   = strtoull(at, &end, 10);
            entry->message = tagged_of(stage, epoch, seq, *end >= 'A' && *end <= 'Z' ? *end : '\0', false);
            if (*end == 'x')
                entry->message->expires_at = WALL;
            if (*end == 'o')
                entry->message->time = WALL - stage->name->space->keep_ms;
        } else {
            entry->gap.why  = why_of(*at);
            entry->gap.from = strtoull(at + 1, &end, 10);
            entry->gap.to   = strtoull(end + 1, NULL, 10);
        }
    }
    subscription_read_done(&stage->subs[reader], &stage->hub, epoch, head, &entries, count);
    assert_null(entries);
}

static void note_entry(struct stage *stage, const struct entry *entry)
{
    static const char commands[] = { [GAP_EXPIRED] = 'e', [GAP_TRIMMED] = 't', [GAP_EPOCH] = 'E', [GAP_AHEAD] = 'a',
                                    [GAP_CORRUPT] = 'c', [GAP_COLLAPSED] = 'k' };
    static const char *const marks[] = { [MESSAGE_PLAIN] = "", [MESSAGE_RECALL] = "!", [MESSAGE_RECALLED] = "~" };

    if (entry->message != NULL)
        note(stage->drawn, "%s%" PRIu64, marks[entry->message->kind], entry->message->seq);
    else
        note(stage->drawn, "%c%" PRIu64 "-%" PRIu64, commands[entry->gap.why], entry->gap.from, entry->gap.to);
}

/* Draws at most so many entries. */
static const char *draws_some(struct stage *stage, int reader, unsigned count)
{
    struct subscription *sub = &stage->subs[reader];
    struct entry         entry;

    stage->drawn[0] = '\0';
    while (count-- > 0) {
        switch (subscription_look(sub, WALL, &entry)) {
        case LOOK_ENTRY:
            note_entry(stage, &entry);
            subscription_step(sub, &entry);
            break;
        case LOOK_WAIT: note(stage->drawn, "."); return stage->drawn;
        case LOOK_UNREAD:
            subscription_read(sub, &stage->hub);
            assert_int_equal(subscription_look(sub, WALL, &entry), LOOK_READING);
            note(stage->drawn, "?");
            return stage->drawn;
        case LOOK_READING: note(stage->drawn, "?"); return stage->drawn;
        }
    }
    return stage->drawn;
}

static const char *draws(struct stage *stage, int reader)
{
    return draws_some(stage, reader, 100);
}

/* A reader that is up to date at 5 of epoch 9, with nothing noted. */
static struct stage *stage_at_five(void)
{
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_NOW });
    followed(stage, 9, 1, 5);
    assert_string_equal(draws(stage, 0), ".");
    asked_is(stage, "follow ready");
    return stage;
}

/* --- where a reader begins --- */

static void begins_where_it_asked_to(void **state)
{
    (void)state;
    static const struct {
        const char  *name;
        struct start start;
        uint64_t     first, head;
        const char  *drawn;   /* before a page comes */
        const char  *asked;
        const char  *page;    /* NULL: none is asked for */
        const char  *then;
    } rows[] = {
        { "now", { START_NOW }, 1, 5, ".", "", NULL, NULL },
        { "now, in an empty log", { START_NOW }, 1, 0, ".", "", NULL, NULL },
        { "all", { START_AFTER }, 1, 3, "?", "read 0", "1 2 3", "1 2 3 ." },
        { "all of an empty log", { START_AFTER }, 1, 0, ".", "", NULL, NULL },
        { "all, the first are long gone", { START_AFTER }, 4, 5, "?", "read 3", "4 5", "4 5 ." },
        { "all, the first just went: no gap", { START_AFTER }, 3, 5, "?", "read 2", "t3-4 5", "5 ." },
        { "all, nothing is kept any more", { START_AFTER }, 3, 5, "?", "read 2", "t3-5", "." },
        { "all, one is broken", { START_AFTER }, 1, 3, "?", "read 0", "1 c2-2 3", "1 c2-2 3 ." },
        { "after the last", { START_AFTER, 5 }, 1, 5, ".", "", NULL, NULL },
        { "after one", { START_AFTER, 3 }, 1, 5, "?", "read 3", "4 5", "4 5 ." },
        { "after one, with its epoch", { START_AFTER, 3, 9 }, 1, 5, "?", "read 3", "4 5", "4 5 ." },
        { "after what was trimmed", { START_AFTER, 1 }, 4, 5, "?", "read 1", "t2-3 4 5", "t2-3 4 5 ." },
        { "after nothing of this epoch: a place", { START_AFTER, 0, 9 }, 4, 5, "?", "read 0", "t1-3 4 5",
          "t1-3 4 5 ." },
        { "after a gap's middle", { START_AFTER, 3 }, 1, 6, "?", "read 3", "t2-5 6", "t4-5 6 ." },
        { "ahead", { START_AFTER, 9 }, 1, 5, "a6-9 .", "", NULL, NULL },
        { "ahead by one", { START_AFTER, 6, 9 }, 1, 5, "a6-6 .", "", NULL, NULL },
        { "ahead of an empty log", { START_AFTER, 1 }, 1, 0, "a1-1 .", "", NULL, NULL },
        { "as far ahead as can be", { START_AFTER, UINT64_MAX }, 1, 5, "a6-18446744073709551615 .", "", NULL, NULL },
        { "another epoch", { START_AFTER, 3, 8 }, 1, 2, "E1-0 ?", "read 0", "1 2", "1 2 ." },
        { "another epoch, trimmed", { START_AFTER, 3, 8 }, 3, 4, "E1-2 ?", "read 2", "3 4", "3 4 ." },
        { "another epoch, empty", { START_AFTER, 3, 8 }, 1, 0, "E1-0 .", "", NULL, NULL },
        { "the last two", { START_LAST, 2 }, 1, 5, "?", "read 3", "4 5", "4 5 ." },
        { "the last two, one just went: no gap", { START_LAST, 2 }, 1, 5, "?", "read 3", "t4-4 5", "5 ." },
        { "the last of fewer", { START_LAST, 10 }, 1, 2, "?", "read 0", "1 2", "1 2 ." },
        { "the last of fewer kept", { START_LAST, 10 }, 4, 5, "?", "read 3", "4 5", "4 5 ." },
        { "the last none", { START_LAST, 0 }, 1, 5, ".", "", NULL, NULL },
        { "the last of all", { START_LAST, UINT64_MAX }, 1, 1, "?", "read 0", "1", "1 ." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        opens(stage, 0, rows[i].start);
        assert_string_equal(draws(stage, 0), ".");
        asked_is(stage, "follow");
        followed(stage, 9, rows[i].first, rows[i].head);
        asked_is(stage, "ready");
        const char *drawn = draws(stage, 0);
        if (strcmp(drawn, rows[i].drawn) != 0 || strcmp(stage->asked, rows[i].asked) != 0)
            fail_msg("%s: \"%s\", asks \"%s\"", rows[i].name, drawn, stage->asked);
        if (rows[i].page != NULL) {
            page_comes(stage, 0, 9, rows[i].head, rows[i].page);
            drawn = draws(stage, 0);
            if (strcmp(drawn, rows[i].then) != 0)
                fail_msg("%s: then \"%s\"", rows[i].name, drawn);
        }
        stage_free(stage);
    }
}

/* What a digest of places stands on: when a reader knows its place, and when it has to be told. */
static void a_place_that_nobody_can_know_is_told(void **state)
{
    (void)state;
    static const struct { const char *name; struct start start; bool has_named; uint64_t first, head; int64_t after; bool is_settled; } rows[] = {
        { "from now on", { START_NOW }, true, 1, 5, -1, true },
        { "after what it named", { START_AFTER, 3 }, true, 1, 5, -1, true },
        { "after what its session has", { START_AFTER, 3, 9 }, false, 1, 5, 3, true },
        { "its session has all", { START_AFTER, 5, 9 }, false, 1, 5, -1, true },
        { "from the first kept", { START_AFTER, 0 }, true, 1, 5, -1, false },
        { "from the first kept, trimmed", { START_AFTER, 0 }, true, 3, 5, 2, false },
        { "from the first kept, none is", { START_AFTER, 0 }, true, 6, 5, 5, false },
        { "the last two", { START_LAST, 2 }, true, 1, 5, 3, false },
        { "the last of fewer", { START_LAST, 10 }, true, 1, 5, 0, false },
        { "the last none", { START_LAST, 0 }, true, 1, 5, -1, false },
        { "ahead: a gap comes", { START_AFTER, 7 }, true, 1, 5, -1, false },
        { "another life: a gap comes", { START_AFTER, 3, 8 }, false, 1, 5, -1, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        uint64_t      after = UINT64_MAX;

        opens(stage, 0, rows[i].start);
        assert_false(subscription_is_settled(&stage->subs[0]));
        followed(stage, 9, rows[i].first, rows[i].head);
        bool is_told = subscription_begins_elsewhere(&stage->subs[0], rows[i].has_named, &after);
        if (is_told != (rows[i].after >= 0) || (int64_t)after != rows[i].after ||
            subscription_is_settled(&stage->subs[0]) != rows[i].is_settled)
            fail_msg("%s: %d, after %lld", rows[i].name, is_told, (long long)after);
        stage_free(stage);
    }
}

static void what_comes_between_the_claim_and_its_telling_is_given(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER, 9 });
    followed(stage, 9, 1, 5);
    delivered(stage, 9, 6);
    assert_string_equal(draws(stage, 0), "a6-9 6 .");
    stage_free(stage);
}

/* Its reader has heard nothing yet. Told the new life's head, it would go on behind that head, and the gap would then
 * send it back to the beginning. */
static void who_begins_at_a_head_is_told_of_the_life_that_had_it(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_NOW });
    followed(stage, 9, 1, 5);
    followed(stage, 10, 1, 2);
    assert_int_equal(subscription_first_epoch(&stage->subs[0]), 9);
    assert_int_equal(subscription_first_head(&stage->subs[0]), 5);
    assert_string_equal(draws(stage, 0), "E1-0 ?");
    assert_int_equal(subscription_first_epoch(&stage->subs[0]), 10);
    stage_free(stage);
}

/* Another loop has delivered what this one has not heard of yet. */
static void a_claim_is_judged_by_an_answer_asked_for_after_it_came(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    opens(stage, 1, (struct start){ START_AFTER, 7, 9 });
    asked_is(stage, "follow");
    assert_false(subscription_is_placed(&stage->subs[1]));
    followed(stage, 9, 1, 7);
    assert_string_equal(draws(stage, 1), ".");
    stage_free(stage);
}

static void an_answer_under_way_is_too_old_to_judge_a_claim(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_NOW });
    opens(stage, 1, (struct start){ START_AFTER, 7, 9 });
    opens(stage, 2, (struct start){ START_AFTER, 4, 9 });
    asked_is(stage, "follow");
    followed(stage, 9, 1, 5);
    asked_is(stage, "ready follow ready");
    assert_false(subscription_is_placed(&stage->subs[1]));
    followed(stage, 9, 1, 6);
    assert_string_equal(draws(stage, 1), "a7-7 .");
    stage_free(stage);
}

/* What a session writes into a token (threat 32). */
static void a_cursor_is_whole_at_any_time(void **state)
{
    (void)state;
    struct stage              *stage = stage_new();
    const struct subscription *sub   = &stage->subs[0];

    opens(stage, 0, (struct start){ START_AFTER, 3, 9 });
    assert_int_equal(subscription_seen(sub), 3);
    assert_int_equal(subscription_seen_epoch(sub), 9);
    followed(stage, 9, 1, 5);
    assert_int_equal(subscription_seen(sub), 3);
    followed(stage, 10, 1, 60);
    assert_int_equal(subscription_seen(sub), 3);
    assert_int_equal(subscription_seen_epoch(sub), 9);
    assert_int_equal(subscription_epoch(sub), 10);
    assert_string_equal(draws_some(stage, 0, 1), "E1-0");
    assert_int_equal(subscription_seen(sub), 0);
    assert_int_equal(subscription_seen_epoch(sub), 10);
    stage_free(stage);
}

static void note_head(struct stage *stage)
{
    struct entry entry;

    stage->drawn[0] = '\0';
    while (subscription_look_head(&stage->subs[0], &entry) == LOOK_ENTRY) {
        note_entry(stage, &entry);
        subscription_step(&stage->subs[0], &entry);
    }
    note(stage->drawn, ".");
}

/* A reader of heads never reads the log; a place that means nothing is told it like everybody. */
static void heads_alone_are_told_without_reading(void **state)
{
    (void)state;
    static const struct { struct start start; const char *want; } rows[] = {
        { { START_NOW, 0, 0 }, "." },      { { START_AFTER, 5, 9 }, "." },         { { START_AFTER, 2, 9 }, "k3-5 ." },
        { { START_AFTER, 0, 0 }, "k1-5 ." }, { { START_LAST, 2, 0 }, "k4-5 ." },     { { START_AFTER, 8, 9 }, "a6-8 ." },
        { { START_AFTER, 8, 7 }, "E1-0 k1-5 ." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        opens(stage, 0, rows[i].start);
        note_head(stage);
        assert_string_equal(stage->drawn, ".");
        followed(stage, 9, 1, 5);
        note_head(stage);
        assert_string_equal(stage->drawn, rows[i].want);
        delivered(stage, 9, 6);
        delivered(stage, 9, 7);
        note_head(stage);
        assert_string_equal(stage->drawn, "k6-7 .");
        assert_null(strstr(stage->asked, "read "));
        stage_free(stage);
    }
}

/* --- what a session takes back or sends without looking --- */

static void rewind_to(struct stage *stage, uint64_t next)
{
    struct subscription_mark mark = subscription_mark(&stage->subs[0]);

    mark.next = next;
    subscription_rewind(&stage->subs[0], &stage->hub, &mark);
}

static void what_a_socket_did_not_take_is_drawn_again(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered(stage, 9, 6);
    delivered(stage, 9, 7);
    assert_string_equal(draws(stage, 0), "6 7 .");
    rewind_to(stage, 6);
    assert_true(subscription_is_behind(&stage->subs[0]));
    assert_int_equal(subscription_seen(&stage->subs[0]), 5);
    assert_string_equal(draws(stage, 0), "6 7 .");
    rewind_to(stage, 7);
    hub_turn_end(&stage->hub);
    assert_string_equal(draws(stage, 0), "?");
    asked_is(stage, "read 6");
    stage_free(stage);
}

/* A gap that says "your place means nothing here" was drawn and did not leave: it is told again, whatever page came in
 * between. */
static void a_gap_that_did_not_leave_is_told_again(void **state)
{
    (void)state;
    static const struct { const char *name; struct start start; uint64_t first; const char *gap, *page,
                          *again; } rows[] = {
        { "ahead", { START_AFTER, 9, 0 }, 1, "a6-9", "6", "a6-9 ?" },
        { "another life", { START_AFTER, 3, 8 }, 3, "E1-2", "3 4 5", "E1-2 ?" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage        *stage = stage_new();
        struct subscription *sub   = &stage->subs[0];

        opens(stage, 0, rows[i].start);
        followed(stage, 9, rows[i].first, 5);
        followed(stage, 9, rows[i].first, 5);
        struct subscription_mark before = subscription_mark(sub);
        assert_string_equal(draws_some(stage, 0, 1), rows[i].gap);
        followed(stage, 9, rows[i].first, 6);
        assert_string_equal(draws(stage, 0), "?");
        subscription_rewind(sub, &stage->hub, &before);
        page_comes(stage, 0, 9, 6, rows[i].page);
        assert_string_equal(draws(stage, 0), rows[i].again);
        stage_free(stage);
    }
}

/* Who asked for all that is kept and was not given the first of it after all has lost nothing if that is trimmed
 * now. */
static void the_first_kept_that_did_not_leave_may_be_trimmed(void **state)
{
    (void)state;
    struct stage        *stage = stage_new();
    struct subscription *sub   = &stage->subs[0];

    opens(stage, 0, (struct start){ START_AFTER, 0, 0 });
    followed(stage, 9, 3, 5);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 5, "3 4 5");
    struct subscription_mark before = subscription_mark(sub);
    assert_string_equal(draws_some(stage, 0, 1), "3");
    subscription_rewind(sub, &stage->hub, &before);
    subscription_let_go(sub);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 5, "t3-3 4 5");
    assert_string_equal(draws(stage, 0), "4 5 .");
    stage_free(stage);
}

/* Between drawing a gap and taking it back the log began yet another life: that one is told. */
static void a_newer_life_is_told_instead(void **state)
{
    (void)state;
    static const struct { const char *name; struct start start; } rows[] = {
        { "ahead", { START_AFTER, 9, 9 } },
        { "another life", { START_AFTER, 3, 8 } },
        { "a message", { START_AFTER, 5, 9 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        opens(stage, 0, rows[i].start);
        followed(stage, 9, 1, 5);
        struct subscription_mark before = subscription_mark(&stage->subs[0]);
        draws_some(stage, 0, 1);
        followed(stage, 10, 1, 0);
        subscription_rewind(&stage->subs[0], &stage->hub, &before);
        assert_string_equal(draws(stage, 0), "E1-0 .");
        stage_free(stage);
    }
}

static void only_a_plain_reader_may_skip(void **state)
{
    (void)state;
    struct stage              *stage = stage_new();
    const struct subscription *sub   = &stage->subs[0];

    opens(stage, 0, (struct start){ START_AFTER, 5, 9 });
    assert_false(subscription_is_plain(sub));  /* not placed */
    followed(stage, 9, 1, 5);
    assert_true(subscription_is_plain(sub));
    delivered(stage, 9, 6);
    subscription_skip(&stage->subs[0], 7);
    assert_int_equal(subscription_seen(sub), 6);
    assert_string_equal(draws(stage, 0), ".");
    followed(stage, 9, 1, 8);
    assert_string_equal(draws(stage, 0), "?");
    assert_false(subscription_is_plain(sub));  /* reading */
    page_comes(stage, 0, 9, 8, "7 8");
    assert_false(subscription_is_plain(sub));  /* has a page */
    assert_string_equal(draws(stage, 0), "7 8 .");
    followed(stage, 10, 1, 0);
    assert_false(subscription_is_plain(sub));  /* has something to be told first */
    stage_free(stage);
}

/* --- the live feed --- */

static void hints_may_be_late_doubled_or_missing(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t seqs[4]; const char *drawn, *page, *then; } rows[] = {
        { "in order", { 6, 7 }, "6 7 .", NULL, NULL },
        { "doubled", { 6, 6, 7, 6 }, "6 7 .", NULL, NULL },
        { "old news", { 5, 3, 6 }, "6 .", NULL, NULL },
        { "one is missing", { 6, 8 }, "?", "6 7", "6 7 8 ." },
        { "one is late", { 7, 6, 8 }, "?", "6", "6 7 8 ." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_at_five();
        uint64_t      head  = 5;
        for (int j = 0; j < 4 && rows[i].seqs[j] != 0; j++) {
            delivered(stage, 9, rows[i].seqs[j]);
            head = rows[i].seqs[j] > head ? rows[i].seqs[j] : head;
        }
        const char *drawn = draws(stage, 0);
        if (strcmp(drawn, rows[i].drawn) != 0)
            fail_msg("%s: \"%s\"", rows[i].name, drawn);
        if (rows[i].page != NULL) {
            page_comes(stage, 0, 9, head, rows[i].page);
            if (strcmp(draws(stage, 0), rows[i].then) != 0)
                fail_msg("%s: then \"%s\"", rows[i].name, stage->drawn);
        }
        stage_free(stage);
    }
}

static void the_window_is_bounded_and_lives_for_a_turn(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    for (uint64_t seq = 6; seq <= 10; seq++)
        delivered(stage, 9, seq);
    assert_string_equal(draws(stage, 0), "?");   /* four are kept, it needs five */
    page_comes(stage, 0, 9, 10, "6");
    assert_string_equal(draws(stage, 0), "6 7 8 9 10 .");

    delivered(stage, 9, 11);
    hub_turn_end(&stage->hub);
    assert_string_equal(draws(stage, 0), "?");
    stage_free(stage);
}

static void the_window_is_bounded_by_bytes_but_keeps_the_newest(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    stage->limits.window_bytes_max = 1;
    delivered(stage, 9, 6);
    assert_string_equal(draws(stage, 0), "6 .");
    delivered(stage, 9, 7);
    delivered(stage, 9, 8);
    assert_string_equal(draws(stage, 0), "?");
    stage_free(stage);
}

static void ready_is_said_once_until_somebody_looks(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered(stage, 9, 6);
    hub_tell(&stage->hub);
    hub_tell(&stage->hub);
    asked_is(stage, "ready");
    assert_string_equal(draws(stage, 0), "6 .");
    hub_turn_end(&stage->hub);
    delivered(stage, 9, 7);
    hub_tell(&stage->hub);
    asked_is(stage, "ready");
    stage_free(stage);
}

/* Whose session looks only when all of its channels have answered would never hear of the place (threat 32). */
static void ready_is_said_when_it_gets_its_place_whatever_came_before(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    opens(stage, 1, (struct start){ START_AFTER, 7, 9 });
    asked_is(stage, "follow");
    delivered(stage, 9, 6);
    hub_tell(&stage->hub);
    asked_is(stage, "ready");  /* of the first reader alone */
    hub_turn_end(&stage->hub);
    followed(stage, 9, 1, 7);
    asked_is(stage, "ready");  /* of the second: the first has not looked yet */
    assert_true(subscription_is_placed(&stage->subs[1]));
    stage_free(stage);
}

static void what_overtakes_the_answer_is_in_the_log(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER, 5 });
    delivered(stage, 9, 6);
    followed(stage, 9, 1, 6);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 6, "6");
    assert_string_equal(draws(stage, 0), "6 .");
    stage_free(stage);
}

static void a_recalled_message_is_not_read_from_the_window(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered(stage, 9, 6);
    delivered(stage, 9, 7);
    delivered_recall(stage, 9, 8, 6);
    delivered_recall(stage, 9, 9, 2);  /* long gone from here: the log knows */
    assert_string_equal(draws(stage, 0), "~6 7 !8 !9 .");
    stage_free(stage);
}

static void what_remains_of_a_recalled_message_names_its_recall(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();
    struct entry  entry;

    delivered(stage, 9, 6);
    delivered_recall(stage, 9, 7, 6);
    assert_int_equal(subscription_look(&stage->subs[0], WALL, &entry), LOOK_ENTRY);
    assert_int_equal(entry.message->kind, MESSAGE_RECALLED);
    assert_int_equal(entry.message->target, 7);
    assert_int_equal(entry.message->payload_len, 0);
    stage_free(stage);
}

/* … and makes room: the bound counts what is held, not what was. */
static void a_recall_gives_the_windows_bytes_back(void **state)
{
    (void)state;
    struct stage   *stage   = stage_at_five();
    struct message *message = message_of(stage, MESSAGE_PLAIN, 9, 1);

    stage->limits.window_bytes_max = 4 * message_size(message) - message->payload_len;
    message_unref(message);
    for (uint64_t seq = 6; seq <= 8; seq++)
        delivered(stage, 9, seq);
    delivered_recall(stage, 9, 9, 6);
    assert_string_equal(draws(stage, 0), "~6 7 8 !9 .");
    stage_free(stage);
}

/* --- pages --- */

static void expired_neighbours_are_one_gap_over_page_and_window(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 4);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 4, "1 2x 3x 4x");
    struct message *message = message_of(stage, MESSAGE_PLAIN, 9, 5);
    message->expires_at     = WALL;
    hub_deliver(&stage->hub, message);
    message_unref(message);
    delivered(stage, 9, 6);
    assert_string_equal(draws(stage, 0), "1 e2-5 6 .");
    stage_free(stage);
}

/* A reader that is behind gets the newest of a key, of what is at hand: the page and the window. */
static void who_is_behind_gets_the_newest_of_a_key(void **state)
{
    (void)state;
    static const struct { const char *name, *page, *want; } rows[] = {
        { "one key", "1A 2A 3A 4A", "k1-3 4 ." },
        { "two keys", "1A 2B 3A 4B", "k1-2 3 4 ." },
        { "without keys between", "1A 2 3A 4", "k1-1 2 3 4 ." },
        { "none is collapsed across a key", "1A 2B 3C 4", "1 2 3 4 ." },
        { "collapsed and expired are two gaps", "1A 2x 3A 4", "k1-1 e2-2 3 4 ." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();

        opens(stage, 0, (struct start){ START_AFTER });
        followed(stage, 9, 1, 4);
        assert_string_equal(draws(stage, 0), "?");
        page_comes(stage, 0, 9, 4, rows[i].page);
        if (strcmp(draws(stage, 0), rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].name, stage->drawn);
        stage_free(stage);
    }
}

static void a_page_and_the_window_collapse_together(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 4);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 4, "1 2A 3 4B");
    delivered_tagged(stage, 9, 5, 'A', false);
    delivered_tagged(stage, 9, 6, 'B', false);
    assert_string_equal(draws(stage, 0), "1 k2-2 3 k4-4 5 6 .");
    stage_free(stage);
}

/* Who is up to date gets each message as it comes; and what was cut is finished with the message that it was. */
static void who_is_up_to_date_gets_all_of_a_key(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();
    struct entry  entry;

    delivered_tagged(stage, 9, 6, 'A', false);
    assert_string_equal(draws(stage, 0), "6 .");
    delivered_tagged(stage, 9, 7, 'A', false);
    struct subscription_mark before = subscription_mark(&stage->subs[0]);
    assert_string_equal(draws(stage, 0), "7 .");
    delivered_tagged(stage, 9, 8, 'A', false);
    subscription_rewind(&stage->subs[0], &stage->hub, &before);
    assert_int_equal(subscription_look(&stage->subs[0], 0, &entry), LOOK_ENTRY);
    assert_non_null(entry.message);
    assert_string_equal(draws(stage, 0), "k7-7 8 .");
    stage_free(stage);
}

/* What may wait for a beat is told to the owner as such, and what comes behind it wakes the link. */
static void what_waits_for_a_beat_is_told_patiently(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered_tagged(stage, 9, 6, '\0', true);
    hub_tell(&stage->hub);
    asked_is(stage, "ready patiently");
    hub_turn_end(&stage->hub);
    delivered_tagged(stage, 9, 7, '\0', true);
    delivered_tagged(stage, 9, 8, '\0', true);
    hub_tell(&stage->hub);
    asked_is(stage, "ready patiently");
    hub_turn_end(&stage->hub);
    delivered_tagged(stage, 9, 9, '\0', true);
    delivered(stage, 9, 10);
    delivered_tagged(stage, 9, 11, '\0', true);
    hub_tell(&stage->hub);
    asked_is(stage, "ready");
    assert_string_equal(draws(stage, 0), "?");
    asked_is(stage, "read 5");
    page_comes(stage, 0, 9, 11, "6 7 8 9 10 11");
    asked_is(stage, "ready");
    assert_string_equal(draws(stage, 0), "6 7 8 9 10 11 .");
    stage_free(stage);
}

/* However it was let go: trimmed by the store, or too old by now, over several pages. */
static void who_asks_for_all_that_is_kept_has_lost_nothing(void **state)
{
    (void)state;
    static const struct { const char *first_page, *drawn, *second_page, *then; } rows[] = {
        { "t1-2 3 4 5 6", "3 4 5 6 .", NULL, NULL },
        { "t1-2 3o 4o 5 6", "5 6 .", NULL, NULL },
        { "1o 2o", "?", "3o 4o 5 6", "5 6 ." },
        { "t1-2 3o", "?", "4o 5o 6o", "." },
        { "1o 2x 3", "e2-2 3 ?", "t4-4 5 6", "t4-4 5 6 ." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        opens(stage, 0, (struct start){ START_AFTER });
        followed(stage, 9, 1, 6);
        assert_string_equal(draws(stage, 0), "?");
        page_comes(stage, 0, 9, 6, rows[i].first_page);
        assert_string_equal(draws(stage, 0), rows[i].drawn);
        if (rows[i].second_page != NULL) {
            page_comes(stage, 0, 9, 6, rows[i].second_page);
            assert_string_equal(draws(stage, 0), rows[i].then);
        }
        stage_free(stage);
    }
}

/* Threat 34: what was read is let go, and read again from the cursor. */
static void a_slow_reader_costs_a_cursor(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 4);
    draws(stage, 0);
    page_comes(stage, 0, 9, 4, "1 2 3 4");
    assert_string_equal(draws_some(stage, 0, 2), "1 2");
    subscription_let_go(&stage->subs[0]);
    assert_true(subscription_is_lean(&stage->subs[0]));
    stage->asked[0] = '\0';
    assert_string_equal(draws(stage, 0), "?");
    asked_is(stage, "read 2");
    page_comes(stage, 0, 9, 4, "3 4");
    assert_string_equal(draws(stage, 0), "3 4 .");
    assert_true(subscription_is_lean(&stage->subs[0]));
    stage_free(stage);
}

static void one_page_is_read_at_a_time(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 4);
    draws(stage, 0);
    draws(stage, 0);
    asked_is(stage, "follow ready read 0");
    page_comes(stage, 0, 9, 6, "1 2");  /* and the log has moved on */
    assert_string_equal(draws(stage, 0), "1 2 ?");
    asked_is(stage, "ready read 2");
    stage_free(stage);
}

/* Threat 34: or one slow reader's page would make old news of what is on its way to all others. */
/* … as when a new life was told while it was read. */
static void a_page_of_what_was_stepped_over_is_not_held(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER, 3 });
    followed(stage, 9, 1, 5);
    assert_string_equal(draws(stage, 0), "?");
    followed(stage, 10, 7, 6);
    assert_string_equal(draws(stage, 0), "E1-6 .");
    page_comes(stage, 0, 10, 6, "t4-6");
    assert_true(subscription_is_lean(&stage->subs[0]));
    assert_string_equal(draws(stage, 0), ".");
    stage_free(stage);
}

static void a_page_that_knows_more_leaves_the_live_feed_as_it_is(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    opens(stage, 1, (struct start){ START_AFTER, 3 });
    assert_string_equal(draws(stage, 1), "?");
    delivered(stage, 9, 6);
    page_comes(stage, 1, 9, 8, "4 5 6 7 8");
    assert_string_equal(draws(stage, 0), "6 .");
    assert_string_equal(draws(stage, 1), "4 5 6 .");
    hub_turn_end(&stage->hub);
    delivered(stage, 9, 7);
    delivered(stage, 9, 8);
    assert_string_equal(draws(stage, 0), "7 8 .");
    assert_string_equal(draws(stage, 1), "7 8 .");
    assert_true(subscription_is_lean(&stage->subs[1]));
    stage_free(stage);
}

static void a_page_that_knows_more_is_a_reason_to_ask_first(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    opens(stage, 1, (struct start){ START_AFTER, 3 });
    assert_string_equal(draws(stage, 1), "?");
    page_comes(stage, 1, 9, 6, "4 5 6");
    assert_string_equal(draws(stage, 1), "4 5 .");
    stage->asked[0] = '\0';
    hub_tick(&stage->hub, 0);  /* the hint was lost */
    asked_is(stage, "follow");
    followed(stage, 9, 1, 6);
    assert_string_equal(draws(stage, 1), "6 .");
    assert_string_equal(draws(stage, 0), "?");
    stage_free(stage);
}

static void a_log_that_cannot_be_read_is_looked_at_again_at_the_next_heartbeat(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 2);
    draws(stage, 0);
    stage->asked[0] = '\0';
    page_comes(stage, 0, 0, 0, "");
    asked_is(stage, "");
    hub_tick(&stage->hub, 0);
    asked_is(stage, "follow");
    followed(stage, 9, 1, 2);
    asked_is(stage, "ready");
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 2, "1 2");
    assert_string_equal(draws(stage, 0), "1 2 .");
    stage_free(stage);
}

static void a_page_for_one_who_left_is_cancelled(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 2);
    draws(stage, 0);
    stage->asked[0] = '\0';
    subscription_close(&stage->subs[0], &stage->hub, 0);
    asked_is(stage, "cancel");
    subscription_close(&stage->subs[0], &stage->hub, 0);
    asked_is(stage, "");
    stage_free(stage);
}

/* Retention goes on while a page is under way (threat 13): who had a place is told, once it has one. */
static void purged(struct stage *stage, uint64_t epoch, uint64_t head)
{
    hub_purge(&stage->hub, stage->name, epoch, head);
}

/* Wherever a reader would have got it from: the window, a page, a page that is being read. */
static void nothing_is_delivered_behind_a_purge(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ .kind = START_AFTER, .seq = 3 });   /* will have all */
    opens(stage, 1, (struct start){ .kind = START_AFTER, .seq = 3 });   /* the window waits for it */
    opens(stage, 2, (struct start){ .kind = START_AFTER, .seq = 1 });   /* holds a page */
    opens(stage, 3, (struct start){ .kind = START_AFTER, .seq = 1 });   /* is being read for */
    followed(stage, 9, 1, 3);
    assert_string_equal(draws(stage, 2), "?");
    page_comes(stage, 2, 9, 3, "2 3");
    assert_string_equal(draws(stage, 3), "?");
    delivered(stage, 9, 4);
    assert_string_equal(draws(stage, 0), "4 .");
    stage->asked[0] = '\0';
    purged(stage, 9, 4);
    asked_is(stage, "cancel ready");  /* the others were told before and have not looked since */
    assert_string_equal(draws(stage, 0), ".");
    for (int reader = 1; reader < READERS; reader++) {
        assert_string_equal(draws(stage, reader), "?");
        page_comes(stage, reader, 9, 4, reader == 1 ? "t4-4" : "t1-4");
        assert_string_equal(draws(stage, reader), reader == 1 ? "t4-4 ." : "t2-4 .");
    }
    stage->asked[0] = '\0';
    delivered(stage, 9, 5);
    hub_tell(&stage->hub);
    for (int reader = 0; reader < READERS; reader++)
        assert_string_equal(draws(stage, reader), "5 .");
    stage_free(stage);
}

static void a_purge_of_another_life_or_of_nobodys_channel_is_no_news(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    purged(stage, 9, 4);
    opens(stage, 0, (struct start){ .kind = START_NOW });
    purged(stage, 9, 4);
    followed(stage, 9, 1, 3);
    stage->asked[0] = '\0';
    purged(stage, 8, 4);
    asked_is(stage, "follow");
    assert_string_equal(draws(stage, 0), ".");
    followed(stage, 9, 1, 3);
    stage_free(stage);
}

/* A purge that overtakes messages is a head, too; and the first seq that an old answer says is not believed. */
static void a_purge_moves_head_and_first(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ .kind = START_NOW });
    followed(stage, 9, 1, 3);
    assert_string_equal(draws(stage, 0), ".");
    purged(stage, 9, 5);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 5, "t4-5");
    assert_string_equal(draws(stage, 0), "t4-5 .");
    delivered(stage, 9, 4);
    assert_string_equal(draws(stage, 0), ".");
    followed(stage, 9, 1, 5);
    opens(stage, 1, (struct start){ .kind = START_LAST, .seq = 3 });
    assert_string_equal(draws(stage, 1), ".");
    stage_free(stage);
}

static void who_was_up_to_date_is_told_of_what_was_trimmed_since(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 6, 5);
    assert_string_equal(draws(stage, 0), ".");
    followed(stage, 9, 8, 8);
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 8, "t6-7 8");
    assert_string_equal(draws(stage, 0), "t6-7 8 .");
    stage_free(stage);
}

/* --- a new life of the log (threat 14) --- */

static void a_new_life_is_told_to_everyone(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    opens(stage, 1, (struct start){ START_AFTER, 2 });
    draws(stage, 1);
    stage->asked[0] = '\0';
    followed(stage, 10, 1, 2);
    asked_is(stage, "ready ready");
    page_comes(stage, 1, 9, 5, "3 4 5");  /* of the life before */
    assert_string_equal(draws(stage, 0), "E1-0 ?");
    assert_string_equal(draws(stage, 1), "E1-0 ?");
    page_comes(stage, 1, 10, 2, "1 2");
    assert_string_equal(draws(stage, 1), "1 2 .");
    stage_free(stage);
}

static void a_hint_of_another_life_is_a_reason_to_ask(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered(stage, 8, 77);  /* late, from the life before */
    asked_is(stage, "follow");
    assert_string_equal(draws(stage, 0), ".");
    followed(stage, 9, 1, 5);
    assert_string_equal(draws(stage, 0), ".");
    stage->asked[0] = '\0';

    delivered(stage, 10, 1);
    delivered(stage, 10, 2);
    asked_is(stage, "follow");
    followed(stage, 10, 1, 2);
    assert_string_equal(draws(stage, 0), "E1-0 ?");
    stage_free(stage);
}

static void a_page_of_another_life_is_a_reason_to_ask(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER });
    followed(stage, 9, 1, 2);
    draws(stage, 0);
    stage->asked[0] = '\0';
    page_comes(stage, 0, 10, 1, "1");
    asked_is(stage, "follow");
    followed(stage, 10, 1, 1);
    assert_string_equal(draws(stage, 0), "E1-0 ?");
    stage_free(stage);
}

/* --- following --- */

static void a_channel_is_left_when_it_was_lonely_for_a_while(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    subscription_close(&stage->subs[0], &stage->hub, 1000);
    hub_tick(&stage->hub, 1099);
    asked_is(stage, "");
    opens(stage, 0, (struct start){ START_NOW });
    asked_is(stage, "ready");
    assert_int_equal(hub_subscriber_count(&stage->hub, stage->name), 1);
    subscription_close(&stage->subs[0], &stage->hub, 2000);
    delivered(stage, 9, 6);
    hub_tell(&stage->hub);
    hub_turn_end(&stage->hub);
    hub_tick(&stage->hub, 2100);
    asked_is(stage, "unfollow");
    assert_int_equal(hub_channel_count(&stage->hub), 0);
    assert_int_equal(hub_subscriber_count(&stage->hub, stage->name), 0);
    delivered(stage, 9, 7);
    followed(stage, 9, 1, 7);  /* an answer that comes too late */
    stage_free(stage);
}

static void a_channel_is_left_at_once_without_lingering(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    stage->limits.linger_ms = 0;
    delivered(stage, 9, 6);
    subscription_close(&stage->subs[0], &stage->hub, 0);
    asked_is(stage, "unfollow");
    hub_tell(&stage->hub);
    hub_turn_end(&stage->hub);
    stage_free(stage);
}

static void channels_that_linger_have_a_maximum(void **state)
{
    (void)state;
    enum { CHANNELS = 2 * HUB_LINGERING_MAX };
    struct stage *stage = stage_new();
    char          text[32];

    stage->is_counting = true;
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(text, sizeof text, "topic:%d", i);
        struct channel_name *name = name_of(stage, text);
        subscription_open(&stage->subs[0], &stage->hub, name, (struct start){ 0 }, stage);
        hub_followed(&stage->hub, name, stage->hub.question, 9, 1, 5);
        stage->asked[0] = '\0';
        channel_name_unref(name);
        subscription_close(&stage->subs[0], &stage->hub, 0);
        stage->subs[0] = (struct subscription){ 0 };
    }
    assert_int_equal(hub_channel_count(&stage->hub), HUB_LINGERING_MAX);
    stage->is_counting = false;
    opens(stage, 0, (struct start){ 0 });
    followed(stage, 9, 1, 5);
    subscription_close(&stage->subs[0], &stage->hub, 0);
    asked_is(stage, "follow ready unfollow");  /* the oldest one */
    stage->is_counting = true;
    hub_tick(&stage->hub, 1000);
    assert_int_equal(hub_channel_count(&stage->hub), 0);
    assert_int_equal(stage->hub.lingering_count, 0);
    stage_free(stage);
}

/* Beyond the maximum of channels that linger, one is left though its answer is under way. */
static void an_answer_from_before_the_channel_was_left_is_none(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    char          text[32];

    stage->is_counting = true;
    opens(stage, 0, (struct start){ START_NOW });
    uint64_t old = stage->hub.question;
    subscription_close(&stage->subs[0], &stage->hub, 0);
    for (int i = 0; i < HUB_LINGERING_MAX; i++) {
        snprintf(text, sizeof text, "topic:%d", i);
        struct channel_name *name = name_of(stage, text);
        subscription_open(&stage->subs[0], &stage->hub, name, (struct start){ 0 }, stage);
        channel_name_unref(name);
        subscription_close(&stage->subs[0], &stage->hub, 0);
        stage->subs[0] = (struct subscription){ 0 };
    }
    opens(stage, 1, (struct start){ START_AFTER, 6, 9 });  /* another loop has given it 6 */
    hub_followed(&stage->hub, stage->name, old, 9, 1, 5);
    assert_false(subscription_is_placed(&stage->subs[1]));
    followed(stage, 9, 1, 6);
    assert_string_equal(draws(stage, 1), ".");
    assert_string_equal(stage->asked, "ready");
    stage_free(stage);
}

/* Who follows it meanwhile waits for that answer, and for a newer one only if that can't judge what it claims. */
static void a_channel_is_not_left_while_its_answer_is_under_way(void **state)
{
    (void)state;
    static const msec lingers[] = { 0, 100 };

    for (size_t i = 0; i < sizeof lingers / sizeof lingers[0]; i++) {
        struct stage *stage     = stage_new();
        stage->limits.linger_ms = lingers[i];
        opens(stage, 0, (struct start){ START_NOW });
        subscription_close(&stage->subs[0], &stage->hub, 0);
        hub_tick(&stage->hub, 1000);
        asked_is(stage, "follow");
        opens(stage, 1, (struct start){ START_AFTER, 6, 9 });
        followed(stage, 9, 1, 5);  /* asked for before the reader came, who has had 6 from another loop */
        asked_is(stage, "follow");
        assert_false(subscription_is_placed(&stage->subs[1]));
        followed(stage, 9, 1, 6);
        assert_string_equal(draws(stage, 1), ".");
        asked_is(stage, "ready");
        subscription_close(&stage->subs[1], &stage->hub, 2000);
        hub_tick(&stage->hub, 3000);
        asked_is(stage, "unfollow");
        assert_int_equal(hub_channel_count(&stage->hub), 0);
        stage_free(stage);
    }
}

static void who_comes_while_it_lingers_hears_of_the_new_head(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    subscription_close(&stage->subs[0], &stage->hub, 0);
    delivered(stage, 9, 6);
    opens(stage, 0, (struct start){ START_AFTER, 5, 9 });
    assert_string_equal(draws(stage, 0), "?");
    stage_free(stage);
}

/* The heartbeat costs nothing for a channel that is well, however many there are; it asks where a page failed, some at
 * a time. */
static void a_heartbeat_asks_where_a_page_failed_and_nowhere_else(void **state)
{
    (void)state;
    enum { CHANNELS = ROUND + 500 };
    struct stage         *stage = stage_new();
    struct subscription  *subs  = calloc(CHANNELS, sizeof *subs);
    struct channel_name **names = calloc(CHANNELS, sizeof *names);
    struct entry          entry;
    char                  text[32];

    must(subs != NULL && names != NULL);
    stage->is_counting = true;
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(text, sizeof text, "topic:%d", i);
        names[i] = name_of(stage, text);
        subscription_open(&subs[i], &stage->hub, names[i], (struct start){ START_AFTER, 3 }, stage);
        hub_followed(&stage->hub, names[i], stage->hub.question, 9, 1, 5);
        stage->asked[0] = '\0';
    }
    stage->follow_count = 0;
    hub_tick(&stage->hub, 0);
    assert_int_equal(stage->follow_count, 0);
    for (int i = 0; i < CHANNELS; i++) {
        struct entry *none = NULL;
        assert_int_equal(subscription_look(&subs[i], 0, &entry), LOOK_UNREAD);
        subscription_read(&subs[i], &stage->hub);
        subscription_read_done(&subs[i], &stage->hub, 0, 0, &none, 0);
        stage->asked[0] = '\0';
    }
    for (int heartbeat = 0; heartbeat < 3; heartbeat++) {
        stage->follow_count = 0;
        hub_tick(&stage->hub, 0);
        assert_int_equal(stage->follow_count, heartbeat == 0 ? ROUND : heartbeat == 1 ? CHANNELS - ROUND : 0);
    }
    for (int i = 0; i < CHANNELS; i++) {
        subscription_close(&subs[i], &stage->hub, 0);
        channel_name_unref(names[i]);
    }
    stage->asked[0] = '\0';
    free(subs);
    free(names);
    stage_free(stage);
}

/* A reader that has 8 comes from another node while this loop knows of 5. What moved the head to 7 may be older than
 * the reader: only an answer that was asked for after it came may judge what it says. */
static void a_head_that_moved_judges_no_claim(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_NOW });
    followed(stage, 9, 1, 5);
    draws(stage, 0);
    opens(stage, 1, (struct start){ START_AFTER, 8, 9 });
    hub_head_moved(&stage->hub, stage->name, 9, 7);
    assert_false(subscription_is_placed(&stage->subs[1]));
    followed(stage, 9, 1, 8);
    assert_true(subscription_is_placed(&stage->subs[1]));
    assert_string_equal(draws(stage, 1), ".");
    stage->asked[0] = '\0';
    stage_free(stage);
}

/* A head without its messages: late ones change nothing, and one of another life is asked about. */
static void a_head_that_moved_is_read_up_to(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t epoch, head; const char *asked, *drawn; } rows[] = {
        { "newer", 9, 7, "ready", "?" },
        { "the same", 9, 5, "", "." },
        { "late", 9, 4, "", "." },
        { "of another life", 10, 7, "follow", "." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        opens(stage, 0, (struct start){ START_NOW });
        hub_head_moved(&stage->hub, stage->name, 9, 7);  /* before the answer: it knows as much */
        asked_is(stage, "follow");
        followed(stage, 9, 1, 5);
        assert_string_equal(draws(stage, 0), ".");
        stage->asked[0] = '\0';
        hub_head_moved(&stage->hub, stage->name, rows[i].epoch, rows[i].head);
        asked_is(stage, rows[i].asked);
        assert_string_equal(draws(stage, 0), rows[i].drawn);
        stage->asked[0] = '\0';
        stage_free(stage);
    }
}

static void walk_note(struct subscription *sub, void *ctx)
{
    (void)sub;
    (*(size_t *)ctx)++;
}

/* A walk in steps meets each subscription once. */
static void a_walk_meets_all(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t        met = 0, slot = 0, steps = 0;
    char          text[32];

    stage->is_counting = true;
    assert_int_equal(hub_walk(&stage->hub, 0, walk_note, &met), 0);
    for (int i = 0; i < READERS; i++) {
        snprintf(text, sizeof text, "topic:%d", i / 2);
        struct channel_name *name = name_of(stage, text);
        subscription_open(&stage->subs[i], &stage->hub, name, (struct start){ 0 }, stage);
        channel_name_unref(name);
    }
    do {
        slot = hub_walk(&stage->hub, slot, walk_note, &met);
        steps++;
    } while (slot != 0);
    assert_int_equal(met, READERS);
    assert_int_equal(steps, stage->hub.channels.slot_count);
    stage_free(stage);
}

/* --- a quiet channel is folded into its only subscription --- */

enum { QUIET_MS = 500 };

static bool is_folded(const struct stage *stage)
{
    return stage->subs[0].is_folded;
}

static struct stage *stage_folded(void)
{
    struct stage *stage    = stage_at_five();
    stage->limits.quiet_ms = QUIET_MS;

    hub_fold(&stage->hub, QUIET_MS);
    assert_true(is_folded(stage));
    assert_int_equal(stage->hub.pool.count, 0);
    asked_is(stage, "");
    return stage;
}

static void says_what_the_channel_said(const struct stage *stage)
{
    const struct subscription *sub = &stage->subs[0];

    assert_true(subscription_is_placed(sub));
    assert_true(subscription_is_alone(sub));
    assert_true(subscription_is_plain(sub));
    assert_true(subscription_is_settled(sub));
    assert_false(subscription_is_behind(sub));
    assert_false(subscription_is_reading(sub));
    assert_ptr_equal(subscription_name(sub), stage->name);
    assert_int_equal(subscription_epoch(sub), 9);
    assert_int_equal(subscription_seen_epoch(sub), 9);
    assert_int_equal(subscription_first_epoch(sub), 9);
    assert_int_equal(subscription_head(sub), 5);
    assert_int_equal(subscription_first_head(sub), 5);
    assert_int_equal(subscription_start_again(sub).seq, 5);
    assert_int_equal(subscription_start_again(sub).epoch, 9);
    assert_int_equal(hub_subscriber_count(&stage->hub, stage->name), 1);
    assert_int_equal(hub_channel_count(&stage->hub), 1);
}

static void who_asks_sees_no_difference(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    stage->limits.quiet_ms = QUIET_MS;
    says_what_the_channel_said(stage);
    hub_fold(&stage->hub, QUIET_MS - 1);
    assert_false(is_folded(stage));
    hub_fold(&stage->hub, QUIET_MS);
    assert_true(is_folded(stage));
    says_what_the_channel_said(stage);
    assert_string_equal(draws(stage, 0), ".");
    asked_is(stage, "");
    stage_free(stage);
}

enum coming { A_MESSAGE, AN_OLD_ONE, A_LATER_ONE, ANOTHER_LIFE, A_HEAD, AN_OLD_HEAD, A_PURGE, AN_OLD_PURGE, AN_ANSWER };

static void comes(struct stage *stage, enum coming what)
{
    switch (what) {
    case A_MESSAGE: delivered(stage, 9, 6); break;
    case AN_OLD_ONE: delivered(stage, 9, 5); break;
    case A_LATER_ONE: delivered(stage, 9, 7); break;
    case ANOTHER_LIFE: delivered(stage, 10, 1); break;
    case A_HEAD: hub_head_moved(&stage->hub, stage->name, 9, 6); break;
    case AN_OLD_HEAD: hub_head_moved(&stage->hub, stage->name, 9, 5); break;
    case A_PURGE: hub_purge(&stage->hub, stage->name, 9, 6); break;
    case AN_OLD_PURGE: hub_purge(&stage->hub, stage->name, 9, 5); break;
    case AN_ANSWER: followed(stage, 9, 1, 6); break;
    }
    hub_tell(&stage->hub);
}

static void what_comes_for_it_is_heard(void **state)
{
    (void)state;
    static const struct {
        enum coming what;
        bool        stays;
        const char *asked, *drawn;
    } rows[] = {
        { A_MESSAGE, false, "ready", "6 ." },       { AN_OLD_ONE, true, "", "." },    { A_LATER_ONE, false, "ready", "?" },
        { ANOTHER_LIFE, false, "follow", "." },    { A_HEAD, false, "ready", "?" },  { AN_OLD_HEAD, true, "", "." },
        { A_PURGE, false, "ready", "?" },          { AN_OLD_PURGE, true, "", "." },  { AN_ANSWER, false, "ready", "?" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_folded();
        comes(stage, rows[i].what);
        assert_int_equal(is_folded(stage), rows[i].stays);
        asked_is(stage, rows[i].asked);
        assert_string_equal(draws(stage, 0), rows[i].drawn);
        hub_turn_end(&stage->hub);
        stage_free(stage);
    }
}

/* … and the channel begins where it did. */
static void who_joins_finds_the_channel(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    opens(stage, 1, (struct start){ START_LAST, 2 });
    assert_false(is_folded(stage));
    asked_is(stage, "ready");
    assert_string_equal(draws(stage, 1), "?");
    asked_is(stage, "read 3");
    page_comes(stage, 1, 9, 5, "4 5");
    assert_string_equal(draws(stage, 1), "4 5 .");
    delivered(stage, 9, 6);
    assert_string_equal(draws(stage, 0), "6 .");
    assert_string_equal(draws(stage, 1), "6 .");
    hub_turn_end(&stage->hub);
    hub_fold(&stage->hub, 10 * QUIET_MS);
    assert_false(is_folded(stage));
    subscription_close(&stage->subs[1], &stage->hub, 10 * QUIET_MS);
    hub_fold(&stage->hub, 11 * QUIET_MS);
    assert_true(is_folded(stage));
    stage_free(stage);
}

static void what_was_not_sent_is_drawn_again_though_it_was_folded(void **state)
{
    (void)state;
    struct stage *stage = stage_at_five();

    delivered(stage, 9, 6);
    struct subscription_mark before = subscription_mark(&stage->subs[0]);
    assert_string_equal(draws(stage, 0), "6 .");
    hub_turn_end(&stage->hub);
    hub_fold(&stage->hub, 0);
    assert_true(is_folded(stage));
    subscription_rewind(&stage->subs[0], &stage->hub, &before);
    assert_true(subscription_is_behind(&stage->subs[0]));
    assert_string_equal(draws(stage, 0), "?");
    page_comes(stage, 0, 9, 6, "6");
    assert_string_equal(draws(stage, 0), "6 .");
    stage_free(stage);
}

static void it_lingers_like_any_other(void **state)
{
    (void)state;
    struct stage *stage = stage_folded();

    subscription_close(&stage->subs[0], &stage->hub, 1000);
    hub_tick(&stage->hub, 1000);
    asked_is(stage, "");
    hub_tick(&stage->hub, 1100);
    asked_is(stage, "unfollow");
    assert_int_equal(hub_channel_count(&stage->hub), 0);
    stage_free(stage);
}

/* Whoever has something to do keeps its channel. */
static void only_who_waits_for_news_is_folded(void **state)
{
    (void)state;
    struct stage *stage = stage_new();

    opens(stage, 0, (struct start){ START_AFTER, 3 });
    hub_fold(&stage->hub, 0);
    assert_false(is_folded(stage));  /* it has no place */
    followed(stage, 9, 1, 5);
    hub_fold(&stage->hub, 0);
    assert_false(is_folded(stage));  /* it is behind */
    assert_string_equal(draws(stage, 0), "?");
    hub_fold(&stage->hub, 0);
    assert_false(is_folded(stage));  /* it reads */
    page_comes(stage, 0, 9, 5, "4 5");
    hub_fold(&stage->hub, 0);
    assert_false(is_folded(stage));  /* it holds a page */
    assert_string_equal(draws(stage, 0), "4 5 .");
    stage->subs[0].is_listed = true;
    hub_fold(&stage->hub, 0);
    assert_false(is_folded(stage));  /* its owner is about to look at it */
    stage->subs[0].is_listed = false;
    hub_fold(&stage->hub, 0);
    assert_true(is_folded(stage));
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_where_it_asked_to),
        cmocka_unit_test(a_place_that_nobody_can_know_is_told),
        cmocka_unit_test(what_comes_between_the_claim_and_its_telling_is_given),
        cmocka_unit_test(who_begins_at_a_head_is_told_of_the_life_that_had_it),
        cmocka_unit_test(a_claim_is_judged_by_an_answer_asked_for_after_it_came),
        cmocka_unit_test(an_answer_under_way_is_too_old_to_judge_a_claim),
        cmocka_unit_test(a_cursor_is_whole_at_any_time),
        cmocka_unit_test(heads_alone_are_told_without_reading),
        cmocka_unit_test(what_a_socket_did_not_take_is_drawn_again),
        cmocka_unit_test(a_gap_that_did_not_leave_is_told_again),
        cmocka_unit_test(the_first_kept_that_did_not_leave_may_be_trimmed),
        cmocka_unit_test(a_newer_life_is_told_instead),
        cmocka_unit_test(only_a_plain_reader_may_skip),
        cmocka_unit_test(hints_may_be_late_doubled_or_missing),
        cmocka_unit_test(the_window_is_bounded_and_lives_for_a_turn),
        cmocka_unit_test(the_window_is_bounded_by_bytes_but_keeps_the_newest),
        cmocka_unit_test(ready_is_said_once_until_somebody_looks),
        cmocka_unit_test(ready_is_said_when_it_gets_its_place_whatever_came_before),
        cmocka_unit_test(what_overtakes_the_answer_is_in_the_log),
        cmocka_unit_test(a_recalled_message_is_not_read_from_the_window),
        cmocka_unit_test(what_remains_of_a_recalled_message_names_its_recall),
        cmocka_unit_test(a_recall_gives_the_windows_bytes_back),
        cmocka_unit_test(who_is_behind_gets_the_newest_of_a_key),
        cmocka_unit_test(a_page_and_the_window_collapse_together),
        cmocka_unit_test(who_is_up_to_date_gets_all_of_a_key),
        cmocka_unit_test(what_waits_for_a_beat_is_told_patiently),
        cmocka_unit_test(expired_neighbours_are_one_gap_over_page_and_window),
        cmocka_unit_test(a_slow_reader_costs_a_cursor),
        cmocka_unit_test(who_asks_for_all_that_is_kept_has_lost_nothing),
        cmocka_unit_test(one_page_is_read_at_a_time),
        cmocka_unit_test(a_page_of_what_was_stepped_over_is_not_held),
        cmocka_unit_test(a_page_that_knows_more_leaves_the_live_feed_as_it_is),
        cmocka_unit_test(a_page_that_knows_more_is_a_reason_to_ask_first),
        cmocka_unit_test(a_log_that_cannot_be_read_is_looked_at_again_at_the_next_heartbeat),
        cmocka_unit_test(a_page_for_one_who_left_is_cancelled),
        cmocka_unit_test(nothing_is_delivered_behind_a_purge),
        cmocka_unit_test(a_purge_of_another_life_or_of_nobodys_channel_is_no_news),
        cmocka_unit_test(a_purge_moves_head_and_first),
        cmocka_unit_test(who_was_up_to_date_is_told_of_what_was_trimmed_since),
        cmocka_unit_test(a_new_life_is_told_to_everyone),
        cmocka_unit_test(a_hint_of_another_life_is_a_reason_to_ask),
        cmocka_unit_test(a_page_of_another_life_is_a_reason_to_ask),
        cmocka_unit_test(a_channel_is_left_when_it_was_lonely_for_a_while),
        cmocka_unit_test(a_channel_is_left_at_once_without_lingering),
        cmocka_unit_test(channels_that_linger_have_a_maximum),
        cmocka_unit_test(an_answer_from_before_the_channel_was_left_is_none),
        cmocka_unit_test(a_channel_is_not_left_while_its_answer_is_under_way),
        cmocka_unit_test(who_comes_while_it_lingers_hears_of_the_new_head),
        cmocka_unit_test(who_asks_sees_no_difference),
        cmocka_unit_test(what_comes_for_it_is_heard),
        cmocka_unit_test(who_joins_finds_the_channel),
        cmocka_unit_test(what_was_not_sent_is_drawn_again_though_it_was_folded),
        cmocka_unit_test(it_lingers_like_any_other),
        cmocka_unit_test(only_who_waits_for_news_is_folded),
        cmocka_unit_test(a_heartbeat_asks_where_a_page_failed_and_nowhere_else),
        cmocka_unit_test(a_head_that_moved_is_read_up_to),
        cmocka_unit_test(a_head_that_moved_judges_no_claim),
        cmocka_unit_test(a_walk_meets_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
