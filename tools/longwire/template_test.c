/* What --format makes of a template. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/template.h"

static const char *const names[] = { "seq", "time", "data" };

static void put_name(const void *arg, int field, struct buf *buf)
{
    (void)arg;
    buf_putf(buf, "<%s>", names[field]);
}

static const struct { const char *text, *want; } rows[] = {
    { "{seq} {time} {data}", "<seq> <time> <data>" },
    { "{seq}{seq}", "<seq><seq>" },
    { "no fields", "no fields" },
    { "a\\tb\\nc\\\\d\\x {{data}} {data}}}", "a\tb\nc\\d\\x {data} <data>}" },
    { "", "" },
};

static void test_put(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct template template;
        struct buf      out, why;
        template_init(&template);
        buf_init(&out, 1024);
        buf_init(&why, 1024);
        assert_true(template_parse(&template, span_str(rows[i].text), names, 3, &why));
        template_put(&template, put_name, NULL, &out);
        buf_putc(&out, '\0');
        assert_string_equal(out.at, rows[i].want);
        buf_fini(&out);
        buf_fini(&why);
        template_fini(&template);
    }
}

static const struct { const char *text, *why; } wrong[] = {
    { "{sek}", "there is no field {sek}; did you mean {seq}? The fields are {seq} {time} {data}" },
    { "{topic}", "there is no field {topic}. The fields are {seq} {time} {data}" },
    { "{}", "there is no field {}. The fields are {seq} {time} {data}" },
    { "{seq", "a { has no }; write {{ for a brace" },
    { "seq}", "a } has no {; write }} for a brace" },
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct template template;
        struct buf      why;
        template_init(&template);
        buf_init(&why, 1024);
        assert_false(template_parse(&template, span_str(wrong[i].text), names, 3, &why));
        buf_putc(&why, '\0');
        assert_string_equal(why.at, wrong[i].why);
        buf_fini(&why);
        template_fini(&template);
    }
}

static void test_bounds(void **state)
{
    struct template template;
    struct buf      text, why;

    (void)state;
    template_init(&template);
    buf_init(&text, 1 << 20);
    buf_init(&why, 1024);
    for (int i = 0; i < TEMPLATE_PARTS_MAX; i++)
        buf_put_lit(&text, "{seq}");
    assert_true(template_parse(&template, buf_span(&text), names, 3, &why));
    buf_put_lit(&text, "x");
    assert_false(template_parse(&template, buf_span(&text), names, 3, &why));
    buf_clear(&text);
    for (int i = 0; i < TEMPLATE_BYTES_MAX; i++)
        buf_putc(&text, 'x');
    assert_true(template_parse(&template, buf_span(&text), names, 3, &why));
    buf_putc(&text, 'x');
    assert_false(template_parse(&template, buf_span(&text), names, 3, &why));
    template_fini(&template);
    buf_fini(&text);
    buf_fini(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
