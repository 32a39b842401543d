/* record_file.h - the format of RocksDB's write-ahead logs and manifests. Pure: bytes in, bytes out.
 *
 * A file is a row of blocks of 32 KiB, and a piece never crosses the end of a block: masked CRC-32C u32 | length u16 |
 * type u8 | bytes, little-endian. The checksum covers the type and the bytes. A record is one piece, or a first one, some in
 * the middle and a last one. Zeros are space that was allocated in advance. */
#ifndef STORE_RECORD_FILE_H
#define STORE_RECORD_FILE_H

#include "base/buf.h"

enum { RECORD_BYTES_MAX = 1 << 30 };

struct record_sink {
    bool (*put)(void *context, struct span bytes);  /* false: it takes no more */
    void *context;
};

/* The place of the first piece that is damaged, or cut off by the end of the file. False: there is none. */
bool record_file_damage(struct span file, size_t *ret_at);

/* Puts a file with each whole record of `file`, and nothing else. False: the sink took not all. */
bool record_file_clean(struct span file, const struct record_sink *sink);

/* Puts one record that follows the first `at` bytes of a file. */
bool record_file_put(const struct record_sink *sink, uint64_t at, struct span record);

#endif
