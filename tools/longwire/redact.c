#include "longwire/redact.h"

#define MASK "***"

/* How many bytes at the beginning of `text` are none of `ends`. */
static size_t run_until(struct span text, const char *ends)
{
    size_t len = 0;
    while (len < text.len && (text.at[len] == '\0' || strchr(ends, text.at[len]) == NULL))
        len++;
    return len;
}

/* Behind "://": the length of "user:password", which ends before the last @ of the authority. 0: there is none. */
static size_t userinfo_len(struct span rest)
{
    size_t len = run_until(rest, "/?# \t\r\n\"'");
    while (len > 0 && rest.at[len - 1] != '@')
        len--;
    return len > 0 ? len - 1 : 0;
}

/* A word, and what ends the secret behind it. */
static const struct { const char *word, *ends; } marks[] = {
    { "access_token=", "& \t\r\n\"'#" },
    { "Bearer ", " \t\r\n\"'" },
    { "Basic ", " \t\r\n\"'" },
};

/* If a secret is announced here: how long the announcement is, and the secret behind it. */
static bool mark_find(struct span rest, size_t *ret_head, size_t *ret_secret)
{
    if (span_starts(rest, SPAN("://"))) {
        *ret_head   = 3;
        *ret_secret = userinfo_len(span_skip(rest, 3));
        return *ret_secret > 0;
    }
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        struct span word = span_str(marks[i].word);
        if (!span_eq_nocase(span_head(rest, word.len), word))
            continue;
        *ret_head   = word.len;
        *ret_secret = run_until(span_skip(rest, word.len), marks[i].ends);
        return *ret_secret > 0;
    }
    return false;
}

void redact_put(struct buf *buf, struct span text, struct span secret)
{
    size_t head, hidden;

    while (text.len > 0) {
        if (secret.len > 0 && span_starts(text, secret)) {
            head   = 0;
            hidden = secret.len;
        } else if (!mark_find(text, &head, &hidden)) {
            buf_putc(buf, text.at[0]);
            text = span_skip(text, 1);
            continue;
        }
        buf_put(buf, span_head(text, head));
        buf_put_lit(buf, MASK);
        text = span_skip(text, head + hidden);
    }
}
