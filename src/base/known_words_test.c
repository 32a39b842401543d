/* Which word was meant, and the sentence that says so. */
#include "base/known_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct span words[] = {
    SPAN("channel"), SPAN("after"), SPAN("last"), SPAN("wait"), SPAN("cursor"), SPAN("last_event_id"), SPAN("ttl"),
};

static void the_nearest_word_is_found(void **state)
{
    (void)state;
    static const struct { const char *word, *nearest; } rows[] = {
        { "Ttl", "ttl" },         { "TTL", "ttl" },          { "tll", "ttl" },       { "tt", "ttl" },
        { "lastEventId", "last_event_id" },                  { "Last-Event-ID", "last_event_id" },
        { "lasteventid", "last_event_id" },                  { "channels", "channel" },
        { "chanel", "channel" },  { "chnanel", "channel" },  { "cusror", "cursor" }, { "afetr", "after" },
        { "since", "" },          { "colour", "" },          { "", "" },             { "t", "" },
        { "last", "last" },       { "lst", "last" },         { "waits", "wait" },    { "limit", "" },
        { "a word that is far longer than any that could be meant", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span nearest = known_words_nearest(KNOWN_WORDS(words), span_str(rows[i].word));
        if (!span_eq(nearest, span_str(rows[i].nearest)))
            fail_msg("%s: \"%.*s\"", rows[i].word, SPAN_ARG(nearest));
    }
    assert_true(known_words_have(KNOWN_WORDS(words), SPAN("ttl")));
    assert_false(known_words_have(KNOWN_WORDS(words), SPAN("Ttl")));
}

static void the_sentence_says_what_to_write(void **state)
{
    (void)state;
    static const struct span few[] = { SPAN("ttl"), SPAN("key") };
    char text[UNKNOWN_WORD_BYTES];

    assert_string_equal(unknown_word_say("member", SPAN("Ttl"), KNOWN_WORDS(few), text),
                        "unknown member \"Ttl\": did you mean \"ttl\"?");
    assert_string_equal(unknown_word_say("parameter", SPAN("colour"), KNOWN_WORDS(few), text),
                        "unknown parameter \"colour\": known are \"ttl\", \"key\"");
    assert_string_equal(unknown_word_say("parameter", SPAN("a\"\r\n\\\xff\0b"), KNOWN_WORDS(few), text),
                        "unknown parameter \"a??????b\": known are \"ttl\", \"key\"");
}

static void a_long_sentence_is_cut_off(void **state)
{
    (void)state;
    static const char long_word[1000];
    struct span       many[100];
    char              text[UNKNOWN_WORD_BYTES];

    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        many[i] = SPAN("a_rather_long_word");
    unknown_word_say("parameter", span_of(long_word, sizeof long_word), KNOWN_WORDS(many), text);
    assert_int_equal(strlen(text), UNKNOWN_WORD_BYTES - 1);
    assert_non_null(strstr(text, "...\": known are"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_word_is_found),
        cmocka_unit_test(the_sentence_says_what_to_write),
        cmocka_unit_test(a_long_sentence_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
