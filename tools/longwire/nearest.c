#include "longwire/nearest.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The table of Wagner and Fischer, of which three rows are enough, with swaps of neighbours. */
size_t edit_distance(struct span a, struct span b)
{
    size_t rows[3][NEAREST_BYTES_MAX + 1];

    must(a.len <= NEAREST_BYTES_MAX && b.len <= NEAREST_BYTES_MAX);
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            row[j] = least(above[j - 1] + (a.at[i - 1] != b.at[j - 1]), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
                row[j] = least(row[j], above_that[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

void nearest_init(struct nearest *nearest, struct span word)
{
    *nearest = (struct nearest){ .word = word };
}

/* A third of the letters may be wrong, or one. */
static size_t distance_allowed(size_t len)
{
    return len < 6 ? 1 : len / 3;
}

void nearest_offer(struct nearest *nearest, const char *known_text)
{
    struct span known = span_str(known_text), word = nearest->word;

    if (word.len == 0 || word.len > NEAREST_BYTES_MAX || known.len > NEAREST_BYTES_MAX)
        return;
    bool   is_head  = span_starts(word, known) || (word.len > 1 && span_starts(known, word));
    size_t distance = is_head ? 1 : edit_distance(word, known);
    if (distance > distance_allowed(word.len) || (nearest->found != NULL && distance >= nearest->distance))
        return;
    nearest->found    = known_text;
    nearest->distance = distance;
}
