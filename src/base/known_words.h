/* known_words.h - "did you mean": what to tell a caller whose word is none of those that we know. */
#ifndef BASE_KNOWN_WORDS_H
#define BASE_KNOWN_WORDS_H

#include "base/span.h"

struct known_words {
    const struct span *at;
    size_t             count;
};

#define KNOWN_WORDS(array) ((struct known_words){ array, sizeof(array) / sizeof((array)[0]) })

#define KNOWN_NO_WORDS ((struct known_words){ NULL, 0 })

/* The case counts. */
bool known_words_have(struct known_words known, struct span word);

/* The known word that `word` is most likely meant to be; empty: none is like it. Case, `_` and `-` count for nothing,
 * and one letter in three may be wrong, missing, too many, or exchanged with its neighbour. */
struct span known_words_nearest(struct known_words known, struct span word);

enum { UNKNOWN_WORD_BYTES = 224 };

/* `unknown WHAT "Ttl": did you mean "ttl"?`, or `unknown WHAT "colour": known are "ttl", "key"` if none is like it;
 * only `unknown WHAT "colour"` if there are no known words. For any bytes in `word` the answer is printable ASCII, as far as `what` and the known words are. What doesn't fit is cut
 * off. Returns ret_text. */
const char *unknown_word_say(const char *what, struct span word, struct known_words known,
                             char ret_text[UNKNOWN_WORD_BYTES]);

#endif
