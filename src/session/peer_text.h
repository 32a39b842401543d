/* peer_text.h - the addresses of clients that have sent requests lately, as text. A back end is told the address with each request
 * (X-Forwarded-For), and to ask the kernel for it takes a system call. The address of a link does not change while it has one key.
 *
 * Belongs to the loop of its worker. */
#ifndef SESSION_PEER_TEXT_H
#define SESSION_PEER_TEXT_H

#include "base/ip_address.h"
#include "reactor/stream.h"

enum { PEER_TEXTS = 256 };

struct peer_texts {
    struct peer_text {
        uint64_t key;  /* of the link; 0: none */
        uint8_t  len;
        char     text[IP_TEXT_BYTES_MAX];
    } at[PEER_TEXTS];  /* each has one place, which the link that came last has */
};

/* The address at the other end of this stream, whose link has this key; borrowed until the next call. Empty: it is not known. */
struct span peer_text_of(struct peer_texts *texts, uint64_t key, const struct stream *stream);

#endif
