/* connection_key.h - the key that names a connection: 64 bits that were never given before and can't be guessed. They say
 * which loop has the connection and since when, so that nothing has to be kept for that. Pure.
 *
 * A key is a block of 64 bits, enciphered under the secret of this process:
 *
 *     [ loop 6 ][ seconds since the start 28 ][ number 30 ]
 *
 * The number rises by one a key, so no block comes twice before a loop has given 2^30 keys in one second. A key of
 * another process, or one that somebody made up, opens to a loop and a second as well, but no connection has it.
 *
 * In a cluster any node must find the node of a key, and no node registers its connections. So there a key begins with
 * a tag of the node's incarnation, in clear, and a smaller block stands behind it:
 *
 *     [ tag 16 ][ enciphered: loop 6 · seconds 26 · number 16 ]
 *
 * Two nodes may have one tag; who looks for a connection asks both. */
#ifndef NODE_CONNECTION_KEY_H
#define NODE_CONNECTION_KEY_H

#include "base/hash.h"
#include "base/buf.h"

struct connection_key {
    unsigned loop;    /* 0 … LOOPS_MAX - 1 */
    uint32_t second;  /* since the start of the process */
    uint32_t number;
};

enum {
    CONNECTION_KEY_SECOND_BITS = 28, CONNECTION_KEY_NUMBER_BITS = 30, CONNECTION_KEY_DIGITS = 16,
    CONNECTION_KEY_TAGGED_SECOND_BITS = 26, CONNECTION_KEY_TAGGED_NUMBER_BITS = 16,
};

/* What makes the keys of a process. */
struct connection_keys {
    struct hash_key secret;
    uint16_t        tag;  /* 0: the node is alone */
};

/* The tag of a node of a cluster; not 0. */
uint16_t connection_tag(uint64_t incarnation);

/* Second and number count modulo 2 to the power of their bits. */
uint64_t              connection_key_make(const struct connection_keys *keys, struct connection_key key);
struct connection_key connection_key_open(const struct connection_keys *keys, uint64_t key);

/* The tag of the node that has the connection, if it is another one than the one with these keys; else 0. */
uint16_t connection_key_elsewhere(const struct connection_keys *keys, uint64_t key);

/* As people see it: 16 hexadecimal digits. False: it is none. */
bool connection_key_read(struct span text, uint64_t *ret);
void connection_key_put(struct buf *buf, uint64_t key);

#endif
