/* token_priv.h - what writing and reading a token share. */
#ifndef CODEC_TOKEN_TOKEN_PRIV_H
#define CODEC_TOKEN_TOKEN_PRIV_H

#include "codec/token/token.h"

enum { TOKEN_OLD = 1, TOKEN_NAMES = 2, TOKEN_SET = 3 };  /* the first byte */
enum { TOKEN_CHECKSUM_BYTES = 4, TOKEN_EPOCH_BYTES = 8, TOKEN_SET_BYTES = 8, VARINT_BYTES_MAX = 10 };

uint32_t token_checksum(struct span bytes);

#endif
