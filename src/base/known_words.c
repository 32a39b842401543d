#include "base/known_words.h"

#include <stdio.h>

/* Longer words are not compared: nobody means one of ours by them. */
enum { WORD_COMPARED_BYTES = 32, WORD_SHOWN_BYTES = 48 };

bool known_words_have(struct known_words known, struct span word)
{
    for (size_t i = 0; i < known.count; i++)
        if (span_eq(known.at[i], word))
            return true;
    return false;
}

/* --- how far two words are from one another --- */

struct plain_word {
    char   at[WORD_COMPARED_BYTES];
    size_t len;
};

/* Without `_` and `-`, in small letters. False: too long to be compared. */
static bool plain_word_of(struct span word, struct plain_word *ret)
{
    ret->len = 0;
    for (size_t i = 0; i < word.len; i++) {
        char byte = word.at[i];
        if (byte == '_' || byte == '-')
            continue;
        if (ret->len == WORD_COMPARED_BYTES)
            return false;
        ret->at[ret->len++] = byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
    }
    return true;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The optimal string alignment distance: insertions, deletions, substitutions, and exchanges of neighbours. Row i of
 * the usual table compares the first i bytes of `a`; only three rows are kept. */
static size_t word_distance(const struct plain_word *a, const struct plain_word *b)
{
    size_t rows[3][WORD_COMPARED_BYTES + 1];

    for (size_t j = 0; j <= b->len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a->len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b->len; j++) {
            bool is_same = a->at[i - 1] == b->at[j - 1];
            row[j] = least_of(above[j - 1] + !is_same, least_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a->at[i - 1] == b->at[j - 2] && a->at[i - 2] == b->at[j - 1])
                row[j] = least_of(row[j], before[j - 2] + 1);
        }
    }
    return rows[a->len % 3][b->len];
}

struct span known_words_nearest(struct known_words known, struct span word)
{
    struct span       nearest = SPAN("");
    struct plain_word meant, other;
    size_t            least = SIZE_MAX;

    if (!plain_word_of(word, &meant))
        return nearest;
    for (size_t i = 0; i < known.count; i++) {
        if (!plain_word_of(known.at[i], &other))
            continue;
        size_t distance = word_distance(&meant, &other);
        if (distance < least && distance <= other.len / 3) {
            least   = distance;
            nearest = known.at[i];
        }
    }
    return nearest;
}

/* --- the sentence --- */

struct sentence {
    char  *at;
    size_t len;
};

static void sentence_add(struct sentence *sentence, const char *before, struct span word, const char *after)
{
    size_t left = UNKNOWN_WORD_BYTES - sentence->len;
    int    put  = snprintf(sentence->at + sentence->len, left, "%s%.*s%s", before, SPAN_ARG(word), after);

    sentence->len += least_of(left - 1, put < 0 ? 0 : (size_t)put);
}

/* What a stranger wrote, without marks and bytes that could end a string or a line somewhere. */
static struct span show_word(struct span word, char scratch[WORD_SHOWN_BYTES])
{
    struct span shown = span_head(word, WORD_SHOWN_BYTES);

    for (size_t i = 0; i < shown.len; i++) {
        char byte  = shown.at[i];
        scratch[i] = '?';
        if (byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\')
            scratch[i] = byte;
    }
    return span_of(scratch, shown.len);
}

const char *unknown_word_say(const char *what, struct span word, struct known_words known,
                             char ret_text[UNKNOWN_WORD_BYTES])
{
    char            scratch[WORD_SHOWN_BYTES];
    struct sentence sentence = { ret_text, 0 };
    struct span     nearest  = known_words_nearest(known, word);

    sentence_add(&sentence, "unknown ", span_str(what), " \"");
    sentence_add(&sentence, "", show_word(word, scratch), word.len > WORD_SHOWN_BYTES ? "...\"" : "\"");
    if (nearest.len > 0)
        sentence_add(&sentence, ": did you mean \"", nearest, "\"?");
    for (size_t i = 0; nearest.len == 0 && i < known.count; i++)
        sentence_add(&sentence, i == 0 ? ": known are \"" : ", \"", known.at[i], "\"");
    return ret_text;
}
