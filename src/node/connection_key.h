/* connection_key.h - the key that names a connection: 64 bits that were never given before and can't be guessed. They say
 * which loop has the connection and since when, so that nothing has to be kept for that. Pure.
 *
 * A key is a block of 64 bits, enciphered under the secret of this process:
 *
 *     [ loop 6 ][ seconds since the start 28 ][ number 30 ]
 *
 * The number rises by one a key, so no block comes twice before a loop has given 2^30 keys in one second. A key of
 * another process, or one that somebody made up, opens to a loop and a second as well, but no connection has it. */
#ifndef NODE_CONNECTION_KEY_H
#define NODE_CONNECTION_KEY_H

#include "base/hash.h"
#include "base/buf.h"

struct connection_key {
    unsigned loop;    /* 0 … LOOPS_MAX - 1 */
    uint32_t second;  /* since the start of the process */
    uint32_t number;
};

enum { CONNECTION_KEY_SECOND_BITS = 28, CONNECTION_KEY_NUMBER_BITS = 30, CONNECTION_KEY_DIGITS = 16 };

/* Second and number count modulo 2 to the power of their bits. */
uint64_t              connection_key_make(const struct hash_key *secret, struct connection_key key);
struct connection_key connection_key_open(const struct hash_key *secret, uint64_t key);

/* As people see it: 16 hexadecimal digits. False: it is none. */
bool connection_key_read(struct span text, uint64_t *ret);
void connection_key_put(struct buf *buf, uint64_t key);

#endif
